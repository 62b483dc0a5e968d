"""How NumPy's arrays are pickled: as NumPy's public functions over one buffer. NumPy is never imported from here.

An array becomes ``numpy.ndarray(shape, dtype, buffer)``; a subclass is a view of that. What NumPy itself would
copy first (memory maps, read-only, masked, structured and non-contiguous arrays, dates) is handed over as it lies.
Names that start with an underscore never get into a file, since `numpy._core` moves.

`Reducers` is the pickler's ``dispatch_table``: the C pickler looks up the exact class of an object in it, once
for each object, without calling Python. A class that it sees for the first time is decided in
`__missing__`; ordinary classes get the C function that the pickler would have called itself.

The buffer that the pickler sees may be a *stand-in* (`Reducers.sources`): of the length that is needed, never
read, and replaced by the data when it is written. So a strided array is written in blocks, not copied whole, and
a read-only one loads as a writable one.

In a file to be compressed, numbers are *shuffled* where a sample says that it pays: all first bytes of some
thousand numbers, then all second bytes (Alted, Blosc, 2010). It is undone by NumPy's public functions too.
"""

from __future__ import annotations

import copyreg
import itertools
import mmap
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from operator import methodcaller
from pickle import PickleBuffer
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from lightwork.persist import codecs, libraries
from lightwork.persist.layout import BIG, HANDED_OVER, LITTLE
from lightwork.persist.sharing import Stretches

if TYPE_CHECKING:
    import array

    import numpy as np

# NumPy's stubs do not know arrays as buffers before Python 3.12.
Array = Any
Reduced = tuple[Any, ...] | str
Reducer = Callable[[Any], Reduced]

BLOCK: Final = 1 << 20  # bytes of a strided array that are copied at a time
AHEAD: Final = 4  # pieces that may be made before the first of them is written
_SHUFFLED: Final = 2 << 20  # bytes that are shuffled together: one frame of zstd
_SAMPLE: Final = 4096  # numbers of a sample, of which there are four
_PLAIN: Final[Reducer] = methodcaller("__reduce_ex__", 5)
_TEXT: Final = ("u", "w")  # type codes of `array.array` for characters
_STRING_KINDS: Final = "biufcmMSUV"  # the kinds of dtypes that their string describes in full


