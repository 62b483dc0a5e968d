"""Fingerprints of code: what a function runs, and all that it depends on, in one digest.

The law: a fingerprint changes when what the function would do changes, as far as that can be seen from its code, and
not when only its looks change, nor with what happened to run or to be imported before. It is made by the canonical
walk, in which a function is taken apart into its definition (`definitions`), its defaults, the values of its closure,
and the values behind the names that it uses. So functions, classes and data refer to each other freely, cycles
included, and one mechanism digests them all.

Followed: the user's functions, classes, methods, partials, and whatever values hold them. Library code counts by name
and version (`libraries`). Values behind names: atoms and small data count; large data is not followed, and a warning
says so once; names that followed code rebinds or changes are state, which is left out: decided by reading the code,
never by what ran. Locks, loggers, open files and the like are left out.

A fingerprint is kept beside what it was made of (`Record`), and is good as long as all of that is still in place, by
identity; small containers, which can change in place, are digested again on each look.
"""

from __future__ import annotations

import functools
import os
import sys
import types
import warnings
import weakref
from collections.abc import Callable, Generator
from operator import is_, itemgetter
from typing import Any, NamedTuple

from lightwork.errors import CodeChangedWarning, NotFollowedWarning, OptionTypeError
from lightwork.hashing.atoms import ATOMS, atom, quick
from lightwork.hashing.buffers import XXH3_128
from lightwork.hashing.definitions import definition_of, digest_code
from lightwork.hashing.libraries import is_library_code, is_library_module, library_name
from lightwork.hashing.syntax import Chain, Names
from lightwork.hashing.walk import Encoding, Steps, Walk

SMALL_DATA = 4 << 10  # bytes of a global container that is digested again on each call: about 10 us
LARGE_DATA = 1 << 20  # bytes of a global array or frame that is digested again on each call: about 30 us


class Fingerprint(NamedTuple):
    """What a function runs and depends on.

    Attributes
    ----------
    digest : bytes
        16 bytes, equal wherever the same code with the same values would run.
    tokens : tuple of bytes
        One for each followed code object; to be compared with those of another process of the same Python.
    names : tuple of str
        What each token stands for, as ``module.function``.
    """

    digest: bytes
    tokens: tuple[bytes, ...]
    names: tuple[str, ...]


class _Missing:
    pass


_MISSING = _Missing()


class Trace:
    """What a fingerprinting walk met: code, and the places that must stay as they are."""

    def __init__(self, state: frozenset[tuple[int, str]]) -> None:
        self.state = state  # (id of a module's namespace or of a class, name): what followed code changes
        self.changed: set[tuple[int, str]] = set()
        self.codes: dict[int, tuple[str, bytes, types.CodeType]] = {}
        self.places: dict[int, tuple[Any, dict[str, Any]]] = {}  # where -> name -> value seen there
        self.functions: list[Any] = []
        self.volatile: dict[int, tuple[Any, bytes]] = {}
        self.unfollowed: set[str] = set()
        self.changed_files: set[str] = set()

    def see(self, home: Any, name: str) -> Any:
        """Look a name up in a module's namespace or a class, and note what is there."""
        value = (vars(home) if isinstance(home, type) else home).get(name, _MISSING)
        self.places.setdefault(id(home), (home, {}))[1][name] = value
        return value


class _ById:
    """In place of a trace: code is told apart by identity, for digests that never leave this process."""


_BY_ID = _ById()


# --- functions ----------------------------------------------------------------------------------------


def function_steps(value: types.FunctionType, walk: Walk) -> Steps:
    """Encode a function: by its fingerprint where it is part of data, in full where a fingerprint is being made."""
    return _traced_function(value, walk) if isinstance(walk.trace, Trace) else _apart(value, walk)


def _apart(value: Any, walk: Walk) -> Steps:
    yield from ()
    if walk.trace is _BY_ID:
        return b"I" + id(value).to_bytes(8, "little")
    return b"F" + fingerprint(value).digest


