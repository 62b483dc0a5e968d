"""Views of one base, written once: which stretches of memory an object's arrays share (``dump(..., dedupe=True)``).

The object is pickled twice. The first time, nothing is kept but where each array lies. Arrays that overlap form a
*stretch*; where the stretch is shorter than its arrays together, it is written once, and the arrays as views of
it. After loading they share memory again: a write to one is seen in the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np

Array = Any

_SMALLEST: Final = 4096  # bytes from which a view costs less than a copy (chosen by guess)


class Stretches:
    """The memory that arrays share: `note` each of them, `settle`, then ask `place`."""

    def __init__(self) -> None:
        self._noted: list[tuple[int, int, int, Array]] = []  # from, to, bytes, array
        self._settled: list[tuple[int, int, Array]] | None = None

    @property
    def noting(self) -> bool:
        """Whether this is still the first time."""
        return self._settled is None

    def note(self, array: Array) -> None:
        """Remember where an array lies."""
        if array.nbytes:
            self._noted.append((*_bounds(array), array.nbytes, array))

    def settle(self) -> None:
        """From now on the stretches are known."""
        self._settled = []
        group: list[tuple[int, int, int, Array]] = []
        end = -1
        for noted in [*sorted(self._noted, key=lambda noted: noted[:2]), None]:
            if noted is None or noted[0] >= end:
                self._close(group)
                group = []
            if noted is not None:
                group.append(noted)
                end = max(end, noted[1]) if len(group) > 1 else noted[1]

    def _close(self, group: list[tuple[int, int, int, Array]]) -> None:
        assert self._settled is not None
        distinct = {(low, high, array.strides): nbytes for low, high, nbytes, array in group}
        if len(distinct) < 2:
            return
        low, high = group[0][0], max(high for _, high, _, _ in group)
        if high - low >= _SMALLEST and sum(distinct.values()) > high - low:
            self._settled.append((low, high, _memory(low, high, [array for *_, array in group])))

    def place(self, array: Array) -> tuple[Array, int] | None:
        """The stretch that an array is a part of, as bytes, and where in it the array's first element lies."""
        if not self._settled or not array.nbytes:
            return None
        low, high = _bounds(array)
        first = array.__array_interface__["data"][0]
        for start, end, stretch in self._settled:
            if start <= low and high <= end and stretch is not array:
                return stretch, first - start
        return None


def _bounds(array: Array) -> tuple[int, int]:
    low = high = array.__array_interface__["data"][0]
    for length, stride in zip(array.shape, array.strides, strict=True):
        if stride < 0:
            low += stride * (length - 1)
        else:
            high += stride * (length - 1)
    return low, high + array.itemsize


class _Stretch:
    """Lends NumPy the memory between two addresses, and keeps alive what it belongs to."""

    def __init__(self, low: int, high: int, arrays: list[Array]) -> None:
        self.arrays = arrays
        self.__array_interface__ = {
            "data": (low, False), "shape": (high - low,), "typestr": "|u1", "version": 3,
        }  # fmt: skip


def _memory(low: int, high: int, arrays: list[Array]) -> np.ndarray[Any, Any]:
    import numpy as np

    return np.asarray(_Stretch(low, high, arrays))