class Reducers(dict[type, Reducer]):
    """The dispatch table of one pickling, and what it learned: classes, byte orders, stand-ins."""

    def __init__(
        self,
        registered: Mapping[type, Reducer] | None = None,
        *,
        handed_over: bool = True,
        shuffle: bool = False,
        stretches: Stretches | None = None,
        held: list[memoryview | PickleBuffer] | None = None,
    ) -> None:
        self._registered = copyreg.dispatch_table if registered is None else registered
        self._handed_over = handed_over
        self._shuffle = shuffle and handed_over
        self._stretches = stretches
        self._dtypes: dict[int, _Known] = {}
        self.orders = 0
        self.sources: dict[int, Callable[[], Iterator[memoryview]]] = {}
        self.as_bytes: set[int] = set()  # ids of buffers that stand for bytes
        self._held: list[memoryview | PickleBuffer] = [] if held is None else held

    def release(self) -> None:
        """Let go of all arrays; the methods in the table would keep them until the next collection of garbage."""
        self.clear()
        self.sources.clear()

    def __missing__(self, cls: type) -> Reducer:
        reducer = self._registered.get(cls)
        if reducer is None:
            if issubclass(cls, type):
                raise KeyError(cls)  # classes go by name: the pickler's own affair
            own: dict[type, Reducer] = {memoryview: _memoryview, _Call: tuple}
            if "array" in sys.modules:
                own[sys.modules["array"].array] = self._pythons_array
            reducer = own.get(cls) or self._for_numpy(cls) or libraries.reducer(cls) or _PLAIN
        self[cls] = reducer
        return reducer

    def get(self, cls: type, default: Any = None) -> Any:
        """What the pure-Python pickler asks for."""
        try:
            return self[cls]
        except KeyError:
            return default

    def _for_numpy(self, cls: type) -> Reducer | None:
        numpy = sys.modules.get("numpy")
        root = getattr(numpy, "ndarray", None)
        if numpy is None or root is None or not hasattr(numpy, "memmap"):  # while it is being imported
            return None
        self._ndarray: Any = root
        if cls is root or cls is numpy.memmap:
            return self._array
        if issubclass(cls, root):
            return self._subclass_reducer(cls, root)
        if cls.__module__ == "numpy.dtypes" and cls.__name__ == "StringDType":
            return _string_dtype
        if issubclass(cls, numpy.generic):
            return _scalar if cls.__module__ == "numpy" and cls is not numpy.object_ else None
        return None

    def _subclass_reducer(self, cls: type, root: type) -> Reducer | None:
        masked = sys.modules.get("numpy.ma")
        if masked is not None and cls is masked.MaskedArray:
            return self._masked
        for name in ("__reduce__", "__reduce_ex__", "__setstate__", "__getstate__"):
            if getattr(cls, name, None) is not getattr(root, name, None) and not _is_recarray(cls):
                return None  # the class has its own way
        return self._view

    def _array(self, array: Array) -> Reduced:
        known = self._dtypes.get(id(array.dtype)) or self._know(array.dtype)
        flags = array.flags
        # The short way of small arrays, of which a fitted model may hold thousands.
        if (
            known.exported
            and array.nbytes < HANDED_OVER
            and self._stretches is None
            and flags.c_contiguous
            and flags.writeable
        ):
            return self._ndarray, (array.shape, known.said, PickleBuffer(array))
        return self._any_array(array, known)

    def _any_array(self, array: Array, known: _Known) -> Reduced:
        if known.said is None:
            # The state that NumPy itself would set, on an empty array made in public.
            return self._ndarray, ((0,), known.dtype), array.__reduce__()[2]
        if array.nbytes == 0:
            return sys.modules["numpy"].zeros, (array.shape, known.said, "C")
        if self._stretches is not None:
            if self._stretches.noting:
                self._stretches.note(array)
            elif place := self._stretches.place(array):
                return self._ndarray, (array.shape, known.said, *place, array.strides)
        fortran = array.flags.fnc
        if self._shuffle and _worth_shuffling(array):
            buffer: object = self._shuffled(array)
        else:
            buffer = self._buffer(array, fortran)
        return self._ndarray, (array.shape, known.said, buffer, *((0, None, "F") if fortran else ()))

    def _know(self, dtype: np.dtype[Any]) -> _Known:
        """What is to be known of a dtype, found out once for each dtype object."""
        if dtype.hasobject or dtype.kind not in _STRING_KINDS:
            known = _Known(dtype, None, exported=False)
        else:
            little = (sys.byteorder == "little") == dtype.isnative
            self.orders |= LITTLE if little else BIG
            known = _Known(dtype, _dtype(dtype), exported=dtype.isbuiltin == 1 and dtype.kind in "biufc")
        self._dtypes[id(dtype)] = known
        return known

    def _buffer(self, array: Array, fortran: bool) -> bytearray | PickleBuffer:
        """The bytes of an array, as an object that the pickler takes for a writable buffer."""
        import numpy as np

        if not array.flags.forc and array.nbytes >= HANDED_OVER and self._handed_over:
            return self._stand_in(array.nbytes, partial(blocks, array))
        if array.nbytes < HANDED_OVER or not array.flags.forc:
            return bytearray(array.tobytes("F" if fortran else "C"))
        # The base class: a subclass's view() may do anything.
        raw = array.reshape(-1, order="F" if fortran else "C").view(np.uint8, np.ndarray)
        return PickleBuffer(raw if raw.flags.writeable else _writable(raw))

    def _stand_in(self, nbytes: int, source: Callable[[], Iterator[memoryview]]) -> PickleBuffer:
        import numpy as np

        # Address space only: no page of it is ever touched.
        space = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ)
        buffer = PickleBuffer(_writable(np.frombuffer(space, np.uint8)))
        self.sources[id(buffer)] = source
        return buffer

    def _shuffled(self, array: Array) -> _Call:
        """The bytes of an array, as a call that puts them in their order again."""
        import numpy as np

        count = -(-array.nbytes // _SHUFFLED)
        together = -(-array.size // count)
        shape = count, array.itemsize, together  # the last numbers of all are padding
        source = partial(shuffled_blocks, array, together)
        buffer = self._stand_in(count * together * array.itemsize, source)
        planes = _Call(np.ndarray, (shape, "|u1", buffer))
        return _Call(np.ascontiguousarray, (_Call(np.swapaxes, (planes, 1, 2)),))

    def _pythons_array(self, array: array.array[Any]) -> Reduced:
        """As Python itself does it, but for the copy of the elements into bytes."""
        reduced: Any
        if self._handed_over and len(array) * array.itemsize >= HANDED_OVER and array.typecode not in _TEXT:
            reduced = type(array)(array.typecode).__reduce_ex__(5)
            if len(reduced[1]) == 4:  # class, type code, format of this machine, bytes
                buffer = PickleBuffer(memoryview(array).cast("B").toreadonly())
                self._held.append(buffer)
                self.as_bytes.add(id(buffer))
                return reduced[0], (*reduced[1][:3], buffer)
        reduced = array.__reduce_ex__(5)
        return reduced  # type: ignore[no-any-return]

    def _view(self, array: Array) -> Reduced:
        import numpy as np

        return np.ndarray.view, (np.ndarray.view(array, np.ndarray), type(array))

    def _masked(self, array: Any) -> Reduced:
        import numpy as np

        data, mask = np.ma.getdata(array), np.ma.getmask(array)
        if type(data) is not np.ndarray:
            if type(data) is not np.memmap:
                reduced: Reduced = array.__reduce_ex__(5)
                return reduced
            data = data.view(np.ndarray)
        state = {
            "mask": mask,
            "fill_value": getattr(array, "_fill_value", None),
            "hard_mask": array.hardmask,
            "copy": False,
            "shrink": False,
        }
        return copyreg.__newobj_ex__, (type(array), (data,), state)  # type: ignore[attr-defined]


class _Known(NamedTuple):
    """What is known of a dtype."""

    dtype: np.dtype[Any]  # kept, so that its id stays its own
    said: str | np.dtype[Any] | None  # how it is pickled; None where NumPy has to pickle the elements
    exported: bool  # whether NumPy shows such an array as a buffer


class _Call(NamedTuple):
    """What a function returns, pickled as the call of it."""

    func: Callable[..., Any]
    args: tuple[Any, ...]


def _memoryview(view: memoryview) -> Reduced:
    if view.format == "B" and view.ndim == 1 and view.contiguous:
        return memoryview, (PickleBuffer(view),)
    if view.format.lstrip("@") not in tuple("cbB?hHiIlLqQnNfdP"):
        raise TypeError(f"cannot pickle a memoryview of format {view.format!r}; pickle the array behind it")
    flat = view.cast("B") if view.c_contiguous else memoryview(bytearray(view.tobytes()))
    return memoryview.cast, (flat, view.format, list(view.shape or ()))


def _is_recarray(cls: type) -> bool:
    return cls is sys.modules["numpy"].recarray


def _dtype(dtype: np.dtype[Any]) -> str | np.dtype[Any]:
    """A dtype as it is to be pickled: its string where that says all, which is short and shared."""
    import numpy as np

    if dtype.names is not None or dtype.subdtype is not None or dtype.metadata is not None:
        return dtype
    # Types that other packages registered (ml_dtypes' bfloat16) have the string of a void type.
    return sys.intern(dtype.str) if np.dtype(dtype.str) == dtype else dtype


def _writable(raw: Array) -> Array:
    """The same bytes, claimed to be writable; they are only read, but load as writable ones."""
    import numpy as np

    return np.asarray(_Claim(raw))


class _Claim:
    def __init__(self, raw: Array) -> None:
        self.raw = raw
        address = raw.__array_interface__["data"][0]
        self.__array_interface__ = {
            "data": (address, False), "shape": raw.shape, "typestr": "|u1", "version": 3,
        }  # fmt: skip


def _string_dtype(dtype: Any) -> Reduced:
    options = {"coerce": dtype.coerce}
    if hasattr(dtype, "na_object"):
        options["na_object"] = dtype.na_object
    return copyreg.__newobj_ex__, (type(dtype), (), options)  # type: ignore[attr-defined]


def _scalar(value: np.generic) -> Reduced:
    import numpy as np

    cls = type(value)
    dtype = value.dtype
    if cls in (np.float64, np.float32, np.int64, np.int32):
        return cls, (value.item(),)
    if isinstance(value, bytes | str):  # their dtype would lose trailing zeros
        return cls, (bytes(value) if isinstance(value, bytes) else str(value),)
    if dtype.hasobject:
        reduced: Reduced = value.__reduce_ex__(5)
        return reduced
    if value.nbytes == 0:
        return np.take, (np.zeros(1, dtype), 0)
    return np.take, (np.frombuffer(value.tobytes(), dtype), 0)


def owner(buffer: object) -> object:
    """Whose memory a buffer is: the object at the bottom of a stack of arrays."""
    numpy = sys.modules.get("numpy")
    while True:
        if isinstance(buffer, _Claim):
            buffer = buffer.raw
        elif numpy is not None and isinstance(buffer, numpy.ndarray) and buffer.base is not None:
            buffer = buffer.base
        elif isinstance(buffer, memoryview):
            buffer = buffer.obj
        else:
            return buffer


def blocks(array: Array) -> Iterator[memoryview]:
    """The bytes of an array in C order, copied piece by piece; a piece is valid until `AHEAD` more are taken."""
    import numpy as np

    rooms = _rooms(min(array.nbytes, max(BLOCK, array.itemsize)))
    for part in _parts(array):
        room = next(rooms)[: part.nbytes]
        np.copyto(room.view(array.dtype).reshape(part.shape), part)
        yield memoryview(room)


def _parts(array: Array) -> Iterator[Array]:
    if array.nbytes <= BLOCK or array.ndim == 0:
        yield array
        return
    row = array.nbytes // len(array)
    if row > BLOCK:
        for part in array:
            yield from _parts(part)
        return
    step = max(1, BLOCK // row)
    for start in range(0, len(array), step):
        yield array[start : start + step]


def _rooms(size: int) -> Iterator[Array]:
    """The same few pieces of memory over and over: new ones would cost a page fault for every 4 KiB."""
    import numpy as np

    made: list[Array] = []
    for number in itertools.count():
        if len(made) <= AHEAD + 1:
            made.append(np.empty(size, np.uint8))
        yield made[number % (AHEAD + 2)]


def _worth_shuffling(array: Array) -> bool:
    """Whether four samples, spread over the array, compress better when shuffled."""
    import numpy as np

    dtype = array.dtype
    if array.nbytes < HANDED_OVER or dtype.kind not in "iufcmM" or dtype.itemsize == 1 or not dtype.isnative:
        return False
    # Where it is not contiguous, to reshape it would be to copy all of it.
    flat = array.reshape(-1, order="A") if array.flags.forc else array.flat
    starts = range(0, array.size, -(-array.size // 4))
    sample = np.concatenate([flat[start : start + _SAMPLE] for start in starts]).view(np.uint8)
    shuffled = sample.reshape(-1, dtype.itemsize).T
    # A tie is not worth the work.
    return codecs.sample_size(shuffled.tobytes()) < 0.98 * codecs.sample_size(sample.tobytes())


def shuffled_blocks(array: Array, together: int) -> Iterator[memoryview]:
    """The bytes of an array, so many numbers at a time: first bytes, second bytes, and so on."""
    import numpy as np

    rooms = _rooms(array.itemsize * together)
    for run in _runs(array.view(np.ndarray), together):
        room = next(rooms)
        planes = room.reshape(array.itemsize, together)
        planes[:, : len(run)] = run.view(np.uint8).reshape(-1, array.itemsize).T
        planes[:, len(run) :] = 0
        yield memoryview(room)


def _runs(array: Array, together: int) -> Iterator[Array]:
    """So many elements at a time, in the order of memory, or in C order where that is none; valid until the next."""
    import numpy as np

    if array.flags.forc:
        flat = array.reshape(-1, order="A")
        for start in range(0, flat.size, together):
            yield flat[start : start + together]
        return
    room, filled = np.empty(together, array.dtype), 0
    for part in _parts(array):
        rest = part.reshape(-1)
        while len(rest):
            taken = min(len(rest), together - filled)
            room[filled : filled + taken] = rest[:taken]
            rest, filled = rest[taken:], filled + taken
            if filled == together:
                yield room
                filled = 0
    if filled:
        yield room[:filled]
