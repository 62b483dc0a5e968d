"""Drives one loop: takes tasks, sends spans, waits for workers, hands results over. Decisions are the plan's.

The pump runs in the caller's thread and only inside calls: of `collect`, or of ``next`` on the generator that `stream`
made. It owns the crew, and what the plan only has numbers for: the input (through `intake`), and the tasks that were
taken and are not finished (through `inflight`).

Whatever ends a loop early, be it an error, Ctrl-C, an input that raises, or a generator that is closed or dropped,
leaves by one door: the crew is aborted and the exception goes on.

The budget is a few microseconds a span and half a microsecond a task, so nothing here is made for single tasks
unless they are remembered, failed, or lost.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from math import inf
from os import getpid
from time import perf_counter
from typing import Protocol, cast

from lightwork.errors import LightworkError
from lightwork.parallel.backends.base import Crew, Event
from lightwork.parallel.batching import MOST_TASKS, Pace
from lightwork.parallel.blocks import Calls
from lightwork.parallel.guard import Guard
from lightwork.parallel.inflight import InFlight
from lightwork.parallel.intake import Intake
from lightwork.parallel.outcomes import Chunk, Outcomes
from lightwork.parallel.plan import Plan
from lightwork.parallel.reading import Reading
from lightwork.parallel.recourse import SKIPPED, Recourse, keep_partial

__all__ = ["Pump", "Watcher"]


class Watcher(Protocol):
    """Who is told how far a loop has come."""

    def hired(self) -> None:
        """The loop has its workers."""

    def advanced(self, completed: int, dispatched: int, exhausted: bool) -> None:
        """So many tasks are finished and taken; whether the input has more."""

    def remembered(self, count: int) -> None:
        """So many results were there before any worker was asked."""

    def ended(self, completed: int, whole: bool) -> None:
        """The loop is over, called once; `whole` says whether every task was finished and none failed."""


# Answers taken in one go before workers are looked after again: some milliseconds' worth.
_MOST_ANSWERS = 512
# Messages are held back, to be handed over several at a time, for so many seconds at most; and only where as many were
# made one after the other in that time, so that the input can be trusted not to block. One that blocks all the same
# holds up nothing but what lies behind other work.
_HELD = 1e-4
_QUICK = 64
# Seconds that a reader is kept for a worker that only has to say that it has nothing left, and may have to wait for a
# core of a busy machine; it takes a millisecond else.
_SETTLED = 1.0


class Pump:
    """One loop.

    Parameters
    ----------
    source : iterator
        The tasks.
    hire : callable
        Lends the crew; called once, or never.
    plan, pace, outcomes : Plan, Pace, Outcomes
        The decisions: who runs what, how much at once, what may be read.
    timeout : float or None
        Seconds that the next result is waited for.
    watcher : Watcher
        Told how far the loop has come.
    eager : bool
        Whether the whole input is read as soon as it can be, however much of it is sent.
    calls : Calls or None
        The same input, where it calls one function: then it is read in blocks as far as that may be.
    recourse : Recourse or None
        What becomes of tasks that fail; None: their errors are raised.
    reading : Reading or None
        By which another thread, the reader's, has the loop stop.
    guard : Guard or None
        What keeps the error of an input that ended in one, to be raised when all else is done.
    """

    def __init__(
        self,
        source: Iterator[object],
        hire: Callable[[], Crew],
        plan: Plan,
        pace: Pace,
        outcomes: Outcomes,
        timeout: float | None,
        watcher: Watcher,
        *,
        eager: bool = False,
        calls: Calls[object] | None = None,
        recourse: Recourse | None = None,
        reading: Reading | None = None,
        guard: Guard | None = None,
    ) -> None:
        self._recourse = recourse or Recourse()
        self._guard = guard or Guard()
        self._intake = Intake(source, self._hire_crew, eager=eager, calls=calls, whole=pace.is_fixed)
        self._in_flight = InFlight(
            plan, pace, outcomes, self._recourse, self._intake, watcher.remembered, self._forget
        )
        self._reading = reading or Reading()
        self._reads_elsewhere = reading is not None
        self._hire = hire
        self._crew: Crew | None = None
        self._plan = plan
        self._pace = pace
        self._outcomes = outcomes
        self._timeout = timeout
        self._watcher = watcher
        self._process = 0
        self._looked = 0.0
        self._quick = 0
        self._flush_at = 0.0
        self._ended = False
        self.exhausted = False

    # --- the two ways to read a loop ----------------------------------------------------------------

    def collect(self) -> list[object]:
        """Run the loop and return all results in order; the first failure that is noticed ends it."""
        results: list[object] = []
        self._in_flight.collecting = True
        try:
            while (chunk := self._next()) is not None:
                results += chunk.results
                while self._outcomes.ready:
                    results += self._outcomes.ready.popleft().results
        except BaseException as error:
            self.abort()
            self._guard.note_on(error)
            keep_partial(error, [Chunk(0, results, None), *self._outcomes.unread()])
            raise
        return self._handed_over(results)

    def stream(self) -> Generator[object, None, None]:
        """A generator over the results; its work begins now, failures are raised at their place."""
        generator = self._stream()
        next(generator)
        return generator

    def _stream(self) -> Generator[object, None, None]:
        plan, pace = self._plan, self._pace
        try:
            self._fill_for_absence()
            left = perf_counter()
            yield None  # the generator has begun: from here on, closing or dropping it aborts the crew
            while True:
                pace.away(perf_counter() - left)
                chunk = self._next()
                if chunk is None:
                    return
                count, results = len(chunk.results), self._handed_over(chunk.results)
                if count > 1:
                    self._fill_for_absence()  # between two results of a chunk the reader may be away as well
                if chunk.failures:
                    index = min(chunk.failures)
                    self._reading.at_hand = index - chunk.first
                    yield from results[: index - chunk.first]
                    self._outcomes.ready.appendleft(
                        Chunk(index, results[index - chunk.first :], chunk.failures)
                    )
                    raise chunk.failures[index]
                last = results.pop() if results else SKIPPED
                self._reading.at_hand = len(results)
                yield from results
                self._reading.at_hand = 0
                # The last is not the reader's yet: no task is taken in its place before he comes for more.
                held = last is not SKIPPED
                plan.handed(count - held)
                self._fill_for_absence()
                del chunk, results
                left = perf_counter()
                if held:
                    yield last
                    plan.handed(1, spans=0)
                del last
        except BaseException as error:
            self.abort()
            self._guard.note_on(error)
            if not isinstance(error, GeneratorExit):
                keep_partial(error, self._outcomes.unread())
            raise

    def _handed_over(self, results: list[object]) -> list[object]:
        """Results without those that are to be left out."""
        if not self._recourse.skips:
            return results
        return [result for result in results if result is not SKIPPED]

    def abort(self) -> None:
        """Stop everything; the loop is over."""
        self.exhausted = True
        try:
            if self._crew is not None and self._process == getpid():
                self._crew.abort()  # in a forked child the workers are its parent's, who goes on
            self._crew = None  # only now: an abort that is interrupted is done again
        finally:
            self._end(whole=False)

    # --- the work -----------------------------------------------------------------------------------

    def _next(self) -> Chunk | None:
        """The next chunk that may be read; None when the loop is over."""
        outcomes, plan = self._outcomes, self._plan
        if outcomes.ready:
            return outcomes.ready.popleft()  # whatever could be sent was, when this became ready
        deadline = None if self._timeout is None else perf_counter() + self._timeout
        while True:
            self._fill()
            self._notice()
            if outcomes.ready:
                return outcomes.ready.popleft()
            if self.exhausted and plan.finished == plan.taken:
                self._guard.release()
                return None
            if plan.due <= self._looked:
                self._take_back()
            else:
                self._handle(self._wait(deadline))

    def _notice(self) -> None:
        """A list ends with the first failure that is known; behind it, a generator takes nothing more."""
        failure = self._outcomes.failure
        if failure is not None:
            self.exhausted = True
            if self._in_flight.collecting:
                raise failure[1]

    def _wait(self, deadline: float | None) -> Sequence[Event]:
        crew, until = cast(Crew, self._crew), min(self._plan.due, self._recourse.until)
        if deadline is not None:
            until = min(until, deadline)
        events = crew.wait(None if until == inf else max(0.0, until - perf_counter()))
        self._looked = now = perf_counter()
        self._reading.check()
        if deadline is not None and not events and now >= deadline:
            from lightwork.errors import TaskTimeout  # its bases take 13 ms to import

            done, begun = self._plan.finished, self._plan.taken
            raise TaskTimeout(
                f"no result within timeout={self._timeout} seconds; {done} of the {begun} tasks that were begun"
                " are done, what was running has been stopped"
            )
        return events

    def _take_back(self) -> None:
        """Have workers give up what others could begin, or what lies behind a task that runs long."""
        revoke = cast(Crew, self._crew).revoke
        workers = self._plan.take_back(self._looked)
        if workers and revoke is not None:
            self._handle(revoke(workers))

    def _fill(self) -> None:
        """Take and send whatever the plan allows."""
        plan = self._plan
        self._notice()
        if self._crew is not None and self._process != getpid():
            raise LightworkError(
                "this loop was begun by the process that this one is forked from; read it there"
            )
        if self._recourse.until < inf:
            for index, parcel in self._recourse.due(perf_counter()):
                self._in_flight.needs(index, [parcel], again=True)
        begun = perf_counter()
        while True:
            if not plan.waiting():
                count = 0 if self.exhausted else plan.room()
                if not count and not self._intake.reads_ahead:
                    self._settle()
                    return
                if self._crew is not None and (self._quick < _QUICK or begun >= self._flush_at):
                    self._crew.flush()  # the input may block
                    self._flush_at = begun + _HELD
                if count:
                    self._take(count)
                else:
                    self._read_ahead()
            send = plan.next_send(begun)
            if send is None:
                if plan.waiting():
                    return
                begun = perf_counter()
                continue  # all answered, or the end of the input
            worker, first, length = send
            attempt = self._recourse.attempts.get(first, 0) + 1
            crew = self._crew
            assert crew is not None
            crew.send(worker, first, self._in_flight[first], attempt)
            now = perf_counter()
            self._pace.sent(length, now - begun)
            self._quick = self._quick + 1 if now - begun < _HELD else 0
            begun = now

    def _fill_for_absence(self) -> None:
        """Let workers have all that they may, now: while the reader is away nobody sends."""
        self._fill()
        until = perf_counter() + _SETTLED
        while self._plan.settling and (left := until - perf_counter()) > 0:
            self._handle(cast(Crew, self._crew).wait(left))
            self._fill()
        if self._crew is not None:
            self._crew.flush()

    def _hire_crew(self) -> Crew:
        crew = self._crew = self._hire()
        self._process = getpid()
        self._plan.begin(crew.workers, gives_back=crew.revoke is not None)
        self._watcher.hired()
        if self._reads_elsewhere:
            self._reading.listen(crew.listen())
        return crew

    def _settle(self) -> None:
        """Hand the crew back once nothing can be asked of it any more."""
        if self.exhausted and self._plan.finished == self._plan.taken:
            if self._crew is not None:
                self._crew.release()
                self._crew = None
            self._end(whole=self._outcomes.failure is None and self._guard.error is None)

    def _end(self, *, whole: bool) -> None:
        if not self._ended:
            self._ended = True
            self._intake.close()
            self._in_flight.clear()
            self._watcher.ended(self._plan.finished, whole)

    def _take(self, count: int) -> None:
        """Take one span from the input; what needs no worker is answered at once."""
        plan = self._plan
        first = plan.taken
        items = self._intake.take(first, count)
        if self._intake.ended:
            self.exhausted = True
            self._watcher.advanced(plan.finished, plan.taken + len(items), True)
            if not items:
                return
        plan.took(len(items))
        if not self._intake.apart:
            self._in_flight.needs(first, items)
            return
        self._in_flight.sort(first, items)
        self._tell()
        if self._in_flight.collecting and not self.exhausted:
            # While the next tasks need no worker, they are taken too: in a list they fill no window.
            first = plan.taken
            if items := self._intake.take_apart(first, _MOST_ANSWERS):
                plan.took(len(items))
                self._in_flight.sort(first, items)
                self._tell()

    def _read_ahead(self) -> None:
        """Read some more of an input that is to be read as a whole, and look what workers have done meanwhile."""
        self._intake.read_ahead(self._plan.taken, self._pace.size if self._pace.is_fixed else MOST_TASKS)
        if self._crew is not None:
            self._handle(self._crew.wait(0.0))

    def _handle(self, events: Sequence[Event]) -> None:
        self._in_flight.handle(events, self._looked)
        self._tell()

    def _forget(self, indexes: Sequence[int]) -> None:
        if self._crew is not None:
            self._crew.forget(indexes)

    def _tell(self) -> None:
        self._watcher.advanced(self._plan.finished, self._plan.taken, self.exhausted)
