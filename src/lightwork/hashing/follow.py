"""Following code: functions and classes taken apart for a fingerprint, by the canonical walk.

The law: a function is its definition, its defaults, the values of its closure, and the values behind the names that it
uses; a class is its bases, methods, attributes and declared fields. Values that are code are followed in turn, others
are digested (`uses`). A name that followed code rebinds or changes in place is state, and left out for all of it: that
is read from the code, never from what ran. Library code counts by name and version.

What a walk meets is noted in a `Trace`.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
import types
import typing
from collections.abc import Generator
from typing import Any

from lightwork.hashing import parts
from lightwork.hashing.atoms import ATOMS, atom
from lightwork.hashing.buffers import XXH3_128
from lightwork.hashing.definitions import NOTHING_CHANGED, Cells, definition_of
from lightwork.hashing.libraries import is_library_file
from lightwork.hashing.scope import Scope, scope_of
from lightwork.hashing.syntax import Chain, Names
from lightwork.hashing.trace import (
    CLASS,
    FUNCTION,
    HANDLE,
    LIBRARY,
    MISSING,
    STATE,
    UNFOLLOWED,
    UNSEEN,
    VALUE,
    Trace,
    name_of_code,
)
from lightwork.hashing.uses import BY_ID, CODE, digest_here, is_frozen, is_handle, is_opaque, size_of
from lightwork.hashing.walk import Encoding, Steps, Walk
from lightwork.observe.messages import shorten

# --- functions ---------------------------------------------------------------------------------------


def function_steps(value: types.FunctionType, walk: Walk) -> Steps:
    """Encode a function: by its fingerprint where it is part of data, in full where a fingerprint is being made."""
    return _traced_function(value, walk) if isinstance(walk.trace, Trace) else _apart(value, walk)


def _apart(value: Any, walk: Walk) -> Steps:
    yield from ()
    if walk.trace is BY_ID:
        return b"I" + id(value).to_bytes(8, "little")
    from lightwork.hashing.source import fingerprint

    scope = scope_of(walk)
    if scope.ignores(name_of_code(value)):
        return _ignored(name_of_code(value))
    return b"F" + fingerprint(value, scope).digest


def _ignored(name: str) -> bytes:
    return _text("ignored " + name)


def _traced_function(value: types.FunctionType, walk: Walk) -> Steps:
    out = Encoding(walk.algo, b"F")
    code = value.__code__
    module = value.__globals__.get("__name__")
    trace, scope = walk.trace, walk.trace.scope
    trace.functions.append(value)
    if scope.is_library_code(code, module):
        library = scope.library_name(module, code.co_filename)
        trace.note(LIBRARY, library or f"{module}.{code.co_qualname}")
        trace.library(library)
        out.add(_text(f"{code.co_qualname} {library}"))
        if code.co_qualname == "singledispatch.<locals>.wrapper" and hasattr(value, "registry"):
            yield from _dispatcher(value, out, walk)
        elif value.__closure__ and not _is_of_library(value, scope):
            yield from _closure(value, NOTHING_CHANGED, out, walk, code.co_qualname)
        return out.term()
    name = f"{value.__module__}.{value.__qualname__}"
    if trace.ignores(name):
        return _ignored(name)
    definition = definition_of(code, value.__globals__)
    trace.codes[id(code)] = (name, definition.token, code)
    trace.note(FUNCTION, name)
    label = parts.named(value.__qualname__, parts.place(value.__module__, code.co_filename))
    trace.part(label, definition.digest)
    if definition.changed_file is not None:
        trace.changed_files.add(definition.changed_file)
    out.add(_text("function") + definition.digest)
    defaults = value.__defaults__ or ()
    names = code.co_varnames[: code.co_argcount]
    for place, default in enumerate(defaults, len(names) - len(defaults)):
        name = f"{value.__qualname__}: default {place - len(names) + len(defaults)}"
        out.add((yield from _value(default, name, f"default `{names[place]}` of {label}", walk)))
    out.add(_text("by keyword"))
    for key, default in sorted((value.__kwdefaults__ or {}).items()):
        out.add(_text(key))
        name = f"{value.__qualname__}: {key}"
        out.add((yield from _value(default, name, f"default `{key}` of {label}", walk)))
    yield from _closure(value, definition.cells, out, walk, label)
    if scope.track == "deps":
        _note_imports(value, definition.imported, trace)
        yield from _names(value, definition.names, out, walk)
    return out.term()


def _dispatcher(value: Any, out: Encoding, walk: Walk) -> Generator[Any, bytes, None]:
    """Encode what `functools.singledispatch` made, by the functions that are registered; its cache is no part of it.

    Whoever imports a module may register more, and from then on it is another function. Of a library's, only the
    user's functions count.
    """
    trace, registry = walk.trace, value.registry
    trace.volatile[id(registry)] = (registry, digest_here(registry))
    of_library = _is_of_library(value, trace.scope)
    for kind, function in sorted(registry.items(), key=lambda item: name_of_code(item[0])):
        if not (of_library and trace.scope.is_library_module(getattr(function, "__module__", None))):
            out.add((yield kind))
            out.add((yield function))


def _note_imports(value: types.FunctionType, imported: tuple[str, ...], trace: Trace) -> None:
    """Note what a function imports of the user's when it runs: nobody can know now what that will be."""
    for module in imported:
        if not trace.scope.is_library_root(module.partition(".")[0]) and not trace.ignores(module):
            trace.note(UNFOLLOWED, f"{value.__qualname__}: import {module or '.'} in its body")


