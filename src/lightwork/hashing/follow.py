"""Following code: functions and classes taken apart for a fingerprint, by the canonical walk.

The law: a function is its definition, its defaults, the values of its closure, and the values behind the names that it
uses; a class is its bases, methods, attributes and declared fields. Values that are code are followed in turn, others
are digested (`uses`). A name that followed code rebinds or changes in place is state, and left out for all of it: that
is read from the code, never from what ran. Library code counts by name and version.

`Trace` notes what a walk met, so that a fingerprint can be checked quickly and explained.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
import types
from collections.abc import Generator
from typing import Any

from lightwork.hashing.atoms import ATOMS, atom
from lightwork.hashing.buffers import XXH3_128
from lightwork.hashing.definitions import NOTHING_CHANGED, Cells, definition_of
from lightwork.hashing.libraries import is_library_file
from lightwork.hashing.scope import EVERYTHING, Scope, is_below, scope_of
from lightwork.hashing.syntax import Chain, Names
from lightwork.hashing.uses import BY_ID, CODE, digest_here, is_frozen, is_handle, size_of
from lightwork.hashing.walk import Encoding, Steps, Walk

# Kinds of notes, as `explain` prints them.
FUNCTION = "functions"
CLASS = "classes"
VALUE = "values"
LIBRARY = "libraries, by version"
STATE = "state, left out: this code changes it"
HANDLE = "handles, left out"
UNFOLLOWED = "not followed"
IGNORED = "left out, as you said"


class _Missing:
    pass


MISSING: Any = _Missing()


class Trace:
    """What a fingerprinting walk met: code, and the places that must stay as they are."""

    def __init__(
        self, state: frozenset[tuple[int, str]], scope: Scope = EVERYTHING, root: Any = None
    ) -> None:
        self.scope = scope
        self.root = root
        self._root_name = name_of_code(root)
        self.state = state  # (id of a module's namespace or of a class, name): what followed code changes
        self.changed: set[tuple[int, str]] = set()
        self.codes: dict[int, tuple[str, bytes, types.CodeType]] = {}
        self.places: dict[int, tuple[Any, dict[str, Any]]] = {}  # where -> name -> value seen there
        self.functions: list[Any] = []
        self.volatile: dict[int, tuple[Any, bytes]] = {}
        self.notes: dict[str, set[str]] = {}
        self.changed_files: set[str] = set()

    def ignores(self, name: str) -> bool:
        """Whether what bears a name was said not to count. What is looked at always counts, with all in it."""
        if not self.scope.ignore_deps or not self.scope.ignores(name) or is_below(name, (self._root_name,)):
            return False
        self.note(IGNORED, name)
        return True

    def note(self, kind: str, name: str) -> None:
        """Note for people what the walk met."""
        self.notes.setdefault(kind, set()).add(name)

    def see(self, home: Any, name: str) -> Any:
        """Look a name up in a module's namespace or a class, and note what is there."""
        value = (vars(home) if isinstance(home, type) else home).get(name, MISSING)
        self.places.setdefault(id(home), (home, {}))[1][name] = value
        return value


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


def name_of_code(value: Any) -> str:
    """Return ``module.qualname``; empty for what has no name."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    return f"{module}.{name}" if isinstance(module, str) and isinstance(name, str) else ""


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
        walk.trace.note(LIBRARY, library or f"{module}.{code.co_qualname}")
        out.add(_text(f"{code.co_qualname} {library}"))
        if value.__closure__ and not _is_of_library(value, scope):
            yield from _closure(value, NOTHING_CHANGED, out, walk)
        return out.term()
    name = f"{value.__module__}.{value.__qualname__}"
    if trace.ignores(name):
        return _ignored(name)
    definition = definition_of(code, value.__globals__)
    trace.codes[id(code)] = (name, definition.token, code)
    trace.note(FUNCTION, name)
    if definition.changed_file is not None:
        trace.changed_files.add(definition.changed_file)
    out.add(_text("function") + definition.digest)
    for place, default in enumerate(value.__defaults__ or ()):
        out.add((yield from _value(default, f"{value.__qualname__}: default {place}", walk)))
    out.add(_text("by keyword"))
    for key, default in sorted((value.__kwdefaults__ or {}).items()):
        out.add(_text(key))
        out.add((yield from _value(default, f"{value.__qualname__}: {key}", walk)))
    yield from _closure(value, definition.cells, out, walk)
    if scope.track == "deps":
        _note_imports(value, definition.imported, trace)
        yield from _names(value, definition.names, out, walk)
    return out.term()


def _note_imports(value: types.FunctionType, imported: tuple[str, ...], trace: Trace) -> None:
    """Note what a function imports of the user's when it runs: nobody can know now what that will be."""
    for module in imported:
        if not trace.scope.is_library_root(module.partition(".")[0]) and not trace.ignores(module):
            trace.note(UNFOLLOWED, f"{value.__qualname__}: import {module or '.'} in its body")


