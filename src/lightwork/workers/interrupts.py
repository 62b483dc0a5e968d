"""Ctrl-C comes between any two steps of a program; here it waits until the tables of workers are whole again.

`KeyboardInterrupt` is raised wherever the main thread happens to be: after a worker was taken off the list of idle
ones and before anybody owns it, between a frame's way into the socket and its end in the queue, inside the
abort that a first Ctrl-C began. What holds the processes therefore runs inside `held_back`: the signal is noted, and
given to the program's own handler when the block ends. Blocks last milliseconds, and no code of the user's
runs in them.

Only the main thread of Python meets signals, and only a handler written in Python raises: elsewhere nothing is done.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType

__all__ = ["held_back"]


class held_back:  # noqa: N801 - reads as what it does: `with held_back():`
    """A block that is either not begun or run to its end when Ctrl-C arrives.

    Examples
    --------
    >>> with held_back():
    ...     tables = {"both": 1, "sides": 1}
    """

    __slots__ = ("_came", "_handler")

    def __init__(self) -> None:
        self._came = False
        self._handler: Callable[[int, FrameType | None], object] | None = None

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        handler = signal.getsignal(signal.SIGINT)
        if not callable(handler):
            return  # ignored, or ends the program at once
        self._handler = handler
        try:
            signal.signal(signal.SIGINT, self._note)
        except ValueError:  # the main thread of a subinterpreter, which meets no signals either
            self._handler = None

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._came = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
            if self._came:
                self._handler(signal.SIGINT, None)
