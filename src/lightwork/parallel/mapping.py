"""`map` and `starmap`: a loop over one function, for people who do not want `delayed`.

Each puts together a `Parallel` and what it is to run, `blocks.Calls`; what the options mean, where the loop
runs and what happens in it is the same as there. These return a list; `streaming` has those that return a generator.

The overloads tie the function's parameters to the items of the iterables, up to five of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar, TypeVarTuple, Unpack, overload

from lightwork.errors import TaskError
from lightwork.parallel.blocks import over, over_rows
from lightwork.parallel.loops import LoopOptions, loop
from lightwork.parallel.recourse import OnError, Raises, Returns

__all__ = ["map", "starmap"]

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@overload
def map(
    func: Callable[[A], T],
    a: Iterable[A],
    /,
    *,
    on_error: Raises = ...,
    **options: Unpack[LoopOptions],
) -> list[T]: ...


@overload
def map(
    func: Callable[[A, B], T],
    a: Iterable[A],
    b: Iterable[B],
    /,
    *,
    on_error: Raises = ...,
    **options: Unpack[LoopOptions],
) -> list[T]: ...


@overload
def map(
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
def map(
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
def map(
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
def map(
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
def map(
    func: Callable[[A], T], a: Iterable[A], /, *, on_error: Returns, **options: Unpack[LoopOptions]
) -> list[T | TaskError]: ...


@overload
def map(
    func: Callable[..., T],
    a: Iterable[object],
    b: Iterable[object],
    /,
    *more: Iterable[object],
    on_error: Returns,
    **options: Unpack[LoopOptions],
) -> list[T | TaskError]: ...


def map(
    func: Callable[..., T],
    /,
    *iterables: Iterable[object],
    on_error: OnError = "raise",
    **options: Unpack[LoopOptions],
) -> list[T] | list[T | TaskError]:
    """Call a function with each item, on all cores; the list of what it returned, in order.

    It is ``list(map(func, *iterables))`` of Python, and the fastest way to run one function over many inputs.

    Parameters
    ----------
    func : callable
        The function; on processes, a lambda or a function of a script will do as well.
    *iterables : iterable
        Its arguments, as for the built-in `map`: with several, the shortest ends the loop.
    **options : LoopOptions
        ``n_jobs`` (-1, all cores, unless said or configured otherwise), ``backend``, ``timeout``, ``progress`` and
        whatever else `Parallel` takes.

    Returns
    -------
    list
        The results.

    Examples
    --------
    >>> import lightwork
    >>> lightwork.map(abs, [-1, -2, -3], n_jobs=2)
    [1, 2, 3]
    >>> lightwork.map(pow, [2, 3], [5, 2], backend="threads")
    [32, 9]
    """
    return loop("map", "list", on_error, options)(over(func, iterables))


@overload
def starmap(
    func: Callable[[*Ts], T],
    iterable: Iterable[tuple[*Ts]],
    /,
    *,
    on_error: Raises = ...,
    **options: Unpack[LoopOptions],
) -> list[T]: ...


@overload
def starmap(
    func: Callable[..., T],
    iterable: Iterable[list[A]],
    /,
    *,
    on_error: Raises = ...,
    **options: Unpack[LoopOptions],
) -> list[T]: ...


@overload
def starmap(
    func: Callable[[*Ts], T],
    iterable: Iterable[tuple[*Ts]],
    /,
    *,
    on_error: Returns,
    **options: Unpack[LoopOptions],
) -> list[T | TaskError]: ...


@overload
def starmap(
    func: Callable[..., T],
    iterable: Iterable[list[A]],
    /,
    *,
    on_error: Returns,
    **options: Unpack[LoopOptions],
) -> list[T | TaskError]: ...


def starmap(
    func: Callable[..., T],
    iterable: Iterable[Iterable[object]],
    /,
    *,
    on_error: OnError = "raise",
    **options: Unpack[LoopOptions],
) -> list[T] | list[T | TaskError]:
    """Call a function with the arguments that each item holds; the list of what it returned, in order.

    Parameters
    ----------
    func : callable
        The function.
    iterable : iterable of tuples
        The arguments of each call.
    **options : LoopOptions
        As for `map`.

    Examples
    --------
    >>> import lightwork
    >>> lightwork.starmap(pow, [(2, 5), (3, 2)], n_jobs=2)
    [32, 9]
    """
    return loop("starmap", "list", on_error, options)(over_rows(func, iterable))