def _value(value: Any, name: str, label: str, walk: Walk, home: str = "") -> Steps:
    """Encode a value that code uses: code is followed, other values are digested or stood in for.

    `name` and `label` say where it is, to `explain` and to a part; `home` is the name that code of this place has.
    """
    trace = walk.trace
    walk.label = f" ({name})"
    if type(value) in ATOMS:
        trace.note(VALUE, name)
        term: bytes = yield value
        trace.part(label, term, shorten(value))
        return term
    if _is_code(value):
        term = yield value
        bound = "" if isinstance(value, _NAMELESS) else name_of_code(value)
        if not bound:
            trace.part(label, term, f"a {type(value).__qualname__}")
        elif bound != home:
            trace.part(label, bound.encode(), bound)
        return term
    if isinstance(value, types.ModuleType):
        module, scope = value.__name__, trace.scope
        library = scope.library_name(module) if scope.is_library_module(module) else ""
        trace.note(LIBRARY, library or module)
        trace.library(library)
        return _text(f"module {module} {library}")
    return _data_term(value, name, label, walk)


# Code that is more than the function whose name it bears.
_NAMELESS = (types.MethodType, functools.partial, property)


def _text(text: str) -> bytes:
    return atom(text, str, XXH3_128)


def _is_of_library(value: types.FunctionType, scope: Scope) -> bool:
    """Whether a library's module holds a function under its name: then what it closes over is the library's too."""
    if not scope.is_library_module(value.__module__):
        return False
    found: Any = sys.modules.get(value.__module__)
    for part in value.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is value


def _closure(
    value: types.FunctionType, cells: Cells, out: Encoding, walk: Walk, owner: str
) -> Generator[Any, bytes, None]:
    trace = walk.trace
    for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
        try:
            content = cell.cell_contents
        except ValueError:
            content = None  # not bound yet
        out.add(_text(name))
        if name in cells.rebound or (name in cells.changed and not (_is_code(content) or is_frozen(content))):
            trace.changed.add((id(cell), name))
        if name == "__class__" and isinstance(
            content, type
        ):  # what `super()` needs: the class that the function was defined in
            out.add((yield from _value(content, name, "", walk, name_of_code(content))))
            continue
        label = f"`{name}` that {owner} closes over"
        if (id(cell), name) in trace.state:
            out.add(_text("state"))
            trace.note(STATE, f"{value.__qualname__}: {name}")
            trace.part(label, b"state", "state")
        else:
            out.add((yield from _value(content, f"{value.__qualname__}: {name}", label, walk)))


