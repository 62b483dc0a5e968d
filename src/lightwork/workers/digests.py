"""Digests of big buffers, by which the parent notices that one holds something else than what it sent.

A buffer is cut into leaves of 16 MiB, and has a digest for each. Several threads make them: `xxhash` lets go of the
interpreter's lock, and one thread does not read as fast as memory gives. Of a long buffer that is copied they are
made meanwhile, in a thread that runs ahead of the copy: each leaf is digested *before* it is copied. So a program
that writes to a leaf between the two is found out when the digest is compared with what the leaf holds in the end.

`hashing` has digests of this kind too, with what it takes to walk any value, and 20 ms of import; a first call has
not that long.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator
from typing import Final

import xxhash

from lightwork.settings import cores
from lightwork.workers import anonymous

__all__ = ["Digests", "copy", "digests"]

_LEAF: Final = 16 << 20
# Two read 400 MB in half the time of one; that more than four help somewhere, nobody has measured.
_MOST_THREADS: Final = 4

Digests = list[bytes]
"""The digest of each leaf."""


def digests(buffer: memoryview) -> Digests:
    """The digests of what a buffer of bytes holds now."""
    work = _Work(buffer)
    with work.helped(min(cores(), _MOST_THREADS, work.count) - 1):
        work.do()
    return work.made


def copy(buffer: memoryview, descriptor: int) -> Digests | None:
    """Write a buffer of bytes to memory; of a long one, the digests of what was written."""
    work = _Work(buffer)
    if work.count < 2:
        anonymous.write_all(descriptor, buffer)
        return None
    with work.helped(1) as helpers:
        if not helpers:
            work.do()
        for number in range(work.count):
            work.ready.acquire()
            with work.leaf(number) as leaf:
                anonymous.write_all(descriptor, leaf, number * _LEAF)
    return work.made


class _Work:
    """The digests of one buffer while they are made: `ready` has been released for each that is."""

    def __init__(self, buffer: memoryview) -> None:
        self._buffer = buffer
        self.count = -(-len(buffer) // _LEAF)
        self.made: Digests = [b""] * self.count
        self.ready = threading.Semaphore(0)
        self._left = deque(range(self.count))

    def leaf(self, number: int) -> memoryview:
        """The bytes of one leaf."""
        return self._buffer[number * _LEAF : (number + 1) * _LEAF]

    def do(self) -> None:
        """Make the digests that nobody has begun, in order."""
        while True:
            try:
                number = self._left.popleft()
            except IndexError:
                return
            with self.leaf(number) as leaf:
                self.made[number] = xxhash.xxh3_128_digest(leaf)
            self.ready.release()

    @contextlib.contextmanager
    def helped(self, count: int) -> Iterator[int]:
        """So many threads do the same; or fewer, as many as could be had. They have ended afterwards."""
        threads: list[threading.Thread] = []
        try:
            with contextlib.suppress(RuntimeError):  # no more threads, or the interpreter is ending
                for _ in range(count):
                    thread = threading.Thread(target=self.do, name="lightwork-digest", daemon=True)
                    thread.start()
                    threads.append(thread)
            yield len(threads)
        finally:
            self._left.clear()
            for thread in threads:
                thread.join()
