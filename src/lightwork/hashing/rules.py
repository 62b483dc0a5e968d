"""Per type: what of an object counts in its digest.

The law: a rule takes an object apart into a name and parts (`Taken`); the walk does the rest. The name is a fixed
text, so that a class that moves between modules of its library keeps its digests. What is not part of the value
(caches, memory layout, which objects are shared) must not be among the parts; all that `==`, or any method, could
tell apart must be.

`RULES` holds the rules of types that are always there, by exact type. `LATE` holds those of other libraries by
the name of the class; they count only if that library is loaded and the name is really that class: nothing here
imports a library. Both apply to subclasses as the rule's author allowed (`families`). A class may speak for itself
(`__lightwork_hash__`), users register rules (`register_hash`), and what is left goes by its reduce, as pickle would.
What is bound to this process (locks, open files, generators) is refused with the path that leads to it.
"""

from __future__ import annotations

import copyreg
import enum
import functools
import sys
import types
import weakref
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

from lightwork.errors import OptionTypeError
from lightwork.hashing.buffers import digest_bytes
from lightwork.hashing.libraries import is_library_module, library_name
from lightwork.hashing.walk import (
    Encoding,
    Steps,
    StepsOf,
    Walk,
    atom,
    count,
    flat,
    install_fallback,
    is_inline,
    name_of,
    refuse,
)


class Taken(NamedTuple):
    """An object taken apart: the name that its encoding bears, its parts, and what to call them in a message."""

    name: str
    parts: tuple[Any, ...]
    labels: tuple[str, ...] = ()


Rule = Callable[[Any, "Walk"], Taken]


# --- the standard library -------------------------------------------------------------------------


def _attributes(name: str, *attributes: str) -> Rule:
    """Make a rule for a class whose value is a few of its attributes."""

    def rule(value: Any, walk: Walk) -> Taken:
        return Taken(
            name,
            tuple([getattr(value, attribute) for attribute in attributes]),
            tuple("." + a for a in attributes),
        )

    return rule


def _reduced(name: str) -> Rule:
    """Make a rule for a class whose reduce is the same on every Python."""

    def rule(value: Any, walk: Walk) -> Taken:
        return Taken(name, value.__reduce_ex__(4)[1])

    return rule


def _text(name: str) -> Rule:
    def rule(value: Any, walk: Walk) -> Taken:
        return Taken(name, (str(value),))

    return rule


def _named(value: Any, walk: Walk) -> Taken:
    return Taken("name", (repr(value),))


def _bytearray(value: bytearray, walk: Walk) -> Taken:
    return Taken("bytearray", (_data(value, walk),))


def _memoryview(value: memoryview, walk: Walk) -> Taken:
    data = _data(value, walk) if value.c_contiguous else value.tobytes()
    return Taken("memoryview", (value.format, value.shape, data))


def _pickle_buffer(value: Any, walk: Walk) -> Taken:
    return Taken("buffer", (_data(value.raw(), walk),))


def _array(value: Any, walk: Walk) -> Taken:
    return Taken("array.array", (value.typecode, value.itemsize, _data(value, walk)))


def _data(buffer: Any, walk: Walk) -> bytes:
    return digest_bytes(buffer, walk.algo)


def _path(value: Any, walk: Walk) -> Taken:
    # The module changed in 3.13 (pathlib._local) and back in 3.14.
    return Taken("pathlib." + type(value).__name__, (str(value),))


def _datetime(value: Any, walk: Walk) -> Taken:
    fields = (value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond)
    return Taken("datetime.datetime", (*fields, value.fold, value.tzinfo), _TIME_LABELS)


def _time(value: Any, walk: Walk) -> Taken:
    fields = (value.hour, value.minute, value.second, value.microsecond)
    return Taken("datetime.time", (*fields, value.fold, value.tzinfo))


_TIME_LABELS = ("",) * 8 + (".tzinfo",)


def _zone(value: Any, walk: Walk) -> Taken:
    if value.key is None:
        raise refuse(walk, value, "a time zone read from a file has no name to go by")
    return Taken("zoneinfo.ZoneInfo", (value.key,))


