"""`map` and its relatives: a loop over one function, for people who do not want `delayed`.

Each puts together a `Parallel` and what it is to run, `blocks.Calls`; what the options mean, where the loop
runs and what happens in it is the same as there. What differs is how results come back: `map` and `starmap` return a
list, `imap` and `imap_unordered` a generator.

The overloads tie the function's parameters to the items of the iterables, up to five of them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar, TypeVarTuple, Unpack, cast, overload

from lightwork.errors import OptionTypeError
from lightwork.parallel.blocks import over, over_rows
from lightwork.parallel.parallel import GeneratorKind, ListKind, Parallel
from lightwork.settings import MmapMode, WorkerOptions, default

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from contextvars import ContextVar

    from numpy.random import SeedSequence

    from lightwork.parallel.guard import OnInputError
    from lightwork.parallel.recourse import OnError
    from lightwork.parallel.retries import Retries

__all__ = ["LoopOptions", "imap", "imap_unordered", "loop", "map", "starmap"]

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class LoopOptions(WorkerOptions, total=False):
    """What `map` and its relatives take by keyword: the options of `Parallel`, which tells what they mean.

    Attributes
    ----------
    n_jobs : int
        The number of workers; -1, the default here, for all cores; 1 is a plain loop.
    """

    n_jobs: int | None
    backend: str | Executor | None
    verbose: int
    timeout: float | None
    task_timeout: float | None
    pre_dispatch: int | str
    batch_size: int | Literal["auto"]
    max_nbytes: int | str | None
    mmap_mode: MmapMode | None
    prefer: Literal["processes", "threads"] | None
    require: Literal["sharedmem"] | None
    progress: bool | Literal["always"]
    total: int | None
    seed: int | Sequence[int] | SeedSequence | None
    contextvars: Iterable[ContextVar[Any]]
    retries: int | Retries
    rerun_lost: bool
    on_error: OnError
    on_input_error: OnInputError


@overload
def map(func: Callable[[A], T], a: Iterable[A], /, **options: Unpack[LoopOptions]) -> list[T]: ...


@overload
def map(
    func: Callable[[A, B], T], a: Iterable[A], b: Iterable[B], /, **options: Unpack[LoopOptions]
) -> list[T]: ...


@overload
def map(
    func: Callable[[A, B, C], T],
    a: Iterable[A],
    b: Iterable[B],
    c: Iterable[C],
    /,
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
    **options: Unpack[LoopOptions],
) -> list[T]: ...


def map(func: Callable[..., T], /, *iterables: Iterable[object], **options: Unpack[LoopOptions]) -> list[T]:
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
    return loop("map", "list", options)(over(func, iterables))


@overload
def starmap(
    func: Callable[[*Ts], T], iterable: Iterable[tuple[*Ts]], /, **options: Unpack[LoopOptions]
) -> list[T]: ...


@overload
def starmap(
    func: Callable[..., T], iterable: Iterable[list[A]], /, **options: Unpack[LoopOptions]
) -> list[T]: ...


def starmap(
    func: Callable[..., T], iterable: Iterable[Iterable[object]], /, **options: Unpack[LoopOptions]
) -> list[T]:
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
    return loop("starmap", "list", options)(over_rows(func, iterable))


@overload
def imap(
    func: Callable[[A], T], a: Iterable[A], /, **options: Unpack[LoopOptions]
) -> Generator[T, None, None]: ...


@overload
def imap(
    func: Callable[[A, B], T], a: Iterable[A], b: Iterable[B], /, **options: Unpack[LoopOptions]
) -> Generator[T, None, None]: ...


@overload
def imap(
    func: Callable[[A, B, C], T],
    a: Iterable[A],
    b: Iterable[B],
    c: Iterable[C],
    /,
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
    **options: Unpack[LoopOptions],
) -> Generator[T, None, None]: ...


def imap(
    func: Callable[..., T], /, *iterables: Iterable[object], **options: Unpack[LoopOptions]
) -> Generator[T, None, None]:
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
    return loop("imap", "generator", options)(over(func, iterables))


@overload
def imap_unordered(
    func: Callable[[A], T], a: Iterable[A], /, **options: Unpack[LoopOptions]
) -> Generator[T, None, None]: ...


@overload
def imap_unordered(
    func: Callable[[A, B], T], a: Iterable[A], b: Iterable[B], /, **options: Unpack[LoopOptions]
) -> Generator[T, None, None]: ...


@overload
def imap_unordered(
    func: Callable[[A, B, C], T],
    a: Iterable[A],
    b: Iterable[B],
    c: Iterable[C],
    /,
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
    **options: Unpack[LoopOptions],
) -> Generator[T, None, None]: ...


def imap_unordered(
    func: Callable[..., T], /, *iterables: Iterable[object], **options: Unpack[LoopOptions]
) -> Generator[T, None, None]:
    """As `imap`, but each result comes when it is there, whichever it is.

    Examples
    --------
    >>> import lightwork
    >>> sorted(lightwork.imap_unordered(abs, [-3, -1, -2], n_jobs=2))
    [1, 2, 3]
    """
    return loop("imap_unordered", "generator_unordered", options)(over(func, iterables))


@overload
def loop(name: str, return_as: ListKind, options: LoopOptions) -> Parallel[ListKind]: ...


@overload
def loop(name: str, return_as: GeneratorKind, options: LoopOptions) -> Parallel[GeneratorKind]: ...


def loop(
    name: str, return_as: ListKind | GeneratorKind, options: LoopOptions
) -> Parallel[ListKind] | Parallel[GeneratorKind]:
    """The `Parallel` that runs the calls of the function of this name."""
    if "return_as" in options:
        raise OptionTypeError(
            f"{name}() takes no return_as: `map` and `starmap` return lists, `imap` and `imap_unordered` generators"
        )
    said: dict[str, object] = dict(options)
    if said.get("n_jobs") is None:
        said["n_jobs"] = default(-1)
    make = cast("Callable[..., Parallel[ListKind] | Parallel[GeneratorKind]]", Parallel)
    return make(return_as=return_as, **said)
