"""Following classes: taken apart for a fingerprint by what they do.

The law: a class is its bases, its methods, its attributes and its declared fields. What a decorator writes from the
fields (dataclass, attrs, named tuples) is told by them and left out, so that neither its version nor Python's makes
a difference; so is what Python keeps in a class for itself. Methods and attributes are values like any
others (`follow`). Classes of libraries go by name (`rules`).
"""

from __future__ import annotations

import dataclasses
import functools
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

from lightwork.hashing import parts
from lightwork.hashing.atoms import ATOMS
from lightwork.hashing.definitions import Cells, file_of
from lightwork.hashing.follow import apart, ignored, text_term, value_steps
from lightwork.hashing.libraries import NO_FILE, is_library_code, is_library_file
from lightwork.hashing.trace import CLASS, Trace, name_of_code
from lightwork.hashing.walk import Encoding, Steps, Walk

_NOT_BEHAVIOUR = frozenset(
    """__module__ __qualname__ __dict__ __weakref__ __doc__ __annotations__ __annotate__ __annotate_func__
    __annotations_cache__ __static_attributes__ __firstlineno__ __classdictcell__ __classcell__
    __parameters__ __orig_bases__ __abstractmethods__ _abc_impl __dataclass_fields__ __dataclass_params__
    __match_args__ __slots__ __slotnames__ __attrs_attrs__ __attrs_own_setattr__ __attrs_props__ _member_names_
    _member_map_ _value2member_map_ _unhashable_values_ _unhashable_values_map_ _hashable_values_
    _member_type_ _value_repr_ _use_args_ _new_member_ _generate_next_value_ __new_member__ _field_defaults
    _fields _singles_mask_ _inverted_ _flag_mask_ _all_bits_ _boundary_ __hash__ __replace__ __protocol_attrs__
    __callable_proto_members_only__ __non_callable_proto_members__ __required_keys__ __optional_keys__
    __readonly_keys__ __mutable_keys__""".split()  # noqa: SIM905 - a table
)


def class_steps(value: type, walk: Walk) -> Steps:
    """Encode a class of the user's; those of libraries go by name (`rules`)."""
    return _traced_class(value, walk) if isinstance(walk.trace, Trace) else apart(value, walk)


def _traced_class(value: type, walk: Walk) -> Steps:
    """Encode a class by what it does: its bases, its methods, its attributes, its fields."""
    trace, name = walk.trace, name_of_code(value)
    if trace.ignores(name):
        return ignored(name)
    if trace.scope.track != "deps" and value is not trace.root:
        return text_term("class " + name)
    trace.note(CLASS, name)
    trace.classes.append(value)
    where = parts.place(value.__module__, _file_of(value))
    out = Encoding(walk.algo, b"C" + text_term(value.__qualname__))
    walk.label = ".__bases__"
    out.add((yield value.__bases__))
    if type(value) is not type:
        walk.label = ".__class__"
        out.add((yield type(value)))
    fields = repr(_fields(value))
    out.add(text_term(fields))
    bases = [name_of_code(each) for each in (type(value), *value.__bases__)]
    trace.part(f"class {parts.named(value.__qualname__, where)}", repr((bases, fields)).encode())
    compiled = trace.compiled(value.__module__)
    for digest in compiled:
        out.add(text_term("compiled") + digest)
    space = vars(value)
    for key in sorted(space):
        content = space[key]
        if key in _NOT_BEHAVIOUR or _is_made(content, value) or isinstance(content, _SLOTS):
            continue
        if compiled and not isinstance(content, types.FunctionType) and type(content) not in ATOMS:
            continue  # the file's own
        out.add(text_term(key))
        if (id(value), key) in trace.state or trace.ignores(f"{name}.{key}"):
            continue
        trace.see(value, key)
        if isinstance(content, functools.cached_property):
            content = content.func
        elif isinstance(content, functools.singledispatchmethod):
            content = content.dispatcher
        dotted = f"{value.__qualname__}.{key}"
        out.add((yield from value_steps(content, dotted, parts.named(dotted, where), walk, f"{name}.{key}")))
    for key, default in _defaults(space):
        out.add(text_term(key))
        dotted = f"{value.__qualname__}.{key}"
        out.add((yield from value_steps(default, dotted, f"default of {parts.named(dotted, where)}", walk)))
    return out.term()


