"""Tasks and results as bytes, with their big buffers beside them. Nothing here touches a socket or a descriptor.

Three ways, cheapest first, chosen by exact types and never by trial where a trial could be silently wrong:

1. **Atoms** (None, bool, int, float, complex, str, bytes, exactly these types) are immutable and carry no
   identity that matters, so they ride as they are in the `marshal` stream of the whole message.
2. Everything else is **pickled by itself** (protocol 5), one pickle a task: two tasks of one message never
   share an object, so that no task can see what another wrote into its arguments. Buffers from a threshold on
   are handed out of the pickle, to be laid into memory that the other side maps.
3. What the plain pickler refuses, and what holds something of ``__main__``, goes through **cloudpickle**. Functions and
   classes that ``__main__`` holds by name are sent once by value (`Definitions`) and installed in the
   worker's ``__main__``; tasks and results then refer to them by name, and come back as the parent's own
   classes.

An entry of a message says by its type how it was made: see `decode_arguments` and `decode_result`.
"""

from __future__ import annotations

import copyreg
import io
import marshal
import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from types import BuiltinFunctionType, FunctionType, MappingProxyType, ModuleType, NoneType
from typing import TYPE_CHECKING, Any, Final, cast

from lightwork.workers import entropy, filemaps
from lightwork.workers.inside import Inside

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "ATOMS",
    "INSIDE",
    "Definitions",
    "are_names",
    "decode_arguments",
    "decode_result",
    "encode_arguments",
    "encode_function",
    "encode_result",
    "pack",
    "unpack",
]

INSIDE: Final = -1
"""Stands where the number of a function does, for one that travels inside its task."""

ATOMS: Final = frozenset({NoneType, bool, int, float, complex, str, bytes})

are_names: Final = frozenset({str}).issuperset
"""Whether all of these are exactly `str`: names of arguments may be of a subclass, which marshal refuses."""

MAIN: Final = ("__main__", "__mp_main__")
"""What the user's script is called: the second in a child that `multiprocessing` spawned."""

Place = Callable[[memoryview], int]
"""Lays a big buffer somewhere and returns the number to find it by."""

Fetch = Callable[[int], "Buffer"]
"""The memory behind such a number."""

# What the plain pickler raises for functions and classes without an importable name; cloudpickle may know better.
_REFUSALS = (pickle.PicklingError, AttributeError, TypeError)


def pack(message: object) -> bytes:
    """A message of atoms, tuples, lists and dicts as bytes.

    Version 2 of marshal writes no references, which makes it faster and its bytes independent of sharing.
    """
    return marshal.dumps(cast("int", message), 2)  # the stubs' type of what marshals is private


def unpack(body: bytes | bytearray) -> object:
    """The message behind `pack`; both ends are the same interpreter, so marshal's format cannot differ."""
    return cast(object, marshal.loads(body))


# --- arguments --------------------------------------------------------------------------------------


def encode_arguments(args: tuple[object, ...], kwargs: Mapping[str, object], pickler: TaskPickler) -> object:
    """The arguments of one task as an entry of a message: a tuple, a list of two or three, or bytes."""
    if ATOMS.issuperset(map(type, args)):
        if not kwargs:
            return args
        if ATOMS.issuperset(map(type, kwargs.values())) and are_names(map(type, kwargs)):
            return [args, dict(kwargs)]
    data, places = pickler.dumps((args, kwargs))
    return [data, places, None] if places else data


def decode_arguments(entry: object, fetch: Fetch) -> tuple[tuple[object, ...], dict[str, object]]:
    """The arguments behind an entry; mutable ones are new at each call."""
    if type(entry) is tuple:
        return entry, {}
    if type(entry) is list:
        if len(entry) == 2:
            return entry[0], entry[1]
        data, places, _ = entry
        return cast(
            "tuple[tuple[object, ...], dict[str, object]]",
            pickle.loads(data, buffers=[fetch(place) for place in places]),
        )
    return cast("tuple[tuple[object, ...], dict[str, object]]", pickle.loads(cast(bytes, entry)))


