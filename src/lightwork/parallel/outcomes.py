"""The order in which results leave a loop. Pure: chunks go in as workers answer, and come out as they may be read.

A chunk is what became of one span: the number of its first task, one result for each task, and the failures among them
by number. Chunks never overlap and together cover all tasks, so order needs one dictionary from first number to
chunk and one number, that of the next. A failure stays in its chunk, at its place; the lowest that is known, in
place or not, is kept apart for a loop that wants to stop at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["Chunk", "Outcomes"]


class Chunk(NamedTuple):
    """What became of a span."""

    first: int
    results: list[object]
    failures: Mapping[int, BaseException] | None


class Outcomes:
    """Chunks in, chunks out.

    Parameters
    ----------
    ordered : bool
        Whether chunks come out in the order of the loop, or as they came in.

    Attributes
    ----------
    ready : collections.deque of Chunk
        Those that may be read; whoever reads one takes it from the left.
    failure : (int, BaseException) or None
        The failure with the lowest number so far.

    Examples
    --------
    >>> outcomes = Outcomes(ordered=True)
    >>> outcomes.add(1, ["b"])
    >>> outcomes.add(0, ["a"])
    >>> [chunk.results for chunk in outcomes.ready]
    [['a'], ['b']]
    """

    __slots__ = ("_early", "_next", "_ordered", "failure", "ready")

    def __init__(self, *, ordered: bool) -> None:
        self._ordered = ordered
        self._next = 0
        self._early: dict[int, Chunk] = {}
        self.ready: deque[Chunk] = deque()
        self.failure: tuple[int, BaseException] | None = None

    def add(
        self, first: int, results: list[object], failures: Mapping[int, BaseException] | None = None
    ) -> None:
        """A span is finished."""
        chunk = Chunk(first, results, failures)
        if failures:
            index = min(failures)
            if self.failure is None or index < self.failure[0]:
                self.failure = (index, failures[index])
        if not self._ordered:
            self.ready.append(chunk)
        elif first != self._next:
            self._early[first] = chunk
        else:
            self._emit(chunk)

    def unread(self) -> list[Chunk]:
        """What is there and was not taken yet, in no order."""
        return [*self.ready, *self._early.values()]

    def _emit(self, chunk: Chunk) -> None:
        early = self._early
        while True:
            self.ready.append(chunk)
            self._next += len(chunk.results)
            if not early:
                return
            following = early.pop(self._next, None)
            if following is None:
                return
            chunk = following
