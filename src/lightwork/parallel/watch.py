"""How far a loop has come, on its way to people: the counts on a `Parallel`, its lines, its progress bar.

A watch serves one call. What is switched off is not even imported. Lines go through `Parallel.print_progress`, which
subclasses may replace to show progress their own way; the bar does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from lightwork.observe.messages import LoopLines
    from lightwork.observe.progress import Progress

__all__ = ["Watch", "Watched"]


class Watched(Protocol):
    """A `Parallel`, as far as its loops' counts are shown on it."""

    n_jobs: int | None
    verbose: int
    progress: bool | Literal["always"]
    n_completed_tasks: int
    n_dispatched_tasks: int
    _original_iterator: Iterator[object] | None
    _lines: LoopLines | None

    def print_progress(self) -> None:
        """Show the counts."""


class Watch:
    """What one call shows.

    Parameters
    ----------
    owner : Watched
        Where people read the counts.
    source : iterator
        The input; the owner names it until it is exhausted.
    place : (str, int)
        The backend and the number of workers.
    total : int or None
        How many tasks there will be, where that is known.
    replaced : bool
        Whether `print_progress` is a subclass's, which is called whatever `verbose` says.
    """

    def __init__(
        self,
        owner: Watched,
        source: Iterator[object],
        place: tuple[str, int],
        total: int | None,
        replaced: bool,
    ) -> None:
        self._owner = owner
        self._place = place
        self._source = source
        self._told = self._remembered = 0
        self._calls = replaced or owner.verbose > 0
        self._lines: LoopLines | None = None
        self._bar: Progress | None = None
        if owner.verbose > 0:
            from lightwork.observe.messages import LoopLines

            self._lines = LoopLines(owner.n_jobs, owner.verbose)
        if owner.progress:
            from lightwork.observe.progress import Progress

            self._bar = Progress(total, "tasks", always=owner.progress == "always")
        self._started = self._bar is None
        self.shows = self._calls or self._bar is not None
        owner.n_completed_tasks = owner.n_dispatched_tasks = 0
        owner._original_iterator = source

    def hired(self) -> None:
        """There are workers."""
        self._start()
        if self._lines is not None:
            self._lines.started(*self._place)

    def advanced(self, completed: int, dispatched: int, exhausted: bool) -> None:
        """So far are we."""
        owner = self._owner
        if not self._started:
            self._start()
        owner.n_dispatched_tasks = dispatched
        if exhausted:
            owner._original_iterator = None
            if self._bar is not None:
                self._bar.expect(dispatched)
        if completed == self._told:
            return
        owner.n_completed_tasks = completed
        if self._bar is not None:
            self._bar.advance(completed - self._told)
        self._told = completed
        if self._calls:
            owner._lines = self._lines
            owner.print_progress()

    def remembered(self, count: int) -> None:
        """So many results were there already."""
        self._remembered += count

    def ended(self, completed: int, whole: bool) -> None:
        """It is over; `whole` says whether all went well."""
        if self._owner._original_iterator is self._source:
            self._owner._original_iterator = None
        self._source = iter(())
        if self._bar is not None:
            self._bar.close()
        if whole and self._lines is not None:
            if self._remembered:
                self._lines.remembered(self._remembered, completed)
            self._lines.finished(completed)

    def _start(self) -> None:
        """Draw the bar from the first event on: a generator that is never read shows none."""
        if not self._started and self._bar is not None:
            self._started = True
            self._bar.start()
