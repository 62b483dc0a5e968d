"""Threads as a crew: for code that waits, or that lets go of the interpreter's lock.

Each thread has an inbox of its own; all share one outbox. They are not daemons and end with the crew: at `release`
they are waited for (nothing runs), after `abort` each ends as soon as the task that it runs does, since no thread
can be stopped from outside. A task's errors keep their own traceback, without our frame in it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from time import perf_counter
from typing import cast

from lightwork.parallel.backends.base import Crew, CrewOptions, Done, Event, Task
from lightwork.workers.current import CurrentTask, answer_here
from lightwork.workers.functions import be_awaited, will_be_awaited

__all__ = ["inside_thread", "lend", "run_span"]

_here = threading.local()


def inside_thread() -> bool:
    """Whether this thread is a worker of some loop."""
    return getattr(_here, "worker", False)


def lend(count: int, options: CrewOptions) -> Crew:
    """A crew of `count` threads; the options are about memory that travels, which theirs does not."""
    return _Threads(count)


_Inbox = SimpleQueue[tuple[int, Sequence[Task[object]], int] | None]


class _Threads:
    """The crew; `base.Crew` tells what each method is for."""

    encode = None
    revoke = None

    def __init__(self, count: int) -> None:
        self.workers = range(count)
        self._outbox: SimpleQueue[Done | None] = SimpleQueue()
        self._inboxes: list[_Inbox] = [SimpleQueue() for _ in range(count)]
        self._stop: list[bool] = []
        self._ended = False
        awaited = will_be_awaited()
        self._threads = [
            threading.Thread(
                target=_serve,
                args=(worker, inbox, self._outbox, self._stop, awaited),
                name=f"lightwork-{worker}",
            )
            for worker, inbox in enumerate(self._inboxes)
        ]
        try:
            for thread in self._threads:
                thread.start()
        except BaseException:
            self._end()
            raise

    def send(self, worker: int, first: int, parcels: Sequence[object], attempt: int = 1) -> None:
        self._inboxes[worker].put((first, cast("Sequence[Task[object]]", parcels), attempt))

    def flush(self) -> None:
        """Nothing to do: `send` has handed the span over."""

    def wait(self, timeout: float | None) -> Sequence[Event]:
        outbox = self._outbox
        try:
            events = [outbox.get(timeout=timeout)]
            while not outbox.empty():
                events.append(outbox.get_nowait())
        except Empty:
            return []
        return [event for event in events if event is not None]

    def listen(self) -> Callable[[], None]:
        return partial(self._outbox.put, None)

    def forget(self, indexes: Sequence[int]) -> None:
        """Nothing to do: tasks are the caller's own."""

    def abort(self) -> None:
        self._stop.append(True)
        self._end()

    def release(self) -> None:
        if not self._ended:
            self._end()
            for thread in self._threads:
                thread.join()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            for inbox in self._inboxes:
                inbox.put(None)


def _serve(
    worker: int, inbox: _Inbox, outbox: SimpleQueue[Done | None], stop: list[bool], awaited: bool
) -> None:
    _here.worker = True
    be_awaited(awaited)
    while (span := inbox.get()) is not None:
        done = run_span(worker, *span, stop=stop)
        del span  # arguments are the caller's, and are let go when they were used
        outbox.put(done)
        del done


def run_span(
    worker: int,
    first: int,
    tasks: Sequence[Task[object]],
    attempt: int = 1,
    stop: Sequence[bool] = (),
) -> Done:
    """Run a span in this thread, until its end or until `stop` holds something."""
    results: list[object] = []
    before = answer_here(lambda: CurrentTask(first + len(results), worker, attempt))
    try:
        return _run(worker, first, tasks, stop, results)
    finally:
        answer_here(before)


def _run(
    worker: int, first: int, tasks: Sequence[Task[object]], stop: Sequence[bool], results: list[object]
) -> Done:
    failures: dict[int, BaseException] = {}
    begun = perf_counter()
    rest = iter(tasks)
    while True:
        try:
            for func, args, kwargs in rest:
                if stop:
                    break
                results.append(func(*args, **kwargs))
            break
        except BaseException as error:
            trace = error.__traceback__
            failures[first + len(results)] = error.with_traceback(trace and trace.tb_next)
            results.append(None)
    return Done(worker, first, results, failures or None, perf_counter() - begun)
