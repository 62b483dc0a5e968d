"""One computation of a key at a time, for coroutines: `flight`, with waits that leave the event loop free.

1. In this process, who ends wakes who waits, through the event loop of each. A computation that is cancelled ends like
   any other: the next in line takes over.
2. For another process a coroutine polls the key's byte: a wait in the kernel could neither be cancelled nor leave the
   event loop to others. The kernel does not see that wait; rule 5 of `flight` keeps it from closing a ring.
3. Where no loop of asyncio runs (trio, curio), nobody waits and everybody computes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Final

from lightwork.memory.flight import Flight, Running
from lightwork.memory.waiting import computing_process, this_process
from lightwork.workers.functions import is_awaited

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future

__all__ = ["AsyncFlight"]

_FIRST_POLL: Final = 0.002
_LONGEST_POLL: Final = 0.05  # seconds; a lock costs 2 µs to ask for. By guess.


class AsyncFlight(Flight):
    """The time in which a coroutine computes a key, as an asynchronous context; see `Flight`."""

    __slots__ = ()

    async def __aenter__(self) -> AsyncFlight:
        loop = _running_loop()
        if loop is None:
            return self
        self._name_holder()
        try:
            if await self._become_owner_in(loop) and self._descriptor is not None:
                await self._lock_in_turns(self._descriptor)
        except BaseException:
            self._end()
            raise
        finally:
            self._waits_no_more()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    async def _become_owner_in(self, loop: AbstractEventLoop) -> bool:
        while not isinstance(claimed := self._claim(), bool):
            try:
                self._say_waiting(this_process)
                await self._end_of(claimed, loop)
            finally:
                self._table.waits_no_more(self._me, self._place)
        return claimed

    async def _end_of(self, running: Running, loop: AbstractEventLoop) -> None:
        ended: Future[None] = loop.create_future()
        with self._table.lock:
            if self._table.running.get(self._place) is not running:
                return
            running.wake.append(_waker(loop, ended))
        await ended

    async def _lock_in_turns(self, descriptor: int) -> None:
        """Hold the key's byte, after whoever holds it; where that cannot be, go without."""
        if self._try(descriptor) or is_awaited() or not self._may_poll():
            return
        from asyncio import sleep

        pause = _FIRST_POLL
        try:
            self._say_waiting(partial(computing_process, descriptor, self._place[1]))
            while not self._try(descriptor):
                await sleep(pause)
                pause = min(2 * pause, _LONGEST_POLL)
        finally:
            with self._table.lock:
                self._table.polled.discard(self._place)

    def _may_poll(self) -> bool:
        table, place = self._table, self._place
        with table.lock:
            held = table.held
            awaited = any(place in places and holder in held for holder, places in table.waits.items())
            if held[self._me] > 1 or awaited:
                return False
            table.polled.add(place)
            return True


def _waker(loop: AbstractEventLoop, ended: Future[None]) -> Callable[[], None]:
    def end() -> None:
        if not ended.done():  # the wait may have been cancelled
            ended.set_result(None)

    def wake() -> None:
        with suppress(RuntimeError):  # that loop is closed, and with it the wait
            loop.call_soon_threadsafe(end)

    return wake


def _running_loop() -> AbstractEventLoop | None:
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return None
    try:
        loop: AbstractEventLoop = asyncio.get_running_loop()
    except RuntimeError:
        return None
    return loop
