"""The control page: one page of memory that a worker and its parent both see.

`claimed` is written by the worker before each task and read by the parent when the worker has died: it names
the task that was running, at 26 ns a task, where a message for each claim would cost a system call (measured;
see DESIGN). Aligned eight-byte stores are single on every processor that Python runs on, so a reader never
sees half a number.
"""

from __future__ import annotations

import mmap
import os

from lightwork.workers import anonymous

__all__ = ["Page"]

_SIZE = 4096


class Page:
    """The shared page of one worker, over a descriptor that stays the caller's to close.

    Task numbers are stored one higher than they are, so that a page of zeros claims nothing.
    """

    __slots__ = ("_map", "words")

    def __init__(self, descriptor: int) -> None:
        self._map = mmap.mmap(descriptor, _SIZE)
        self.words = memoryview(self._map).cast("Q")
        """For the worker's inner loop: ``words[0] = index + 1`` claims a task, 0 claims none."""

    @staticmethod
    def create() -> int:
        """A descriptor of a new page, to be opened here and sent to the worker."""
        return anonymous.create(_SIZE)

    @property
    def claimed(self) -> int | None:
        """The index of the task that the worker is running, or None."""
        word = self.words[0]
        return word - 1 if word else None

    def close(self) -> None:
        """Unmap the page."""
        self.words.release()
        self._map.close()


def open_once(descriptor: int) -> Page:
    """Open a page and close the descriptor: the map keeps what it needs."""
    try:
        return Page(descriptor)
    finally:
        os.close(descriptor)
