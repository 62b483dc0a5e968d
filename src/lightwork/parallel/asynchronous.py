"""`amap` and `aimap`: loops that asyncio waits for.

The loop runs in a thread of its own, which ends with it; so neither an input that blocks nor a big array that is
written down holds up the event loop. (Readers of the workers' sockets in the event loop would do both.) The thread
works on demand: it reads results when they are asked for, in whole runs where several are there, so the input is
taken no further ahead of the reader than for any other loop.

A task that is cancelled while it waits stops its loop, and goes on only when the workers are stopped, which takes
milliseconds. What cannot be stopped (threads, the plain loop) is not waited for.

``LIGHTWORK_SEQUENTIAL=1`` makes plain loops of these too, in the thread of the event loop, where a debugger finds them.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterable
from contextlib import suppress
from inspect import iscoroutinefunction
from itertools import islice
from queue import SimpleQueue
from typing import Generic, NamedTuple, TypeVar, Unpack, cast, overload

from lightwork.errors import OptionTypeError
from lightwork.parallel.blocks import Calls, over
from lightwork.parallel.mapping import LoopOptions, loop
from lightwork.parallel.parallel import GeneratorKind, ListKind, Parallel
from lightwork.parallel.reading import Reading
from lightwork.settings import environment
from lightwork.workers.functions import be_awaited, will_be_awaited

__all__ = ["AsyncResults", "aimap", "amap"]

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
T = TypeVar("T")


@overload
async def amap(func: Callable[[A], T], a: Iterable[A], /, **options: Unpack[LoopOptions]) -> list[T]: ...


@overload
async def amap(
    func: Callable[[A, B], T], a: Iterable[A], b: Iterable[B], /, **options: Unpack[LoopOptions]
) -> list[T]: ...


@overload
async def amap(
    func: Callable[[A, B, C], T],
    a: Iterable[A],
    b: Iterable[B],
    c: Iterable[C],
    /,
    **options: Unpack[LoopOptions],
) -> list[T]: ...


@overload
async def amap(
    func: Callable[[A, B, C, D], T],
    a: Iterable[A],
    b: Iterable[B],
    c: Iterable[C],
    d: Iterable[D],
    /,
    **options: Unpack[LoopOptions],
) -> list[T]: ...


@overload
async def amap(
    func: Callable[[A, B, C, D, E], T],
    a: Iterable[A],
    b: Iterable[B],
    c: Iterable[C],
    d: Iterable[D],
    e: Iterable[E],
    /,
    **options: Unpack[LoopOptions],
) -> list[T]: ...


@overload
async def amap(
    func: Callable[..., T],
    a: Iterable[object],
    b: Iterable[object],
    c: Iterable[object],
    d: Iterable[object],
    e: Iterable[object],
    f: Iterable[object],
    /,
    *more: Iterable[object],
    **options: Unpack[LoopOptions],
) -> list[T]: ...


async def amap(
    func: Callable[..., T], /, *iterables: Iterable[object], **options: Unpack[LoopOptions]
) -> list[T]:
    """As `map`, for coroutines: the event loop goes on while the workers work.

    The iterables are read in another thread. Cancelling the task stops the work.

    Examples
    --------
    >>> import asyncio, lightwork
    >>> asyncio.run(lightwork.amap(abs, [-1, -2, -3], n_jobs=2))
    [1, 2, 3]
    """
    _must_be_plain("amap", func)
    parallel = loop("amap", "list", options)
    calls = over(func, iterables)
    if _debugging():
        return [result async for result in AsyncResults(loop("amap", "generator", options), calls)]
    reading, mail = Reading(), _Mail()
    mail.start(_collect, parallel, calls, reading, mail)
    try:
        said = cast("_Said[T]", await mail.next())
    except BaseException as error:
        reading.stop()
        if isinstance(error, asyncio.CancelledError) and not reading.is_plain:
            await mail.end()
        raise
    if said.error is not None:
        raise said.error
    return said.results


@overload
def aimap(func: Callable[[A], T], a: Iterable[A], /, **options: Unpack[LoopOptions]) -> AsyncResults[T]: ...


@overload
def aimap(
    func: Callable[[A, B], T], a: Iterable[A], b: Iterable[B], /, **options: Unpack[LoopOptions]
) -> AsyncResults[T]: ...


@overload
def aimap(
    func: Callable[[A, B, C], T],
    a: Iterable[A],
    b: Iterable[B],
    c: Iterable[C],
    /,
    **options: Unpack[LoopOptions],
) -> AsyncResults[T]: ...


@overload
def aimap(
    func: Callable[[A, B, C, D], T],
    a: Iterable[A],
    b: Iterable[B],
    c: Iterable[C],
    d: Iterable[D],
    /,
    **options: Unpack[LoopOptions],
) -> AsyncResults[T]: ...


@overload
def aimap(
    func: Callable[[A, B, C, D, E], T],
    a: Iterable[A],
    b: Iterable[B],
    c: Iterable[C],
    d: Iterable[D],
    e: Iterable[E],
    /,
    **options: Unpack[LoopOptions],
) -> AsyncResults[T]: ...


@overload
def aimap(
    func: Callable[..., T],
    a: Iterable[object],
    b: Iterable[object],
    c: Iterable[object],
    d: Iterable[object],
    e: Iterable[object],
    f: Iterable[object],
    /,
    *more: Iterable[object],
    **options: Unpack[LoopOptions],
) -> AsyncResults[T]: ...


def aimap(
    func: Callable[..., T], /, *iterables: Iterable[object], **options: Unpack[LoopOptions]
) -> AsyncResults[T]:
    """As `imap`, for ``async for``: results come in order, as soon as they are there.

    Work begins at the call, inside a running event loop. The iterables are read in another thread, no further ahead of
    the reader than ``pre_dispatch`` says. Leaving the loop early, or cancelling the task that reads, stops the work;
    within ``async with contextlib.aclosing(...)`` it has stopped when the block ends.

    Examples
    --------
    >>> import asyncio, lightwork
    >>> async def main():
    ...     return [x async for x in lightwork.aimap(abs, [-1, -2, -3], n_jobs=2)]
    >>> asyncio.run(main())
    [1, 2, 3]
    """
    _must_be_plain("aimap", func)
    return AsyncResults(loop("aimap", "generator", options), over(func, iterables))


class AsyncResults(AsyncIterator[T]):
    """The results of a loop, for ``async for``; made by `aimap`."""

    def __init__(self, parallel: Parallel[GeneratorKind], calls: Calls[T]) -> None:
        self._items: deque[T] = deque()
        self._over = False
        self._error: BaseException | None = None
        self._turn = asyncio.Lock()
        self._reading = Reading()
        self._requests: SimpleQueue[bool] = SimpleQueue()
        self._plain: Generator[T, None, None] | None = None
        self._mail = _Mail()
        if _debugging():
            self._plain = parallel(calls)
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
                said = cast("_Said[T]", await self._mail.next())
            except asyncio.CancelledError:
                await self.aclose()
                raise
        self._items.extend(said.results)
        self._over, self._error = said.is_last, said.error


# --- the thread ---------------------------------------------------------------------------------------------


class _Said(NamedTuple, Generic[T]):
    """What a thread has to say: results, whether they are the last, and what comes behind them."""

    results: list[T]
    is_last: bool
    error: BaseException | None


class _Mail:
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


def _collect(parallel: Parallel[ListKind], calls: Calls[T], reading: Reading, mail: _Mail) -> None:
    try:
        results = cast("list[T]", parallel._run(calls, reading))
    except BaseException as error:
        mail.post(_Said([], True, error))
    else:
        mail.post(_Said(results, True, None))


def _serve(
    parallel: Parallel[GeneratorKind],
    calls: Calls[T],
    reading: Reading,
    requests: SimpleQueue[bool],
    mail: _Mail,
) -> None:
    results: Generator[T, None, None] | None = None
    failure: BaseException | None = None
    try:
        results = cast("Generator[T, None, None]", parallel._run(calls, reading))
    except BaseException as error:
        failure = error
    del calls
    while requests.get():
        said = _Said([], True, failure) if results is None else _results_at_hand(results, reading)
        mail.post(said)
        if said.is_last:
            break
        del said
    if results is not None:
        results.close()


def _results_at_hand(results: Generator[T, None, None], reading: Reading) -> _Said[T]:
    """The next result, and those that are there behind it."""
    found: list[T] = []
    try:
        found.append(next(results))
        found += islice(results, max(0, reading.at_hand - 1))
    except StopIteration:
        return _Said(found, True, None)
    except BaseException as error:
        return _Said(found, True, error)
    return _Said(found, False, None)


def _debugging() -> bool:
    return environment("LIGHTWORK_SEQUENTIAL") not in (None, "0")


def _must_be_plain(name: str, func: Callable[..., object]) -> None:
    if iscoroutinefunction(func):
        raise OptionTypeError(
            f"{name}({func.__qualname__}, ...): its calls give coroutines, which cannot leave a worker; pass a plain"
            " function, or await the coroutines yourself (asyncio.gather, TaskGroup)"
        )