def _names(value: types.FunctionType, names: Names, out: Encoding, walk: Walk) -> Generator[Any, bytes, None]:
    trace = walk.trace
    space = value.__globals__
    _note_state(space, names, trace)
    seen = set()
    for chain in names.used:
        if chain in _COMPUTING:
            trace.note(UNSEEN, f"{value.__qualname__}: {'.'.join(chain)}")
        home, name = _resolve(space, chain, trace)
        if (id(home), name) in seen:
            continue  # `x.a` and `x.b` both lead to x
        seen.add((id(home), name))
        dotted = ".".join(chain[: chain.index(name) + 1])
        module = home.get("__name__", value.__module__)
        place = f"{module}.{name}"
        if trace.ignores(place):
            out.add(_ignored(dotted))
            continue
        filename = value.__code__.co_filename if home is space else str(home.get("__file__", ""))
        label = parts.named(name, parts.place(module, filename))
        if (id(home), name) in trace.state:
            out.add(_text("state " + dotted))
            trace.note(STATE, place)
            trace.part(label, b"state", "state")
            continue
        content = trace.see(home, name)
        if content is MISSING:
            out.add(_text("missing " + dotted))  # a built-in, or not there yet
            continue
        out.add(_text(dotted))
        out.add((yield from _value(content, f"{value.__qualname__}: {dotted}", label, walk, place)))


# What fetches code by names that exist only when it runs.
_COMPUTING = frozenset(
    tuple(each.split("."))
    for each in """getattr globals vars eval exec __import__ import_module importlib.import_module attrgetter
    operator.attrgetter""".split()  # noqa: SIM905 - a table
)


def _note_state(space: dict[str, Any], names: Names, trace: Trace) -> None:
    """Note what a function rebinds, and what it changes in place; code and frozen values cannot be changed so."""
    for chain in names.rebound:
        home, name = _resolve(space, chain, trace)
        if len(chain) == 1 or name == chain[-1]:
            trace.changed.add((id(home), name))
        elif isinstance(owner := trace.see(home, name), type):
            trace.changed.add((id(owner), chain[-1]))
        elif not _is_code(owner) and not isinstance(owner, types.ModuleType):
            trace.changed.add((id(home), name))
    for chain in names.changed:
        home, name = _resolve(space, chain, trace)
        value = trace.see(home, name)
        if isinstance(value, type) and len(chain) > 1 and chain[-1] != name:
            trace.changed.add((id(value), chain[-1]))
        elif not (_is_code(value) or is_frozen(value) or isinstance(value, types.ModuleType)):
            trace.changed.add((id(home), name))


def _resolve(space: dict[str, Any], chain: Chain, trace: Trace) -> tuple[Any, str]:
    """Find where a dotted chain leads: through the user's modules, up to the first other thing on its way."""
    home = space
    for name in chain[:-1]:
        value = trace.see(home, name)
        if not isinstance(value, types.ModuleType) or trace.scope.is_library_module(value.__name__):
            return home, name
        home = vars(value)
    return home, chain[-1]


# Functions that Cython made; each module of its has types of its own for them.
_CYTHON = frozenset({"cython_function_or_method", "fused_cython_function"})


def _is_code(value: Any) -> bool:
    if isinstance(value, CODE) or type(value).__name__ in _CYTHON:
        return True
    return callable(value) and (hasattr(value, "__wrapped__") or hasattr(value, "py_func"))


def _data_term(value: Any, name: str, label: str, walk: Walk) -> bytes:
    """Digest data that code uses, or say what stands in for it."""
    from lightwork.errors import HashError

    trace = walk.trace
    if is_handle(value):
        trace.note(HANDLE, name)
        trace.part(label, b"handle", f"a {type(value).__qualname__}")
        return _text("handle " + type(value).__qualname__)
    if size_of(value) is not None:
        try:
            term = walk.part(value)
        except HashError:
            pass  # said below, as of what is too large
        else:
            if is_opaque(value):
                trace.note(UNFOLLOWED, f"{name} ({type(value).__name__}, of which only the name is known)")
            else:
                trace.note(VALUE, name)
            trace.part(label, term, shorten(value))
            if not is_frozen(value):
                trace.volatile[id(value)] = (value, digest_here(value))
            return term
    trace.note(UNFOLLOWED, f"{name} ({type(value).__name__}{_how_large(value)})")
    trace.part(label, b"not followed", f"a {type(value).__qualname__}, not followed")
    return _text("not followed " + type(value).__qualname__)