def _pattern(value: Any, walk: Walk) -> Taken:
    return Taken("re.Pattern", (value.pattern, value.flags))


def _partial(value: functools.partial[Any], walk: Walk) -> Taken:
    return Taken(
        name_of(type(value)),
        (value.func, value.args, value.keywords, vars(value)),
        (".func", ".args", ".keywords", ""),
    )


def _method(value: types.MethodType, walk: Walk) -> Taken:
    return Taken("method", (value.__func__, value.__self__), (".__func__", ".__self__"))


def _builtin(value: Any, walk: Walk) -> Taken:
    """A function in C: by its name; a method of an object in C: also by that object."""
    owner = value.__self__
    if owner is None or isinstance(owner, types.ModuleType):
        return Taken(
            "builtin", (f"{value.__module__}.{value.__qualname__}", *_version(value.__module__, walk))
        )
    return Taken("builtin method", (value.__name__, owner), ("", ".__self__"))


def _version(module: str, walk: Walk) -> tuple[str, ...]:
    return () if walk.trace is None else (library_name(module),)


def _descriptor(value: Any, walk: Walk) -> Taken:
    return Taken("builtin", (f"{name_of(value.__objclass__)}.{value.__name__}",))


def _module(value: types.ModuleType, walk: Walk) -> Taken:
    return Taken("module", (value.__name__,))


def _code(value: types.CodeType, walk: Walk) -> Taken:
    from lightwork.hashing.source import digest_of_code_object

    return Taken("code", (digest_of_code_object(value),))


def _generic_alias(value: Any, walk: Walk) -> Taken:
    return Taken("alias", (value.__origin__, value.__args__))


def _namespace(value: types.SimpleNamespace, walk: Walk) -> Taken:
    return Taken(name_of(type(value)), (vars(value),))


def _mapping_proxy(value: Mapping[Any, Any], walk: Walk) -> Taken:
    return Taken("mappingproxy", (dict(value),))


def _property(value: Any, walk: Walk) -> Taken:
    return Taken("property", (value.fget, value.fset, value.fdel))


def _wrapped(value: Any, walk: Walk) -> Taken:
    return Taken(name_of(type(value)), (value.__func__,))


# --- families: rules that hold for all classes of a kind --------------------------------------------


def _enum(value: enum.Enum, walk: Walk) -> Taken:
    kind = type(value)
    if isinstance(value, enum.Flag):
        return Taken("enum " + name_of(kind), (value._value_, *_traced(kind, walk)))
    return Taken("enum " + name_of(kind), (value._name_, value._value_, *_traced(kind, walk)), ("", ".value"))


def _named_tuple(value: tuple[Any, ...], walk: Walk) -> Taken:
    kind = type(value)
    fields = cast("Any", kind)._fields
    parts = (fields, tuple(value), getattr(value, "__dict__", None) or None, *_traced(kind, walk))
    return Taken("named tuple " + name_of(kind), parts)


# --- by reduce --------------------------------------------------------------------------------------

_COPYREG: Any = copyreg  # typeshed lacks what pickle itself uses
_NEW = (_COPYREG.__newobj__, _COPYREG.__newobj_ex__)
_RECONSTRUCT = _COPYREG._reconstructor


def _traced(kind: type, walk: Walk) -> tuple[Any, ...]:
    """To code that holds an instance, the class belongs; to a value its name is enough."""
    return () if walk.trace is None else (kind,)


