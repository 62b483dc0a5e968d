"""The plain loop: what a parallel loop is when there is one worker. No thread, no pickling, nothing between.

A task's exception leaves it as it was raised, and a debugger steps from the caller into the task. Items that
are no tasks are told from tasks that fail by looking at them after the fact, so that good ones pay nothing.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Protocol, TypeVar

from lightwork.errors import TaskFormatError
from lightwork.parallel.backends.base import Task
from lightwork.parallel.tasks import refusal

__all__ = ["collect", "stream"]

T = TypeVar("T")


def collect(tasks: Iterable[Task[T]]) -> list[T]:
    """Run all tasks; their results in order."""
    results: list[T] = []
    append = results.append
    for task in tasks:
        try:
            func, args, kwargs = task
        except (TypeError, ValueError):
            raise TaskFormatError(refusal(len(results), task)) from None
        try:
            append(func(*args, **kwargs))
        except TypeError:
            if not callable(func):
                raise TaskFormatError(refusal(len(results), task)) from None
            raise
    return results


class Watcher(Protocol):
    """Who is told how far a loop has come; as the pump's, but for what a plain loop has not."""

    def advanced(self, completed: int, dispatched: int, exhausted: bool) -> None: ...

    def ended(self, completed: int, whole: bool) -> None: ...


def stream(tasks: Iterable[Task[T]], watcher: Watcher) -> Generator[T, None, None]:
    """Run each task when its result is asked for."""
    count = 0
    whole = False
    try:
        for task in tasks:
            try:
                func, args, kwargs = task
            except (TypeError, ValueError):
                raise TaskFormatError(refusal(count, task)) from None
            watcher.advanced(count, count + 1, exhausted=False)
            try:
                result = func(*args, **kwargs)
            except TypeError:
                if not callable(func):
                    raise TaskFormatError(refusal(count, task)) from None
                raise
            count += 1
            watcher.advanced(count, count, exhausted=False)
            yield result
            del result
        whole = True
        watcher.advanced(count, count, exhausted=True)
    finally:
        watcher.ended(count, whole)
