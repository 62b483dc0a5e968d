"""`imap` and `imap_unordered`: as `mapping`, but results come back one by one, from a generator."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import TypeVar, Unpack, overload

from lightwork.errors import TaskError
from lightwork.parallel.blocks import over
from lightwork.parallel.loops import LoopOptions, loop
from lightwork.parallel.recourse import OnError, Raises, Returns

__all__ = ["imap", "imap_unordered"]

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
T = TypeVar("T")


@overload
def imap(
    func: Callable[[A], T],
    a: Iterable[A],
    /,
    *,
    on_error: Raises = ...,
    **options: Unpack[LoopOptions],
) -> Generator[T, None, None]: ...


@overload
def imap(
    func: Callable[[A, B], T],
    a: Iterable[A],
    b: Iterable[B],
    /,
    *,
    on_error: Raises = ...,
    **options: Unpack[LoopOptions],
) -> Generator[T, None, None]: ...


@overload
def imap(
    func: Callable[[A, B, C], T],
    a: Iterable[A],
    b: Iterable[B],
    c: Iterable[C],
    /,
    *,
    on_error: Raises = ...,
    **options: Unpack[LoopOptions],
) -> Generator[T, None, None]: ...


@overload
def imap(
    func: Callable[[A, B, C, D], T],
    a: Iterable[A],
    b: Iterable[B],
    c: Iterable[C],
    d: Iterable[D],
    /,
    *,
    on_error: Raises = ...,
    **options: Unpack[LoopOptions],
) -> Generator[T, None, None]: ...


@overload
def imap(
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
) -> Generator[T, None, None]: ...


@overload
def imap(
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
) -> Generator[T, None, None]: ...


@overload
def imap(
    func: Callable[[A], T], a: Iterable[A], /, *, on_error: Returns, **options: Unpack[LoopOptions]
) -> Generator[T | TaskError, None, None]: ...


@overload
def imap(
    func: Callable[..., T],
    a: Iterable[object],
    b: Iterable[object],
    /,
    *more: Iterable[object],
    on_error: Returns,
    **options: Unpack[LoopOptions],
) -> Generator[T | TaskError, None, None]: ...


def imap(
    func: Callable[..., T],
    /,
    *iterables: Iterable[object],
    on_error: OnError = "raise",
    **options: Unpack[LoopOptions],
) -> Generator[T, None, None] | Generator[T | TaskError, None, None]:
    """As `map`, but a generator: results come in order, as soon as they are there.

    Work begins at the call. The input is taken no further ahead of the reader than ``pre_dispatch`` says, so it may be
    endless. Closing the generator, or dropping it, stops the work.

    Examples
    --------
    >>> import lightwork
    >>> from itertools import count
    >>> squares = lightwork.imap(pow, count(1), [2] * 1000, n_jobs=2)
    >>> next(squares), next(squares)
    (1, 4)
    >>> squares.close()
    """
    return loop("imap", "generator", on_error, options)(over(func, iterables))


@overload
def imap_unordered(
    func: Callable[[A], T],
    a: Iterable[A],
    /,
    *,
    on_error: Raises = ...,
    **options: Unpack[LoopOptions],
) -> Generator[T, None, None]: ...


@overload
def imap_unordered(
    func: Callable[[A, B], T],
    a: Iterable[A],
    b: Iterable[B],
    /,
    *,
    on_error: Raises = ...,
    **options: Unpack[LoopOptions],
) -> Generator[T, None, None]: ...


@overload
def imap_unordered(
    func: Callable[[A, B, C], T],
    a: Iterable[A],
    b: Iterable[B],
    c: Iterable[C],
    /,
    *,
    on_error: Raises = ...,
    **options: Unpack[LoopOptions],
) -> Generator[T, None, None]: ...


@overload
def imap_unordered(
    func: Callable[[A, B, C, D], T],
    a: Iterable[A],
    b: Iterable[B],
    c: Iterable[C],
    d: Iterable[D],
    /,
    *,
    on_error: Raises = ...,
    **options: Unpack[LoopOptions],
) -> Generator[T, None, None]: ...


@overload
def imap_unordered(
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
) -> Generator[T, None, None]: ...


@overload
def imap_unordered(
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
) -> Generator[T, None, None]: ...


@overload
def imap_unordered(
    func: Callable[[A], T], a: Iterable[A], /, *, on_error: Returns, **options: Unpack[LoopOptions]
) -> Generator[T | TaskError, None, None]: ...


@overload
def imap_unordered(
    func: Callable[..., T],
    a: Iterable[object],
    b: Iterable[object],
    /,
    *more: Iterable[object],
    on_error: Returns,
    **options: Unpack[LoopOptions],
) -> Generator[T | TaskError, None, None]: ...


def imap_unordered(
    func: Callable[..., T],
    /,
    *iterables: Iterable[object],
    on_error: OnError = "raise",
    **options: Unpack[LoopOptions],
) -> Generator[T, None, None] | Generator[T | TaskError, None, None]:
    """As `imap`, but each result comes when it is there, whichever it is.

    Examples
    --------
    >>> import lightwork
    >>> sorted(lightwork.imap_unordered(abs, [-3, -1, -2], n_jobs=2))
    [1, 2, 3]
    """
    return loop("imap_unordered", "generator_unordered", on_error, options)(over(func, iterables))