def by_reduce(value: Any, walk: Walk) -> Taken:
    """Take an object apart as pickle does."""
    kind = type(value)
    if callable(value) and is_library_module(kind.__module__):
        wrapped = getattr(value, "__wrapped__", None)
        if wrapped is not None:
            return Taken("wrapper " + name_of(kind), (wrapped,), (".__wrapped__",))
    reduced = _reduce(value, walk)
    if isinstance(reduced, str):
        home = getattr(value, "__module__", None) or kind.__module__
        return Taken("global", (f"{home}.{reduced}", *_version(home, walk)))
    maker, arguments, state, items, pairs, setter = (*reduced, None, None, None, None)[:6]
    if maker in _NEW or maker is _RECONSTRUCT:
        how, arguments = "new", arguments[1:]
    elif maker is kind:
        how = "call"
    else:
        how = f"{getattr(maker, '__module__', '')}.{getattr(maker, '__qualname__', None) or name_of(type(maker))}"
    if items is not None:
        items = list(items)
    if pairs is not None:
        pairs = list(pairs) if isinstance(value, _ordered()) else dict(pairs)
    parts = (how, arguments, state, items, pairs, setter, *_traced(kind, walk))
    return Taken(name_of(kind), parts, ("", ".__reduce__()", "", "", "", ""))


@functools.cache
def _ordered() -> type:
    from collections import OrderedDict

    return OrderedDict


def _reduce(value: Any, walk: Walk) -> str | tuple[Any, ...]:
    try:
        special = _COPYREG.dispatch_table.get(type(value))
        reduced: Any = special(value) if special is not None else value.__reduce_ex__(5)
    except RecursionError:
        raise
    except Exception as error:
        raise refuse(walk, value, f"it has no value of its own that could be hashed: {error}") from error
    if isinstance(reduced, str) or (isinstance(reduced, tuple) and 2 <= len(reduced) <= 6):
        return reduced
    raise refuse(
        walk, value, f"its __reduce_ex__ returned {type(reduced).__name__}, not what pickle asks for"
    )


def _refuse(why: str) -> Rule:
    def rule(value: Any, walk: Walk) -> Taken:
        raise refuse(walk, value, why)

    return rule


# --- NumPy ------------------------------------------------------------------------------------------


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
        return ("T", dtype.coerce, repr(getattr(dtype, "na_object", None)))
    return (dtype.str, dtype.name, name_of(type(dtype)))


@functools.lru_cache(256)
def _gaps(dtype: Any) -> bool:
    """Whether a struct has bytes or objects that must not be hashed as they lie in memory."""
    if dtype.subdtype is not None:
        return _gaps(dtype.subdtype[0])
    if dtype.names is None:
        return bool(dtype.hasobject)
    fields = [dtype.fields[name][0] for name in dtype.names]
    return sum(field.itemsize for field in fields) != dtype.itemsize or any(map(_gaps, fields))


@functools.lru_cache(256)
def _dtype_text(dtype: Any) -> str:
    return repr(dtype_parts(dtype))


def array_parts(array: Any, walk: Walk) -> tuple[Any, ...]:
    """Take an array apart: dtype, memory order, data, shape."""
    from lightwork.hashing.buffers import digest_array

    dtype = array.dtype
    order = "F" if array.flags.fnc else "C"
    data: Any
    if dtype.names is None:
        data = array.ravel().tolist() if dtype.hasobject else digest_array(array, walk.algo)
    elif _gaps(dtype):
        data = tuple([_field(array[name], walk) for name in dtype.names])
    else:
        data = digest_array(array, walk.algo)
    return (_dtype_text(dtype), order, data, *array.shape)


def _field(array: Any, walk: Walk) -> tuple[Any, ...]:
    import numpy as np

    return array_parts(array.view(np.ndarray), walk)


_ARRAY_LABELS = ("", "", ".flat")


def _ndarray(value: Any, walk: Walk) -> Taken:
    return Taken("numpy.ndarray", array_parts(value, walk), _ARRAY_LABELS)


def _memmap(value: Any, walk: Walk) -> Taken:
    name = "numpy.ndarray" if walk.coerce_mmap else "numpy.memmap"
    return Taken(name, array_parts(_plain(value), walk), _ARRAY_LABELS)


