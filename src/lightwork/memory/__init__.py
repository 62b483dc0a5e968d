"""Functions that remember: a call into a remembered result.

`memory` holds the settings, `memorized` and `calling` the way of one call, `key` what makes two calls one, `entry` one
file, `stores` where the files lie, `task` the answer to a parallel loop (which this room does not know).
"""

from __future__ import annotations

from lightwork.memory.freshness import expires_after
from lightwork.memory.function import NotMemorizedFunc
from lightwork.memory.memorized import MemorizedFunc
from lightwork.memory.memory import Memory
from lightwork.memory.result import MemorizedResult, NotMemorizedResult

__all__ = [
    "MemorizedFunc",
    "MemorizedResult",
    "Memory",
    "NotMemorizedFunc",
    "NotMemorizedResult",
    "expires_after",
]