class TaskPickler:
    """Pickles what goes to workers; buffers of at least `threshold` bytes go through `place`.

    Parameters
    ----------
    place : callable
        Takes a contiguous buffer of bytes, returns the number of the memory that now holds it.
    threshold : int or None
        Bytes from which on a buffer is placed; None keeps every buffer inside the pickle.
    definitions : Definitions
        Collects the names of ``__main__`` that the pickles mention.
    """

    def __init__(self, place: Place, threshold: int | None, definitions: Definitions) -> None:
        self._place = place
        self._threshold = sys.maxsize if threshold is None else threshold
        self._definitions = definitions
        special = definitions.special
        # The pickler asks its own table instead of copyreg's, so this one must hold both.
        self._table = {**copyreg.dispatch_table, **special} if special else None
        self._watches = False

    def dumps(self, value: object, *, whole: bool = False) -> tuple[bytes, list[int]]:
        """The pickle of a value, and the numbers of the buffers that lie beside it (none where it is to be whole)."""
        places: list[int] = []

        def take(buffer: pickle.PickleBuffer) -> bool:
            raw = buffer.raw()
            if whole or raw.nbytes < self._threshold:
                return True
            places.append(self._place(raw))
            return False

        try:
            if not self._watches:
                data = self._plain(value, take)
                if b"_main__" not in data:  # found in both names of `MAIN`
                    return data, places
                # Where one task mentions it, so do others. A text will do: Python's own warning filters have it, and
                # scikit-learn sends them along with each task.
                self._watches = True
                places.clear()
            return self._watched(value, take), places
        except (*_REFUSALS, _OfMainError):
            pass  # cloudpickle's own refusal, which names the object, is the one to be seen
        places.clear()
        return self._definitions.dumps_by_name(value, take), places

    def _plain(self, value: object, take: Callable[[pickle.PickleBuffer], bool]) -> bytes:
        if self._table is None:
            return pickle.dumps(value, 5, buffer_callback=take)
        return self._dumped(pickle.Pickler, value, take)

    def _watched(self, value: object, take: Callable[[pickle.PickleBuffer], bool]) -> bytes:
        """The same pickle; raises `_OfMainError` where it would hold something of ``__main__`` by name."""
        return self._dumped(_Watching, value, take)

    def _dumped(
        self, kind: type[pickle.Pickler], value: object, take: Callable[[pickle.PickleBuffer], bool]
    ) -> bytes:
        file = io.BytesIO()
        pickler = kind(file, 5, buffer_callback=take)
        if self._table is not None:
            pickler.dispatch_table = self._table
        pickler.dump(value)
        return file.getvalue()


class _OfMainError(Exception):
    """There is a function, a class or an instance of ``__main__`` in a value."""


class _Watching(pickle.Pickler):
    """Asks each object that could be written by name for its module; a fifth of what cloudpickle costs."""

    def reducer_override(self, obj: object) -> Any:
        try:
            module = getattr(obj, "__module__", None)
        except Exception:  # the object's own; whether it matters is found out in the other way
            raise _OfMainError from None
        # Without a module the pickler looks for one by name (that of ufuncs), and may find ``__main__``.
        if module in MAIN if type(module) is str else callable(obj):
            raise _OfMainError
        return NotImplemented


# --- functions --------------------------------------------------------------------------------------


def encode_function(func: Callable[..., object], pickler: TaskPickler) -> tuple[bytes, list[int], bool]:
    """A function as bytes, the buffers beside it, and whether one copy may serve many tasks.

    Only plain functions without a closure, built-ins and classes may, with or without a seed and context variables that
    hold atoms: whatever else is callable (methods, partials, closures, objects) can carry state, which one task could
    change under the next.
    """
    data, places = pickler.dumps(func)
    return data, places, _is_stateless(func)


def _is_stateless(func: object) -> bool:
    if isinstance(func, FunctionType):
        return func.__closure__ is None
    if isinstance(func, Inside):
        return all(type(value) in ATOMS for _, value in func.settings) and _is_stateless(func.func)
    return isinstance(func, type) or (
        isinstance(func, BuiltinFunctionType) and isinstance(func.__self__, ModuleType | None)
    )


