"""Which task runs here: asked by code inside it, and answered only then.

Whoever runs tasks leaves a function behind that answers: a worker process one for all its threads, a thread that runs
tasks one for itself. So a loop whose tasks never ask pays nothing for each task.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeAlias

__all__ = ["Answer", "CurrentTask", "answer_here", "answer_in_process", "current_task", "told_by"]


class CurrentTask:
    """The task that runs.

    Attributes
    ----------
    index : int
        Its number in the loop, from 0.
    worker : int
        The number of the worker that runs it; 0 in a plain loop.
    attempt : int
        1 the first time; more where ``retries=`` has it run again.
    deadline : float or None
        When ``task_timeout=`` will stop it, by `time.monotonic`.
    """

    __slots__ = ("attempt", "deadline", "index", "worker")

    def __init__(self, index: int, worker: int, attempt: int = 1, deadline: float | None = None) -> None:
        self.index = index
        self.worker = worker
        self.attempt = attempt
        self.deadline = deadline

    def __repr__(self) -> str:
        return (
            f"CurrentTask(index={self.index}, worker={self.worker}, attempt={self.attempt},"
            f" deadline={self.deadline})"
        )


Answer: TypeAlias = Callable[[], CurrentTask | None]

_here = threading.local()
_process: Answer | None = None


def current_task() -> CurrentTask | None:
    """What runs here: the number of the task, its worker, its attempt, its deadline; None outside of tasks.

    Examples
    --------
    >>> from lightwork import Parallel, current_task, delayed
    >>> def name(city):
    ...     return f"{current_task().index}: {city}"
    >>> Parallel(n_jobs=2)(delayed(name)(city) for city in ["Oslo", "Rome"])
    ['0: Oslo', '1: Rome']
    >>> current_task() is None
    True
    """
    return told_by(getattr(_here, "answer", None))


def told_by(answer: Answer | None) -> CurrentTask | None:
    """What `answer` tells of the running task, or where there is none, what the process does."""
    answer = answer or _process
    return None if answer is None else answer()


def answer_here(answer: Answer | None) -> Answer | None:
    """Have this thread's tasks told by `answer`; returns who told them before, to be put back."""
    before: Answer | None = getattr(_here, "answer", None)
    _here.answer = answer
    return before


def answer_in_process(answer: Answer) -> None:
    """Have the tasks of this process told by `answer`, in whatever thread they ask."""
    global _process
    _process = answer
