"""The plain loop: what a parallel loop is when there is one worker. No thread, no pickling, nothing between.

A task's exception leaves it as it was raised, and a debugger steps from the caller into the task. Items that
are no tasks are told from tasks that fail by looking at them after the fact, so that good ones pay nothing.
Where failures are not simply raised, a task that waits for another attempt holds up those behind it, as in a loop.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from functools import partial
from math import inf
from time import perf_counter, sleep
from typing import Protocol, TypeVar, cast

from lightwork.errors import TaskFormatError
from lightwork.parallel.backends.base import Task
from lightwork.parallel.outcomes import Chunk
from lightwork.parallel.recourse import SKIPPED, Recourse, keep_partial
from lightwork.parallel.tasks import refusal
from lightwork.workers.current import Answer, CurrentTask, answer_here, told_by

__all__ = ["collect", "gather", "stream"]

T = TypeVar("T")


def collect(tasks: Iterable[Task[T]]) -> list[T]:
    """Run all tasks; their results in order."""
    results: list[T] = []
    append = results.append
    running = False  # the input's own code is no task of this loop
    before = answer_here(lambda: _told(len(results), 1, before) if running else told_by(before))
    try:
        for task in tasks:
            try:
                func, args, kwargs = task
            except (TypeError, ValueError):
                raise TaskFormatError(refusal(len(results), task)) from None
            running = True
            try:
                append(func(*args, **kwargs))
            except TypeError:
                if not callable(func):
                    raise TaskFormatError(refusal(len(results), task)) from None
                raise
            running = False
    except BaseException as error:
        keep_partial(error, [Chunk(0, list(results), None)])
        raise
    finally:
        answer_here(before)
    return results


def _told(index: int, attempt: int, outer: Answer | None) -> CurrentTask:
    """What a task of a plain loop is told: it runs where the task around the loop does, if there is one."""
    around = told_by(outer)
    return (
        CurrentTask(index, around.worker, attempt, around.deadline)
        if around
        else CurrentTask(index, 0, attempt)
    )


class Watcher(Protocol):
    """Who is told how far a loop has come; as the pump's, but for what a plain loop has not."""

    def advanced(self, completed: int, dispatched: int, exhausted: bool) -> None: ...

    def ended(self, completed: int, whole: bool) -> None: ...


def gather(tasks: Iterable[Task[T]], watcher: Watcher, recourse: Recourse | None = None) -> list[T]:
    """Run all tasks, being watched; their results in order."""
    results: list[T] = []
    try:
        results.extend(_run(tasks, watcher, recourse))
    except BaseException as error:
        keep_partial(error, [Chunk(0, list(results), None)])
        raise
    return [result for result in results if result is not SKIPPED]


def stream(
    tasks: Iterable[Task[T]], watcher: Watcher, recourse: Recourse | None = None
) -> Generator[T, None, None]:
    """Run each task when its result is asked for."""
    results = _run(tasks, watcher, recourse)
    if recourse is None or not recourse.skips:
        return results
    return (result for result in results if result is not SKIPPED)


def _run(tasks: Iterable[Task[T]], watcher: Watcher, recourse: Recourse | None) -> Generator[T, None, None]:
    count = 0
    whole = False
    try:
        for task in tasks:
            try:
                func, args, kwargs = task
            except (TypeError, ValueError):
                raise TaskFormatError(refusal(count, task)) from None
            watcher.advanced(count, count + 1, exhausted=False)
            before = answer_here(lambda: _told(count, _attempt_of(recourse, count), before))  # noqa: B023 - gone after
            try:
                run = func if recourse is None else partial(_attempt, recourse, count, func)
                result = run(*args, **kwargs)
            except TypeError:
                if not callable(func):
                    raise TaskFormatError(refusal(count, task)) from None
                raise
            finally:
                answer_here(before)
            count += 1
            watcher.advanced(count, count, exhausted=False)
            yield result
            del result
        whole = True
        watcher.advanced(count, count, exhausted=True)
    finally:
        watcher.ended(count, whole)


def _attempt_of(recourse: Recourse | None, index: int) -> int:
    return 1 if recourse is None else recourse.attempts.get(index, 0) + 1


def _attempt(recourse: Recourse, index: int, func: Callable[..., T], /, *args: object, **kwargs: object) -> T:
    """Run a task until it is settled; what stands in the place of its result, if it failed."""
    given: object = func
    if not callable(given):
        raise TypeError
    while True:
        try:
            result = func(*args, **kwargs)
        except BaseException as error:
            chunks = recourse.settle(index, [None], {index: error}, [(func, args, kwargs)], perf_counter())
            if chunks:
                (chunk,) = chunks
                if chunk.failures is None:
                    return cast(T, chunk.results[0])
                if chunk.failures[index] is error:
                    raise
                raise chunk.failures[index] from error
        else:
            recourse.attempts.pop(index, None)
            return result
        sleep(max(0.0, recourse.until - perf_counter()))
        recourse.due(inf)
