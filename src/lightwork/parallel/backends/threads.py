"""Threads as a crew: for code that waits, or that lets go of the interpreter's lock.

Each thread has an inbox of its own; all share one outbox. They are not daemons and end with the crew: at `release`
they are waited for (nothing runs), after `abort` each ends as soon as the task that it runs does, since no thread
can be stopped from outside. A task's errors keep their own traceback, without our frame in it.

A span is a deque that both sides take from: the thread its next task from the front, `revoke` and `abort` all that is
left from behind. A deque gives each task to one of them, with the interpreter's lock and without.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from time import perf_counter
from typing import Generic, TypeVar, cast

from lightwork.parallel.backends.base import Back, Crew, CrewOptions, Done, Event, Task, Up
from lightwork.workers.current import CurrentTask, answer_here
from lightwork.workers.functions import be_awaited, will_be_awaited

__all__ = ["Owed", "Span", "inside_thread", "lend", "run_span"]

_here = threading.local()


def inside_thread() -> bool:
    """Whether this thread is a worker of some loop."""
    return getattr(_here, "worker", False)


def lend(count: int, options: CrewOptions) -> Crew:
    """A crew of `count` threads; the options are about memory that travels, which theirs does not."""
    return _Threads(count)


class Span:
    """Tasks that were sent together, and have not begun yet.

    Attributes
    ----------
    kept : int
        How many there are, without those that were taken back; the sender's to know.
    """

    __slots__ = ("attempt", "first", "kept", "left")

    def __init__(self, first: int, tasks: Iterable[Task[object]], attempt: int) -> None:
        self.first = first
        self.left = deque(tasks)
        self.kept = len(self.left)
        self.attempt = attempt

    def take_back(self) -> bool:
        """Take back what has not begun; whether there was something."""
        before = self.kept
        with suppress(IndexError):
            while True:
                self.left.pop()
                self.kept -= 1
        return self.kept < before


S = TypeVar("S", bound=Span)


class Owed(Generic[S]):
    """The spans that each worker of a crew has not answered, for crews whose workers say nothing but `Done`."""

    def __init__(self) -> None:
        self._spans: dict[int, dict[int, S]] = {}
        self._revoked: set[int] = set()

    def sent(self, worker: int, span: S) -> None:
        """A worker has this span now."""
        self._spans.setdefault(worker, {})[span.first] = span

    def revoke(self, workers: Iterable[int]) -> list[Event]:
        """What these workers give up."""
        events: list[Event] = []
        for worker in workers:
            spans = self._spans.get(worker, {})
            trimmed = [(span.first, span.kept) for span in list(spans.values()) if span.take_back()]
            for first, kept in trimmed:
                if not kept:
                    del spans[first]
            if trimmed:
                events.append(Back(worker, trimmed))
            self._revoked.add(worker)
            events += self._up(worker)
        return events

    def answered(self, done: Done) -> list[Event]:
        """A span is done: that, and whether its worker may have more after a `revoke`."""
        del self._spans[done.worker][done.first]
        return [done, *self._up(done.worker)]

    def _up(self, worker: int) -> list[Event]:
        if worker not in self._revoked or self._spans.get(worker):
            return []
        self._revoked.remove(worker)
        return [Up(worker)]

    def drop(self) -> list[S]:
        """Take back everything, for good; all the spans."""
        spans = [span for owed in self._spans.values() for span in owed.values()]
        self._spans.clear()
        for span in spans:
            span.take_back()
        return spans


_Inbox = SimpleQueue[Span | None]


class _Threads:
    """The crew; `base.Crew` tells what each method is for."""

    encode = None

    def __init__(self, count: int) -> None:
        self.workers = range(count)
        self._outbox: SimpleQueue[Done | None] = SimpleQueue()
        self._inboxes: list[_Inbox] = [SimpleQueue() for _ in range(count)]
        self._owed: Owed[Span] = Owed()
        self._ended = False
        awaited = will_be_awaited()
        self._threads = [
            threading.Thread(
                target=_serve,
                args=(worker, inbox, self._outbox, awaited),
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
        span = Span(first, cast("Sequence[Task[object]]", parcels), attempt)
        self._owed.sent(worker, span)
        self._inboxes[worker].put(span)

    def flush(self) -> None:
        """Nothing to do: `send` has handed the span over."""

    def wait(self, timeout: float | None) -> Sequence[Event]:
        outbox = self._outbox
        try:
            answers = [outbox.get(timeout=timeout)]
            while not outbox.empty():
                answers.append(outbox.get_nowait())
        except Empty:
            return []
        events: list[Event] = []
        for done in answers:
            if done is not None:
                events += self._owed.answered(done)
        return events

    def revoke(self, workers: Sequence[int], /) -> Sequence[Event]:
        return self._owed.revoke(workers)

    def listen(self) -> Callable[[], None]:
        return partial(self._outbox.put, None)

    def forget(self, indexes: Sequence[int]) -> None:
        """Nothing to do: tasks are the caller's own."""

    def abort(self) -> None:
        self._owed.drop()
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


def _serve(worker: int, inbox: _Inbox, outbox: SimpleQueue[Done | None], awaited: bool) -> None:
    _here.worker = True
    be_awaited(awaited)
    while (span := inbox.get()) is not None:
        done = run_span(worker, span)
        del span
        if done.results:  # else all was taken back before it began
            outbox.put(done)
        del done


def run_span(worker: int, span: Span) -> Done:
    """Run in this thread what is left of a span, until nothing is."""
    results: list[object] = []
    first, attempt = span.first, span.attempt
    before = answer_here(lambda: CurrentTask(first + len(results), worker, attempt))
    try:
        return _run(worker, first, span.left, results)
    finally:
        answer_here(before)


def _run(worker: int, first: int, left: deque[Task[object]], results: list[object]) -> Done:
    failures: dict[int, BaseException] = {}
    begun = perf_counter()
    while True:
        try:
            func, args, kwargs = left.popleft()
        except IndexError:
            break
        try:
            results.append(func(*args, **kwargs))
        except BaseException as error:
            trace = error.__traceback__
            failures[first + len(results)] = error.with_traceback(trace and trace.tb_next)
            results.append(None)
    return Done(worker, first, results, failures or None, perf_counter() - begun)
