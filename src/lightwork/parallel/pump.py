"""Drives one loop: takes tasks, sends spans, waits for workers, hands results over. Decisions are the plan's.

The pump runs in the caller's thread and only inside calls: of `collect`, or of ``next`` on the generator that `stream`
made. It owns what the plan only has numbers for: the input (through `intake`), the tasks that are out (to send again
after a death), and the crew.

Whatever ends a loop early, be it an error, Ctrl-C, an input that raises, or a generator that is closed or dropped,
leaves by one door: the crew is aborted and the exception goes on.

The budget is a few microseconds a span and half a microsecond a task, so nothing here is made for single tasks
unless they are remembered, failed, or lost.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from itertools import groupby
from math import inf
from os import getpid
from time import perf_counter
from typing import Protocol, cast

from lightwork.errors import LightworkError
from lightwork.parallel.backends import blame
from lightwork.parallel.backends.base import Back, Crew, Died, Done, Event, task_of
from lightwork.parallel.batching import Pace
from lightwork.parallel.blocks import Calls
from lightwork.parallel.doubles import Double
from lightwork.parallel.intake import Answer, Intake, kind_apart
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
        Whether the whole input is taken before anything else.
    calls : Calls or None
        The same input, where it calls one function: then it is read in blocks as far as that may be.
    recourse : Recourse or None
        What becomes of tasks that fail; None: their errors are raised.
    reading : Reading or None
        By which another thread, the reader's, has the loop stop.
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
    ) -> None:
        self._recourse = recourse or Recourse()
        self._intake = Intake(source, self._hire_crew, eager=eager, calls=calls)
        self._reading = reading or Reading()
        self._reads_elsewhere = reading is not None
        self._hire = hire
        self._crew: Crew | None = None
        self._plan = plan
        self._pace = pace
        self._outcomes = outcomes
        self._timeout = timeout
        self._watcher = watcher
        self._out: dict[int, Sequence[object]] = {}
        self._collecting = False
        self._process = 0
        self._looked = 0.0
        self._ended = False
        self.exhausted = False

    # --- the two ways to read a loop ----------------------------------------------------------------

    def collect(self) -> list[object]:
        """Run the loop and return all results in order; the first failure that is noticed ends it."""
        results: list[object] = []
        self._collecting = True
        try:
            while (chunk := self._next()) is not None:
                results += chunk.results
        except BaseException as error:
            self.abort()
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
                plan.handed(count)
                self._fill_for_absence()
                del chunk, results
                left = perf_counter()
                if last is not SKIPPED:
                    yield last
                del last
        except BaseException as error:
            self.abort()
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
            if self._collecting:
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
                self._needs(index, [parcel], again=True)
        while True:
            begun = perf_counter()
            if not plan.waiting():
                count = 0 if self.exhausted else plan.room()
                if not count:
                    self._settle()
                    return
                self._take(count)
                if not plan.waiting():
                    continue  # all answered, or the end of the input
            send = plan.next_send(begun)
            if send is None:
                return
            worker, first, length = send
            attempt = self._recourse.attempts.get(first, 0) + 1
            cast(Crew, self._crew).send(worker, first, self._out[first], attempt)
            self._pace.sent(length, perf_counter() - begun)

    def _fill_for_absence(self) -> None:
        """Let workers have all that they may, now: while the reader is away nobody sends."""
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
            self._end(whole=self._outcomes.failure is None)

    def _end(self, *, whole: bool) -> None:
        if not self._ended:
            self._ended = True
            self._intake.close()
            self._out.clear()
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
            self._needs(first, items)
            return
        self._sort(first, items)
        if self._collecting and not self.exhausted:
            # While the next tasks need no worker, they are taken too: in a list they fill no window.
            first = plan.taken
            if items := self._intake.take_apart(_MOST_ANSWERS):
                plan.took(len(items))
                self._sort(first, items)

    def _needs(self, first: int, parcels: Sequence[object], *, again: bool = False) -> None:
        self._out[first] = parcels
        self._plan.needs(first, len(parcels), again=again)

    def _sort(self, first: int, items: Sequence[object]) -> None:
        """Tell answers, and what waits for an equal task, from what needs a worker; all in runs of neighbours."""
        start = 0
        for kind, group in groupby(items, kind_apart):
            run = list(group)
            if kind is Answer:
                self._answer_run(first + start, cast("list[Answer]", run))
            elif kind is Double:
                self._let_wait(cast("list[Double]", run))
            else:
                self._needs(first + start, run)
            start += len(run)
        self._watcher.advanced(self._plan.finished, self._plan.taken, self.exhausted)

    def _answer_run(self, first: int, run: list[Answer]) -> None:
        self._intake.apart -= len(run)
        self._plan.answered(len(run))
        failures = {
            index: answer.error for index, answer in enumerate(run, first) if answer.error is not None
        }
        self._watcher.remembered(len(run) - len(failures))
        values = [answer.value for answer in run]
        if failures:
            self._settle_failures(first, values, failures, [answer.task for answer in run], final=True)
        else:
            self._add(first, values, None)

    # --- what became of them ------------------------------------------------------------------------

    def _handle(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Done):
                self._done(event)
            elif isinstance(event, Died):
                self._died(event)
            elif isinstance(event, Back):
                self._back(event)
            else:
                self._plan.up(event.worker)
        self._watcher.advanced(self._plan.finished, self._plan.taken, self.exhausted)

    def _done(self, done: Done) -> None:
        worker, first, results, failures, seconds = done
        count = self._plan.done(worker, first, self._looked)
        if not count:
            return  # not ours any more: it was sent again after its worker was given up
        if len(results) != count:
            raise LightworkError(f"worker {worker} answered {count} tasks with {len(results)} results")
        parcels = self._out.pop(first)
        self._pace.ran(count, seconds)
        if self._intake.finishes:
            failures = self._finish(first, results, failures)
        if failures:
            self._settle_failures(first, results, failures, parcels)
        else:
            self._add(first, results, None)
        if self._recourse.attempts and count == 1 and not failures:
            self._recourse.attempts.pop(first, None)

    def _finish(
        self, first: int, results: list[object], failures: Mapping[int, BaseException] | None
    ) -> Mapping[int, BaseException] | None:
        """Let those who asked for it turn what the worker returned into the result."""
        failed = dict(failures or {})
        for index in range(first, first + len(results)):
            finish = self._intake.finishes.get(index)
            if finish is None or index in failed:
                continue
            try:
                results[index - first] = finish(results[index - first])
                del self._intake.finishes[index]
            except Exception as error:
                results[index - first] = None
                failed[index] = error
        return failed or None

    def _died(self, died: Died) -> None:
        loss = self._plan.died(died.worker, died.claimed, () if self._recourse.rerun_lost else died.ran)
        for first, _ in loss.spans:
            for index, task in enumerate(self._out.pop(first), first):
                if index == loss.blamed:
                    self._settle_failures(index, [None], {index: died.error}, [task])
                elif index in loss.gone:
                    error = blame.lost(died.error, index, task_of(task))
                    self._settle_failures(index, [None], {index: error}, [task], final=True)
                else:
                    self._out[index] = [task]

    def _back(self, back: Back) -> None:
        for first, kept in reversed(back.kept):  # each goes before what came back already
            pieces = self._plan.back(back.worker, first, kept)
            parcels = self._out[first]
            self._out[first] = parcels[:kept]
            if not kept:
                del self._out[first]
            for begin, length in pieces:
                self._out[begin] = parcels[begin - first : begin - first + length]

    def _settle_failures(
        self,
        first: int,
        results: list[object],
        failures: Mapping[int, BaseException],
        parcels: Sequence[object],
        *,
        final: bool = False,
    ) -> None:
        """Let the recourse say what becomes of a span with failures: what is run again is not finished."""
        recourse = self._recourse
        chunks = recourse.settle(first, results, failures, parcels, perf_counter(), final=final)
        again = len(results) - sum(len(chunk.results) for chunk in chunks)
        self._plan.repeats(again, len(chunks))
        over = [index for index in failures if index not in recourse.attempts]
        for index in over:
            self._intake.finishes.pop(index, None)
        if over and self._crew is not None:
            self._crew.forget(over)
        for chunk in chunks:
            self._add(*chunk)

    def _add(self, first: int, results: list[object], failures: Mapping[int, BaseException] | None) -> None:
        self._outcomes.add(first, results, failures)
        if (
            self._collecting
        ):  # a list is not waited for: results that must wait for their turn hold up nothing
            self._plan.handed(len(results))
        if self._intake.doubles:
            for index in range(first, first + len(results)):
                for double in self._intake.doubles.ended(index):
                    self._look_again(double)

    # --- equal tasks --------------------------------------------------------------------------------

    def _let_wait(self, run: list[Double]) -> None:
        self._intake.apart -= len(run)
        self._plan.waits(len(run), aside=self._collecting)  # like answers, they fill no window of a list
        for double in run:
            if not self._intake.doubles.wait(double):
                self._look_again(double)

    def _look_again(self, double: Double) -> None:
        """The equal task has ended: take its result, or send this one after all."""
        index = double.number
        self._plan.waited(aside=self._collecting)
        failures: dict[int, BaseException] = {}
        value: object = None
        try:
            found = double.again()
            if found is None:
                self._needs(index, [double.parcel])
                return
            value = found.value
        except Exception as error:
            failures = {index: error}
        self._intake.finishes.pop(index, None)
        self._plan.answered(1)
        cast(Crew, self._crew).forget([index])
        if failures:
            self._settle_failures(index, [None], failures, [double.parcel], final=True)
        else:
            self._add(index, [value], None)