def _defaults(space: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the defaults of declared fields: those of dataclasses, and of named tuples."""
    for key, field in sorted(space.get("__dataclass_fields__", {}).items()):
        for default in (field.default, field.default_factory):
            if not isinstance(default, type(dataclasses.MISSING)):  # one that came by value is another
                yield key, default
    defaults = space.get("_field_defaults")
    if isinstance(defaults, dict) and "_fields" in space:
        yield from sorted(defaults.items())


def _file_of(value: type) -> str:
    """Return the file that holds a class: that of a method of its own, which also knows where it came from by value."""
    for content in vars(value).values():
        if not isinstance(content, types.FunctionType) or content.__module__ != value.__module__:
            continue
        filename = file_of(content.__code__, content.__globals__)
        if not filename.startswith("<") and not is_library_file(filename):
            return filename  # of no method that a decorator wrote
    return str(getattr(sys.modules.get(value.__module__), "__file__", None) or "")


# What reads a declared field. That of named tuples bears another name from Python 3.12 on.
_SLOTS = (types.MemberDescriptorType, types.GetSetDescriptorType, type(Cells.changed))


def _is_made(content: Any, owner: type) -> bool:
    """Whether a method was written by a class decorator (dataclass, attrs), from fields that count anyway.

    So are the methods that `typing` gives to protocols, under names that differ between Pythons.
    """
    is_protocol = "_is_protocol" in vars(owner)
    if is_protocol and any(vars(base).get("__init__") is content for base in owner.__mro__[1:]):
        return True  # `typing` copies it when the first instance is made
    function = getattr(content, "__wrapped__", content)
    if not isinstance(function, types.FunctionType):
        return False
    if is_protocol:
        return bool(function.__globals__.get("__name__") == "typing")
    by_decorator = (
        "__dataclass_fields__" in vars(owner) or "__attrs_attrs__" in vars(owner) or hasattr(owner, "_fields")
    )
    return by_decorator and _is_written(function, owner)


def _is_written(function: types.FunctionType, owner: type) -> bool:
    """Whether a library wrote a method: not so one from a prompt or from cloudpickle, which have no file either."""
    home, code = function.__globals__.get("__name__"), function.__code__
    if not code.co_filename.startswith("<"):
        return is_library_file(code.co_filename)
    return (
        is_library_code(code, home)
        or code.co_qualname.startswith("__create_fn__.")  # by dataclasses
        or str(home).startswith("namedtuple_")
        or code.co_filename.startswith("<attrs ")
        # By attrs, too: at the top of a text of its own. What a class says itself bears the name of the class.
        or (
            "__attrs_attrs__" in vars(owner)
            and code.co_qualname in _BY_ATTRS
            and file_of(code, function.__globals__) == NO_FILE
        )
    )


_BY_ATTRS = frozenset(
    """__init__ __attrs_init__ __repr__ __eq__ __ne__ __hash__ __lt__ __le__ __gt__ __ge__ __setattr__
    __getattr__ __replace__""".split()  # noqa: SIM905 - a table
)


def _fields(value: type) -> Any:
    """Return the declared fields of a class: names, hints, defaults' names and options."""
    hints = vars(value).get("__annotations__", {})
    if sys.version_info >= (3, 14) and not hints:
        hints = getattr(value, "__annotations__", {})
    declared = [
        (name, hint if isinstance(hint, str) else getattr(hint, "__qualname__", repr(hint)))
        for name, hint in hints.items()
    ]
    fields = vars(value).get("__dataclass_fields__", {})
    options = ("init", "repr", "hash", "compare", "kw_only")
    made = [
        (name, *[getattr(field, option, None) for option in options])
        for name, field in sorted(fields.items())
    ]
    params = vars(value).get("__dataclass_params__")
    chosen = (
        [getattr(params, option, None) for option in ("init", "repr", "eq", "order", "frozen", "unsafe_hash")]
        if params
        else None
    )
    return (declared, made, chosen, getattr(value, "_fields", None), vars(value).get("__slots__"))
