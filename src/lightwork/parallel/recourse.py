"""What becomes of tasks that failed: run again, told in the result's place, left out, or raised. Pure; no clock, no IO.

A `Recourse` serves one loop. It is told of failures alone, so loops in which nothing fails pay nothing for it. It
keeps the count of attempts of tasks that failed and may still succeed, and those that wait for their next attempt.

1. A failure is settled exactly once: the task waits for another attempt (`until` says when the next is due), or its
   place in the results is filled, or its error is left to be raised.
2. A task is run again as it was written down at first: what its arguments became meanwhile makes no difference
   where they travel.
3. Only an `Exception` takes a result's place; `KeyboardInterrupt` and its like are always raised.
4. A task that calls `sys.exit` has failed: see `lightwork.errors.TaskExited`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from heapq import heappop, heappush
from math import inf
from os import urandom
from typing import Final, Literal

from lightwork.errors import RemoteTraceback, TaskError
from lightwork.parallel.backends import blame
from lightwork.parallel.backends.base import task_of
from lightwork.parallel.outcomes import Chunk
from lightwork.parallel.retries import Retries

__all__ = ["SKIPPED", "OnError", "Raises", "Recourse", "Returns", "keep_partial"]

Raises = Literal["raise", "skip"]
Returns = Literal["return"]
OnError = Literal["raise", "return", "skip"]
"""What takes the place of a failed task: nothing, as its error is raised; a `TaskError`; nothing at all."""

SKIPPED: Final = object()
"""Stands where a result is to be left out, until results are handed over: places are counted by it."""

# Exceptions behind an exception that are looked at; chains can be rings.
_MOST_LINKS = 32


class Recourse:
    """The failures of one loop.

    Parameters
    ----------
    retries : Retries or None
        What is run again.
    on_error : {"raise", "return", "skip"}
        What becomes of the rest.
    rerun_lost : bool
        Whether tasks that had run are run again where their results were lost with their worker.

    Attributes
    ----------
    until : float
        When the next task is to be run again; infinite where none waits.
    skips : bool
        Whether results may be `SKIPPED`.
    attempts : dict
        How often tasks have failed, by number; of those only that may still succeed.
    """

    __slots__ = ("_on_error", "_retries", "_waiting", "attempts", "rerun_lost", "skips", "until")

    def __init__(
        self, retries: Retries | None = None, on_error: OnError = "raise", *, rerun_lost: bool = True
    ) -> None:
        self._retries = retries
        self.rerun_lost = rerun_lost
        self._on_error = on_error
        self._waiting: list[tuple[float, int, object]] = []
        self.attempts: dict[int, int] = {}
        self.skips = on_error == "skip"
        self.until = inf

    def settle(
        self,
        first: int,
        results: list[object],
        failures: Mapping[int, BaseException],
        parcels: Sequence[object],
        now: float,
        *,
        final: bool = False,
    ) -> list[Chunk]:
        """Decide about the failures of a span.

        Parameters
        ----------
        first : int
            The number of its first task.
        results : list
            One entry for each task; places of failed ones may be filled.
        failures : mapping
            The exceptions, by number.
        parcels : sequence
            The tasks as they were sent.
        now : float
            The time, by the clock that `until` is read by.
        final : bool
            Whether another attempt would make no difference.

        Returns
        -------
        list of Chunk
            What the span has come to, without the tasks that will be run again; failures in it are to be raised.
        """
        left: dict[int, BaseException] = {}
        again: list[int] = []
        for index, error in failures.items():
            parcel = parcels[index - first]
            if isinstance(error, SystemExit):
                error = blame.exited(error, index, task_of(parcel))
            attempt = self.attempts.pop(index, 0) + 1
            if not final and self._retries is not None and self._retries.admits(error, attempt):
                self.attempts[index] = attempt
                heappush(self._waiting, (now + self._retries.wait(attempt, _chance), index, parcel))
                again.append(index)
                continue
            if attempt > 1:
                error.add_note(f"attempt {attempt} of task {index}; those before failed too")
            if self._on_error == "raise" or not isinstance(error, Exception):
                left[index] = error
            elif self.skips:
                results[index - first] = SKIPPED
            else:
                results[index - first] = told(error, index, parcel, attempt)
        if again:
            self.until = self._waiting[0][0]
        return _cut(first, results, left, sorted(again))

    def due(self, now: float) -> list[tuple[int, object]]:
        """The tasks to run again by now, each as it was sent."""
        waiting = self._waiting
        found: list[tuple[int, object]] = []
        while waiting and waiting[0][0] <= now:
            _, index, parcel = heappop(waiting)
            found.append((index, parcel))
        self.until = waiting[0][0] if waiting else inf
        return found


def _chance() -> float:
    """A number from 0 to 1 that leaves the program's own random state alone."""
    return int.from_bytes(urandom(6), "little") / 2**48  # from the system: nothing to seed, nothing to fork


def _cut(
    first: int, results: list[object], failures: Mapping[int, BaseException], without: Sequence[int]
) -> list[Chunk]:
    """A span without some of its tasks, as chunks of neighbours."""
    if not without:
        return [Chunk(first, results, failures or None)]
    chunks: list[Chunk] = []
    begin = first
    for end in (*without, first + len(results)):
        if begin < end:
            mine = {index: error for index, error in failures.items() if begin <= index < end}
            chunks.append(Chunk(begin, results[begin - first : end - first], mine or None))
        begin = end + 1
    return chunks


def told(error: Exception, index: int, parcel: object, attempt: int) -> TaskError:
    """What stands for a failed task in the results."""
    failure = TaskError(index, blame.shown_call(*task_of(parcel)), error, _traceback(error), attempt)
    failure.__cause__ = error
    return failure


def _traceback(error: BaseException) -> str:
    """The traceback of an error as text; the frames are let go, so that a thousand errors keep no arguments alive."""
    links: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and len(links) < _MOST_LINKS:
        links.append(each)
        each = each.__cause__ or each.__context__
    remote = [link.text for link in links if isinstance(link, RemoteTraceback)]
    if remote:
        return remote[0]
    import traceback

    text = "".join(traceback.format_exception(error)).rstrip()
    for link in links:
        link.__traceback__ = None
    return text


def keep_partial(error: BaseException, chunks: Iterable[Chunk]) -> None:
    """Let an exception that ends a loop carry what had been finished: by number, as `partial_results`.

    It keeps no more alive than the loop would have returned, or in a generator, than was finished and not read yet.
    """
    found: dict[int, object] = {}
    for first, results, failures in chunks:
        found |= {
            index: result
            for index, result in enumerate(results, first)
            if result is not SKIPPED and (not failures or index not in failures)
        }
    # Into the dictionary that every exception has: a class may guard its attributes against us.
    error.__dict__["partial_results"] = found
