"""Saying that a call waits for somebody else's computation: at once, and again at growing intervals, with who computes.

A wait may be blocked in the kernel, so it cannot speak for itself. One thread speaks for all waits of the process; it
lives while there are any, and nobody waits for it. Which reminders are due is decided by `Waits`, which is told the
time.
"""

from __future__ import annotations

import os
import struct
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from lightwork.memory.telling import tell
from lightwork.observe.messages import short_format_time

__all__ = ["Wait", "Waits", "begin", "computing_process", "end", "this_process"]

_AGAIN: Final = (10.0, 60.0, 300.0, 1800.0)  # seconds of waiting after which it is said again; by taste
_LATER: Final = 3600.0  # and then each time after so many more


class Wait:
    """One wait: for what, and who computes that, as far as it can be told when it is asked."""

    __slots__ = ("due", "said", "started", "text", "who")

    def __init__(self, text: str, who: Callable[[], str], now: float) -> None:
        self.text = text
        self.who = who
        self.started = now
        self.said = 0  # how many of the times to say it again are over
        self.due = now + _AGAIN[0]


class Waits:
    """The waits that are under way, and when each is said again. Pure.

    Examples
    --------
    >>> waits = Waits()
    >>> waits.add(Wait("f(1)", lambda: "process 7", now=0.0))
    >>> waits.next_due(), len(waits.due(9.0)), len(waits.due(10.0)), waits.next_due()
    (10.0, 0, 1, 60.0)
    """

    def __init__(self) -> None:
        self._waits: dict[Wait, None] = {}

    def __bool__(self) -> bool:
        return bool(self._waits)

    def add(self, wait: Wait) -> None:
        """A wait begins."""
        self._waits[wait] = None

    def discard(self, wait: Wait) -> None:
        """A wait is over."""
        self._waits.pop(wait, None)

    def next_due(self) -> float:
        """When the next reminder is due; there has to be a wait."""
        return min(wait.due for wait in self._waits)

    def due(self, now: float) -> list[Wait]:
        """The waits to be said now; each gets its next time."""
        found = [wait for wait in self._waits if wait.due <= now]
        for wait in found:
            while wait.due <= now:  # after a standstill several times are over: said once
                wait.said += 1
                wait.due = wait.started + _AGAIN[wait.said] if wait.said < len(_AGAIN) else wait.due + _LATER
        return found


class _Speaker:
    """The waits of this process, and the thread that speaks for them."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.waits = Waits()
        self.thread: threading.Thread | None = None

    def run(self) -> None:
        while True:
            with self.changed:
                if not self.waits:
                    self.thread = None
                    return
                now = time.monotonic()
                due = self.waits.due(now)
                if not due:
                    self.changed.wait(self.waits.next_due() - now)
                    continue
            # Outside of the lock: whoever has waited must not wait for an output that is blocked.
            try:
                for wait in due:
                    waited = short_format_time(now - wait.started).strip()
                    tell(
                        f"[Memory] Still waiting for {wait.text} after {waited}: {wait.who()} is computing it"
                    )
            except (OSError, ValueError):  # the output is closed: nobody can be told
                with self.changed:
                    self.thread = None
                return


_speaker = _Speaker()


def begin(wait: Wait) -> None:
    """Say that a wait begins, and again from time to time until its `end`, which has to come whatever happens."""
    tell(f"[Memory] Waiting for {wait.text}, which {wait.who()} is computing")
    speaker = _speaker
    with speaker.changed:
        speaker.waits.add(wait)
        speaker.changed.notify()
        if speaker.thread is None:
            thread = threading.Thread(target=speaker.run, name="lightwork-waiting", daemon=True)
            with suppress(RuntimeError):  # there can be no more threads: then it is not said again
                thread.start()
                speaker.thread = thread


def end(wait: Wait) -> None:
    """A wait is over."""
    speaker = _speaker
    with speaker.changed:
        speaker.waits.discard(wait)
        speaker.changed.notify()


def _forget_parent() -> None:
    """A forked child waits for nothing, and has none of its parent's threads."""
    global _speaker
    _speaker = _Speaker()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)


# --- who computes ---------------------------------------------------------------------------------

_SOMEBODY: Final = "another process"

# struct flock of <fcntl.h>, and the places of its type, whence, start, length and process in it.
_FLOCK: Final = {"linux": ("hhqqi", (0, 1, 2, 3, 4)), "darwin": ("qqihh", (3, 4, 0, 1, 2))}


def this_process() -> str:
    """Who computes, where that is this process."""
    return "another call in this process"


def computing_process(descriptor: int, byte: int) -> str:
    """Which process holds a byte of a file; over a network its number is of another machine, or not known."""
    if sys.platform not in _FLOCK:
        return _SOMEBODY
    import fcntl

    form, places = _FLOCK[sys.platform]
    asked = [0] * 5
    for place, value in zip(places, (fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0), strict=True):
        asked[place] = value
    try:
        found = struct.unpack(form, fcntl.fcntl(descriptor, fcntl.F_GETLK, struct.pack(form, *asked)))
    except OSError:
        return _SOMEBODY
    pid = found[places[4]]
    return f"process {pid}" if found[places[0]] != fcntl.F_UNLCK and pid > 0 else _SOMEBODY
