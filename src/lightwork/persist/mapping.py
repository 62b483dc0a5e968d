"""Arrays made another way while a stream is unpickled: mapped from the file, or with their bytes swapped.

Our pickles make each array by calling ``numpy.ndarray``. Here that one name is found as a class of ours, whose calls
return what they should. If the object itself holds `numpy.ndarray` as a value, ours would be in its place; then it
is still referred to when unpickling is over, which is noticed, and the stream is unpickled once more by Python's own
unpickler, which is slow and lets us see each call.
"""

from __future__ import annotations

import io
import mmap
import os
import pickle
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from lightwork import errors
from lightwork.observe import notices
from lightwork.persist import layout, sealed

if TYPE_CHECKING:
    from lightwork.persist.reader import MmapMode

_ACCESS = {"r": mmap.ACCESS_READ, "r+": mmap.ACCESS_WRITE, "w+": mmap.ACCESS_WRITE, "c": mmap.ACCESS_COPY}


class _Unpickler(pickle.Unpickler):
    maker: Swapping | None = None

    def find_class(self, module: str, name: str) -> Any:
        if name == "ndarray" and module == "numpy" and self.maker is not None:
            return self.maker.stand_in()
        return super().find_class(module, name)


class _SlowUnpickler(pickle._Unpickler):
    """Calls of `numpy.ndarray` make arrays our way; the class itself stays what it is."""

    dispatch: ClassVar[dict[int, Any]] = pickle._Unpickler.dispatch.copy()
    make: Callable[..., Any]

    def load_reduce(self) -> None:
        import numpy as np

        stack = self.stack  # type: ignore[attr-defined]
        args = stack.pop()
        stack[-1] = self.make(*args) if stack[-1] is np.ndarray else stack[-1](*args)

    dispatch[pickle.REDUCE[0]] = load_reduce


_spare: list[Any] = []  # stand-ins that nobody uses: to make a class takes as long as to map a file


def _counts_references() -> bool:
    """Whether the number of references to a class says who has it; without the interpreter's lock it does not."""
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


def _taken() -> Any:
    """A stand-in that nobody else uses."""
    import numpy as np

    try:
        return _spare.pop()
    except IndexError:
        cls: Any = type("ndarray", (np.ndarray,), {"__slots__": (), "__new__": _make, "maker": None})
        cls.unreferred = sys.getrefcount(cls)
        return cls


def _make(cls: Any, *args: Any) -> Any:
    import numpy as np

    return np.ndarray(*args) if cls.maker is None else cls.maker.array(*args)


class Swapping:
    """Arrays of the other byte order become native ones."""

    def __init__(self, buffers: list[Any]) -> None:
        self.buffers = buffers
        self.unreached: list[str] = []  # arrays of a file whose changes will not reach it
        self._stand_in: Any = None

    def unpickle(self, stream: memoryview) -> Any:
        """The object of the stream."""
        if not _counts_references():
            return self._unpickle_slowly(stream)
        unpickler = _Unpickler(io.BytesIO(stream), buffers=self.buffers)
        unpickler.maker = self
        value = None
        try:
            value = unpickler.load()
        finally:
            del unpickler
            escaped = self._put_back()
        if escaped:
            del value
            self.unreached.clear()
            return self._unpickle_slowly(stream)
        return value

    def _unpickle_slowly(self, stream: memoryview) -> Any:
        slow = _SlowUnpickler(io.BytesIO(stream), buffers=self.buffers)
        slow.make = self.array
        return slow.load()

    def stand_in(self) -> Any:
        """What is found in the place of `numpy.ndarray`: a subclass, for whoever asks it for a method of arrays."""
        if self._stand_in is None:
            self._stand_in = _taken()
            self._stand_in.maker = self
        return self._stand_in

    def _put_back(self) -> bool:
        """Let go of the stand-in; whether somebody else has not."""
        cls, self._stand_in = self._stand_in, None
        if cls is None:
            return False
        cls.maker = None
        if sys.getrefcount(cls) > cls.unreferred:
            return True
        _spare.append(cls)
        return False

    def array(
        self,
        shape: Any,
        dtype: Any,
        buffer: Any = None,
        offset: int = 0,
        strides: Any = None,
        order: Any = "C",
    ) -> Any:
        """One array, as ``numpy.ndarray`` would make it."""
        import numpy as np

        array: Any = np.ndarray(shape, dtype, buffer, offset, strides, order)
        if buffer is None or array.dtype.isnative:
            return array
        return array.astype(array.dtype.newbyteorder("="))


