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
from collections.abc import Callable, Iterable
from inspect import iscoroutinefunction
from typing import TypeVar, Unpack, cast, overload

from lightwork.errors import OptionTypeError, TaskError
from lightwork.parallel.blocks import over
from lightwork.parallel.loops import LoopOptions, loop
from lightwork.parallel.mail import AsyncResults, Mail, Said, collect, debugging
from lightwork.parallel.reading import Reading
from lightwork.parallel.recourse import OnError, Raises, Returns

__all__ = ["aimap", "amap"]

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
T = TypeVar("T")


@overload
async def amap(
    func: Callable[[A], T],
    a: Iterable[A],
    /,
    *,
    on_error: Raises = ...,
    **options: Unpack[LoopOptions],
) -> list[T]: ...


@overload
async def amap(
    func: Callable[[A, B], T],
    a: Iterable[A],
    b: Iterable[B],
    /,
    *,
    on_error: Raises = ...,
    **options: Unpack[LoopOptions],
) -> list[T]: ...


@overload
async def amap(
    func: Callable[[A, B, C], T],
    a: Iterable[A],
    b: Iterable[B],
    c: Iterable[C],
    /,
    *,
    on_error: Raises = ...,
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
    *,
    on_error: Raises = ...,
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
    *,
    on_error: Raises = ...,
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
    on_error: Raises = ...,
    **options: Unpack[LoopOptions],
) -> list[T]: ...


@overload
async def amap(
    func: Callable[[A], T], a: Iterable[A], /, *, on_error: Returns, **options: Unpack[LoopOptions]
) -> list[T | TaskError]: ...


@overload
async def amap(
    func: Callable[..., T],
    a: Iterable[object],
    b: Iterable[object],
    /,
    *more: Iterable[object],
    on_error: Returns,
    **options: Unpack[LoopOptions],
) -> list[T | TaskError]: ...


async def amap(
    func: Callable[..., T],
    /,
    *iterables: Iterable[object],
    on_error: OnError = "raise",
    **options: Unpack[LoopOptions],
) -> list[T] | list[T | TaskError]:
    """As `map`, for coroutines: the event loop goes on while the workers work.

    The iterables are read in another thread. Cancelling the task stops the work.

    Examples
    --------
    >>> import asyncio, lightwork
    >>> asyncio.run(lightwork.amap(abs, [-1, -2, -3], n_jobs=2))
    [1, 2, 3]
    """
    _must_be_plain("amap", func)
    parallel = loop("amap", "list", on_error, options)
    calls = over(func, iterables)
    if debugging():
        return [result async for result in AsyncResults(loop("amap", "generator", on_error, options), calls)]
    reading, mail = Reading(), Mail()
    mail.start(collect, parallel, calls, reading, mail)
    try:
        said = cast("Said[T]", await mail.next())
    except BaseException as error:
        reading.stop()
        if isinstance(error, asyncio.CancelledError) and not reading.is_plain:
            await mail.end()
        raise
    if said.error is not None:
        raise said.error
    return said.results


@overload
def aimap(
    func: Callable[[A], T],
    a: Iterable[A],
    /,
    *,
    on_error: Raises = ...,
    **options: Unpack[LoopOptions],
) -> AsyncResults[T]: ...


@overload
def aimap(
    func: Callable[[A, B], T],
    a: Iterable[A],
    b: Iterable[B],
    /,
    *,
    on_error: Raises = ...,
    **options: Unpack[LoopOptions],
) -> AsyncResults[T]: ...


@overload
def aimap(
    func: Callable[[A, B, C], T],
    a: Iterable[A],
    b: Iterable[B],
    c: Iterable[C],
    /,
    *,
    on_error: Raises = ...,
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
    *,
    on_error: Raises = ...,
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
    *,
    on_error: Raises = ...,
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
    on_error: Raises = ...,
    **options: Unpack[LoopOptions],
) -> AsyncResults[T]: ...


@overload
def aimap(
    func: Callable[[A], T], a: Iterable[A], /, *, on_error: Returns, **options: Unpack[LoopOptions]
) -> AsyncResults[T | TaskError]: ...


@overload
def aimap(
    func: Callable[..., T],
    a: Iterable[object],
    b: Iterable[object],
    /,
    *more: Iterable[object],
    on_error: Returns,
    **options: Unpack[LoopOptions],
) -> AsyncResults[T | TaskError]: ...


def aimap(
    func: Callable[..., T],
    /,
    *iterables: Iterable[object],
    on_error: OnError = "raise",
    **options: Unpack[LoopOptions],
) -> AsyncResults[T] | AsyncResults[T | TaskError]:
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
    return AsyncResults(loop("aimap", "generator", on_error, options), over(func, iterables))


def _must_be_plain(name: str, func: Callable[..., object]) -> None:
    if iscoroutinefunction(func):
        raise OptionTypeError(
            f"{name}({func.__qualname__}, ...): its calls give coroutines, which cannot leave a worker; pass a plain"
            " function, or await the coroutines yourself (asyncio.gather, TaskGroup)"
        )
