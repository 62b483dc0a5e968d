"""Functions that remember: a call into a remembered result.

`memory` holds the settings, `memorized` and `calling` the way of one call, `key` what makes two calls one, `entry` one
file, `stores` where the files lie, `task` the answer to a parallel loop (which this room does not know).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightwork.memory.freshness import expires_after
from lightwork.memory.function import NotMemorizedFunc
from lightwork.memory.memorized import MemorizedFunc
from lightwork.memory.memory import Memory
from lightwork.memory.result import MemorizedResult, NotMemorizedResult

if TYPE_CHECKING:
    from lightwork.memory.asynchronous import AsyncMemorizedFunc, AsyncNotMemorizedFunc

__all__ = [
    "AsyncMemorizedFunc",
    "AsyncNotMemorizedFunc",
    "MemorizedFunc",
    "MemorizedResult",
    "Memory",
    "NotMemorizedFunc",
    "NotMemorizedResult",
    "expires_after",
]


def __getattr__(name: str) -> object:
    """What is for coroutines alone is imported when it is first asked for."""
    if name in ("AsyncMemorizedFunc", "AsyncNotMemorizedFunc"):
        from lightwork.memory import asynchronous

        found: object = getattr(asynchronous, name)
        globals()[name] = found
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
