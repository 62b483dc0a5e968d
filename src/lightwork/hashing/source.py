"""Fingerprints of code: what a function runs, and all that it depends on, in one digest.

The law: a fingerprint changes when what the function would do changes, as far as that can be seen from its code, and
not when only its looks change, nor with what happened to run or to be imported before. It is made by the canonical
walk, in which a function is taken apart into its definition (`definitions`), its defaults, the values of its closure,
and the values behind the names that it uses. So functions, classes and data refer to each other freely, cycles
included, and one mechanism digests them all.

What is followed, and how, is the business of `follow`, `definitions`, `libraries` and `uses`. Here they are kept.
A fingerprint is kept beside what it was made of (`Record`), and is good as long as all of that is still in place, by
identity; small containers, which can change in place, are digested again on each look.
"""

from __future__ import annotations

import os
import sys
import threading
import types
import weakref
from collections.abc import Callable, Mapping
from operator import is_, itemgetter
from typing import Any, NamedTuple, TextIO

from lightwork.errors import CodeChangedWarning, NotFollowedWarning, OptionTypeError
from lightwork.hashing.buffers import XXH3_128
from lightwork.hashing.codes import digest_code
from lightwork.hashing.definitions import Sent, to_send
from lightwork.hashing.imports import ImportNeeded, bring
from lightwork.hashing.parts import Parts, changes, joined
from lightwork.hashing.scope import EVERYTHING, Scope
from lightwork.hashing.trace import (
    CLASS,
    COMPILED,
    FUNCTION,
    HANDLE,
    IGNORED,
    LIBRARY,
    MISSING,
    MODULE,
    STATE,
    UNFOLLOWED,
    UNSEEN,
    VALUE,
    Trace,
    name_of_code,
)
from lightwork.hashing.uses import digest_here
from lightwork.hashing.walk import Walk
from lightwork.observe import notices


class Fingerprint(NamedTuple):
    """What a function runs and depends on.

    Attributes
    ----------
    digest : bytes
        16 bytes, equal wherever the same code with the same values would run.
    tokens : tuple of bytes
        One for each followed code object and compiled module; to be compared with those of another process of the
        same Python.
    names : tuple of str
        What each token stands for: ``module.function``, or the module.
    parts : tuple of (str, str)
        What it was made of, in words, each with a few digits and the short form of a value: to tell what changed.
    """

    digest: bytes
    tokens: tuple[bytes, ...]
    names: tuple[str, ...]
    parts: Parts = ()


class Record:
    """A fingerprint and what it was made of. It does not hold the function itself, which may come and go."""

    __slots__ = (
        "_cells",
        "_classes",
        "_functions",
        "_inside",
        "_keywords",
        "_places",
        "_volatile",
        "fingerprint",
        "travelling",
    )

    def __init__(self, root: Any, fingerprint: Fingerprint, trace: Trace) -> None:
        self.fingerprint = fingerprint
        self._inside = _inside(root) if isinstance(root, types.FunctionType) else None
        functions = list({id(each): each for each in trace.functions if each is not root}.values())
        self._functions = [(each, each.__code__, each.__defaults__) for each in functions]
        # Of a function without such parameters they make no difference.
        self._keywords = [
            (each, each.__kwdefaults__) for each in functions if each.__code__.co_kwonlyargcount
        ]
        cells = [
            cell
            for each in functions
            for name, cell in zip(each.__code__.co_freevars, each.__closure__ or (), strict=True)
            if (id(cell), name) not in trace.state
        ]
        self._cells = cells, [_content(cell) for cell in cells]
        # What a class has is watched by name; this tells of what it gains, and of other bases.
        self._classes = [(each, len(vars(each)), each.__bases__) for each in trace.classes]
        self._places = [_watch(home, seen) for home, seen in trace.places.values()]
        self._volatile = list(trace.volatile.values())
        self.travelling = tuple([code for name, _, code in trace.codes.values() if _goes_by_value(name)])

    def holds(self, root: Any) -> bool:
        """Whether everything is still in place. This runs on each call of a remembered function."""
        if self._inside is not None:
            code, defaults, keywords, closed = self._inside
            if (
                root.__code__ is not code
                or root.__defaults__ is not defaults
                or root.__kwdefaults__ is not keywords
                or (closed and not all(map(is_, map(_content, root.__closure__), closed)))
            ):
                return False
        for home, get, values, missing in self._places:
            space = vars(home) if isinstance(home, type) else home
            try:
                if not all(map(is_, get(space), values)):
                    return False
            except KeyError:
                return False
            for name in missing:
                if name in space:
                    return False
        # A plain loop: half the time of a pass for each attribute.
        for each, code, defaults in self._functions:
            if each.__code__ is not code or each.__defaults__ is not defaults:
                return False
        for each, keywords in self._keywords:
            if each.__kwdefaults__ is not keywords:
                return False
        for kind, size, bases in self._classes:
            if len(kind.__dict__) != size or kind.__bases__ is not bases:
                return False
        cells, contents = self._cells
        if cells and not all(map(is_, map(_content, cells), contents)):
            return False
        if not self._volatile:
            return True
        try:
            return all(digest_here(value) == digest for value, digest in self._volatile)
        except TypeError:  # a HashError is one, and importing that takes 40 ms
            return False  # it holds something now that has no value: a new look will say so


