"""What a call sends to worker processes: each task as it was when it was taken, everything shared once.

Functions get numbers and are sent to a worker before the first task that calls them; functions and classes of
``__main__`` are defined there before anything that names them; big buffers lie in segments, whose descriptors a
worker gets once. This module knows what there is and what a worker has been told of it; when to send, and through
which socket, is the crew's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple, cast

from lightwork.parallel.backends import blame
from lightwork.parallel.backends.base import CrewOptions, Task
from lightwork.parallel.blocks import Block
from lightwork.workers.framing import Kind
from lightwork.workers.payload import (
    ATOMS,
    INSIDE,
    Definitions,
    TaskPickler,
    are_names,
    encode_arguments,
    encode_function,
    pack,
)
from lightwork.workers.segments import Kept, Segment, Segments

__all__ = ["Outgoing", "Parcel", "Told", "Written", "write_down"]

# A loop calls one function, or a few. Where each task brings another (scikit-learn wraps each one anew), those
# after the first few travel inside their tasks instead of filling the workers' tables.
_KNOWN_FUNCTIONS = 32

_are_atoms = ATOMS.issuperset

Parcel = tuple[int, object, Task[object]]
"""The number of a function, the arguments as an entry of a message, and the task itself, to be named in errors."""

Piece = tuple[int, bytes, Sequence[int]]
"""Kind, body and descriptors of a frame."""


class Written(NamedTuple):
    """A task written down apart from any call, by `write_down`.

    Attributes
    ----------
    data : bytes
        The pickle of its function and arguments.
    buffers : list of memoryview
        The big buffers that lie beside it.
    defined : mapping
        The functions and classes of ``__main__`` that it mentions and that were not known yet, by name.
    definitions : bytes or None
        Those, by value.
    """

    data: bytes
    buffers: list[memoryview]
    defined: Mapping[str, object]
    definitions: bytes | None


def write_down(index: int, task: Task[object], threshold: int | None, known: Mapping[str, object]) -> Written:
    """Write a task down with all that belongs to it; any thread may do so, at the same time as others.

    Parameters
    ----------
    index : int
        Its number, for the message of an error.
    task : Task
        The call.
    threshold : int or None
        Bytes from which on a buffer lies beside the pickle.
    known : mapping
        What of ``__main__`` workers have been told already.

    Raises
    ------
    PicklingFailedError
        If it cannot travel; it names the part that is in the way.
    """
    buffers: list[memoryview] = []

    def place(buffer: memoryview) -> int:
        buffers.append(buffer)
        return len(buffers) - 1

    definitions = Definitions(known)
    try:
        data, places = TaskPickler(place, threshold, definitions).dumps((task, {}))
        new = definitions.take_new()
    except Exception as error:
        raise blame.not_sent(error, index, *task) from None
    return Written(data, [buffers[each] for each in places], definitions.known if new else {}, new)


class Told:
    """What one worker has been told in this call, and the segments that it holds."""

    __slots__ = ("definitions", "functions", "segments")

    def __init__(self, segments: set[int]) -> None:
        self.functions = 0
        self.definitions = 0
        self.segments = segments


class Outgoing:
    """The functions, definitions and segments of one call.

    Parameters
    ----------
    options : CrewOptions
        How arguments travel.
    kept : Kept
        Segments of earlier calls.
    defines : bool
        Whether workers need the definitions of ``__main__``; forks of this process have them.
    segments : Segments or None
        Where big buffers lie, if that is to be shared with others than this call.
    """

    def __init__(
        self, options: CrewOptions, kept: Kept, *, defines: bool = True, segments: Segments | None = None
    ) -> None:
        self._defines = defines
        self._segments = Segments(kept) if segments is None else segments
        self._taken: dict[int, list[Segment]] = {}
        self._definitions = Definitions()
        self._defined: list[bytes] = []
        self._pickler = TaskPickler(self._segments.place, options.max_nbytes, self._definitions)
        self._numbers: dict[int, int] = {}
        self._functions: list[tuple[bytes, list[Segment]]] = []
        self._kept: list[Callable[..., object]] = []

    def encode(self, index: int, task: Task[object]) -> tuple[Parcel | Task[object], list[int]]:
        """A task written down, and the numbers of segments that made room for a new one.

        Raises
        ------
        PicklingFailedError
            If it cannot travel; it names the part that is in the way.
        """
        func, args, kwargs = task
        if _are_atoms(map(type, args)) and id(func) in self._numbers:
            if not kwargs:
                return task, []  # nothing in it can change
            if _are_atoms(map(type, kwargs.values())) and are_names(map(type, kwargs)):
                return (func, args, dict(kwargs)), []
        before = self._segments.count
        try:
            number = self._number(func)
            if number != INSIDE:
                entry = encode_arguments(args, kwargs, self._pickler)
            else:
                entry = encode_arguments(task, {}, self._pickler)
        except Exception as error:
            raise blame.not_sent(error, index, *task) from None
        dropped: list[int] = []
        if type(entry) is list and len(entry) == 3:
            self._taken[index] = self._segments.take(entry[1])
            if self._segments.count > before:
                dropped = self._segments.drop_idle()
        return (number, entry, task), dropped

    def define(self, definitions: bytes) -> None:
        """Have workers define what stands in `Written.definitions`, before the next span."""
        self._defined.append(definitions)

    def admit(
        self, index: int, task: Task[object], data: bytes, numbers: Sequence[int], segments: list[Segment]
    ) -> Parcel:
        """A task that was written down elsewhere, and whose buffers lie in these segments (by these numbers)."""
        if segments:
            self._taken[index] = segments
        return INSIDE, [data, numbers, None] if numbers else data, task

    def _number(self, func: Callable[..., object]) -> int:
        """The number of a function in the workers' tables, or `INSIDE`."""
        known = self._numbers.get(id(func))
        if known is not None:
            return known
        if len(self._functions) >= _KNOWN_FUNCTIONS:
            return INSIDE
        data, places, stateless = encode_function(func, self._pickler)
        number = len(self._functions)
        self._functions.append((pack((number, data, places, stateless)), self._segments.take(places)))
        self._kept.append(func)  # as long as it lives, its identity is its own
        self._numbers[id(func)] = number
        return number

    def initializer(
        self, func: Callable[..., object], args: tuple[object, ...]
    ) -> tuple[bytes, bytes | None]:
        """What new workers run first: its pickle, and what that needs of ``__main__``, by value."""
        try:
            data = self._pickler.dumps((func, args), whole=True)[0]
            new = self._definitions.take_new() if self._defines else None
        except Exception as error:
            raise blame.not_sent(error, None, func, args, {}) from None
        if new is not None:
            self._defined.append(new)
        return data, new

    def span(
        self, call: int, first: int, parcels: Sequence[Parcel | Task[object]], attempt: int = 1
    ) -> tuple[bytes, Sequence[Task[object]], list[Segment]]:
        """The message for a span, its tasks, and the segments that it needs."""
        known, taken = self._numbers, self._taken
        if type(parcels) is Block:  # an abstract class takes ten times as long to look whether it is one
            rows = tuple(parcels.arguments) if parcels.single else parcels.arguments
            return pack((call, first, known[id(parcels.func)], rows, attempt, parcels.names)), parcels, []
        if len(parcels) == 1 and type(parcels[0][0]) is not int:
            alone = cast("Sequence[Task[object]]", parcels)
            func, args, kwargs = alone[0]
            return (
                pack((call, first, known[id(func)], [[args, kwargs] if kwargs else args], attempt, ())),
                alone,
                [],
            )
        needed: list[Segment] = []
        numbers: list[int] = []
        entries: list[object] = []
        tasks: list[Task[object]] = []
        for parcel in parcels:
            if type(parcel[0]) is int:
                number, entry, task = parcel
                if taken:
                    needed += taken.get(first + len(tasks), ())
            else:
                task = cast("Task[object]", parcel)
                number = known[id(task[0])]
                entry = [task[1], task[2]] if task[2] else task[1]
            numbers.append(number)
            entries.append(entry)
            tasks.append(task)
        one_function = numbers.count(number) == len(numbers)
        which = number if one_function else numbers
        return pack((call, first, which, entries, attempt, ())), tasks, needed

    def has_news(self, told: Told) -> bool:
        """Whether there is something, besides segments, that a worker has not got yet."""
        return (
            told.functions != len(self._functions)
            or told.definitions != len(self._defined)
            or bool(self._definitions.new)
        )

    def news(self, told: Told, needed: Iterable[Segment] = ()) -> Iterator[Piece]:
        """What a worker must get before a span that needs these segments, and has not got yet."""
        new = self._definitions.take_new()
        if new is not None and self._defines:
            self._defined.append(new)
        for data in self._defined[told.definitions :]:
            yield Kind.DEFINE, data, ()
        told.definitions = len(self._defined)
        functions = self._functions[told.functions :]
        told.functions = len(self._functions)
        for segment in chain(needed, *(segments for _, segments in functions)):
            if segment.number not in told.segments:
                told.segments.add(segment.number)
                size = segment.source.nbytes
                yield Kind.SEGMENT, pack((segment.number, size)), (segment.descriptor,)
        for data, _ in functions:
            yield Kind.FUNCTION, data, ()

    def done(self, indexes: Iterable[int]) -> None:
        """These tasks need their segments no longer."""
        if self._taken:
            for index in indexes:
                self._segments.give_back(self._taken.pop(index, ()))

    def check(self) -> None:
        """Raise if a buffer that tasks shared has changed meanwhile; see `Segments.check`."""
        self._segments.check()

    def close(self) -> None:
        """Let go of all segments."""
        self._segments.close()
