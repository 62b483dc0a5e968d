"""What of tables and their like counts: pandas, Arrow, polars, SciPy's sparse matrices, torch.

The law: what the library's own equality, and what its types, tell apart; not how the data lies in memory. So blocks,
chunks, caches, slices of bigger parents and garbage under nulls do not count; names, indexes, dtypes, missing values
and metadata that users set do. Each rule falls back to the object's reduce where a library is older or newer than the
attributes that it needs.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

from lightwork.hashing.atoms import Term
from lightwork.hashing.buffers import BLOCK, Pieces, digest_bytes
from lightwork.hashing.taken import Rule, Taken, by_reduce, traced
from lightwork.hashing.walk import Walk, name_of


def _or_reduce(rule: Rule) -> Rule:
    """Fall back to reduce where a rule does not fit the installed version of the library."""

    @functools.wraps(rule)
    def take(value: Any, walk: Walk) -> Taken | Term:
        try:
            return rule(value, walk)
        except (AttributeError, NotImplementedError, ImportError):
            return by_reduce(value, walk)

    return take


# --- pandas -------------------------------------------------------------------------------------------


def _pandas_name(value: Any) -> str:
    """Return the public name: pandas moves its classes between private modules."""
    kind = type(value)
    return "pandas." + kind.__name__ if kind.__module__.partition(".")[0] == "pandas" else name_of(kind)


def _labels(value: Any) -> tuple[Any, ...]:
    """Return what users hang on a frame or series."""
    metadata = tuple(
        [(name, getattr(value, name, None)) for name in type(value)._metadata if name != "_name"]
    )
    return (dict(value.attrs) or None, value.flags.allows_duplicate_labels, metadata)


@_or_reduce
def _frame(value: Any, walk: Walk) -> Taken:
    columns = [column.array for _, column in value.items()]
    parts = (value.columns, value.index, columns, *_labels(value), *traced(type(value), walk))
    return Taken(_pandas_name(value), parts, (".columns", ".index", ".columns"))


@_or_reduce
def _series(value: Any, walk: Walk) -> Taken:
    parts = (value.name, value.index, value.array, *_labels(value), *traced(type(value), walk))
    return Taken(_pandas_name(value), parts, (".name", ".index", ".array"))


@_or_reduce
def _index(value: Any, walk: Walk) -> Taken:
    name, kind = _pandas_name(value), type(value).__name__
    if kind == "RangeIndex":
        return Taken(name, (value.start, value.stop, value.step, value.name))
    if kind == "MultiIndex":
        # Levels that are not used, and their order, are how the index is stored, not what it says.
        levels = [value.get_level_values(place).array for place in range(value.nlevels)]
        return Taken(name, (list(value.names), levels))
    return Taken(name, (value.name, value.array, getattr(value, "freqstr", None)))


@_or_reduce
def _plain_array(value: Any, walk: Walk) -> Taken:
    return Taken("pandas array", (value.to_numpy(),))


@_or_reduce
def _categorical(value: Any, walk: Walk) -> Taken:
    return Taken("pandas.Categorical", (value.codes, value.categories, bool(value.ordered)))


@_or_reduce
def _times(value: Any, walk: Walk) -> Taken:
    return Taken("pandas times", (type(value).__name__, str(value.dtype), value.asi8))


@_or_reduce
def _intervals(value: Any, walk: Walk) -> Taken:
    return Taken("pandas intervals", (value.left, value.right, value.closed))


@_or_reduce
def _masked(value: Any, walk: Walk) -> Taken:
    mask, data = value._mask, value._data
    if mask.any():
        data = data.copy()
        data[mask] = 0
        return Taken("pandas masked", (str(value.dtype), data, mask))
    return Taken("pandas masked", (str(value.dtype), data, None))


@_or_reduce
def _objects(value: Any, walk: Walk) -> Taken:
    return Taken("pandas objects", (repr(value.dtype), value.to_numpy(dtype=object).tolist()))


@_or_reduce
def _arrow_backed(value: Any, walk: Walk) -> Taken:
    return Taken("pandas arrow", (repr(value.dtype), value.__arrow_array__()))


@_or_reduce
def _sparse_array(value: Any, walk: Walk) -> Taken:
    places = value.sp_index.to_int_index().indices
    return Taken("pandas.SparseArray", (value.sp_values, places, value.fill_value, len(value)))


# --- Arrow --------------------------------------------------------------------------------------------


@_or_reduce
def _arrow(value: Any, walk: Walk) -> Taken:
    return Taken("pyarrow." + type(value).__name__, (str(value.type), len(value), *_arrow_parts(value, walk)))


@_or_reduce
def _arrow_chunked(value: Any, walk: Walk) -> Taken:
    """Where a column is cut into chunks does not count."""
    whole = value.chunk(0) if value.num_chunks == 1 else value.combine_chunks()
    return Taken("pyarrow.ChunkedArray", (str(value.type), len(value), *_arrow_parts(whole, walk)))


@_or_reduce
def _arrow_table(value: Any, walk: Walk) -> Taken:
    columns = [value.column(place) for place in range(value.num_columns)]
    fields = [(field.name, str(field.type), field.nullable, field.metadata) for field in value.schema]
    return Taken("pyarrow." + type(value).__name__, (fields, value.schema.metadata, value.num_rows, columns))


def _arrow_parts(array: Any, walk: Walk) -> tuple[Any, ...]:
    """Take an array apart: which slots hold something, and what those that do hold."""
    types = sys.modules["pyarrow"].types
    kind = array.type
    if (
        type(array).__name__ == "ChunkedArray"
    ):  # combine_chunks gives one where the data is too long for one array
        return ([_arrow_parts(chunk, walk) for chunk in array.chunks],)
    if isinstance(array, sys.modules["pyarrow"].ExtensionArray):
        return _arrow_parts(array.storage, walk)
    if types.is_dictionary(kind):
        return _arrow_parts(array.dictionary_decode(), walk)
    valid = None
    if array.null_count:
        valid = _arrow_bytes(array.is_valid().cast("uint8"), 1, walk)
        try:
            array = array.drop_null()
        except NotImplementedError:  # texts as views, in the Arrow of today
            return (valid, array.to_pylist())
    if types.is_null(kind):
        return (None,)
    if types.is_boolean(kind):
        return (valid, _arrow_bytes(array.cast("uint8"), 1, walk))
    if types.is_struct(kind):
        return (valid, [_arrow_parts(field, walk) for field in array.flatten()])
    if types.is_list(kind) or types.is_large_list(kind):
        return (valid, array.value_lengths().to_numpy(), _arrow_parts(array.flatten(), walk))
    if types.is_string(kind) or types.is_binary(kind):
        return (valid, *_arrow_texts(array, "i4", walk))
    if types.is_large_string(kind) or types.is_large_binary(kind):
        return (valid, *_arrow_texts(array, "i8", walk))
    if types.is_primitive(kind) or types.is_decimal(kind) or types.is_fixed_size_binary(kind):
        return (valid, _arrow_bytes(array, kind.bit_width // 8, walk))
    return (valid, array.to_pylist())


def _arrow_bytes(array: Any, width: int, walk: Walk) -> bytes:
    data = array.buffers()[1]
    start = array.offset * width
    return digest_bytes(
        memoryview(data)[start : start + len(array) * width] if data is not None else b"", walk.algo
    )


def _arrow_texts(array: Any, offsets: str, walk: Walk) -> tuple[Any, ...]:
    """Take texts apart: their lengths and, one after the other, their bytes."""
    import numpy as np

    _, places, data = array.buffers()
    if not len(array) or places is None:
        return (b"", b"")
    ends = np.frombuffer(places, offsets)[array.offset : array.offset + len(array) + 1]
    text = memoryview(data)[ends[0] : ends[-1]] if data is not None else b""
    lengths = Pieces(walk.algo)
    room = np.empty(min(BLOCK // 8, len(array)), "i8")
    for start in range(0, len(array), BLOCK // 8):
        part = ends[start : start + BLOCK // 8 + 1]
        lengths.add(np.subtract(part[1:], part[:-1], out=room[: len(part) - 1], dtype="i8").data)
    return (lengths.digest(), digest_bytes(text, walk.algo))


# --- polars -------------------------------------------------------------------------------------------


@_or_reduce
def _polars_series(value: Any, walk: Walk) -> Taken:
    return Taken("polars.Series", (value.name, str(value.dtype), value.to_arrow()))


@_or_reduce
def _polars_frame(value: Any, walk: Walk) -> Taken:
    return Taken("polars.DataFrame", (value.height, value.get_columns()))


# --- SciPy --------------------------------------------------------------------------------------------

_SPARSE = {
    "csr": ("data", "indices", "indptr"),
    "csc": ("data", "indices", "indptr"),
    "bsr": ("data", "indices", "indptr"),
    "coo": ("data", "row", "col"),
    "dia": ("data", "offsets"),
}


@_or_reduce
def _sparse(value: Any, walk: Walk) -> Taken:
    """A sparse matrix: its arrays. Whether SciPy has looked if they are sorted does not count."""
    names = _SPARSE.get(value.format)
    if names is None or (value.format == "coo" and value.ndim != 2):
        return by_reduce(value, walk)
    arrays = tuple([getattr(value, name) for name in names])
    return Taken("scipy.sparse." + type(value).__name__, (tuple(map(int, value.shape)), *arrays))


# --- torch --------------------------------------------------------------------------------------------


@_or_reduce
def _tensor(value: Any, walk: Walk) -> Taken:
    """A dense tensor: dtype, shape, elements, and whether it wants a gradient; not the device it lies on."""
    torch = sys.modules["torch"]
    if str(value.layout) != "torch.strided":
        return by_reduce(value, walk)
    plain = value.detach().cpu().contiguous().reshape(-1)
    data = plain.view(torch.uint8).numpy() if value.numel() else None
    parts = (str(value.dtype), tuple(value.shape), bool(value.requires_grad), data)
    return Taken(f"torch.{type(value).__name__}", parts)


LATE: dict[str, Rule] = {
    "pandas.arrays.NumpyExtensionArray": _plain_array,
    "pandas.core.arrays.numpy_.NumpyExtensionArray": _plain_array,
    "pandas.core.arrays.numpy_.PandasArray": _plain_array,
    "pandas.Categorical": _categorical,
    "pandas.core.arrays.categorical.Categorical": _categorical,
    "pandas.arrays.DatetimeArray": _times,
    "pandas.core.arrays.datetimes.DatetimeArray": _times,
    "pandas.arrays.TimedeltaArray": _times,
    "pandas.core.arrays.timedeltas.TimedeltaArray": _times,
    "pandas.arrays.PeriodArray": _times,
    "pandas.core.arrays.period.PeriodArray": _times,
    "pandas.arrays.IntervalArray": _intervals,
    "pandas.core.arrays.interval.IntervalArray": _intervals,
    "pandas.arrays.SparseArray": _sparse_array,
    "pandas.core.arrays.sparse.array.SparseArray": _sparse_array,
    "pandas.arrays.StringArray": _objects,
    "pandas.core.arrays.string_.StringArray": _objects,
    "polars.series.series.Series": _polars_series,
    "polars.dataframe.frame.DataFrame": _polars_frame,
    "pyarrow.lib.ChunkedArray": _arrow_chunked,
    "pyarrow.lib.Table": _arrow_table,
    "pyarrow.lib.RecordBatch": _arrow_table,
    "torch.Tensor": _tensor,
    "torch.nn.parameter.Parameter": _tensor,
}

FAMILIES: dict[str, Rule] = {
    "pandas.DataFrame": _frame,
    "pandas.core.frame.DataFrame": _frame,
    "pandas.Series": _series,
    "pandas.core.series.Series": _series,
    "pandas.Index": _index,
    "pandas.core.indexes.base.Index": _index,
    "pandas.core.arrays.masked.BaseMaskedArray": _masked,
    "pandas.core.arrays.string_.BaseStringArray": _objects,
    "pandas.arrays.ArrowExtensionArray": _arrow_backed,
    "pandas.core.arrays.arrow.array.ArrowExtensionArray": _arrow_backed,
    "pyarrow.lib.Array": _arrow,
    "scipy.sparse._base._spbase": _sparse,
    "scipy.sparse._base.spmatrix": _sparse,
}
