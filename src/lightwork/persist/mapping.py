"""Arrays made another way while a stream is unpickled: mapped from the file, or with their bytes swapped.

Our pickles make each array by calling ``numpy.frombuffer``. Here that one name is found as a function of ours. If the
object itself holds `numpy.frombuffer` as a value, ours would be in its place; then it is still referred to
when unpickling is over, which is noticed, and the stream is unpickled once more without it.
"""

from __future__ import annotations

import io
import mmap
import os
import pickle
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lightwork import errors
from lightwork.observe import notices
from lightwork.persist import layout, sealed

if TYPE_CHECKING:
    from lightwork.persist.reader import MmapMode

_ACCESS = {"r": mmap.ACCESS_READ, "r+": mmap.ACCESS_WRITE, "w+": mmap.ACCESS_WRITE, "c": mmap.ACCESS_COPY}


class _Unpickler(pickle.Unpickler):
    frombuffer: Callable[..., Any] | None = None

    def find_class(self, module: str, name: str) -> Any:
        if name == "frombuffer" and module == "numpy" and self.frombuffer is not None:
            return self.frombuffer
        return super().find_class(module, name)


class Swapping:
    """Arrays of the other byte order become native ones."""

    def __init__(self, buffers: list[Any]) -> None:
        self.buffers = buffers

    def unpickle(self, stream: memoryview) -> Any:
        """The object of the stream."""

        def frombuffer(buffer: Any, dtype: Any) -> Any:
            return self.array(buffer, dtype)

        unreferred = sys.getrefcount(frombuffer)
        unpickler = _Unpickler(io.BytesIO(stream), buffers=self.buffers)
        unpickler.frombuffer = frombuffer
        value = unpickler.load()
        del unpickler
        if sys.getrefcount(frombuffer) > unreferred:
            del value
            return self.unpickle_plainly(stream)
        return value

    def unpickle_plainly(self, stream: memoryview) -> Any:
        """The object of the stream, by NumPy's own function."""
        return _Unpickler(io.BytesIO(stream), buffers=self.buffers).load()

    def array(self, buffer: Any, dtype: Any) -> Any:
        """One array of one axis."""
        import numpy as np

        array = np.frombuffer(buffer, dtype)
        return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


class Mapping(Swapping):
    """Arrays are `numpy.memmap`: large ones of the file itself, small ones of private copies.

    What cannot be mapped (``bytes``) is read and checked; the rest is not touched.
    """

    def __init__(self, path: str, fd: int, found: layout.Footer, mode: MmapMode) -> None:
        self._path = os.path.abspath(path)
        self._mode = "r+" if mode == "w+" else mode
        self._unreached: list[str] = []
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
        if self._unreached:
            names = ", ".join(self._unreached[:5]) + (", ..." if len(self._unreached) > 5 else "")
            message = (
                f"{self._path}: changes to {len(self._unreached)} small arrays ({names}) will not reach the file; "
                f"only arrays of {layout.HANDED_OVER // 1024} KiB and more are mapped"
            )
            notices.warn(message, errors.MappingWarning)
        return value

    def array(self, buffer: Any, dtype: Any) -> Any:
        """One array of one axis."""
        import numpy as np

        offset = self._offsets.get(id(buffer))
        if offset is None:
            base: Any = mmap.mmap(-1, max(1, len(buffer)), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            base[: len(buffer)] = bytes(buffer)
            start, offset = 0, 0
        else:
            base, start = self._map, offset
        dtype = np.dtype(dtype)
        array: Any = np.ndarray.__new__(np.memmap, (len(buffer) // dtype.itemsize,), dtype, base, start)
        # What numpy.memmap itself sets; its views take it over from here.
        array._mmap, array.filename, array.offset, array.mode = base, self._path, offset, self._mode
        if base is not self._map:
            array.flags.writeable = self._mode != "r"
            if self._mode == "r+":
                self._unreached.append(f"{array.size} x {dtype}")
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