def _how_large(value: Any) -> str:
    nbytes = getattr(value, "nbytes", None)
    if not isinstance(nbytes, int):
        return ""
    for unit in ("B", "KB", "MB"):
        if nbytes < 1000:
            return f", {nbytes} {unit}"
        nbytes //= 1000
    return f", {nbytes} GB"


# --- classes -----------------------------------------------------------------------------------------

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
    return _traced_class(value, walk) if isinstance(walk.trace, Trace) else _apart(value, walk)


def _traced_class(value: type, walk: Walk) -> Steps:
    """Encode a class by what it does: its bases, its methods, its attributes, its fields."""
    trace, name = walk.trace, name_of_code(value)
    if trace.ignores(name):
        return _ignored(name)
    if trace.scope.track != "deps" and value is not trace.root:
        return _text("class " + name)
    trace.note(CLASS, name)
    trace.classes.append(value)
    where = parts.place(value.__module__, _file_of(value))
    out = Encoding(walk.algo, b"C" + _text(value.__qualname__))
    walk.label = ".__bases__"
    out.add((yield value.__bases__))
    if type(value) is not type:
        walk.label = ".__class__"
        out.add((yield type(value)))
    fields = repr(_fields(value))
    out.add(_text(fields))
    bases = [name_of_code(each) for each in (type(value), *value.__bases__)]
    trace.part(f"class {parts.named(value.__qualname__, where)}", repr((bases, fields)).encode())
    compiled = trace.compiled(value.__module__)
    for digest in compiled:
        out.add(_text("compiled") + digest)
    space = vars(value)
    for key in sorted(space):
        content = space[key]
        if key in _NOT_BEHAVIOUR or _is_made(content, value) or isinstance(content, _SLOTS):
            continue
        if compiled and not isinstance(content, types.FunctionType) and type(content) not in ATOMS:
            continue  # the file's own
        out.add(_text(key))
        if (id(value), key) in trace.state or trace.ignores(f"{name}.{key}"):
            continue
        trace.see(value, key)
        if isinstance(content, functools.cached_property):
            content = content.func
        elif isinstance(content, functools.singledispatchmethod):
            content = content.dispatcher
        dotted = f"{value.__qualname__}.{key}"
        out.add((yield from _value(content, dotted, parts.named(dotted, where), walk, f"{name}.{key}")))
    for key, field in sorted(space.get("__dataclass_fields__", {}).items()):
        for default in (field.default, field.default_factory):
            if not isinstance(default, type(dataclasses.MISSING)):  # one that came by value is another
                out.add(_text(key))
                dotted = f"{value.__qualname__}.{key}"
                out.add(
                    (yield from _value(default, dotted, f"default of {parts.named(dotted, where)}", walk))
                )
    return out.term()


def _file_of(value: type) -> str:
    """Return the file that holds a class: that of a method of its own, which also knows where it came from by value."""
    for content in vars(value).values():
        code = getattr(content, "__code__", None)
        if code is None or code.co_filename.startswith("<") or is_library_file(code.co_filename):
            continue  # no method, or one that a decorator wrote
        if getattr(content, "__module__", None) == value.__module__:
            return str(code.co_filename)
    return str(getattr(sys.modules.get(value.__module__), "__file__", None) or "")


# What reads a declared field. That of named tuples bears another name from Python 3.12 on.
_SLOTS = (types.MemberDescriptorType, types.GetSetDescriptorType, type(Cells.changed))


def _is_made(content: Any, owner: type) -> bool:
    """Whether a method was written by a class decorator (dataclass, attrs), from fields that count anyway.

    So are the methods that `typing` gives to protocols, under names that differ between Pythons.
    """
    code = getattr(getattr(content, "__wrapped__", content), "__code__", None)
    if code is None:
        return False
    if "_is_protocol" in vars(owner):
        return bool(code.co_filename == _TYPING)
    by_decorator = (
        "__dataclass_fields__" in vars(owner) or "__attrs_attrs__" in vars(owner) or hasattr(owner, "_fields")
    )
    return by_decorator and (code.co_filename.startswith("<") or is_library_file(code.co_filename))


_TYPING = typing.get_type_hints.__code__.co_filename


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