def _goes_by_value(name: str) -> bool:
    """Whether a function goes to other processes by value: one of ``__main__``, a local one, a lambda."""
    return name.partition(".")[0] in ("__main__", "__mp_main__") or "<" in name


def _inside(function: Any) -> tuple[Any, Any, Any, tuple[Any, ...]]:
    """Return what a function carries with it, the contents of its closure last."""
    contents = tuple(map(_content, function.__closure__ or ()))
    return function.__code__, function.__defaults__, function.__kwdefaults__, contents


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return MISSING


def _watch(
    home: Any, seen: dict[str, Any]
) -> tuple[Any, Callable[[Any], Any], tuple[Any, ...], tuple[str, ...]]:
    there = [name for name, value in seen.items() if value is not MISSING]
    values = tuple([seen[name] for name in there])
    # itemgetter gives a lone value for a lone name: ask for it twice.
    names = there if len(there) != 1 else there * 2
    get: Callable[[Any], Any] = itemgetter(*names) if names else lambda _: ()
    return (
        home,
        get,
        values if len(there) != 1 else values * 2,
        tuple([name for name in seen if name not in there]),
    )


# By the function's id; under another scope than the usual one, by id and scope.
_records: dict[Any, tuple[weakref.ref[Any], Record]] = {}
_lock = threading.RLock()  # one look at a time: caches of files and of definitions have no locks of their own


def _forked() -> None:
    """Give a forked child a lock that no thread of its parent's holds."""
    global _lock, _looking
    _lock, _looking = threading.RLock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
_looking: int | None = None  # the thread that holds the lock
_RECORDS = 1024  # functions whose fingerprints are kept
_told: set[str] = set()


