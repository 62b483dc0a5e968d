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

import enum
import functools
import types
import weakref
from collections.abc import Mapping
from typing import Any, cast

from lightwork.hashing import arrays, frames
from lightwork.hashing.buffers import BLOCK, Pieces
from lightwork.hashing.taken import (
    Rule,
    Taken,
    data_of,
    traced,
    version_of,
)
from lightwork.hashing.walk import Walk, name_of, refuse

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


def _decimal(value: Any, walk: Walk) -> Taken:
    # Whether the exponent's letter is a capital is up to the thread's context.
    return Taken("decimal.Decimal", (str(value).replace("e", "E"),))


def _named(value: Any, walk: Walk) -> Taken:
    return Taken("name", (repr(value),))


def _bytearray(value: bytearray, walk: Walk) -> Taken:
    return Taken("bytearray", (data_of(value, walk),))


def _memoryview(value: memoryview, walk: Walk) -> Taken:
    try:
        return Taken("memoryview", (value.format, value.shape, _viewed(value, walk)))
    except ValueError as error:
        raise refuse(walk, value, str(error)) from error  # it was released


def _viewed(view: memoryview, walk: Walk) -> bytes:
    """Digest what a view shows, in C order: where it lies or, if there are gaps, by a block of copies at a time."""
    if view.c_contiguous:
        return data_of(view, walk)
    walk.heavy = True
    pieces = Pieces(walk.algo)
    step = max(1, BLOCK * len(view) // view.nbytes)
    for start in range(0, len(view), step):
        pieces.add(view[start : start + step].tobytes())
    return pieces.digest()


def _pickle_buffer(value: Any, walk: Walk) -> Taken:
    try:
        return Taken("buffer", (data_of(value.raw(), walk),))
    except (BufferError, ValueError) as error:
        raise refuse(walk, value, str(error)) from error  # with gaps, or released: pickle refuses these too


def _array(value: Any, walk: Walk) -> Taken:
    return Taken("array.array", (value.typecode, value.itemsize, data_of(value, walk)))


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
            "builtin", (f"{value.__module__}.{value.__qualname__}", *version_of(value.__module__, walk))
        )
    return Taken("builtin method", (value.__name__, owner), ("", ".__self__"))


def _descriptor(value: Any, walk: Walk) -> Taken:
    return Taken("builtin", (f"{name_of(value.__objclass__)}.{value.__name__}",))


def module(value: types.ModuleType, walk: Walk) -> Taken:
    """Take a module by its name. Where a call is remembered, what it holds counts as well."""
    if walk.kinds is not None:
        walk.kinds.add(value)
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
        return Taken("enum " + name_of(kind), (value._value_, *traced(kind, walk)))
    return Taken("enum " + name_of(kind), (value._name_, value._value_, *traced(kind, walk)), ("", ".value"))


def named_tuple(value: tuple[Any, ...], walk: Walk) -> Taken:
    """Take a named tuple apart: the names of its fields count as well."""
    kind = type(value)
    fields = cast("Any", kind)._fields
    parts = (fields, tuple(value), getattr(value, "__dict__", None) or None, *traced(kind, walk))
    return Taken("named tuple " + name_of(kind), parts)


def plain(value: Any, walk: Walk) -> Taken:
    """Take an object apart that is nothing but its attributes."""
    return Taken(name_of(type(value)), (vars(value), *traced(type(value), walk)))


def _refuse(why: str) -> Rule:
    def rule(value: Any, walk: Walk) -> Taken:
        raise refuse(walk, value, why)

    return rule


PROCESS = "it is bound to this process"
ONCE = "it can be run through only once, and reading it would use it up"

iterator = _refuse("an iterator: " + ONCE + "; pass a list of what it yields")


# --- the tables -------------------------------------------------------------------------------------

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
    types.ModuleType: module,
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
    **arrays.LATE,
    **frames.LATE,
    "array.array": _array,
    "_pickle.PickleBuffer": _pickle_buffer,
    "pickle.PickleBuffer": _pickle_buffer,
    "decimal.Decimal": _decimal,
    "fractions.Fraction": _attributes("fractions.Fraction", "numerator", "denominator"),
    "uuid.UUID": _attributes("uuid.UUID", "int"),
    "datetime.datetime": _datetime,
    "datetime.date": _attributes("datetime.date", "year", "month", "day"),
    "datetime.time": _time,
    "datetime.timedelta": _attributes("datetime.timedelta", "days", "seconds", "microseconds"),
    "datetime.timezone": _reduced("datetime.timezone"),
    "zoneinfo.ZoneInfo": _zone,
    "re.Pattern": _pattern,
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
    **arrays.FAMILIES,
    **frames.FAMILIES,
    "enum.Enum": _enum,
    "pathlib.PurePath": _path,
    "pathlib._local.PurePath": _path,
    "_io.TextIOWrapper": LATE["_io.TextIOWrapper"],
    "_io.FileIO": LATE["_io.FileIO"],
    "threading.Thread": LATE["threading.Thread"],
}
