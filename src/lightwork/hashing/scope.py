"""How far a fingerprint goes: whose code is followed, what is left out, and how much of a library's version counts.

The law: a scope is a small immutable value, told once and the same in every process, so it holds names and never the
things themselves. Two scopes may give one function two fingerprints, so whoever keeps fingerprints keeps them by
scope as well. Where a scope makes no difference to a function, its fingerprint is the same under it: going to
another scope does not make anybody compute again without need.

Names are ``module.qualname``: of functions and classes that of where they are defined, of data that of the
module (or class) where the code looks it up. A name speaks for all that is below it: ``features`` for
``features.scale``, ``features.Model`` for ``features.Model.fit``.

Pure: what is followed is decided here; `follow` does it; `named` makes names of what people say.
"""

from __future__ import annotations

import types
from typing import Literal, NamedTuple

from lightwork.hashing import libraries
from lightwork.hashing.walk import Walk

Track = Literal["deps", "function", "none"]
Versions = Literal["minor", "exact", "none"]
Followed = type | types.ModuleType
"""What counts by more than its name where a value holds it: classes of instances, and modules."""


class Scope(NamedTuple):
    """How far a fingerprint goes.

    Attributes
    ----------
    track : {"deps", "function", "none"}
        All of the user's code that a function runs; or its own code, with its defaults and its closure; or its
        name alone (lambdas and local functions, which have no name of their own, by their own code).
    ignore_deps : tuple of str
        What does not count, with all below it.
    track_packages : tuple of str
        Installed packages whose code is followed like the user's own.
    library_versions : {"minor", "exact", "none"}
        How much of a library's version counts: its first two numbers, all of it, nothing.
    """

    track: Track = "deps"
    ignore_deps: tuple[str, ...] = ()
    track_packages: tuple[str, ...] = ()
    library_versions: Versions = "minor"

    def ignores(self, name: str) -> bool:
        """Whether something of this name does not count."""
        return bool(self.ignore_deps) and is_below(name, self.ignore_deps)

    def is_library_module(self, name: str | None) -> bool:
        """Whether a module counts by its library's name and version."""
        return libraries.is_library_module(name) and not self._tracks(name)

    def is_library_code(self, code: types.CodeType, module: str | None) -> bool:
        """Whether a code object of a module counts by its library's name and version."""
        return libraries.is_library_code(code, module) and not self._tracks(module)

    def is_library_root(self, root: str) -> bool:
        """Whether a package counts by its name and version; it need not have been imported."""
        return libraries.is_library_root(root) and not self._tracks(root)

    def counts(self, kind: Followed) -> bool:
        """Whether a class of instances that a function is called with counts by what it does; or a module so given."""
        is_module = isinstance(kind, types.ModuleType)
        module = kind.__name__ if is_module else kind.__module__
        if self.track != "deps" or self.is_library_module(module):
            return False
        return not self.ignores(module if is_module else f"{module}.{kind.__qualname__}")

    def _tracks(self, module: str | None) -> bool:
        return bool(self.track_packages) and module is not None and is_below(module, self.track_packages)

    def library_name(self, module: str | None, filename: str | None = None) -> str:
        """Return a library's name, and its version as far as that counts."""
        versions = "none" if module is not None and self.ignores(module) else self.library_versions
        return libraries.library_name(module, filename, versions)


EVERYTHING = Scope()
"""What holds where nothing was said."""


def is_below(name: str, parents: tuple[str, ...]) -> bool:
    """Whether a dotted name is one of some others, or below one."""
    return any(name == each or name.startswith(each + ".") for each in parents)


class ScopedWalk(Walk):
    """A walk over data: functions and classes in it count as far as a scope says."""

    def __init__(self, scope: Scope) -> None:
        super().__init__()
        self.scope = scope


def scope_of(walk: Walk) -> Scope:
    """Return the scope that holds in a walk."""
    if walk.trace is not None:
        scope: Scope = walk.trace.scope
        return scope
    return walk.scope if isinstance(walk, ScopedWalk) else EVERYTHING
