"""Following code: functions taken apart for a fingerprint, by the canonical walk, and the values that they use.

The law: a function is its definition, its defaults, the values of its closure, and the values behind the names that it
uses. Values that are code are followed in turn (classes in `classes`), others are digested (`uses`). A name that
followed code rebinds or changes in place is state, and left out for all of it: that is read from the code, never from
what ran. Library code counts by name and version.

What a walk meets is noted in a `Trace`.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Generator
from typing import Any, NamedTuple

from lightwork.hashing import parts
from lightwork.hashing.atoms import ATOMS, atom
from lightwork.hashing.buffers import XXH3_128
from lightwork.hashing.chains import Chain, Names
from lightwork.hashing.definitions import NOTHING_CHANGED, Cells, definition_of, file_of
from lightwork.hashing.imports import Starts, starts_of
from lightwork.hashing.scope import Scope, scope_of
from lightwork.hashing.trace import (
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
    return _traced_function(value, walk) if isinstance(walk.trace, Trace) else apart(value, walk)


def apart(value: Any, walk: Walk) -> Steps:
    """Encode code that is part of data: by a fingerprint of its own."""
    yield from ()
    if walk.trace is BY_ID:
        return b"I" + id(value).to_bytes(8, "little")
    from lightwork.hashing.source import fingerprint

    scope = scope_of(walk)
    if scope.ignores(name_of_code(value)):
        return ignored(name_of_code(value))
    return b"F" + fingerprint(value, scope).digest


def ignored(name: str) -> bytes:
    """Return what stands for code that was said not to count."""
    return text_term("ignored " + name)


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
        out.add(text_term(f"{code.co_qualname} {library}"))
        if code.co_qualname == "singledispatch.<locals>.wrapper" and hasattr(value, "registry"):
            yield from _dispatcher(value, out, walk)
        elif value.__closure__ and not _is_of_library(value, scope):
            yield from _closure(value, NOTHING_CHANGED, out, walk, code.co_qualname)
        return out.term()
    name = f"{value.__module__}.{value.__qualname__}"
    if trace.ignores(name):
        return ignored(name)
    definition = definition_of(code, value.__globals__)
    trace.codes[id(code)] = (name, definition.token, code)
    trace.note(FUNCTION, name)
    label = parts.named(value.__qualname__, parts.place(value.__module__, definition.filename))
    trace.part(label, definition.digest)
    if definition.changed_file is not None:
        trace.changed_files.add(definition.changed_file)
    out.add(text_term("function") + definition.digest)
    defaults = value.__defaults__ or ()
    names = code.co_varnames[: code.co_argcount]
    for place, default in enumerate(defaults, len(names) - len(defaults)):
        name = f"{value.__qualname__}: default {place - len(names) + len(defaults)}"
        out.add((yield from value_steps(default, name, f"default `{names[place]}` of {label}", walk)))
    out.add(text_term("by keyword"))
    by_keyword = value.__kwdefaults__
    if by_keyword is not None:  # a dictionary that can be changed in place: `f.__kwdefaults__["key"] = 1`
        for key in code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]:
            trace.see(by_keyword, key)
    for key, default in sorted((by_keyword or {}).items()):
        out.add(text_term(key))
        name = f"{value.__qualname__}: {key}"
        out.add((yield from value_steps(default, name, f"default `{key}` of {label}", walk)))
    yield from _closure(value, definition.cells, out, walk, label)
    if scope.track == "deps":
        if not definition.names.imported:
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
    """Note what a function without source imports of the user's when it runs: its names there are not known."""
    for module in imported:
        if not trace.scope.is_library_root(module.partition(".")[0]) and not trace.ignores(module):
            trace.note(UNFOLLOWED, f"{value.__qualname__}: import {module or '.'} in its body")


def value_steps(value: Any, name: str, label: str, walk: Walk, home: str = "") -> Steps:
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
        term = yield value
        trace.part(label, value.__name__.encode(), f"module {value.__name__}")
        return term
    return _data_term(value, name, label, walk)


# Code that is more than the function whose name it bears.
_NAMELESS = (types.MethodType, functools.partial, property)


def text_term(text: str) -> bytes:
    """Return the term of a text that says what follows, or stands for what is left out."""
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
        out.add(text_term(name))
        if name in cells.rebound or (name in cells.changed and not (_is_code(content) or is_frozen(content))):
            trace.changed.add((id(cell), name))
        if name == "__class__" and isinstance(
            content, type
        ):  # what `super()` needs: the class that the function was defined in
            out.add((yield from value_steps(content, name, "", walk, name_of_code(content))))
            continue
        label = f"`{name}` that {owner} closes over"
        if (id(cell), name) in trace.state:
            out.add(text_term("state"))
            trace.note(STATE, f"{value.__qualname__}: {name}")
            trace.part(label, b"state", "state")
        else:
            out.add((yield from value_steps(content, f"{value.__qualname__}: {name}", label, walk)))