def _value(value: Any, name: str, walk: Walk) -> Steps:
    """Encode a value that code uses: code is followed, other values are digested or stood in for."""
    walk.label = f" ({name})"
    if type(value) in ATOMS or _is_code(value):
        if type(value) in ATOMS:
            walk.trace.note(VALUE, name)
        return (yield value)
    if isinstance(value, types.ModuleType):
        module, scope = value.__name__, walk.trace.scope
        library = scope.library_name(module) if scope.is_library_module(module) else ""
        walk.trace.note(LIBRARY, library or module)
        return _text(f"module {module} {library}")
    return _data_term(value, name, walk)


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
    value: types.FunctionType, cells: Cells, out: Encoding, walk: Walk
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
        if (id(cell), name) in trace.state:
            out.add(_text("state"))
            trace.note(STATE, f"{value.__qualname__}: {name}")
        else:
            out.add((yield from _value(content, f"{value.__qualname__}: {name}", walk)))


def _names(value: types.FunctionType, names: Names, out: Encoding, walk: Walk) -> Generator[Any, bytes, None]:
    trace = walk.trace
    space = value.__globals__
    _note_state(space, names, trace)
    seen = set()
    for chain in names.used:
        home, name = _resolve(space, chain, trace)
        if (id(home), name) in seen:
            continue  # `x.a` and `x.b` both lead to x
        seen.add((id(home), name))
        dotted = ".".join(chain[: chain.index(name) + 1])
        place = f"{home.get('__name__', value.__module__)}.{name}"
        if trace.ignores(place):
            out.add(_ignored(dotted))
            continue
        if (id(home), name) in trace.state:
            out.add(_text("state " + dotted))
            trace.note(STATE, place)
            continue
        content = trace.see(home, name)
        if content is MISSING:
            out.add(_text("missing " + dotted))  # a built-in, or not there yet
            continue
        out.add(_text(dotted))
        out.add((yield from _value(content, f"{value.__qualname__}: {dotted}", walk)))


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


def _is_code(value: Any) -> bool:
    return isinstance(value, CODE) or (callable(value) and hasattr(value, "__wrapped__"))


def _data_term(value: Any, name: str, walk: Walk) -> bytes:
    """Digest data that code uses, or say what stands in for it."""
    from lightwork.errors import HashError

    trace = walk.trace
    if is_handle(value):
        trace.note(HANDLE, name)
        return _text("handle " + type(value).__qualname__)
    if size_of(value) is not None:
        try:
            term = walk.part(value)
        except HashError:
            pass  # said below, as of what is too large
        else:
            trace.note(VALUE, name)
            if not is_frozen(value):
                trace.volatile[id(value)] = (value, digest_here(value))
            return term
    trace.note(UNFOLLOWED, f"{name} ({type(value).__name__}{_how_large(value)})")
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
    __match_args__ __slots__ __attrs_attrs__ __attrs_own_setattr__ __attrs_props__ _member_names_
    _member_map_ _value2member_map_ _unhashable_values_ _unhashable_values_map_ _hashable_values_
    _member_type_ _value_repr_ _use_args_ _new_member_ _generate_next_value_ __new_member__ _field_defaults
    _fields _singles_mask_ _inverted_ _flag_mask_ _all_bits_ _boundary_ __hash__ __replace__""".split()  # noqa: SIM905 - a table
)


def class_steps(value: type, walk: Walk) -> Steps:
    """Encode a class of the user's; those of libraries go by name (`rules`)."""
    return _traced_class(value, walk) if isinstance(walk.trace, Trace) else _apart(value, walk)


def _traced_class(value: type, walk: Walk) -> Steps:
    """Encode a class by what it does: its bases, its methods, its attributes, its fields."""
    trace, name = walk.trace, f"{value.__module__}.{value.__qualname__}"
    if trace.ignores(name):
        return _ignored(name)
    if trace.scope.track != "deps" and value is not trace.root:
        return _text("class " + name)
    trace.note(CLASS, name)
    out = Encoding(walk.algo, b"C" + _text(value.__qualname__))
    walk.label = ".__bases__"
    out.add((yield value.__bases__))
    if type(value) is not type:
        walk.label = ".__class__"
        out.add((yield type(value)))
    out.add(_text(repr(_fields(value))))
    space = vars(value)
    for key in sorted(space):
        content = space[key]
        if key in _NOT_BEHAVIOUR or _is_made(content, value) or isinstance(content, _SLOTS):
            continue
        out.add(_text(key))
        if (id(value), key) in trace.state or trace.ignores(f"{name}.{key}"):
            continue
        trace.see(value, key)
        content = content.func if isinstance(content, functools.cached_property) else content
        out.add((yield from _value(content, f"{value.__qualname__}.{key}", walk)))
    for key, field in sorted(space.get("__dataclass_fields__", {}).items()):
        for default in (field.default, field.default_factory):
            if not isinstance(default, type(dataclasses.MISSING)):  # one that came by value is another
                out.add(_text(key))
                out.add((yield from _value(default, f"{value.__qualname__}.{key}", walk)))
    return out.term()


# What reads a declared field. That of named tuples bears another name from Python 3.12 on.
_SLOTS = (types.MemberDescriptorType, types.GetSetDescriptorType, type(Cells.changed))


def _is_made(content: Any, owner: type) -> bool:
    """Whether a method was written by a class decorator (dataclass, attrs), from fields that count anyway."""
    code = getattr(getattr(content, "__wrapped__", content), "__code__", None)
    if code is None:
        return False
    by_decorator = (
        "__dataclass_fields__" in vars(owner) or "__attrs_attrs__" in vars(owner) or hasattr(owner, "_fields")
    )
    return by_decorator and (code.co_filename.startswith("<") or is_library_file(code.co_filename))


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
