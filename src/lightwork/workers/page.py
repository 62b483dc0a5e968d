"""The control page: one page of memory that a worker and its parent both see.

Words, each written by one side. The worker counts the spans that it has begun in its life in `begun`, and
writes `claimed` before each task. The parent writes `limit`, the number of the last span whose tasks are called off;
those that the worker finds called off after its claim it does not run but gives back. So the parent knows which task
was running when a worker died, and can take back what has not begun from one that runs long. A single span is called
off by its number in `withdrawn`, a ring: more spans than it has places never lie with a worker. None is ever reset.

Where tasks have a time limit, the worker also writes `STARTED` when a task's function begins, and 0 when it ends: the
time, whose lowest bits are those of the claim. In one word they cannot be read apart, so that no task is ever
taken for as old as the one before it.

The order matters: the worker claims, then looks at the limit; the parent sets the limit, waits for longer than any
processor holds back a store, then looks at the claim. So whatever lies behind the claim that the parent sees will not
be run. Aligned eight-byte stores are single on every processor that Python runs on: no reader sees half a number.

It costs about 50 ns a task, where a message for each claim would cost a system call (380 ns, measured; see DESIGN).
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from time import monotonic_ns, sleep

from lightwork.workers import anonymous

__all__ = ["SETTLING", "Page"]

# Between calling tasks off and looking at the claim: processors hold back a store for less than a microsecond.
SETTLING = 50e-6

_SIZE = 4096
_CLAIM_BITS = 0xFFFF


class Page:
    """The shared page of one worker, over a descriptor that stays the caller's to close.

    Task numbers are stored one higher than they are, so that a page of zeros claims nothing.
    """

    CLAIMED, LIMIT, BEGUN, STARTED, WITHDRAWN = range(5)
    RING = 64
    __slots__ = ("_map", "words")

    def __init__(self, descriptor: int) -> None:
        self._map = mmap.mmap(descriptor, _SIZE)
        self.words = memoryview(self._map).cast("Q")
        """For the worker's inner loop: ``words[CLAIMED] = index + 1`` claims a task, 0 claims none."""

    @staticmethod
    def create() -> int:
        """A descriptor of a new page, to be opened here and sent to the worker."""
        return anonymous.create(_SIZE)

    @property
    def claimed(self) -> int | None:
        """The index of the task that the worker is running, or None."""
        word = self.words[self.CLAIMED]
        return word - 1 if word else None

    @property
    def begun(self) -> int:
        """How many spans the worker has begun since it was made."""
        return self.words[self.BEGUN]

    @property
    def running(self) -> tuple[int, int] | None:
        """The task whose function runs and the time in ns, by `time.monotonic_ns`, at which it had begun; or None."""
        stamp, claimed = self.words[self.STARTED], self.words[self.CLAIMED]
        if not stamp or (stamp ^ claimed) & _CLAIM_BITS:
            return None
        return claimed - 1, stamp | _CLAIM_BITS

    def call_off(self, spans: int) -> None:
        """Have the worker begin no more tasks of its first so many spans."""
        self.words[self.LIMIT] = spans

    def withdraw(self, span: int) -> bool:
        """Call one span off, from any thread; whether that was in time: its worker has not begun it, and never will."""
        try:
            self.words[self.WITHDRAWN + span % self.RING] = span
            sleep(SETTLING)
            return self.words[self.BEGUN] < span
        except ValueError:
            return False  # the page is closed: its worker has ended, whatever it had begun

    def has_begun(self, span: int) -> bool:
        """Whether the worker has begun a span; any thread may ask."""
        try:
            return self.words[self.BEGUN] >= span
        except ValueError:
            return False  # as above

    def close(self) -> None:
        """Unmap the page."""
        self.words.release()
        self._map.close()


def clocked(func: Callable[..., object], page: Page) -> Callable[..., object]:
    """A function that runs with its beginning on the page, where the other side sees how long it takes."""
    words, now, bits = page.words, monotonic_ns, _CLAIM_BITS

    def run(*args: object, **kwargs: object) -> object:
        words[3] = now() & ~bits | words[0] & bits  # Page.STARTED, Page.CLAIMED; 65 µs are exact enough
        try:
            return func(*args, **kwargs)
        finally:
            words[3] = 0  # what was returned may wait for long until the parent has room

    return run


def open_once(descriptor: int) -> Page:
    """Open a page and close the descriptor: the map keeps what it needs."""
    try:
        return Page(descriptor)
    finally:
        os.close(descriptor)