class Mapping(Swapping):
    """Arrays are `numpy.memmap`: large ones of the file itself, small ones of private copies.

    What cannot be mapped (``bytes``) is read and checked; the rest is not touched.
    """

    def __init__(self, path: str, fd: int, found: layout.Footer, mode: MmapMode) -> None:
        self._path = os.path.abspath(path)
        self._mode = "r+" if mode == "w+" else mode
        self._offsets: dict[int, int] = {}
        self._map = _mapped(fd, found.total, _ACCESS[mode])
        source = sealed.FileBytes(fd, found.total)
        super().__init__([self._buffer(source, found, number) for number in range(len(found.entries))])
        if self._mode == "r+":
            _mark_modified(fd, found)

    def _buffer(self, source: sealed.Bytes, found: layout.Footer, number: int) -> Any:
        entry = found.entries[number]
        if entry.kind in (layout.BYTES, layout.BYTEARRAY):  # cannot be mapped: read, and so checked
            return sealed.checked_buffer(source, found, number)
        view = memoryview(self._map)[entry.offset : entry.offset + entry.length]
        self._offsets[id(view)] = entry.offset
        return view

    def unpickle(self, stream: memoryview) -> Any:
        """The object of the stream."""
        value = super().unpickle(stream)
        if self.unreached:
            names = ", ".join(self.unreached[:5]) + (", ..." if len(self.unreached) > 5 else "")
            message = (
                f"{self._path}: changes to {len(self.unreached)} small arrays ({names}) will not reach the file; "
                f"only arrays of {layout.HANDED_OVER // 1024} KiB and more are mapped"
            )
            notices.warn(message, errors.MappingWarning)
        return value

    def array(
        self,
        shape: Any,
        dtype: Any,
        buffer: Any = None,
        offset: int = 0,
        strides: Any = None,
        order: Any = "C",
    ) -> Any:
        """One array: a map of the file, a view of another one, or a small one that has its own memory."""
        import numpy as np

        if buffer is None:  # of objects, or of no bytes: what it holds comes as its state
            return np.ndarray(shape, dtype)
        base, start, place = buffer, offset, None
        if (found := self._offsets.get(id(buffer))) is not None:
            base, start = self._map, found + offset
            place = start
        elif (found := getattr(buffer, "offset", None)) is not None:
            place = found + offset
        array: Any = np.ndarray.__new__(np.memmap, shape, dtype, base, start, strides, order)
        # What numpy.memmap itself sets; its views take it over from here. Without a map, whoever would map the
        # array again by its name and offset (joblib's workers do) knows that it does not lie in the file.
        array._mmap = None if place is None else self._map
        array.filename, array.offset, array.mode = self._path, place, self._mode
        if isinstance(base, bytearray):
            array.flags.writeable = self._mode != "r"
            if self._mode == "r+":
                self.unreached.append(f"{array.size} x {array.dtype}")
        return array


def _mapped(fd: int, size: int, access: int) -> mmap.mmap:
    if sys.version_info >= (3, 13):
        return mmap.mmap(fd, size, access=access, trackfd=False)
    return mmap.mmap(fd, size, access=access)


def _mark_modified(fd: int, found: layout.Footer) -> None:
    """Before a part can be written to, its digest no longer counts: no check will cry damage falsely."""
    marked = False
    for number, entry in enumerate(found.entries):
        if entry.kind == layout.WRITABLE and found.states[number] != layout.MODIFIED:
            os.pwrite(fd, layout.MODIFIED, layout.record_offset(found.start, number))
            marked = True
    if marked:
        # Before any change: a power cut may keep pages of the map and lose what was written first.
        os.fsync(fd)
