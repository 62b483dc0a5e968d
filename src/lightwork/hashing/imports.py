"""Imports in the bodies of functions: what their names will stand for when the function runs.

The law: a name that a body imports from the user's code is followed like a global one. So the module must be there:
it is imported when the function is first looked at, as the function itself would do, outside of all locks of ours.
Were it left until then, the fingerprint would depend on what had run. What cannot be imported, and what is imported for
nothing but its effects, is not followed, and said to be so. Names of libraries count with the function's definition.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib import import_module
from importlib.util import resolve_name
from itertools import repeat
from typing import Any

from lightwork.hashing.chains import Chain, Import, Names
from lightwork.hashing.codes import global_names
from lightwork.hashing.trace import UNFOLLOWED, Trace

__all__ = ["ImportNeeded", "Starts", "bring", "starts_of"]

Starts = Callable[[Iterable[Chain]], Iterator[tuple[dict[str, Any], Chain]]]
"""From chains as the code says them to where they start, and how they go on from there."""

_failed: set[str] = (
    set()
)  # modules that could not be imported for a look: a function may never get to that line


class ImportNeeded(Exception):  # noqa: N818 - no error: a request to whoever began the look
    """A look at a function goes on once a module is there."""

    def __init__(self, module: str) -> None:
        super().__init__(module)
        self.module = module


def bring(module: str) -> None:
    """Import a module that a body names, if it can be."""
    try:
        import_module(module)
    except (Exception, SystemExit):  # whatever the user's module does; the function itself will meet it
        _failed.add(module)


def starts_of(value: types.FunctionType, names: Names, trace: Trace) -> Starts:
    """Say where the chains of a function start: among its globals, or, if its body imports their first name, elsewhere.

    Raises
    ------
    ImportNeeded
        If a module is not there yet.
    """
    space = value.__globals__
    if not names.imported:
        return partial(zip, repeat(space))
    roots = _roots(value, names, trace)
    both = global_names(value.__code__)

    def starts(chains: Iterable[Chain]) -> Iterator[tuple[dict[str, Any], Chain]]:
        for chain in chains:
            if chain[0] not in roots or chain[0] in both:
                yield space, chain
            for root in roots.get(chain[0], ()):
                yield sys.modules, (*root, *chain[1:])

    return starts


def _roots(value: types.FunctionType, names: Names, trace: Trace) -> dict[str, list[Chain]]:
    """Say what the names that a body imports stand for, by chains that start in `sys.modules`; libraries' by none."""
    found: dict[str, list[Chain]] = {each.bound: [] for each in names.imported}
    used = {chain[0] for chain in names.used}
    for each in names.imported:
        module = _absolute(each, value)
        if trace.scope.is_library_root(module.partition(".")[0]) or trace.ignores(module):
            continue
        if each.bound not in used or not _is_there(module, each.attribute):
            trace.note(UNFOLLOWED, f"{value.__qualname__}: import {module or '.'} in its body")
        elif each.attribute:
            found[each.bound].append((module, each.attribute))
        else:
            found[each.bound].append((module if each.is_whole else each.bound,))
    return found


def _absolute(each: Import, value: types.FunctionType) -> str:
    if not each.level:
        return each.module
    space = value.__globals__
    package = space.get("__package__")
    if package is None:
        package = str(space.get("__name__", "")).rpartition(".")[0]
    try:
        return resolve_name("." * each.level + each.module, package)
    except ImportError:
        return ""  # not in a package: the import will fail when the function runs


def _is_there(module: str, attribute: str) -> bool:
    """Whether a module is imported, and the one in it that an attribute may be; asks for it unless that failed."""
    if module not in sys.modules:
        if module and module not in _failed:
            raise ImportNeeded(module)
        return False
    loaded = sys.modules[module]
    inner = f"{module}.{attribute}"
    if attribute and not hasattr(loaded, attribute) and hasattr(loaded, "__path__") and inner not in _failed:
        raise ImportNeeded(inner)
    return True
