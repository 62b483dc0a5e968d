"""How NumPy's arrays are pickled: as NumPy's public functions over one buffer. NumPy is never imported from here.

An array becomes ``numpy.frombuffer(buffer, dtype)``, and ``numpy.reshape`` of that where it has not exactly one
axis; a subclass is a view of the former. What NumPy itself would copy first (memory maps, read-only,
masked, structured and non-contiguous arrays, dates) is handed over as it lies. Names that start with an
underscore never get into a file, since `numpy._core` moves.

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
    ) -> None:
        self._registered = copyreg.dispatch_table if registered is None else registered
        self._handed_over = handed_over
        self._shuffle = shuffle and handed_over
        self._stretches = stretches
        self.orders = 0
        self.sources: dict[int, Callable[[], Iterator[memoryview]]] = {}

    def __missing__(self, cls: type) -> Reducer:
        reducer = self._registered.get(cls)
        if reducer is None:
            if issubclass(cls, type):
                raise KeyError(cls)  # classes go by name: the pickler's own affair
            own: dict[type, Reducer] = {memoryview: _memoryview, _Strided: self._strided, _Call: tuple}
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
        import numpy as np

        dtype = array.dtype
        if dtype.hasobject or dtype.kind not in _STRING_KINDS:
            # The state that NumPy itself would set, on an empty array made in public.
            return np.ndarray, ((0,), dtype), array.__reduce__()[2]
        if array.nbytes == 0:
            return np.zeros, (array.shape, _dtype(dtype), "C")
        self._note_order(dtype)
        if self._stretches is not None:
            if self._stretches.noting:
                self._stretches.note(array)
            elif place := self._stretches.place(array):
                return np.ndarray, (array.shape, _dtype(dtype), *place, array.strides)
        order = "C" if array.flags.c_contiguous or not array.flags.f_contiguous else "F"
        if self._shuffle and array.flags.forc and _worth_shuffling(array):
            return self._shuffled(array, order)
        if array.ndim != 1:
            # A view where the array is contiguous; otherwise a stand-in of one axis, never a copy.
            flat = array.reshape(-1, order=order) if array.flags.forc else _Strided(array)
            return np.reshape, (flat, array.shape, order)
        return np.frombuffer, (self._buffer(array), _dtype(dtype))

    def _buffer(self, array: Array) -> bytearray | PickleBuffer:
        """The bytes of an array, as an object that the pickler takes for a writable buffer."""
        import numpy as np

        small = array.nbytes < HANDED_OVER
        if small and not (array.flags.c_contiguous and array.flags.writeable):
            return bytearray(array.tobytes())
        if not array.flags.c_contiguous:
            if not self._handed_over:
                return PickleBuffer(_bytes(array))
            return self._stand_in(array.nbytes, partial(blocks, array))
        # The base class: a subclass's view() may do anything.
        raw = array.view(np.uint8, np.ndarray)
        return PickleBuffer(raw if raw.flags.writeable else _writable(raw))

    def _stand_in(self, nbytes: int, source: Callable[[], Iterator[memoryview]]) -> PickleBuffer:
        import numpy as np

        # Address space only: no page of it is ever touched.
        space = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ)
        buffer = PickleBuffer(_writable(np.frombuffer(space, np.uint8)))
        self.sources[id(buffer)] = source
        return buffer

    def _shuffled(self, array: Array, order: str) -> Reduced:
        import numpy as np

        flat = array.reshape(-1, order=order).view(np.ndarray)
        count = -(-flat.nbytes // _SHUFFLED)
        together = -(-flat.size // count)
        shape = count, flat.itemsize, together  # the last numbers of all are padding
        buffer = self._stand_in(count * together * flat.itemsize, partial(shuffled_blocks, flat, together))
        planes = _Call(np.reshape, (_Call(np.frombuffer, (buffer, "|u1")), shape))
        rows = _Call(np.ascontiguousarray, (_Call(np.swapaxes, (planes, 1, 2)),))
        return np.ndarray, (array.shape, _dtype(array.dtype), rows, 0, None, order)

    def _strided(self, strided: _Strided) -> Reduced:
        import numpy as np

        array = strided.array
        if array.nbytes < HANDED_OVER or not self._handed_over:
            flat = np.ascontiguousarray(array).reshape(-1)
            return np.frombuffer, (self._buffer(flat), _dtype(array.dtype))
        buffer = self._stand_in(array.nbytes, partial(blocks, array))
        return np.frombuffer, (buffer, _dtype(array.dtype))

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

    def _note_order(self, dtype: np.dtype[Any]) -> None:
        little = (sys.byteorder == "little") == dtype.isnative
        self.orders |= LITTLE if little else BIG


class _Strided:
    """An array of any shape and strides, to be pickled as its elements in C order along one axis."""

    def __init__(self, array: Array) -> None:
        self.array = array


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
    flat = array.reshape(-1, order="A")
    starts = range(0, flat.size, -(-flat.size // 4))
    sample = np.concatenate([flat[start : start + _SAMPLE] for start in starts]).view(np.uint8)
    shuffled = sample.reshape(-1, dtype.itemsize).T
    # A tie is not worth the work.
    return codecs.sample_size(shuffled.tobytes()) < 0.98 * codecs.sample_size(sample.tobytes())


def shuffled_blocks(flat: Array, together: int) -> Iterator[memoryview]:
    """The bytes of an array of one axis, so many numbers at a time: first bytes, second bytes, and so on."""
    import numpy as np

    rows = flat.view(np.uint8).reshape(-1, flat.itemsize)
    rooms = _rooms(flat.itemsize * together)
    for start in range(0, len(rows), together):
        room = next(rooms)
        part = rows[start : start + together]
        planes = room.reshape(flat.itemsize, together)
        planes[:, : len(part)] = part.T
        planes[:, len(part) :] = 0
        yield memoryview(room)


def _bytes(array: Array) -> Array:
    """A private copy of the elements in C order, as bytes."""
    import numpy as np

    return np.array(array, order="C", copy=True, subok=False).reshape(-1).view(np.uint8)
