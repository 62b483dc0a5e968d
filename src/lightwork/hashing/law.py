"""The law of equality in words: per type, what counts in a digest and what does not.

Each row names the types that it speaks of as the tables of rules name them (`rules.RULES`, `LATE`, `FAMILIES`, and the
walk's own); a test holds that each type there is in one row, and that each type here has a rule. The page
``docs/explanation/equality.md`` shows this table.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Row(NamedTuple):
    """What one family of types goes by."""

    title: str
    types: str
    counts: str
    not_counted: str = ""


# Types that the walk encodes by itself.
WALKED = (
    "NoneType bool int float complex str bytes ellipsis list tuple dict set frozenset function class instance"
)

LAW = (
    Row(
        "`None`, `bool`, `int`, `float`, `complex`, `str`, `bytes`, `...`",
        "NoneType bool int float complex str bytes ellipsis",
        "type and value; `0.0` and `-0.0` differ; `1`, `1.0` and `True` differ",
        "the payload and sign of NaN: it is one value; whether a string is interned",
    ),
    Row("`list`, `tuple`", "list tuple", "type, elements, their order", "which elements are one object"),
    Row(
        "`dict`, `set`, `frozenset`",
        "dict set frozenset",
        "type, keys and values or elements",
        "order of insertion; which objects are shared",
    ),
    Row(
        "`bytearray`, `memoryview`, `array.array`, buffers",
        "bytearray memoryview array.array _pickle.PickleBuffer pickle.PickleBuffer",
        "type, item format, bytes",
        "strides",
    ),
    Row("`range`, `slice`, `NotImplemented`", "range slice NotImplementedType", "start, stop, step"),
    Row(
        "`Decimal`, `Fraction`, `UUID`",
        "decimal.Decimal fractions.Fraction uuid.UUID",
        "all digits: `Decimal('1.0')` and `Decimal('1.00')` differ",
    ),
    Row(
        "`datetime`, `date`, `time`, `timedelta`, `timezone`, `ZoneInfo`",
        "datetime.datetime datetime.date datetime.time datetime.timedelta datetime.timezone zoneinfo.ZoneInfo",
        "all fields, `fold`, time zone by name and offset",
        "the same moment in another zone is another value",
    ),
    Row("paths", "pathlib.PurePath pathlib._local.PurePath", "class and text", "what lies at the path"),
    Row("`re.Pattern`", "re.Pattern", "pattern and flags"),
    Row("enums", "enum.Enum", "class, name and value (flags: value)"),
    Row(
        "functions",
        "function",
        "what they do: definition, defaults, closure, what they use (see fingerprints)",
        "comments, docstrings, hints, name of the module",
    ),
    Row(
        "classes",
        "class",
        "the user's: bases, methods, attributes, fields; a library's: its name",
        "docstrings",
    ),
    Row(
        "methods, partials, properties, `lru_cache`",
        "method functools.partial property staticmethod classmethod",
        "what they wrap and bind",
    ),
    Row(
        "functions and methods in C, modules, code",
        "builtin_function_or_method method-wrapper wrapper_descriptor method_descriptor classmethod_descriptor"
        " getset_descriptor member_descriptor module code types.GenericAlias numpy.ufunc",
        "name, and the object that a method is bound to",
        "what a module holds (it counts where code or a remembered call holds the module)",
    ),
    Row(
        "`SimpleNamespace`, `mappingproxy`, instances, dataclasses, named tuples",
        "types.SimpleNamespace mappingproxy instance",
        "name of the class and state: `__lightwork_hash__`, a rule given to `register_hash`, else what pickle keeps",
        "code of the class (it counts where code holds the instance)",
    ),
    Row(
        "NumPy arrays",
        "numpy.ndarray numpy.memmap",
        "type, dtype with byte order, shape, C or Fortran order, elements (floats bit by bit, so NaN by payload)",
        "strides: a view is its copy; padding in structs and long doubles; an array in both orders is in C order; "
        "with `coerce_mmap`, whether it is mapped",
    ),
    Row(
        "NumPy scalars and dtypes",
        "numpy.generic numpy.dtype",
        "dtype and bits: no scalar equals a Python number",
    ),
    Row(
        "masked arrays",
        "numpy.ma.MaskedArray numpy.ma.core.MaskedArray",
        "data, mask, fill value, hardness",
        "data under the mask; whether a mask without a hit is there",
    ),
    Row(
        "pandas frames, series, indexes",
        "pandas.DataFrame pandas.core.frame.DataFrame pandas.Series pandas.core.series.Series pandas.Index"
        " pandas.core.indexes.base.Index",
        "class, labels, columns and their order, dtypes, values, names, `attrs`, flags, `_metadata`, frequency",
        "layout of blocks, caches, unused levels of a `MultiIndex`",
    ),
    Row(
        "pandas arrays",
        "pandas.arrays.NumpyExtensionArray pandas.core.arrays.numpy_.NumpyExtensionArray"
        " pandas.core.arrays.numpy_.PandasArray pandas.Categorical pandas.core.arrays.categorical.Categorical"
        " pandas.arrays.DatetimeArray pandas.core.arrays.datetimes.DatetimeArray pandas.arrays.TimedeltaArray"
        " pandas.core.arrays.timedeltas.TimedeltaArray pandas.arrays.PeriodArray pandas.core.arrays.period.PeriodArray"
        " pandas.arrays.IntervalArray pandas.core.arrays.interval.IntervalArray pandas.arrays.SparseArray"
        " pandas.core.arrays.sparse.array.SparseArray pandas.arrays.StringArray pandas.core.arrays.string_.StringArray"
        " pandas.core.arrays.masked.BaseMaskedArray pandas.core.arrays.string_.BaseStringArray"
        " pandas.arrays.ArrowExtensionArray pandas.core.arrays.arrow.array.ArrowExtensionArray",
        "dtype and values; categories, also unused ones, and their order",
        "data under missing values",
    ),
    Row(
        "Arrow arrays and tables",
        "pyarrow.lib.Array pyarrow.lib.ChunkedArray pyarrow.lib.Table pyarrow.lib.RecordBatch",
        "type, values, which are null, field names, metadata",
        "chunks, slices of bigger parents, garbage under nulls, order of a dictionary",
    ),
    Row(
        "polars",
        "polars.series.series.Series polars.dataframe.frame.DataFrame",
        "names, dtypes, values",
        "chunks",
    ),
    Row(
        "SciPy's sparse matrices",
        "scipy.sparse._base._spbase scipy.sparse._base.spmatrix",
        "class, shape, the arrays of the format",
        "whether they were checked for order and duplicates",
    ),
    Row(
        "torch tensors",
        "torch.Tensor torch.nn.parameter.Parameter",
        "class, dtype, shape, values, `requires_grad`",
        "device, strides, gradient",
    ),
    Row(
        "refused, with the path to it",
        "generator coroutine async_generator frame traceback weakref.ReferenceType _thread.lock _thread.RLock"
        " threading.Thread socket.socket _io.TextIOWrapper _io.BufferedReader _io.BufferedWriter _io.BufferedRandom"
        " _io.FileIO",
        "nothing: these are bound to the process or used up by reading; iterators of the standard library too",
    ),
)


def types_named() -> Iterator[str]:
    """Yield each type that the law speaks of."""
    for row in LAW:
        yield from row.types.split()


def table() -> str:
    """Return the law as a table in Markdown."""
    lines = ["| type | counts | does not count |", "|---|---|---|"]
    lines += [f"| {row.title} | {row.counts} | {row.not_counted} |" for row in LAW]
    return "\n".join(lines) + "\n"