def _traced_function(value: types.FunctionType, walk: Walk) -> Steps:
    out = Encoding(walk.algo, b"F")
    code = value.__code__
    module = value.__globals__.get("__name__")
    walk.trace.functions.append(value)
    if is_library_code(code, module):
        out.add(_text(f"{code.co_qualname} {library_name(module, code.co_filename)}"))
        if value.__closure__:
            yield from _closure(value, out, walk)
        return out.term()
    name = f"{value.__module__}.{value.__qualname__}"
    definition = definition_of(code, value.__globals__)
    walk.trace.codes[id(code)] = (name, definition.token, code)
    if definition.changed_file is not None:
        walk.trace.changed_files.add(definition.changed_file)
    out.add(_text("function") + definition.digest)
    walk.label = ".__defaults__"
    out.add((yield value.__defaults__))
    walk.label = ".__kwdefaults__"
    out.add((yield value.__kwdefaults__))
    yield from _closure(value, out, walk)
    yield from _names(value, definition.names, out, walk)
    return out.term()


def _text(text: str) -> bytes:
    return atom(text, str, XXH3_128)


def _closure(value: types.FunctionType, out: Encoding, walk: Walk) -> Generator[Any, bytes, None]:
    for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
        try:
            content = cell.cell_contents
        except ValueError:
            content = None  # not bound yet
        out.add(_text(name))
        walk.label = f".{name}"
        if _is_code(content) or type(content) in ATOMS:
            out.add((yield content))
        else:
            out.add(_data_term(content, f"{value.__qualname__}: {name}", walk))


def _names(value: types.FunctionType, names: Names, out: Encoding, walk: Walk) -> Generator[Any, bytes, None]:
    trace = walk.trace
    space = value.__globals__
    _note_state(space, names, trace)
    for chain in names.used:
        home, name = _resolve(space, chain, trace)
        if (id(home), name) in trace.state:
            out.add(_text("state " + ".".join(chain)))
            continue
        content = trace.see(home, name)
        if content is _MISSING:
            out.add(_text("missing " + ".".join(chain)))  # a built-in, or not there yet
            continue
        out.add(_text(".".join(chain)))
        walk.label = f".{name}"
        if type(content) in ATOMS or _is_code(content):
            out.add((yield content))
        elif isinstance(content, types.ModuleType):
            module = content.__name__
            out.add(_text(f"module {module} {library_name(module) if is_library_module(module) else ''}"))
        else:
            out.add(_data_term(content, f"{value.__qualname__}: {'.'.join(chain)}", walk))


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
        elif not (_is_code(value) or _is_frozen(value) or isinstance(value, types.ModuleType)):
            trace.changed.add((id(home), name))


def _resolve(space: dict[str, Any], chain: Chain, trace: Trace) -> tuple[Any, str]:
    """Find where a dotted chain leads: through the user's modules, up to the first other thing on its way."""
    home = space
    for name in chain[:-1]:
        value = trace.see(home, name)
        if not isinstance(value, types.ModuleType) or is_library_module(value.__name__):
            return home, name
        home = vars(value)
    return home, chain[-1]


def _is_code(value: Any) -> bool:
    return isinstance(value, _CODE) or (callable(value) and hasattr(value, "__wrapped__"))


_CODE = (
    types.FunctionType,
    types.MethodType,
    types.BuiltinFunctionType,
    type,
    functools.partial,
    staticmethod,
    classmethod,
    property,
)


def _data_term(value: Any, name: str, walk: Walk) -> bytes:
    """Digest data that code uses, or say what stands in for it."""
    from lightwork.errors import HashError

    trace = walk.trace
    if _is_handle(value):
        return _text("handle " + type(value).__qualname__)
    size = _size(value)
    if size is None:
        trace.unfollowed.add(f"{name} ({type(value).__name__})")
        return _text("not followed " + type(value).__qualname__)
    try:
        term = walk.part(value)
    except HashError:
        trace.unfollowed.add(f"{name} ({type(value).__name__})")
        return _text("not followed " + type(value).__qualname__)
    if not _is_frozen(value):
        trace.volatile[id(value)] = (value, _quick_digest(value))
    return term


_HANDLES = (
    "logging.Logger",
    "logging.LoggerAdapter",
    "_thread.lock",
    "_thread.RLock",
    "_io.TextIOWrapper",
    "_thread._local",
)


def _is_handle(value: Any) -> bool:
    return any(f"{base.__module__}.{base.__qualname__}" in _HANDLES for base in type(value).__mro__)