class Definitions:
    """Functions and classes of ``__main__``, to be installed in the ``__main__`` of workers.

    They are collected by the pickles that mention them, and sent by value, with everything of ``__main__``
    that they use in turn, before the first message that names them. The objects are kept until the call ends,
    so that what is one function here stays one function there.

    Parameters
    ----------
    known : mapping
        What was sent earlier, by name. Something else that has such a name by now goes by value: what was written
        down earlier means the old one.

    Attributes
    ----------
    special : mapping
        How objects of these types are pickled on their way to workers, whatever else pickles them.
    new : mapping
        What has been noted and not been taken yet.
    """

    def __init__(self, known: Mapping[str, object] = MappingProxyType({})) -> None:
        self.special = {**entropy.reducers(), **filemaps.reducers()}
        self._earlier = known
        self._known = dict(known)
        self.new: dict[str, object] = {}

    @property
    def known(self) -> Mapping[str, object]:
        """What has been noted so far, by name."""
        return self._known

    def note(self, value: object) -> bool:
        """Remember a function or class if ``__main__`` holds it by name; returns whether it does."""
        if not isinstance(value, FunctionType | type) or getattr(value, "__module__", None) not in MAIN:
            return False
        name = value.__qualname__
        if (
            vars(sys.modules["__main__"]).get(name) is not value
            or self._earlier.get(name, value) is not value
        ):
            return False
        if self._known.get(name) is not value:
            self._known[name] = self.new[name] = value
        return True

    def dumps_by_name(self, value: object, take: Callable[[pickle.PickleBuffer], bool]) -> bytes:
        """Pickle a value; what ``__main__`` holds by name goes by name and is noted, the rest by cloudpickle."""
        from lightwork.workers._by_value import ByNamePickler

        file = io.BytesIO()
        ByNamePickler(file, self, take).dump(value)
        return file.getvalue()

    def take_new(self) -> bytes | None:
        """The definitions noted since the last time, by value, as a run of pickles; None if there are none."""
        if not self.new:
            return None
        from lightwork.workers._by_value import ByValuePickler

        file = io.BytesIO()
        pickler = ByValuePickler(file, self)
        while self.new:
            fresh, self.new = self.new, {}
            pickler.dump(fresh)
        pickler.dump(None)
        return file.getvalue()


# --- results ----------------------------------------------------------------------------------------


def encode_result(
    value: object, lay: Callable[[Sequence[memoryview]], Sequence[int]], threshold: int
) -> object:
    """The result of one task as an entry of a reply.

    Parameters
    ----------
    value : object
        What the task returned.
    lay : callable
        Takes the big buffers of the result all at once and returns the numbers that the reader finds them by.
    threshold : int
        Bytes from which on a buffer, or the pickle itself, is laid apart.
    """
    if type(value) in ATOMS and not (type(value) in (bytes, str) and len(cast(str, value)) > threshold):
        return value
    buffers: list[memoryview] = []

    def take(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < threshold:
            return True
        buffers.append(raw)
        return False

    try:
        data = pickle.dumps(value, 5, buffer_callback=take)
    except _REFUSALS:
        import cloudpickle

        buffers.clear()
        data = cloudpickle.dumps(value, 5, buffer_callback=take)
    if len(data) < threshold:
        return (data, lay(buffers)) if buffers else (data,)
    return (None, lay([memoryview(data), *buffers]))


def decode_result(entry: object, fetch: Callable[[Sequence[int]], Sequence[Buffer]]) -> object:
    """The result behind an entry; big buffers come from `fetch`, as memory of this process."""
    if type(entry) is not tuple:
        return entry
    if len(entry) == 1:
        return pickle.loads(entry[0])
    data, places = entry
    buffers = list(fetch(places))
    if data is None:
        data = buffers.pop(0)
    return pickle.loads(data, buffers=buffers)
