"""Ending with one's parent: where the kernel can see to it, a process is killed when the one that made it dies."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

__all__ = ["death_signal"]

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
