"""Memory-mapped files as arguments: sent as a file and a place in it, mapped again by the worker.

An `np.memmap` already lies where both sides can reach it, so its data need not travel. Which map the worker
makes follows from how the user opened it:

===========  ==========================================================================================
``r``        mapped privately; read-only, as it is in the parent
``r+ w+``    mapped shared: what the task writes reaches the file (people collect results so)
``c``        travels by value, like any array: the parent's private writes are not in the file
===========  ==========================================================================================

A name is not a file. The array may lie over a file that was replaced since, and then the name leads to other
data. So the parent looks up which inode its map lies on, sends that along, and the worker compares it with what
it opened. Where the map begins in the file is looked up too: an array's own ``offset`` tells it only if `np.memmap`
made the map, and not `lightwork.load`, which maps whole files. Where the system does not tell, or the file has no
name any more, the array travels by value.
"""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Reducers", "address", "reducers"]

Reducers = Mapping[type, Callable[[Any], Any]]


def reducers() -> Reducers:
    """The reducers for one call, by exact type; empty while the program has not loaded NumPy."""
    numpy = sys.modules.get("numpy")
    return {} if numpy is None else {numpy.memmap: _FileMaps().reduce}


class _FileMaps:
    """What is known in one call of the maps that its arguments lie on."""

    def __init__(self) -> None:
        self._places: dict[int, tuple[mmap.mmap, tuple[int, int] | None]] = {}

    def reduce(self, array: np.memmap[Any, Any]) -> Any:
        """How an array over a mapped file is pickled."""
        import numpy as np

        base = cast("mmap.mmap | None", getattr(array, "_mmap", None))
        if base is None or array.mode == "c" or array.filename is None or array.dtype.hasobject:
            return np.asarray(array).__reduce_ex__(5)
        place = self._place(base, os.fspath(array.filename))
        if place is None:
            return np.asarray(array).__reduce_ex__(5)
        inode, begin = place
        low, high = _bounds(array)
        start = begin + low - address(base)
        shared = array.mode in ("r+", "w+")
        inner = array.__array_interface__["data"][0] - low
        layout = (array.shape, array.strides, array.dtype, inner, array.flags.writeable)
        return _map_again, (os.path.abspath(array.filename), inode, start, high - low, shared, layout)

    def _place(self, base: mmap.mmap, filename: str) -> tuple[int, int] | None:
        known = self._places.get(id(base))
        if known is None:
            known = self._places[id(base)] = base, _mapped_place(address(base), filename)
        return known[1]


def address(buffer: mmap.mmap | memoryview) -> int:
    """Where a buffer lies; needs NumPy."""
    import numpy as np

    return cast(int, np.frombuffer(buffer, "u1").__array_interface__["data"][0])


def _bounds(array: np.ndarray[Any, Any]) -> tuple[int, int]:
    """The first byte of an array, and the one behind its last, whatever its strides."""
    low = high = array.__array_interface__["data"][0]
    if array.size:
        for length, stride in zip(array.shape, array.strides, strict=True):
            low += min(0, (length - 1) * stride)
            high += max(0, (length - 1) * stride)
        high += array.itemsize
    return low, high


def _mapped_place(place: int, filename: str) -> tuple[int, int] | None:
    """The inode that the map at this address lies on, and where in it; if the file of this name is still that one."""
    try:
        inode = os.stat(filename).st_ino
        with open("/proc/self/maps") as maps:
            for line in maps:
                extent, _, begin, _, mapped, *_ = line.split(maxsplit=5)
                first, last = (int(bound, 16) for bound in extent.split("-"))
                if first <= place < last:
                    return (inode, int(begin, 16) + place - first) if int(mapped) == inode else None
    except OSError:
        return None  # no such file any more, or a system without /proc: by value
    return None


def _map_again(
    filename: str,
    inode: int,
    start: int,
    size: int,
    shared: bool,
    layout: tuple[tuple[int, ...], tuple[int, ...], np.dtype[Any], int, bool],
) -> np.ndarray[Any, Any]:
    import numpy as np

    shape, strides, dtype, inner, writeable = layout
    if not size:
        return np.empty(shape, dtype)
    with open(filename, "r+b" if shared else "rb") as file:
        if os.fstat(file.fileno()).st_ino != inode:
            raise FileNotFoundError(f"{filename} was replaced while tasks that use it were on their way")
        whole = np.memmap(file, "u1", "r+" if shared else "c", start, (size,))
    array = np.ndarray.__new__(np.memmap, shape, dtype, whole, inner, strides)
    array.flags.writeable = writeable
    return array