def _array_subclass(value: Any, walk: Walk) -> Taken:
    import numpy as np

    kind: Any = type(value)
    if kind is np.matrix or kind is np.recarray or kind is np.char.chararray:
        return Taken("numpy." + kind.__name__, array_parts(_plain(value), walk), _ARRAY_LABELS)
    if not _same(kind, np.ndarray):
        return by_reduce(value, walk)
    state = getattr(value, "__dict__", None) or None
    return Taken(
        name_of(kind), (*array_parts(_plain(value), walk), state, *_traced(kind, walk)), _ARRAY_LABELS
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
    if fill is not None and fill == np.ma.default_fill_value(value.dtype):
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


# --- the tables -------------------------------------------------------------------------------------

PROCESS = "it is bound to this process"
ONCE = "it can be run through only once, and reading it would use it up"

RULES: dict[type, Rule] = {
    bytearray: _bytearray,
    memoryview: _memoryview,
    range: _attributes("range", "start", "stop", "step"),
    slice: _attributes("slice", "start", "stop", "step"),
    type(NotImplemented): _named,
    types.MethodType: _method,
    types.BuiltinFunctionType: _builtin,
    types.MethodWrapperType: _builtin,
    types.WrapperDescriptorType: _descriptor,
    types.MethodDescriptorType: _descriptor,
    types.ClassMethodDescriptorType: _descriptor,
    types.GetSetDescriptorType: _descriptor,
    types.MemberDescriptorType: _descriptor,
    types.ModuleType: _module,
    types.CodeType: _code,
    types.GenericAlias: _generic_alias,
    types.SimpleNamespace: _namespace,
    types.MappingProxyType: _mapping_proxy,
    property: _property,
    staticmethod: _wrapped,
    classmethod: _wrapped,
    functools.partial: _partial,
    types.GeneratorType: _refuse("a generator: " + ONCE + "; pass a list of what it yields"),
    types.CoroutineType: _refuse("a coroutine: " + ONCE),
    types.AsyncGeneratorType: _refuse("an asynchronous generator: " + ONCE),
    types.FrameType: _refuse("a frame: " + PROCESS),
    types.TracebackType: _refuse("a traceback: " + PROCESS),
    weakref.ref: _refuse("a weak reference: " + PROCESS),
}

LATE: dict[str, Rule] = {
    "array.array": _array,
    "_pickle.PickleBuffer": _pickle_buffer,
    "pickle.PickleBuffer": _pickle_buffer,
    "decimal.Decimal": _text("decimal.Decimal"),
    "fractions.Fraction": _attributes("fractions.Fraction", "numerator", "denominator"),
    "uuid.UUID": _attributes("uuid.UUID", "int"),
    "datetime.datetime": _datetime,
    "datetime.date": _attributes("datetime.date", "year", "month", "day"),
    "datetime.time": _time,
    "datetime.timedelta": _attributes("datetime.timedelta", "days", "seconds", "microseconds"),
    "datetime.timezone": _reduced("datetime.timezone"),
    "zoneinfo.ZoneInfo": _zone,
    "re.Pattern": _pattern,
    "numpy.ndarray": _ndarray,
    "numpy.memmap": _memmap,
    "numpy.dtype": _dtype,
    "numpy.ufunc": _ufunc,
    "numpy.ma.MaskedArray": _masked,
    "numpy.ma.core.MaskedArray": _masked,
    "_thread.lock": _refuse("a lock: " + PROCESS),
    "_thread.RLock": _refuse("a lock: " + PROCESS),
    "threading.Thread": _refuse("a thread: " + PROCESS),
    "socket.socket": _refuse("a socket: " + PROCESS),
    "_io.TextIOWrapper": _refuse("an open file: " + PROCESS + "; pass its name"),
    "_io.BufferedReader": _refuse("an open file: " + PROCESS + "; pass its name"),
    "_io.BufferedWriter": _refuse("an open file: " + PROCESS + "; pass its name"),
    "_io.BufferedRandom": _refuse("an open file: " + PROCESS + "; pass its name"),
    "_io.FileIO": _refuse("an open file: " + PROCESS + "; pass its name"),
}

# Classes whose subclasses go by the same rule: (name of the base, rule).
FAMILIES: dict[str, Rule] = {
    "enum.Enum": _enum,
    "pathlib.PurePath": _path,
    "pathlib._local.PurePath": _path,
    "numpy.ma.MaskedArray": _masked,
    "numpy.ma.core.MaskedArray": _masked,
    "numpy.ndarray": _array_subclass,
    "numpy.generic": _scalar,
    "numpy.dtype": _dtype,
    "_io.TextIOWrapper": LATE["_io.TextIOWrapper"],
    "_io.FileIO": LATE["_io.FileIO"],
    "threading.Thread": LATE["threading.Thread"],
}

_registered: dict[type, Callable[[Any], object]] = {}
_resolved: weakref.WeakKeyDictionary[type, Rule] = weakref.WeakKeyDictionary()


def steps_for(kind: type) -> StepsOf:
    """Return how objects of a type are encoded."""
    if issubclass(kind, type):
        from lightwork.hashing.source import class_steps

        return class_steps
    return objects


def objects(value: Any, walk: Walk) -> Steps:
    """Encode an object that a rule takes apart: its name there, and its parts."""
    kind = type(value)
    rule = RULES.get(kind) or _resolved.get(kind)
    if rule is None:
        rule = _resolved[kind] = _resolve(kind)
    name, parts, labels = rule(value, walk)
    out = Encoding(walk.algo, count(b"O", len(parts)) + atom(name, str, walk.algo))
    data = flat(parts)
    if data is not None:
        out.add(data)
    else:
        for place, part in enumerate(parts):
            walk.label = labels[place] if place < len(labels) else ""
            out.add((yield part))
    return out.term(is_inline(parts, tuple))


install_fallback(steps_for)


def _resolve(kind: type) -> Rule:
    for base in kind.__mro__:
        if base in _registered:
            return _by_user(_registered[base])
        if "__lightwork_hash__" in vars(base):
            return _by_itself
    exact = LATE.get(name_of(kind))
    if exact is not None and _is_genuine(kind):
        return exact
    if issubclass(kind, tuple) and isinstance(getattr(kind, "_fields", None), tuple) and _same(kind, object):
        return _named_tuple
    for base in kind.__mro__:
        family = FAMILIES.get(name_of(base))
        if family is not None and _is_genuine(base):
            return family
    return by_reduce


def _same(kind: Any, base: Any) -> bool:
    """Whether a class is pickled as its base is."""
    return bool(kind.__reduce_ex__ is base.__reduce_ex__ and kind.__reduce__ is base.__reduce__)


def _is_genuine(kind: type) -> bool:
    """Whether a class is what its name says: anyone may call a class ``numpy.ndarray``."""
    found: object = sys.modules.get(kind.__module__)
    for part in kind.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is kind or kind.__module__ in ("_thread", "_io", "_pickle", "re")


def _by_user(rule: Callable[[Any], object]) -> Rule:
    def take(value: Any, walk: Walk) -> Taken:
        kind = type(value)
        return Taken("by rule " + name_of(kind), (rule(value), *_traced(kind, walk)))

    return take


def _by_itself(value: Any, walk: Walk) -> Taken:
    kind = type(value)
    return Taken("by itself " + name_of(kind), (value.__lightwork_hash__(), *_traced(kind, walk)))


def register_hash(kind: type, rule: Callable[[Any], object]) -> None:
    """Say how objects of a class (and its subclasses) are hashed.

    Parameters
    ----------
    kind : type
        The class.
    rule : callable
        Takes an object and returns what stands for it: any value that can be hashed. The name of
        the object's class counts as well.

    Examples
    --------
    >>> import lightwork
    >>> from lightwork.hashing import register_hash
    >>> class Sensor:
    ...     def __init__(self, name, reading):
    ...         self.name, self.reading = name, reading
    >>> register_hash(Sensor, lambda sensor: sensor.name)
    >>> lightwork.hash(Sensor("a", 1)) == lightwork.hash(Sensor("a", 2))
    True
    """
    if not isinstance(kind, type):
        raise OptionTypeError(f"register_hash takes a class first, not {kind!r}")
    if not callable(rule):
        raise OptionTypeError(f"register_hash takes a function of one object as the rule, not {rule!r}")
    _registered[kind] = rule
    _resolved.clear()
