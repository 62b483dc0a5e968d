"""Ending and standing still with one's parent.

Where the kernel can see to it, a process is killed when the one that made it dies. Nobody is told that another process
was stopped (Ctrl-Z, or a batch system that takes the machine back): that is looked up.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

__all__ = ["death_signal", "is_stopped", "tells_states"]

_PR_SET_PDEATHSIG = 1  # see prctl(2)


def death_signal() -> Callable[[], object]:
    """What a process calls to be killed when its parent dies; nothing where there is no such thing.

    It is looked up beforehand: a fork should do as little as possible before it is safe.
    """
    if sys.platform != "linux":
        return lambda: None
    import ctypes

    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


def tells_states() -> bool:
    """Whether `is_stopped` can know: there is a ``/proc`` with what it reads."""
    return os.path.exists("/proc/self/stat")


def is_stopped(pid: int) -> bool:
    """Whether a process stands still until somebody lets it go on; being traced by a debugger is not meant."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"T"
    except OSError:
        return False  # it has ended