def _size(value: Any) -> int | None:
    """Guess the bytes of some data; None where it is too large to be followed."""
    nbytes = getattr(value, "nbytes", None)
    if isinstance(nbytes, int):
        return nbytes if nbytes <= LARGE_DATA else None
    if callable(getattr(value, "memory_usage", None)):
        used = value.memory_usage()
        total = int(used.sum()) if hasattr(used, "sum") else int(used)
        return total if total <= LARGE_DATA else None
    return _size_of_container(value, SMALL_DATA)


def _size_of_container(value: Any, limit: int) -> int | None:
    if isinstance(value, str | bytes | bytearray):
        return len(value) if len(value) <= LARGE_DATA else None
    stack, total, seen = [value], 0, set()
    while stack:
        each = stack.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        nbytes = getattr(each, "nbytes", None)
        if isinstance(nbytes, int):
            total += nbytes >> 8  # arrays are hashed some 250 times faster than containers are walked
        elif not isinstance(each, type | types.FunctionType | types.ModuleType):
            total += sys.getsizeof(each)
        if total > limit:
            return None
        if not isinstance(each, (*_CODE, types.ModuleType)):
            stack.append(getattr(each, "__dict__", None))
        if isinstance(each, dict):
            stack.extend(each)
            stack.extend(each.values())
        elif isinstance(each, list | tuple | set | frozenset):
            stack.extend(each)
    return total


def _is_frozen(value: Any) -> bool:
    """Whether a value can never change in place."""
    kind = type(value)
    if kind in ATOMS or kind is range:
        return True
    if kind is tuple or kind is frozenset:
        return all(map(_is_frozen, value))
    return False


def _quick_digest(value: Any) -> bytes:
    encoding = quick(value, XXH3_128)
    if encoding is not None:
        return XXH3_128.once(encoding)
    walk = Walk()
    walk.trace = _BY_ID
    return walk.digest(value)


# --- classes ------------------------------------------------------------------------------------------

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
        if (id(value), key) in walk.trace.state:
            continue
        walk.trace.see(value, key)
        walk.label = f".{key}"
        content = (
            getattr(content, "func", content) if isinstance(content, functools.cached_property) else content
        )
        if _is_code(content) or type(content) in ATOMS:
            out.add((yield content))
        else:
            out.add(_data_term(content, f"{value.__qualname__}.{key}", walk))
    return out.term()


_SLOTS = (types.MemberDescriptorType, types.GetSetDescriptorType)


def _is_made(content: Any, owner: type) -> bool:
    """Whether a method was written by a class decorator (dataclass, attrs), from fields that count anyway."""
    code = getattr(getattr(content, "__wrapped__", content), "__code__", None)
    if code is None:
        return False
    by_decorator = (
        "__dataclass_fields__" in vars(owner) or "__attrs_attrs__" in vars(owner) or hasattr(owner, "_fields")
    )
    return by_decorator and (code.co_filename.startswith("<") or is_library_code(code, None))


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


# --- the fingerprint, kept ----------------------------------------------------------------------------


class Record:
    """A fingerprint and what it was made of. It does not hold the function itself, which may come and go."""

    __slots__ = ("_cells", "_codes", "_defaults", "_keywords", "_places", "_root", "_volatile", "fingerprint")

    def __init__(self, root: Any, fingerprint: Fingerprint, trace: Trace) -> None:
        self.fingerprint = fingerprint
        self._root = _inside(root) if isinstance(root, types.FunctionType) else None
        functions = list({id(each): each for each in trace.functions if each is not root}.values())
        self._codes = functions, [each.__code__ for each in functions]
        # Only those that have defaults: code that gains some without being made anew is not noticed.
        with_defaults = [each for each in functions if each.__defaults__]
        self._defaults = with_defaults, [each.__defaults__ for each in with_defaults]
        with_keywords = [each for each in functions if each.__kwdefaults__]
        self._keywords = with_keywords, [each.__kwdefaults__ for each in with_keywords]
        cells = [cell for each in functions for cell in each.__closure__ or ()]
        self._cells = cells, [_content(cell) for cell in cells]
        self._places = [_watch(home, seen) for home, seen in trace.places.values()]
        self._volatile = list(trace.volatile.values())

    def holds(self, root: Any) -> bool:
        """Whether everything is still in place. This runs on each call of a remembered function."""
        if self._root is not None and not all(map(is_, _inside(root), self._root)):
            return False
        for home, get, values, missing in self._places:
            space = vars(home) if isinstance(home, type) else home
            try:
                if not all(map(is_, get(space), values)):
                    return False
            except KeyError:
                return False
            if missing and not missing.isdisjoint(space):
                return False
        functions, codes = self._codes
        if [each.__code__ for each in functions] != codes:
            return False
        functions, defaults = self._defaults
        if functions and not all(map(is_, [each.__defaults__ for each in functions], defaults)):
            return False
        functions, keywords = self._keywords
        if functions and not all(map(is_, [each.__kwdefaults__ for each in functions], keywords)):
            return False
        cells, contents = self._cells
        if cells and not all(map(is_, map(_content, cells), contents)):
            return False
        return not self._volatile or all(_quick_digest(value) == digest for value, digest in self._volatile)


