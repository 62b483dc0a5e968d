"""Wakes a thread that waits for descriptors: a pipe whose one end it watches beside them.

Anybody may ring, from any thread and at any time, also after the bell was closed; rings that nobody heard yet are one.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress

__all__ = ["Bell"]


class Bell:
    """A bell; whoever made it listens and closes it.

    Examples
    --------
    >>> bell = Bell()
    >>> bell.ring()
    >>> bell.ring()
    >>> bell.silence()
    >>> bell.close()
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        # Without it, a late ring could write into whatever has got the number of the closed descriptor.
        # Re-entrant: a finalizer that rings may run while its thread does.
        self._lock = threading.RLock()
        self._closed = False

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._reader

    def ring(self) -> None:
        """Wake whoever waits."""
        with self._lock, suppress(BlockingIOError):  # a full pipe rings already
            if not self._closed:
                os.write(self._writer, b"!")

    def silence(self) -> None:
        """Take note of all rings so far."""
        with suppress(BlockingIOError):
            os.read(self._reader, 1 << 12)

    def close(self) -> None:
        """Let go of the descriptors."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self._reader)
                os.close(self._writer)
