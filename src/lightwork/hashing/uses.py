"""Data that code uses: what can be digested again on each call, what never changes, what is left out.

The law: data behind a name may be changed in place by anybody, so what counts is digested again on each look at a
fingerprint; that bounds its size. What is larger is not followed, and whoever asks is told. Handles (locks, loggers,
open files, random generators, lightwork's own caches) are no part of what a function does, and are left out.
"""

from __future__ import annotations

import functools
import sys
import types
from typing import Any

from lightwork.hashing.atoms import ATOMS, quick
from lightwork.hashing.buffers import XXH3_128
from lightwork.hashing.libraries import is_library_module
from lightwork.hashing.scope import EVERYTHING
from lightwork.hashing.walk import Walk

SMALL_DATA = 4 << 10  # bytes of a container that is digested again on each call: about 10 us
LARGE_DATA = 1 << 20  # bytes of an array or frame that is digested again on each call: about 30 us


class _ById:
    """In place of a trace: code is told apart by identity, for digests that never leave this process."""

    scope = EVERYTHING

    def library(self, name: str) -> None:
        """Versions make no difference within a process."""

    def compiled(self, module: str | None) -> tuple[bytes, ...]:
        """Nor do the files of compiled modules."""
        return ()


BY_ID = _ById()

CODE = (
    types.FunctionType,
    types.MethodType,
    types.BuiltinFunctionType,
    type,
    functools.partial,
    staticmethod,
    classmethod,
    property,
)
_NOT_DATA = (*CODE, types.ModuleType)
_HANDLES = (
    "random.Random",
    "numpy.random._generator.Generator",
    "numpy.random.mtrand.RandomState",
    "logging.Logger",
    "logging.LoggerAdapter",
    "_thread.lock",
    "_thread.RLock",
    "_io.TextIOWrapper",
    "_thread._local",
)


def is_handle(value: Any) -> bool:
    """Whether a value is a means and not data: a lock, a logger, a source of random numbers."""
    if type(value).__module__.partition(".")[0] == "lightwork":
        return True
    return any(f"{base.__module__}.{base.__qualname__}" in _HANDLES for base in type(value).__mro__)


def is_opaque(value: Any) -> bool:
    """Whether a value is a NumPy ufunc that no library has: what it computes cannot be seen, only its name."""
    kind = type(value)
    if kind.__name__ != "ufunc" or kind.__module__ != "numpy":
        return False
    spaces = [vars(module) for name, module in list(sys.modules.items()) if is_library_module(name)]
    if any(space.get(value.__name__) is value for space in spaces):
        return False
    # Few have another name than that under which their library keeps them.
    return not any(value is each for space in spaces for each in list(space.values()))


def size_of(value: Any) -> int | None:
    """Guess the bytes of some data; None where it is too large to be followed."""
    nbytes = getattr(value, "nbytes", None)
    if isinstance(nbytes, int):
        return nbytes if nbytes <= LARGE_DATA else None
    if callable(getattr(value, "memory_usage", None)):
        used = value.memory_usage()
        total = int(used.sum()) if hasattr(used, "sum") else int(used)
        return total if total <= LARGE_DATA else None
    return _size_of_container(value, SMALL_DATA)


def _size_of_container(value: Any, limit: int) -> int | None:
    if isinstance(value, str | bytes | bytearray):
        return len(value) if len(value) <= LARGE_DATA else None
    stack, total, seen = [value], 0, set()
    while stack:
        each = stack.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        nbytes = getattr(each, "nbytes", None)
        if isinstance(nbytes, int):
            total += nbytes >> 8  # arrays are hashed some 250 times faster than containers are walked
        elif not isinstance(each, type | types.FunctionType | types.ModuleType):
            total += sys.getsizeof(each)
        if total > limit:
            return None
        if not isinstance(each, _NOT_DATA):
            stack.append(getattr(each, "__dict__", None))
        if isinstance(each, dict):
            stack.extend(each)
            stack.extend(each.values())
        elif isinstance(each, list | tuple | set | frozenset):
            stack.extend(each)
    return total


def is_frozen(value: Any) -> bool:
    """Whether a value can never change in place."""
    kind = type(value)
    if kind in ATOMS or kind is range:
        return True
    if kind is tuple or kind is frozenset:
        return all(map(is_frozen, value))
    return False


def digest_here(value: Any) -> bytes:
    """Digest data for a comparison within this process: code in it counts by identity."""
    encoding = quick(value, XXH3_128)
    if encoding is not None:
        return XXH3_128.once(encoding)
    walk = Walk()
    walk.trace = BY_ID
    return walk.digest(value)
