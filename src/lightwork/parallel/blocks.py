"""Many calls of one function: the input of `lightwork.map`, as tasks one by one or as blocks. Pure.

A loop over one function has no need of a triple for each task. `Calls` is its input and may be read in two ways, also
in turns: as an iterable of tasks like any other, or by `Calls.take` in blocks, whose arguments are read from
the input, looked at, and later written into a message each by one call at C speed.

A `Block` is a sequence of tasks that makes a triple only of those that somebody asks for: of one to be sent again, or
to be named in an error. So it may stand wherever a list of tasks does; `runs` makes blocks of the tasks of other loops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice, repeat
from typing import Final, Protocol, TypeVar, cast, overload

from lightwork.errors import OptionTypeError, TaskFormatError
from lightwork.parallel.backends.base import Task

__all__ = ["Block", "Calls", "over", "over_rows"]

T = TypeVar("T")

# Reading these makes nothing and changes nothing.
_STILL: Final = frozenset({list, tuple, range, str, bytes})


class Read(Protocol):
    """How to read the next so many items of an input, or fewer; `itertools.islice`, or what takes its place."""

    def __call__(self, source: Iterator[T], count: int, /) -> Iterator[T]:
        """An iterator over them."""


class Block(Sequence[Task[object]]):
    """Tasks of one function.

    Parameters
    ----------
    func : callable
        The function.
    arguments : list
        What it is called with: one value for each task where `single`, else a tuple.
    single : bool
        Whether the function takes one argument, and not by name.
    names : tuple of str
        The names under which the last values of each tuple are given.

    Examples
    --------
    >>> block = Block(pow, [(2, 3), (3, 2)], single=False)
    >>> len(block), block[1]
    (2, (<built-in function pow>, (3, 2), {}))
    >>> Block(int, [("11", 2), ("11", 8)], single=False, names=("base",))[1]
    (<class 'int'>, ('11',), {'base': 8})
    """

    __slots__ = ("arguments", "func", "names", "single")

    def __init__(
        self,
        func: Callable[..., object],
        arguments: list[object],
        *,
        single: bool,
        names: tuple[str, ...] = (),
    ) -> None:
        self.func = func
        self.arguments = arguments
        self.single = single
        self.names = names

    def __len__(self) -> int:
        return len(self.arguments)

    @overload
    def __getitem__(self, place: int) -> Task[object]: ...

    @overload
    def __getitem__(self, place: slice) -> Block: ...

    def __getitem__(self, place: int | slice) -> Task[object] | Block:
        if isinstance(place, slice):
            return Block(self.func, self.arguments[place], single=self.single, names=self.names)
        found = self.arguments[place]
        row = (found,) if self.single else cast("tuple[object, ...]", found)
        return self._named(row) if self.names else (self.func, row, {})

    def __iter__(self) -> Iterator[Task[object]]:
        if self.names:
            return map(self._named, cast("list[tuple[object, ...]]", self.arguments))
        return _tasks(self.func, zip(self.arguments, strict=True) if self.single else self.arguments)

    def _named(self, row: tuple[object, ...]) -> Task[object]:
        last = len(row) - len(self.names)
        return self.func, row[:last], dict(zip(self.names, row[last:], strict=True))


class Calls(Iterable[Task[T]]):
    """The input of a loop over one function; made by `over` and `over_rows`.

    Parameters
    ----------
    func : callable
        The function.
    arguments : iterator
        What it is called with: one value for each call where `single`, else a tuple.
    single : bool
        Whether the function takes one argument.
    length : int or None
        How many calls there will be, where that is known.
    is_still : bool
        Whether reading the input runs no code that could change what was read before.

    Attributes
    ----------
    is_denied : bool
        Whether the next call has an argument that may not go in a block.
    """

    __slots__ = ("_arguments", "_is_still", "_single", "func", "is_denied", "length")

    def __init__(
        self,
        func: Callable[..., T],
        arguments: Iterator[object],
        *,
        single: bool,
        length: int | None,
        is_still: bool = False,
    ) -> None:
        self.func = func
        self.length = length
        self.is_denied = False
        self._arguments = arguments
        self._single = single
        self._is_still = is_still

    def __iter__(self) -> Iterator[Task[T]]:
        """The calls that are left, as tasks; nothing is read ahead."""
        return _tasks(self.func, zip(self._arguments) if self._single else self._arguments)

    def take(self, count: int, admitted: frozenset[type] | None = None, read: Read = islice) -> Block:
        """The next calls, at most `count`, as one block.

        Parameters
        ----------
        count : int
            How many; fewer come at the end of the input, or in front of an argument that is not admitted.
        admitted : frozenset of type or None
            The types of arguments that may go in a block. A call that has another ends it, and stays in the input, as
            `is_denied` says from then on; nothing behind it was read, since what it holds may change by that.
        read : Read
            How the input is read where that runs somebody's code.

        Examples
        --------
        >>> calls = over(abs, ([-1, -2, -3],))
        >>> calls.take(2).arguments, list(calls)
        ([-1, -2], [(<built-in function abs>, (-3,), {})])
        """
        if admitted is None:
            read = islice if self._is_still else read
            return Block(self.func, list(read(self._arguments, count)), single=self._single)
        taken = self._at_once(count, admitted) if self._is_still else None
        if taken is None:
            self._is_still = False
            taken, denied = self._one_by_one(read(self._arguments, count), admitted)
            if denied:
                self.is_denied = True
                self._arguments = chain(denied, self._arguments)
        return Block(self.func, taken, single=self._single)

    def _at_once(self, count: int, admitted: frozenset[type]) -> list[object] | None:
        """Arguments that lie ready, however many are read at a time; None if one is not admitted."""
        taken = list(islice(self._arguments, count))
        each = taken if self._single else chain.from_iterable(cast("list[tuple[object, ...]]", taken))
        if admitted.issuperset(map(type, each)):
            return taken
        self._arguments = chain(taken, self._arguments)
        return None

    def _one_by_one(
        self, arguments: Iterator[object], admitted: frozenset[type]
    ) -> tuple[list[object], list[object]]:
        """Arguments that somebody makes as they are read; and the first that is not admitted, if one came."""
        taken: list[object] = []
        append = taken.append
        if self._single:
            for value in arguments:
                if type(value) not in admitted:
                    return taken, [value]
                append(value)
            return taken, []
        for row in cast("Iterator[tuple[object, ...]]", arguments):
            if not admitted.issuperset(map(type, row)):
                return taken, [row]
            append(row)
        return taken, []


def over(func: Callable[..., T], iterables: Sequence[Iterable[object]]) -> Calls[T]:
    """The calls that ``map(func, *iterables)`` makes: as many as the shortest of the iterables has items."""
    _must_be_callable("map", func)
    if not iterables:
        raise OptionTypeError("map() needs something to go over; write lightwork.map(f, xs)")
    iterators = [_iterator(position, iterable) for position, iterable in enumerate(iterables, 1)]
    lengths = list(map(_length, iterables))
    length = None if None in lengths else min(cast("list[int]", lengths))
    still = _STILL.issuperset(map(type, iterables))
    if len(iterators) == 1:
        return Calls(func, iterators[0], single=True, length=length, is_still=still)
    return Calls(func, zip(*iterators), single=False, length=length, is_still=still)  # noqa: B905 - the shortest ends it, as in `map`


def over_rows(func: Callable[..., T], iterable: Iterable[Iterable[object]]) -> Calls[T]:
    """The calls that ``itertools.starmap(func, iterable)`` makes: each item holds the arguments of one."""
    _must_be_callable("starmap", func)
    rows = map(_row, enumerate(_iterator(1, iterable)))
    return Calls(func, rows, single=False, length=_length(iterable))


def _tasks(func: Callable[..., T], rows: Iterable[object]) -> Iterator[Task[T]]:
    # One empty dictionary for all: a call copies it, and nothing else writes into it.
    return zip(repeat(func), cast("Iterable[tuple[object, ...]]", rows), repeat({}))


def _row(numbered: tuple[int, Iterable[object]]) -> tuple[object, ...]:
    index, row = numbered
    if type(row) is tuple:
        return row
    try:
        return tuple(row)
    except TypeError:
        if hasattr(type(row), "__iter__"):
            raise
    from lightwork.observe.messages import shorten

    raise TaskFormatError(
        f"got {shorten(row)} at position {index}: starmap needs the arguments of each call as a tuple"
    )


def _must_be_callable(name: str, func: object) -> None:
    if not callable(func):
        from lightwork.observe.messages import shorten

        raise OptionTypeError(
            f"{name}({shorten(func)}, ...): {type(func).__name__} cannot be called; the function comes first"
        )


def _iterator(position: int, iterable: Iterable[T]) -> Iterator[T]:
    try:
        return iter(iterable)
    except TypeError:
        if hasattr(type(iterable), "__iter__"):
            raise
    from lightwork.observe.messages import shorten

    raise OptionTypeError(
        f"input {position}, {shorten(iterable)}, is not iterable; write lightwork.map(f, xs)"
    )


def _length(iterable: Iterable[object]) -> int | None:
    try:
        return len(iterable)  # type: ignore[arg-type]  # told by trying: some have one only at times
    except TypeError:
        return None
