"""A loop in a thread, and the coroutine that reads it: what they say to each other.

The thread works on demand: it reads results when they are asked for, in whole runs where several are there. Neither
keeps the other alive: a reader that is collected stops its loop, and a loop whose event loop is closed speaks to none.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import suppress
from itertools import islice
from queue import SimpleQueue
from typing import Generic, NamedTuple, TypeVar, cast

from lightwork.errors import TaskError
from lightwork.parallel.blocks import Calls
from lightwork.parallel.parallel import GeneratorKind, ListKind, Parallel
from lightwork.parallel.reading import Reading
from lightwork.settings import environment
from lightwork.workers.functions import be_awaited, will_be_awaited

__all__ = ["AsyncResults", "Mail", "Said", "collect", "debugging"]

T = TypeVar("T")


class AsyncResults(AsyncIterator[T]):
    """The results of a loop, for ``async for``; made by `aimap`."""

    def __init__(self, parallel: Parallel[GeneratorKind, TaskError], calls: Calls[T]) -> None:
        self._items: deque[T] = deque()
        self._over = False
        self._error: BaseException | None = None
        self._turn = asyncio.Lock()
        self._reading = Reading()
        self._requests: SimpleQueue[bool] = SimpleQueue()
        self._plain: Generator[T, None, None] | None = None
        self._mail = Mail()
        if debugging():
            self._plain = cast("Generator[T, None, None]", parallel(calls))
        else:
            self._mail.start(_serve, parallel, calls, self._reading, self._requests, self._mail)

    async def __anext__(self) -> T:
        """The next result."""
        if self._items and not self._turn.locked():
            return self._items.popleft()
        async with self._turn:
            if not self._items and not self._over:
                await self._read()
            if self._items:
                return self._items.popleft()
            error, self._error = self._error, None
            if error is not None:
                raise error
            raise StopAsyncIteration

    async def aclose(self) -> None:
        """Stop the loop; its workers are stopped when this returns."""
        self._over = True
        self._items.clear()
        if self._plain is not None:
            self._plain.close()
            return
        self._stop()
        if not self._reading.is_plain:
            await self._mail.end()

    def __del__(self) -> None:
        # Nobody can wait here; the thread ends by itself.
        if hasattr(self, "_mail"):
            self._stop()

    def _stop(self) -> None:
        self._reading.stop()
        self._requests.put(False)

    async def _read(self) -> None:
        if self._plain is not None:
            said = _results_at_hand(self._plain, self._reading)
            await asyncio.sleep(0)
        else:
            self._requests.put(True)
            try:
                said = cast("Said[T]", await self._mail.next())
            except asyncio.CancelledError:
                await self.aclose()
                raise
        self._items.extend(said.results)
        self._over, self._error = said.is_last, said.error


# --- the thread ---------------------------------------------------------------------------------------------


class Said(NamedTuple, Generic[T]):
    """What a thread has to say: results, whether they are the last, and what comes behind them."""

    results: list[T]
    is_last: bool
    error: BaseException | None


class Mail:
    """From a thread to the coroutine that made it; neither keeps the other alive."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Future[object] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()

    def start(self, work: Callable[..., None], *args: object) -> None:
        """Run this in a thread, which sees the coroutine's context variables."""
        context, awaited = contextvars.copy_context(), will_be_awaited()

        def run() -> None:
            be_awaited(awaited)
            try:
                work(*args)
            finally:
                self._call(self._end)

        self._thread = threading.Thread(target=context.run, args=(run,), name="lightwork-loop", daemon=True)
        self._thread.start()

    def post(self, said: object) -> None:
        """Called by the thread."""
        self._call(self._deliver, said)

    async def next(self) -> object:
        """What the thread posts next."""
        if self._waiting.done():
            self._waiting = self._loop.create_future()
        return await self._waiting

    async def end(self) -> None:
        """Wait for the end of the thread; an input that blocks holds it up, so not for ever."""
        await asyncio.wait([self._ended], timeout=_PATIENCE)
        if self._ended.done():
            self._thread.join()  # it has nothing left to do

    def _call(self, function: Callable[..., None], *args: object) -> None:
        with suppress(RuntimeError):  # the event loop is closed: nobody waits
            self._loop.call_soon_threadsafe(function, *args)

    def _deliver(self, said: object) -> None:
        if not self._waiting.done():  # else its reader was cancelled
            self._waiting.set_result(said)

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)


# Seconds that a cancelled task waits for its workers' end, which takes milliseconds. Chosen by guess.
_PATIENCE = 5.0


def collect(parallel: Parallel[ListKind, TaskError], calls: Calls[T], reading: Reading, mail: Mail) -> None:
    """Run a loop in the thread of a `Mail`, and post the list of its results."""
    try:
        results = cast("list[T]", parallel._run(calls, reading))
    except BaseException as error:
        mail.post(Said([], True, error))
    else:
        mail.post(Said(results, True, None))


def _serve(
    parallel: Parallel[GeneratorKind, TaskError],
    calls: Calls[T],
    reading: Reading,
    requests: SimpleQueue[bool],
    mail: Mail,
) -> None:
    results: Generator[T, None, None] | None = None
    failure: BaseException | None = None
    try:
        results = cast("Generator[T, None, None]", parallel._run(calls, reading))
    except BaseException as error:
        failure = error
    del calls
    while requests.get():
        said = Said([], True, failure) if results is None else _results_at_hand(results, reading)
        mail.post(said)
        if said.is_last:
            break
        del said
    if results is not None:
        results.close()


def _results_at_hand(results: Generator[T, None, None], reading: Reading) -> Said[T]:
    """The next result, and those that are there behind it."""
    found: list[T] = []
    try:
        found.append(next(results))
        found += islice(results, max(0, reading.at_hand - 1))
    except StopIteration:
        return Said(found, True, None)
    except BaseException as error:
        return Said(found, True, error)
    return Said(found, False, None)


def debugging() -> bool:
    """Whether loops are to be plain ones, in the thread of the event loop."""
    return environment("LIGHTWORK_SEQUENTIAL") not in (None, "0")
