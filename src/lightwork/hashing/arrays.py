"""What of a NumPy array counts: its type, dtype, shape, memory order and elements.

The law: C order is told from Fortran order, as a pickle round trip does; strides are not. Bytes that are no
element's do not count: padding in structs and in long doubles, data under a mask. Elements that are objects are
walked; all others count bit by bit, so NaN by NaN's payload. NumPy is imported only where an array is at hand: the
program has done so itself.
"""

from __future__ import annotations

import functools
from marshal import dumps
from typing import Any, NamedTuple

from lightwork.hashing.atoms import LONG, Term, count
from lightwork.hashing.buffers import digest_array, digest_packed
from lightwork.hashing.taken import Rule, Taken, by_reduce, same_pickling, traced
from lightwork.hashing.walk import Walk, name_of


def dtype_parts(dtype: Any) -> tuple[Any, ...]:
    """Write a NumPy dtype as plain values: all that makes two dtypes different, and no more."""
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return ("sub", dtype_parts(base), shape)
    if dtype.names is not None:
        fields = tuple(
            [
                (name, dtype.fields[name][1], dtype_parts(dtype.fields[name][0]), *dtype.fields[name][2:])
                for name in dtype.names
            ]
        )
        return ("struct", dtype.type.__name__, dtype.itemsize, fields)
    if dtype.kind in "biufcmMOSU" or dtype.str.startswith("|V"):
        return (
            (dtype.str,) if type(dtype).__module__.startswith("numpy") else (dtype.str, name_of(type(dtype)))
        )
    if dtype.kind == "T":
        missing = (repr(dtype.na_object),) if hasattr(dtype, "na_object") else ()
        return ("T", dtype.coerce, *missing)
    return (dtype.str, dtype.name, name_of(type(dtype)))


class Layout(NamedTuple):
    """Which bytes of an element make up its value, and where they go when it is packed."""

    raw: Any  # an element as nothing but bytes
    size: int  # of a packed element
    runs: tuple[tuple[int, int, int], ...]  # from, to, number of bytes; what nothing goes to is zero


@functools.lru_cache(256)
def _layout(dtype: Any) -> Layout | None:
    """Return how to pack elements of a dtype; None where each of their bytes counts once."""
    import numpy as np

    found: list[tuple[int, int, int]] = []
    size = _note_runs(dtype, 0, 0, found)
    runs: list[tuple[int, int, int]] = []
    for source, target, length in found:
        if runs and (source, target) == (runs[-1][0] + runs[-1][2], runs[-1][1] + runs[-1][2]):
            first = runs.pop()
            source, target, length = first[0], first[1], first[2] + length
        runs.append((source, target, length))
    end = 0
    for source, _, length in sorted(runs):
        end = end + length if source == end else -1
    if end == size == dtype.itemsize:
        return None
    return Layout(np.dtype((np.void, dtype.itemsize)), size, tuple(runs))


def _note_runs(dtype: Any, source: int, target: int, runs: list[tuple[int, int, int]]) -> int:
    """Note the runs of bytes in an element, and return where in the packed one they end."""
    if dtype.names is not None:
        for name in dtype.names:
            field, offset = dtype.fields[name][:2]
            target = _note_runs(field, source + offset, target, runs)
        return target
    base = dtype.base
    if base is not dtype and (base.names is not None or base.char in "gG"):
        for start in range(0, dtype.itemsize, base.itemsize or 1):
            target = _note_runs(base, source + start, target, runs)
        return target
    if base.char in "gG" and _has_80_bits():
        number = dtype.itemsize // (1 if base.char == "g" else 2)
        skipped = 0 if base.isnative else number - 10
        starts = range(skipped, dtype.itemsize, number)
        runs.extend([(source + start, target + start, 10) for start in starts])
    else:
        runs.append((source, target, dtype.itemsize))
    return target + int(dtype.itemsize)


@functools.cache
def _has_80_bits() -> bool:
    """Whether long doubles are x86's 80 bits, padded with whatever lay there to 12 or 16 bytes."""
    import numpy as np

    return bool(np.finfo(np.longdouble).nmant == 63)


def _dtype_text(dtype: Any) -> str:
    """Write a dtype as text. NumPy calls structs of records equal to those of plain structs: these are kept apart."""
    if dtype.names is None:
        return _text_of(dtype, None)
    known = _structs.get(dtype)
    if known is not None and known[0] is dtype:
        return known[1]
    fields = [dtype.fields[name][0] for name in dtype.names]
    if any(field.base.names for field in fields):
        return repr(
            dtype_parts(dtype)
        )  # the names of inner structs may be changed, and its hash would not show it
    if len(_structs) > 256:
        _structs.clear()
    text = _text_of(dtype, dtype.type)
    _structs[dtype] = (dtype, text)
    return text


_structs: dict[Any, tuple[Any, str]] = {}


@functools.lru_cache(256)
def _text_of(dtype: Any, kind: type | None) -> str:
    return repr(dtype_parts(dtype))


