"""The tasks of one loop that were taken and have not come to their end: what is kept of each, and what its end means.

What is taken from the input arrives in `sort` and `needs`; what the crew tells arrives in `handle`. What is kept of a
task is what would be sent again (a parcel), under the first number of its span. A task leaves by `Outcomes`, be it
answered, done, failed for good, or blamed for a death; the plan hears of every step, since it decides who runs what.

Nothing here is made for single tasks unless they are remembered, failed, or lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from time import perf_counter
from typing import cast

from lightwork.errors import LightworkError
from lightwork.parallel.backends import blame
from lightwork.parallel.backends.base import Back, Died, Done, Event, task_of
from lightwork.parallel.batching import Pace
from lightwork.parallel.doubles import Double
from lightwork.parallel.intake import Answer, Intake, kind_apart
from lightwork.parallel.outcomes import Outcomes
from lightwork.parallel.plan import Plan
from lightwork.parallel.recourse import Recourse

__all__ = ["InFlight"]


class InFlight:
    """The tasks of one loop between its input and its results.

    Parameters
    ----------
    plan, pace, outcomes : Plan, Pace, Outcomes
        What is told how tasks end.
    recourse : Recourse
        What becomes of those that fail.
    intake : Intake
        Where they come from; it knows who turns an answer into the result, and who waits for an equal task.
    remembered : callable
        Told how many results were there before any worker was asked.
    forget : callable
        Tells the crew, if there is one, that tasks which failed will not be sent again.

    Attributes
    ----------
    collecting : bool
        Whether the results are read all at once, so that none of them fills the window while it waits for others.
    """

    __slots__ = (
        "_forget",
        "_intake",
        "_out",
        "_outcomes",
        "_pace",
        "_plan",
        "_recourse",
        "_remembered",
        "collecting",
    )

    def __init__(
        self,
        plan: Plan,
        pace: Pace,
        outcomes: Outcomes,
        recourse: Recourse,
        intake: Intake,
        remembered: Callable[[int], None],
        forget: Callable[[Sequence[int]], None],
    ) -> None:
        self._plan = plan
        self._pace = pace
        self._outcomes = outcomes
        self._recourse = recourse
        self._intake = intake
        self._remembered = remembered
        self._forget = forget
        self._out: dict[int, Sequence[object]] = {}
        self.collecting = False

    def __getitem__(self, first: int) -> Sequence[object]:
        """The parcels of the span that begins with this task."""
        return self._out[first]

    def clear(self) -> None:
        """Let go of all parcels: the loop is over."""
        self._out.clear()

    # --- what was taken from the input --------------------------------------------------------------

    def needs(self, first: int, parcels: Sequence[object], *, again: bool = False) -> None:
        """These tasks need a worker; `again`, if they were sent before and have failed."""
        self._out[first] = parcels
        self._plan.needs(first, len(parcels), again=again)

    def sort(self, first: int, items: Sequence[object]) -> None:
        """Tell answers, and what waits for an equal task, from what needs a worker; all in runs of neighbours."""
        start = 0
        for kind, group in groupby(items, kind_apart):
            run = list(group)
            if kind is Answer:
                self._answer_run(first + start, cast("list[Answer]", run))
            elif kind is Double:
                self._let_wait(cast("list[Double]", run))
            else:
                self.needs(first + start, run)
            start += len(run)

    def _answer_run(self, first: int, run: list[Answer]) -> None:
        self._intake.apart -= len(run)
        self._plan.answered(len(run))
        failures = {
            index: answer.error for index, answer in enumerate(run, first) if answer.error is not None
        }
        self._remembered(len(run) - len(failures))
        values = [answer.value for answer in run]
        if failures:
            self._settle_failures(first, values, failures, [answer.task for answer in run], final=True)
        else:
            self._add(first, values, None)

    # --- what became of them ------------------------------------------------------------------------

    def handle(self, events: Sequence[Event], now: float) -> None:
        """What the crew told, read at this time."""
        for event in events:
            if isinstance(event, Done):
                self._done(event, now)
            elif isinstance(event, Died):
                self._died(event)
            elif isinstance(event, Back):
                self._back(event)
            else:
                self._plan.up(event.worker)

    def _done(self, done: Done, now: float) -> None:
        worker, first, results, failures, seconds = done
        count = self._plan.done(worker, first, now)
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
        gone = () if self._recourse.rerun_lost else died.ran
        loss = self._plan.died(died.worker, died.claimed, gone, left=died.left)
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
        if over:
            self._forget(over)
        for chunk in chunks:
            self._add(*chunk)

    def _add(self, first: int, results: list[object], failures: Mapping[int, BaseException] | None) -> None:
        self._outcomes.add(first, results, failures)
        if self.collecting:  # a list is not waited for: results that must wait for their turn hold up nothing
            self._plan.handed(len(results))
        if self._intake.doubles:
            for index in range(first, first + len(results)):
                for double in self._intake.doubles.ended(index):
                    self._look_again(double)

    # --- equal tasks --------------------------------------------------------------------------------

    def _let_wait(self, run: list[Double]) -> None:
        self._intake.apart -= len(run)
        self._plan.waits(len(run), aside=self.collecting)  # like answers, they fill no window of a list
        for double in run:
            if not self._intake.doubles.wait(double):
                self._look_again(double)

    def _look_again(self, double: Double) -> None:
        """The equal task has ended: take its result, or send this one after all."""
        index = double.number
        self._plan.waited(aside=self.collecting)
        failures: dict[int, BaseException] = {}
        value: object = None
        try:
            found = double.again()
            if found is None:
                self.needs(index, [double.parcel])
                return
            value = found.value
        except Exception as error:
            failures = {index: error}
        self._intake.finishes.pop(index, None)
        self._plan.answered(1)
        self._forget([index])
        if failures:
            self._settle_failures(index, [None], failures, [double.parcel], final=True)
        else:
            self._add(index, [value], None)