def fingerprint(func: Callable[..., Any] | types.ModuleType, scope: Scope = EVERYTHING) -> Fingerprint:
    """Return what a function runs and depends on, in one digest.

    Parameters
    ----------
    func : callable
        A function, class, method, partial or built-in; or a module, with all that it holds.
    scope : Scope, optional
        How far to go; by default all of the user's code is followed.

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
    key = id(func) if scope is EVERYTHING else (id(func), scope)
    known = _records.get(key)
    if known is not None and known[0]() is func and known[1].holds(func):
        return known[1].fingerprint
    if not callable(func) and not isinstance(func, types.ModuleType):
        raise OptionTypeError(f"only what can be called has a fingerprint, not {func!r}")
    if scope.track == "none":
        name = name_of_code(func)
        if name and "<" not in name:
            return Fingerprint(XXH3_128.once(b"name" + name.encode()), (), ())
        scope = scope._replace(track="function")
    record = _looked(func, scope)
    while len(_records) >= _RECORDS:
        _records.pop(next(iter(list(_records))), None)
    try:
        _records[key] = (weakref.ref(func, lambda _: _records.pop(key, None)), record)
    except TypeError:
        return record.fingerprint  # a callable that cannot be referred to weakly is looked at on each call
    return record.fingerprint


def record_of(func: Callable[..., Any], scope: Scope = EVERYTHING) -> Record | None:
    """Return what was kept when the fingerprint of a function was made; whoever holds the function may ask it again."""
    known = _records.get(id(func) if scope is EVERYTHING else (id(func), scope))
    return known[1] if known is not None and known[0]() is func else None


def definitions_to_send(func: Callable[..., Any], scope: Scope = EVERYTHING) -> tuple[Sent, ...]:
    """Return what another process should know of the code that goes there by value with a function (`receive`)."""
    fingerprint(func, scope)
    record = record_of(func, scope)
    return () if record is None else to_send(record.travelling)


def _looked(func: Any, scope: Scope) -> Record:
    """Look at a function, with the modules that its body imports; these are imported while no lock is held."""
    global _looking
    while True:
        try:
            with _lock:
                outer, _looking = _looking, threading.get_ident()
                try:
                    return _look(func, scope)
                finally:
                    _looking = outer
        except ImportNeeded as needed:
            if _looking == threading.get_ident():
                raise  # whoever began the look holds the lock
            bring(needed.module)


def _look(func: Any, scope: Scope) -> Record:
    digest, trace = _trace(func, scope)
    codes = sorted({(name, token) for name, token, _ in trace.codes.values()} | set(trace.modules.items()))
    tokens, names = tuple([token for _, token in codes]), tuple([name for name, _ in codes])
    made = Fingerprint(digest, tokens, names, joined(trace.parts))
    _warn(func, trace)
    return Record(func, made, trace)


def _trace(func: Any, scope: Scope) -> tuple[bytes, Trace]:
    state: frozenset[tuple[int, str]] = frozenset()
    while True:
        trace = Trace(state, scope, func)
        walk = Walk()
        walk.trace = trace
        digest = walk.digest(func)
        if trace.changed <= state:
            return digest, trace
        # What some followed code changes is state for all of it: look again, knowing that.
        state = state | trace.changed


def explain(
    func: Callable[..., Any],
    since: Fingerprint | Mapping[str, object] | None = None,
    file: TextIO | None = None,
) -> None:
    """Print what the fingerprint of a function depends on, or what of that changed.

    Parameters
    ----------
    func : callable
        A function, class, method or partial; of a remembered function, as far as its `Memory` follows code.
    since : Fingerprint or mapping, optional
        An earlier fingerprint of it, or an entry of its results (one of ``func.entries()``): only what changed since
        is printed.
    file : text file, optional
        Where to print; standard output by default.

    Examples
    --------
    >>> from lightwork.hashing import explain
    >>> SCALE = 3
    >>> def scale(x):
    ...     return SCALE * x
    >>> explain(scale)  # doctest: +SKIP
    scale depends on
      functions: __main__.scale
      values: scale: SCALE
    """
    name = getattr(func, "__qualname__", repr(func))
    scope: Scope
    func, scope = getattr(func, "__lightwork_code__", (func, EVERYTHING))
    if since is not None:
        print(*_since(name, since, fingerprint(func, scope)), sep="\n", file=file)
        return
    fingerprint(func, scope)  # refuses what cannot be called, and gives the warnings
    print(f"{name} depends on", file=file)
    _, trace = _trace(func, scope)
    for kind in (
        FUNCTION,
        CLASS,
        MODULE,
        VALUE,
        LIBRARY,
        COMPILED,
        STATE,
        HANDLE,
        IGNORED,
        UNFOLLOWED,
        UNSEEN,
    ):
        if kind in trace.notes:
            print(f"  {kind}: {', '.join(sorted(trace.notes[kind]))}", file=file)


def _since(name: str, since: Fingerprint | Mapping[str, object], now: Fingerprint) -> list[str]:
    """Say what changed since an earlier fingerprint."""
    if isinstance(since, Fingerprint):
        same, parts = since.digest == now.digest, dict(since.parts)
    else:
        same, parts = since.get("fingerprint") == now.digest.hex(), _parts_of_entry(since)
    if same:
        return [f"{name}: nothing changed"]
    return [str(each) for each in changes(parts, dict(now.parts))] or [
        f"{name}: it changed in what is not told"
    ]


def _parts_of_entry(since: Mapping[str, object]) -> dict[str, str]:
    code = since.get("code")
    if not isinstance(code, Mapping):
        raise OptionTypeError(
            f"since= takes a fingerprint or an entry of a remembered function, not {since!r:.80}"
        )
    return {str(label): str(said) for label, said in code.items()}


def _warn(func: Any, trace: Trace) -> None:
    for filename in sorted(trace.changed_files):
        _tell(
            f"{os.path.basename(filename)} changed since it was imported: lightwork goes by the code that runs, not by "
            f"{filename}; start Python again to run what the file says now",
            CodeChangedWarning,
        )
    unfollowed = trace.notes.get(UNFOLLOWED)
    if unfollowed:
        _tell(
            f"not followed, so changes there will not be noticed: {'; '.join(sorted(unfollowed))}. "
            "Pass it as an argument, or say what it depends on in depends_on=[...]",
            NotFollowedWarning,
        )


def _tell(message: str, category: type[Warning]) -> None:
    if message in _told:
        return
    _told.add(message)
    notices.warn(message, category)


def digest_of_code_object(code: types.CodeType) -> bytes:
    """Digest a bare code object, with the Python version that it is for."""
    return XXH3_128.once(f"{sys.version_info[:2]}".encode() + digest_code(code))
