"""What a process can have the kernel do when processes around it end; nothing, where there is no such thing.

Nothing is imported here but what calls the kernel: a zygote's guardian loads this before it forks, and each page of
memory that it has then costs 4 µs.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["adoption", "death_signal"]

_SET_PDEATHSIG = 1  # see prctl(2)
_SET_CHILD_SUBREAPER = 36


def death_signal(number: int) -> Callable[[], object]:
    """What a process calls to get a signal when its parent dies.

    It is looked up beforehand: a fork should do as little as possible before it is safe.
    """
    return _prctl(_SET_PDEATHSIG, number)


def adoption() -> Callable[[], object]:
    """What a process calls to become the parent of whatever its descendants leave when they end."""
    return _prctl(_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> Callable[[], object]:
    if sys.platform != "linux":
        return lambda: None
    import ctypes

    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(option, value)