def _names(value: types.FunctionType, names: Names, out: Encoding, walk: Walk) -> Generator[Any, bytes, None]:
    trace = walk.trace
    space = value.__globals__
    starts = starts_of(value, names, trace)
    _note_state(starts, names, trace)
    seen: set[tuple[int, str]] = set()
    for start, chain in starts(names.used):
        if chain in _COMPUTING:
            trace.note(UNSEEN, f"{value.__qualname__}: {'.'.join(chain)}")
        home, name, rest = _resolve(start, chain, trace)
        dotted = ".".join(chain[: len(chain) - len(rest)])
        filename = file_of(value.__code__, space) if home is space else str(home.get("__file__", ""))
        place = _Place(home, name, dotted, home.get("__name__", value.__module__), filename)
        yield from _named(place, value, seen, out, walk)
        content = home.get(name)
        if home is not space and name not in home and "__getattr__" in home:
            answering = place._replace(name="__getattr__", dotted=f"{dotted}: __getattr__")
            yield from _named(answering, value, seen, out, walk)
        elif rest and isinstance(content, types.FunctionType | type):
            yield from _attribute(content, rest[0], dotted, value, seen, out, walk)


class _Place(NamedTuple):
    """Where a name that code uses leads."""

    home: dict[str, Any]  # a namespace
    name: str
    dotted: str  # as the code says it
    module: str  # whose namespace it is
    filename: str


def _named(
    where: _Place, value: types.FunctionType, seen: set[tuple[int, str]], out: Encoding, walk: Walk
) -> Generator[Any, bytes, None]:
    """Encode what is at a place, unless it was `seen`: `x.a` and `x.b` both lead to x."""
    trace, (home, name, dotted, module, filename) = walk.trace, where
    if (id(home), name) in seen:
        return
    seen.add((id(home), name))
    place = f"{module}.{name}"
    if trace.ignores(place):
        out.add(ignored(dotted))
        return
    label = parts.named(name, parts.place(module, filename))
    if (id(home), name) in trace.state:
        out.add(text_term("state " + dotted))
        trace.note(STATE, place)
        trace.part(label, b"state", "state")
        return
    content = trace.see(home, name)
    if content is MISSING:
        out.add(text_term("missing " + dotted))  # a built-in, or not there yet
        return
    out.add(text_term(dotted))
    out.add((yield from value_steps(content, f"{value.__qualname__}: {dotted}", label, walk, place)))


def _attribute(
    owner: Any, name: str, dotted: str, value: types.FunctionType, seen: set[Any], out: Encoding, walk: Walk
) -> Generator[Any, bytes, None]:
    """Encode an attribute of a function, or what is for people elsewhere and code reads here: ``f.__doc__``."""
    trace = walk.trace
    if trace.scope.is_library_module(owner.__module__) or trace.ignores(name_of_code(owner)):
        return
    if isinstance(owner, types.FunctionType) and name not in _OWN:
        filename = file_of(owner.__code__, owner.__globals__)
        where = _Place(vars(owner), name, f"{dotted}.{name}", name_of_code(owner), filename)
        yield from _named(where, value, seen, out, walk)
    elif name in _FOR_PEOPLE and owner is not value and (id(owner), name) not in seen:
        seen.add((id(owner), name))
        label = f"`{name}` of {owner.__qualname__}"
        out.add(text_term(f"{dotted}.{name}"))
        found = getattr(owner, name, None)
        out.add((yield from value_steps(found, f"{value.__qualname__}: {dotted}.{name}", label, walk)))


_FOR_PEOPLE = frozenset({"__doc__", "__annotations__"})
_OWN = frozenset(dir(types.FunctionType))  # what each function has, and is told by its definition


# What fetches code by names that exist only when it runs.
_COMPUTING = frozenset(
    tuple(each.split("."))
    for each in """getattr globals vars eval exec __import__ import_module importlib.import_module attrgetter
    operator.attrgetter""".split()  # noqa: SIM905 - a table
)


def _note_state(starts: Starts, names: Names, trace: Trace) -> None:
    """Note what a function rebinds, and what it changes in place; code and frozen values cannot be changed so."""
    for space, chain in starts(names.rebound):
        home, name, rest = _resolve(space, chain, trace)
        if not rest:
            trace.changed.add((id(home), name))
        elif isinstance(owner := trace.see(home, name), type):
            trace.changed.add((id(owner), rest[-1]))
        elif isinstance(owner, types.FunctionType):
            trace.changed.add((id(vars(owner)), rest[0]))
        elif not _is_code(owner) and not isinstance(owner, types.ModuleType):
            trace.changed.add((id(home), name))
    for space, chain in starts(names.changed):
        home, name, rest = _resolve(space, chain, trace)
        value = trace.see(home, name)
        if isinstance(value, type) and rest:
            trace.changed.add((id(value), rest[-1]))
        elif isinstance(value, types.FunctionType) and rest:
            trace.changed.add((id(vars(value)), rest[0]))
        elif not (_is_code(value) or is_frozen(value) or isinstance(value, types.ModuleType)):
            trace.changed.add((id(home), name))


def _resolve(space: dict[str, Any], chain: Chain, trace: Trace) -> tuple[dict[str, Any], str, Chain]:
    """Find where a dotted chain leads: through the user's modules, up to the first other thing on its way.

    Returns the namespace, the name there, and what of the chain follows.
    """
    home = space
    for place, name in enumerate(chain[:-1], 1):
        value = trace.see(home, name)
        if not isinstance(value, types.ModuleType) or trace.scope.is_library_module(value.__name__):
            return home, name, chain[place:]
        home = vars(value)
    return home, chain[-1], ()


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
        return text_term("handle " + type(value).__qualname__)
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
    return text_term("not followed " + type(value).__qualname__)


def _how_large(value: Any) -> str:
    nbytes = getattr(value, "nbytes", None)
    if not isinstance(nbytes, int):
        return ""
    for unit in ("B", "KB", "MB"):
        if nbytes < 1000:
            return f", {nbytes} {unit}"
        nbytes //= 1000
    return f", {nbytes} GB"
