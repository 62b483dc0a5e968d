"""A function under the care of a `Memory`: how it looks, how it becomes a method, how it travels.

What is common to functions that remember and functions that would, had the `Memory` a location. It looks like the
function (`functools.wraps`), binds to objects as functions do, and pickles: by name where its module holds it
under its name, else by its parts. What ``__main__`` holds goes by parts, because another process has another
``__main__``; a pickler that sends functions by value (cloudpickle) is needed then, as for the function itself.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from types import MethodType
from typing import TYPE_CHECKING, Concatenate, Final, Generic, NamedTuple, ParamSpec, TypeVar, cast, overload

from lightwork.memory.key import unwrap
from lightwork.memory.result import NotMemorizedResult, ShelvedResult

if TYPE_CHECKING:
    from lightwork.memory.inquiry import EntryRecord

__all__ = [
    "MAIN",
    "CacheInfo",
    "CachedFunc",
    "NotMemorizedFunc",
    "is_async_generator_function",
    "is_coroutine_function",
    "is_generator_function",
]

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")

MAIN: Final = ("__main__", "__mp_main__")
"""The names of the module that runs; the second in processes of multiprocessing."""

# A function that is being unpickled (it mentions the object that holds it) has not got these yet.
_LOOKS: Final = ("__module__", "__name__", "__qualname__", "__doc__")


class CacheInfo(NamedTuple):
    """What `MemorizedFunc.cache_info` tells, with the names of `functools.lru_cache`."""

    hits: int
    misses: int
    maxsize: None
    currsize: int


class CachedFunc(Generic[P, R]):
    """A function under the care of a `Memory`: `MemorizedFunc` or, where nothing is kept, `NotMemorizedFunc`.

    It looks like the function (`functools.wraps`), works as a method, and pickles.

    Attributes
    ----------
    func : callable
        The function as it was given; ``__wrapped__`` is the same.
    """

    func: Callable[P, R]

    def __init__(self, func: Callable[P, R]) -> None:
        self._dress(func)

    def _dress(self, func: Callable[P, R]) -> None:
        """Take on the looks of a function: `functools.update_wrapper`, with our own names kept."""
        own = self.__dict__
        for name, value in getattr(func, "__dict__", {}).items():
            if not hasattr(type(self), name):
                own.setdefault(name, value)
        for name in functools.WRAPPER_ASSIGNMENTS:
            if (value := getattr(func, name, None)) is not None:
                own[name] = value
        own.setdefault("__doc__", None)  # not that of our class
        own["__wrapped__"] = own["func"] = func

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function."""
        return self.func(*args, **kwargs)

    def call(self, /, *args: P.args, **kwargs: P.kwargs) -> tuple[R, dict[str, object]]:
        """Compute anew; returns the result, and metadata (none where nothing is kept)."""
        return self.func(*args, **kwargs), {}

    def call_and_shelve(self, /, *args: P.args, **kwargs: P.kwargs) -> ShelvedResult[R]:
        """The result of this call, as a reference to be read later."""
        return NotMemorizedResult(self.func(*args, **kwargs))

    def check_call_in_cache(self, /, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Whether the result of this call is there."""
        return False

    def forget(self, /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Forget the result of one call."""

    def refresh(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Compute the result of one call anew, and keep that."""
        return self.func(*args, **kwargs)

    def clear(self, warn: bool = True) -> None:
        """Forget all results of this function."""

    def cache_clear(self) -> None:
        """`clear`, by the name that `functools.lru_cache` has for it."""

    def cache_info(self) -> CacheInfo:
        """Hits and misses in this process, and how many results are kept."""
        return CacheInfo(0, 0, None, 0)

    def stats(self) -> dict[str, int]:
        """Hits and misses in this process; how many results are kept, and their bytes."""
        return {"hits": 0, "misses": 0, "items": 0, "bytes": 0}

    def entries(self) -> list[EntryRecord]:
        """What is kept of this function."""
        return []

    def why(self, /, *args: P.args, **kwargs: P.kwargs) -> str:
        """Whether a call would be a hit, and if not, why."""
        return "miss: nothing is remembered, since the Memory has no location"

    # --- as a method ------------------------------------------------------------------------------

    @overload
    def __get__(self, instance: None, owner: type) -> CachedFunc[P, R]: ...
    @overload
    def __get__(
        self: CachedFunc[Concatenate[S, Q], R], instance: S, owner: type | None = None
    ) -> CachedFunc[Q, R]: ...
    def __get__(self, instance: object, owner: type | None = None) -> object:
        """Bind to an object as functions do: it comes before the arguments."""
        return self if instance is None else self._bound_to(instance)

    def _bound_to(self, instance: object) -> CachedFunc[P, R]:
        bound = object.__new__(type(self))
        bound.__dict__.update(self.__dict__)
        bound.__dict__["func"] = bound.__dict__["__wrapped__"] = MethodType(self.func, instance)
        return bound

    # --- pickling ---------------------------------------------------------------------------------

    def __reduce_ex__(self, protocol: object) -> str | tuple[object, ...]:
        """By name where that name is this object, else by parts.

        What ``__main__`` holds goes by parts, because another process has another ``__main__``. The state is
        set after the object exists, since a recursive function mentions itself.
        """
        if _held_by_name(self) is self:
            name: str = self.__dict__["__qualname__"]
            return name
        return object.__new__, (type(self),), self.__getstate__()

    def __getstate__(self) -> dict[str, object]:
        """Only what makes it: the function, and how it is remembered.

        A function that was decorated is not what its name says, and pickle refuses it; then the decorated
        one stands for it.
        """
        holder = _held_by_name(self.func)
        known = isinstance(holder, CachedFunc) and holder.func is self.func
        looks = {name: self.__dict__[name] for name in _LOOKS if name in self.__dict__}
        return {"func": holder if known else self.func, "looks": looks}

    def __setstate__(self, state: Mapping[str, object]) -> None:
        func = state["func"]
        self._dress(func.func if isinstance(func, CachedFunc) else cast("Callable[P, R]", func))
        self.__dict__.update(cast("dict[str, object]", state["looks"]))


class NotMemorizedFunc(CachedFunc[P, R]):
    """A function under a `Memory` without a location: nothing is remembered.

    It has all methods of `MemorizedFunc`, so that a program runs in the same way.
    """

    def __repr__(self) -> str:
        return f"NotMemorizedFunc(func={self.func!r})"


def is_coroutine_function(func: Callable[..., object]) -> bool:
    """Whether a call of a function makes a coroutine; wrappers that only look so do not count."""
    return bool(_flags(func) & 0x80)  # inspect.CO_COROUTINE


def is_generator_function(func: Callable[..., object]) -> bool:
    """Whether a call of a function makes a generator."""
    return bool(_flags(func) & 0x20)  # inspect.CO_GENERATOR


def is_async_generator_function(func: Callable[..., object]) -> bool:
    """Whether a call of a function makes an asynchronous generator."""
    return bool(_flags(func) & 0x200)  # inspect.CO_ASYNC_GENERATOR


def _flags(func: Callable[..., object]) -> int:
    code = getattr(unwrap(func).function, "__code__", None)
    return 0 if code is None else int(code.co_flags)


def _held_by_name(func: Callable[..., object]) -> object:
    """What a function's module holds under its name; None where that is ``__main__`` or nothing."""
    module, name = getattr(func, "__module__", None), getattr(func, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or module in MAIN:
        return None
    found: object = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found
