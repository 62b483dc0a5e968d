"""Remembered coroutine functions: the same way of a call, awaited.

A hit answers without ever leaving the event loop's turn (reading a small entry takes microseconds). Of several
tasks that need the same result, in however many loops and processes, one computes and the others wait (`awaiting`).
"""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from lightwork.memory import entry
from lightwork.memory.awaiting import AsyncFlight
from lightwork.memory.entry import ABSENT, Absent
from lightwork.memory.function import CachedFunc, NotMemorizedFunc
from lightwork.memory.memorized import MemorizedFunc
from lightwork.memory.result import NotMemorizedResult

if TYPE_CHECKING:
    from lightwork.memory.key import Values
    from lightwork.memory.keymaker import Key
    from lightwork.workers.functions import Found

__all__ = ["AsyncMemorizedFunc", "AsyncNotMemorizedFunc"]

P = ParamSpec("P")
R = TypeVar("R")


class _Awaited(CachedFunc[P, Any]):
    """Looks like the coroutine function that it is."""

    def _dress(self, func: Callable[P, Any]) -> None:
        super()._dress(func)
        if sys.version_info >= (3, 12):
            inspect.markcoroutinefunction(self)

    @property
    def _is_coroutine(self) -> object:
        """What `asyncio.iscoroutinefunction` looks for before Python 3.12, where asyncio is in use."""
        return getattr(sys.modules.get("asyncio.coroutines"), "_is_coroutine", None)


class AsyncNotMemorizedFunc(_Awaited[P], NotMemorizedFunc[P, Any]):
    """A coroutine function under a `Memory` without a location: nothing is remembered."""

    async def call(self, /, *args: P.args, **kwargs: P.kwargs) -> Any:  # type: ignore[override]  # awaited
        """Compute; returns the result, and no metadata."""
        return await cast("Callable[..., Any]", self.func)(*args, **kwargs), {}

    async def call_and_shelve(  # type: ignore[override]  # awaited
        self, /, *args: P.args, **kwargs: P.kwargs
    ) -> Any:
        """The result of this call, as a reference to be read later."""
        return NotMemorizedResult(await cast("Callable[..., Any]", self.func)(*args, **kwargs))


class AsyncMemorizedFunc(_Awaited[P], MemorizedFunc[P, Any]):
    """A coroutine function whose results are kept; made by `Memory.cache`."""

    async def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        """The result of this call: from its entry, or awaited and stored."""
        key = self._key(args, kwargs)
        value = self.recall(key, args, kwargs)
        return await self._turn(value, key, args, kwargs) if isinstance(value, Absent) else value

    async def call(self, /, *args: P.args, **kwargs: P.kwargs) -> Any:  # type: ignore[override]  # awaited
        """Compute anew and keep that; returns the result and metadata."""
        return await self._await(self._key(args, kwargs), args, kwargs)

    async def refresh(self, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Compute the result of one call anew, and keep that."""
        return (await self.call(*args, **kwargs))[0]

    async def call_and_shelve(  # type: ignore[override]  # awaited
        self, /, *args: P.args, **kwargs: P.kwargs
    ) -> Any:
        """A reference to the result of this call, which is awaited if it is not there."""
        key = self._key(args, kwargs)
        if not self._is_there(key):
            value = await self._turn(ABSENT, key, args, kwargs)
            if not entry.exists(key.path):
                return NotMemorizedResult(value)
        return self._shelved(key)

    async def _turn(self, before: Absent, key: Key, args: Values, kwargs: Mapping[str, object]) -> Any:
        """The result, computed by us when nobody else does."""
        async with AsyncFlight(*self._place(key, args, kwargs)) as flight:
            value = self._recall_again(flight.waited, before, key, args, kwargs)
            return (await self._await(key, args, kwargs))[0] if isinstance(value, Absent) else value

    async def _await(
        self, key: Key, args: Values, kwargs: Mapping[str, object]
    ) -> tuple[Any, dict[str, object]]:
        told = self._begin(key, args, kwargs)
        started = time.perf_counter()
        try:
            computed = await cast("Callable[..., Any]", self.func)(*args, **kwargs)
        except Exception as error:
            self._keep_error(key, told, error, started)
            raise
        return self._keep(key, told, computed, time.perf_counter() - started)

    def __lightwork_lookup__(
        self, args: Values, kwargs: Mapping[str, object], stream: bytes = b"", /
    ) -> Found:
        """Answer a loop as the function would: with a coroutine, for the caller to await."""
        from lightwork.workers.functions import Found

        return Found(cast("Callable[..., object]", self)(*args, **kwargs))
