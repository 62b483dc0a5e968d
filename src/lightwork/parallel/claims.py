"""The jobs of an executor, and who has one: nobody yet, a worker that has begun it, or whoever cancelled it.

A job may lie with a worker behind another, unbegun. It is no one's then, and its future is pending: `cancel` takes it
from there by the worker's control page (`Page.withdraw`), in whatever thread it is called, without asking the desk's
keeper, who may be running a callback just then that waits for that very thread. What was withdrawn is never begun,
what has begun cannot be withdrawn; one lock for each job sees to it, under which no code of the user's runs.

The keeper calls `begin` for a job when its worker has nothing before it; that may be a little after the worker began.
So `running` looks at the page too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from lightwork.parallel.backends import blame
from lightwork.parallel.backends.base import Task
from lightwork.parallel.backends.outgoing import Written
from lightwork.workers.page import Page
from lightwork.workers.segments import Segment

__all__ = ["Claim", "Job", "JobFuture", "Place"]

T = TypeVar("T")

Place = tuple[Page, int]
"""The control page of a worker, and the number of a span on it."""


class Claim:
    """Who has one job.

    Attributes
    ----------
    begun : bool
        Whether a worker has begun it, as far as the keeper knows.
    withdrawn : bool
        Whether it was cancelled; no worker will run it.
    """

    __slots__ = ("_lock", "_place", "begun", "withdrawn")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._place: Place | None = None
        self.begun = False
        self.withdrawn = False

    def withdraw(self) -> bool:
        """Keep any worker from it; whether that was not too late, and had not been done."""
        with self._lock:
            if self.begun or self.withdrawn:
                return False
            if self._place is not None:
                page, span = self._place
                if not page.withdraw(span):
                    return False
            self.withdrawn = True
            return True

    def begin(self) -> bool:
        """A worker that has nothing before it begins it now; whether it may. What has begun once has for ever."""
        with self._lock:
            self._place = None
            self.begun = not self.withdrawn
            return self.begun

    def queue(self, send: Callable[[], Place]) -> bool:
        """Send it to a worker that has others before it; whether it may be."""
        with self._lock:
            if not self.withdrawn:
                self._place = send()
            return not self.withdrawn

    def come_back(self) -> None:
        """No worker has it any more."""
        with self._lock:
            self._place = None

    def runs(self) -> bool:
        """Whether the worker that it lies with has begun it."""
        with self._lock:
            return self._place is not None and self._place[0].has_begun(self._place[1])


class JobFuture(Future[T], Generic[T]):
    """The future of a job, which can be cancelled until a worker begins it."""

    def __init__(self, claim: Claim) -> None:
        super().__init__()
        self._claim = claim

    def begin(self) -> bool:
        """A worker that has nothing before the job begins it; whether it may."""
        again = self._claim.begun
        if not self._claim.begin():
            return False
        return again or self.set_running_or_notify_cancel()

    def cancel(self) -> bool:
        """Cancel the job unless a worker has begun it; whether it is cancelled."""
        mine = self._claim.withdraw()
        if not mine and not self._claim.withdrawn:
            return False
        cancelled = super().cancel()
        if mine and cancelled:
            self.set_running_or_notify_cancel()  # whoever waits for several futures is told now
        return cancelled

    def running(self) -> bool:
        """Whether a worker has begun the job, and not ended it."""
        return super().running() or (not self.done() and self._claim.runs())


class Job:
    """A call that was submitted.

    Attributes
    ----------
    index : int
        Its number, counted from 0.
    claim : Claim
        Who has it.
    future : JobFuture
        Who waits for it.
    task : Task
        The call itself, to be named in errors.
    finish : callable or None
        Turns what the worker returned into the result.
    """

    __slots__ = (
        "claim",
        "finish",
        "future",
        "gone",
        "index",
        "is_defined",
        "numbers",
        "segments",
        "task",
        "was_sent",
        "written",
    )

    def __init__(self, task: Task[object], finish: Callable[[object], object] | None) -> None:
        self.index = -1
        self.claim = Claim()
        self.future: JobFuture[object] = JobFuture(self.claim)
        self.task = task
        self.finish = finish
        self.is_defined = self.was_sent = False
        self.written: Written | None = None
        self.numbers: Sequence[int] = ()
        self.segments: list[Segment] = []
        self.gone: Sequence[int] = ()

    def settle(self, result: object, error: BaseException | None) -> None:
        """Tell who waits for it what became of it."""
        if error is None and self.finish is not None:
            try:
                result = self.finish(result)
            except Exception as failure:
                error = failure
        if error is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(error)

    def killed(self) -> BaseException:
        """What to tell of one that its executor has ended."""
        from lightwork.errors import WorkerDied

        call = blame.shown_call(*self.task)
        return WorkerDied(
            f"the workers were killed by their executor, one of them while it ran {call}", self.index
        )
