"""What a loop and a reader in another thread share: a word to stop, and how much can be read without waiting.

A pump waits for its workers inside the thread that called it. If that is not the thread of whoever wants the results,
the latter needs a way to end the wait: `Reading.stop`, from any thread and at any moment.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

__all__ = ["Reading", "StoppedReading"]

T = TypeVar("T")


class StoppedReading(BaseException):
    """Ends a loop from inside, once its reader has said that it reads no more."""


class Reading:
    """A loop that is read from elsewhere.

    Attributes
    ----------
    at_hand : int
        How many results the loop's generator gives one after the other, from the one that it gives next or has just
        given, without waiting for anything; 0 where that is not known.
    is_plain : bool
        Whether it is a plain loop, which runs its tasks in its own thread and ends only between two of them.
    """

    def __init__(self) -> None:
        self.at_hand = 0
        self.is_plain = False
        self._stopped = False
        self._ring: Callable[[], None] | None = None
        # Re-entrant: a reader that is collected stops its loop, in whatever thread that happens.
        self._lock = threading.RLock()

    def stop(self) -> None:
        """Nobody reads any more: whatever the loop waits for, it ends."""
        with self._lock:
            self._stopped = True
            if self._ring is not None:
                self._ring()

    def listen(self, ring: Callable[[], None]) -> None:
        """The loop has workers; `ring` ends its waiting for them."""
        with self._lock:
            self._ring = ring
            if self._stopped:
                ring()

    def check(self) -> None:
        """Raise if the loop is to end."""
        if self._stopped:
            raise StoppedReading

    def watched(self, source: Iterable[T]) -> Iterator[T]:
        """The input of a plain loop: it ends between two tasks."""
        self.is_plain = True
        return self._watched(source)

    def _watched(self, source: Iterable[T]) -> Iterator[T]:
        for task in source:
            self.check()
            yield task