def _inside(function: Any) -> tuple[Any, ...]:
    """Return what a function carries with it."""
    start = (function.__code__, function.__defaults__, function.__kwdefaults__)
    return (*start, *map(_content, function.__closure__)) if function.__closure__ else start


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _MISSING


def _watch(
    home: Any, seen: dict[str, Any]
) -> tuple[Any, Callable[[Any], Any], tuple[Any, ...], frozenset[str]]:
    there = [name for name, value in seen.items() if value is not _MISSING]
    values = tuple([seen[name] for name in there])
    # itemgetter gives a lone value for a lone name: ask for it twice.
    names = there if len(there) != 1 else there * 2
    get: Callable[[Any], Any] = itemgetter(*names) if names else lambda _: ()
    return home, get, values if len(there) != 1 else values * 2, frozenset(seen) - frozenset(there)


_records: dict[int, tuple[weakref.ref[Any], Record]] = {}
_RECORDS = 1024  # functions whose fingerprints are kept
_told: set[str] = set()


def fingerprint(func: Callable[..., Any]) -> Fingerprint:
    """Return what a function runs and depends on, in one digest.

    Parameters
    ----------
    func : callable
        A function, class, method, partial or built-in.

    Returns
    -------
    Fingerprint
        Its `digest` changes when the code of the function changes, or that of a function or class of the user's that it
        uses, or a constant that it names. It costs microseconds while nothing changed.

    Examples
    --------
    >>> from lightwork.hashing import fingerprint
    >>> def double(x):
    ...     return 2 * x
    >>> fingerprint(double) is fingerprint(double)
    True
    """
    known = _records.get(id(func))
    if known is not None and known[0]() is func and known[1].holds(func):
        return known[1].fingerprint
    if not callable(func):
        raise OptionTypeError(f"only what can be called has a fingerprint, not {func!r}")
    record = _look(func)
    while len(_records) >= _RECORDS:
        _records.pop(next(iter(_records)), None)
    try:
        key = id(func)
        _records[key] = (weakref.ref(func, lambda _: _records.pop(key, None)), record)
    except TypeError:
        return record.fingerprint  # a callable that cannot be referred to weakly is looked at on each call
    return record.fingerprint


def _look(func: Any) -> Record:
    state: frozenset[tuple[int, str]] = frozenset()
    while True:
        trace = Trace(state)
        walk = Walk()
        walk.trace = trace
        digest = walk.digest(func)
        if trace.changed <= state:
            break
        # What some followed code changes is state for all of it: look again, knowing that.
        state = state | trace.changed
    codes = sorted({(name, token) for name, token, _ in trace.codes.values()})
    made = Fingerprint(digest, tuple([token for _, token in codes]), tuple([name for name, _ in codes]))
    _warn(func, trace)
    return Record(func, made, trace)


def _warn(func: Any, trace: Trace) -> None:
    for filename in sorted(trace.changed_files):
        _tell(
            f"{os.path.basename(filename)} changed since it was imported: lightwork goes by the code that runs, not by "
            f"{filename}; start Python again to run what the file says now",
            CodeChangedWarning,
        )
    if trace.unfollowed:
        _tell(
            f"not followed, so changes there will not be noticed: {'; '.join(sorted(trace.unfollowed))}. "
            "Pass it as an argument instead",
            NotFollowedWarning,
        )


def _tell(message: str, category: type[Warning]) -> None:
    if message in _told:
        return
    _told.add(message)
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == "lightwork":
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def digest_of_code_object(code: types.CodeType) -> bytes:
    """Digest a bare code object, with the Python version that it is for."""
    return XXH3_128.once(f"{sys.version_info[:2]}".encode() + digest_code(code))