def array_parts(array: Any, walk: Walk) -> tuple[Any, ...]:
    """Take an array apart: dtype, memory order, data, shape."""
    dtype = array.dtype
    walk.heavy = walk.heavy or array.nbytes > 4096
    order = "F" if array.flags.fnc else "C"
    data: Any
    if not dtype.hasobject:
        layout = _layout(dtype) if dtype.char in "VgG" and array.nbytes else None
        data = digest_array(array, walk.algo) if layout is None else digest_packed(array, walk.algo, layout)
    elif dtype.names is None:
        data = array.ravel().tolist()
    else:
        data = tuple([_field(array[name], walk) for name in dtype.names])
    return (_dtype_text(dtype), order, data, *array.shape)


def _field(array: Any, walk: Walk) -> tuple[Any, ...]:
    import numpy as np

    return array_parts(array.view(np.ndarray), walk)


_ARRAY_LABELS = ("", "", ".flat")


def _ndarray(value: Any, walk: Walk) -> Taken | Term:
    """Take an array apart; or, where its parts are atoms anyway, write its term in a third of the time."""
    dtype = value.dtype
    if dtype.hasobject or value.ndim > 12:
        return Taken("numpy.ndarray", array_parts(value, walk), _ARRAY_LABELS)
    parts = array_parts(value, walk)
    text, order, data, *shape = parts
    if len(text) > LONG:
        return Taken("numpy.ndarray", parts)
    term = _array_head(text, order, len(shape)) + dumps((data, *shape), 2)[5:]
    if value.nbytes > 4096:
        walk.keep(value, term)
    return term


@functools.lru_cache(1024)
def _array_head(text: str, order: str, ndim: int) -> bytes:
    """Write what arrays of one kind have in common."""
    return count(b"O", 3 + ndim) + dumps(("numpy.ndarray", text, order), 2)[5:]


def _memmap(value: Any, walk: Walk) -> Taken:
    name = "numpy.ndarray" if walk.coerce_mmap else "numpy.memmap"
    return Taken(name, array_parts(_plain(value), walk), _ARRAY_LABELS)


def _array_subclass(value: Any, walk: Walk) -> Taken:
    import numpy as np

    kind: Any = type(value)
    if kind is np.matrix or kind is np.recarray or kind is np.char.chararray:
        return Taken("numpy." + kind.__name__, array_parts(_plain(value), walk), _ARRAY_LABELS)
    if not same_pickling(kind, np.ndarray):
        return by_reduce(value, walk)
    state = getattr(value, "__dict__", None) or None
    return Taken(
        name_of(kind), (*array_parts(_plain(value), walk), state, *traced(kind, walk)), _ARRAY_LABELS
    )


def _plain(value: Any) -> Any:
    import numpy as np

    return value.view(np.ndarray)


def _masked(value: Any, walk: Walk) -> Taken:
    """What lies under the mask does not count, nor whether a mask without a hit is there at all."""
    import numpy as np

    if value is np.ma.masked:
        return Taken("numpy.ma.masked", ())
    name = "numpy.ma.MaskedArray"
    if type(value) is not np.ma.MaskedArray:
        name = name_of(type(value))
    hard = bool(value._hardmask)
    fill = value._fill_value
    if fill is not None:
        default = np.array(np.ma.default_fill_value(value.dtype))
        defaults = [array_parts(each, walk) for each in (default, default.astype(value.dtype))]
        if array_parts(np.asarray(fill), walk) in defaults:
            fill = None  # asking for it stores it
    if value.dtype.names is not None:
        fields = tuple([value[field].view(np.ma.MaskedArray) for field in value.dtype.names])
        return Taken(name, (_dtype_text(value.dtype), fields, fill, hard))
    data, mask = value.data.view(np.ndarray), np.ma.getmask(value)
    if mask is np.ma.nomask or not mask.any():
        return Taken(name, (data, None, fill, hard))
    data = data.copy(order="F" if data.flags.fnc else "C")
    data[mask] = np.zeros((), data.dtype) if not data.dtype.hasobject else None
    return Taken(name, (data, np.ascontiguousarray(mask), fill, hard))


def _scalar(value: Any, walk: Walk) -> Taken:
    import numpy as np

    kind = type(value)
    name = "numpy scalar" if kind.__module__ == "numpy" else "numpy scalar " + name_of(kind)
    return Taken(name, array_parts(np.asarray(value), walk))


def _dtype(value: Any, walk: Walk) -> Taken:
    return Taken("numpy.dtype", (_dtype_text(value),))


def _ufunc(value: Any, walk: Walk) -> Taken:
    return Taken("numpy.ufunc", (value.__name__,))


LATE: dict[str, Rule] = {
    "numpy.ndarray": _ndarray,
    "numpy.memmap": _memmap,
    "numpy.ufunc": _ufunc,
}

FAMILIES: dict[str, Rule] = {
    "numpy.ma.MaskedArray": _masked,
    "numpy.ma.core.MaskedArray": _masked,
    "numpy.ndarray": _array_subclass,
    "numpy.generic": _scalar,
    "numpy.dtype": _dtype,
}
