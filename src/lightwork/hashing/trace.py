"""What a fingerprinting walk met: for its record, to check it quickly; for people, to explain it.

The law: a trace is written by `follow` and read by `source`, and belongs to one walk. Places are noted with what was
seen there, data that may change with its digest, code with its token; and all that counts as a part, in words. What is
left out is noted as well, under a kind of its own: what is not said here, nobody can be told.
"""

from __future__ import annotations

import types
from typing import Any

from lightwork.hashing import parts
from lightwork.hashing.compiled import extension
from lightwork.hashing.scope import EVERYTHING, Scope, is_below

# Kinds of notes, as `explain` prints them.
FUNCTION = "functions"
CLASS = "classes"
MODULE = "modules, as wholes"
VALUE = "values"
LIBRARY = "libraries, by version"
STATE = "state, left out: this code changes it"
HANDLE = "handles, left out"
UNFOLLOWED = "not followed"
UNSEEN = "may fetch code by names that are computed, which is not seen"
COMPILED = "compiled modules, by their files"
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
        self.modules: dict[str, bytes] = {}  # compiled ones of the user's: name -> digest of the file
        self.functions: list[Any] = []
        self.classes: list[type] = []
        self.volatile: dict[int, tuple[Any, bytes]] = {}
        self.notes: dict[str, set[str]] = {}
        self.parts: dict[str, list[str]] = {}
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

    def part(self, label: str, said: bytes, shown: str = "") -> None:
        """Note what a part of the fingerprint is, to be compared with other times."""
        self.parts.setdefault(label, []).append(parts.text(said, shown))

    def library(self, name: str) -> None:
        """Note a library's name and version."""
        root, _, version = name.partition(" ")
        if version:
            self.note(LIBRARY, name)
            self.part(root, version.encode(), version)

    def compiled(self, module: str | None) -> tuple[bytes, ...]:
        """Return the digest of a module of the user's if it is compiled, and note it."""
        found = None if module is None or self.ignores(module) else extension(module)
        if found is None:
            return ()
        self.note(COMPILED, str(module))
        self.modules[str(module)] = found.digest
        self.part(f"compiled module `{module}`", found.digest)
        if found.replaced:
            self.changed_files.add(found.file)
        return (found.digest,)

    def see(self, home: Any, name: str) -> Any:
        """Look a name up in a module's namespace or a class, and note what is there."""
        value = (vars(home) if isinstance(home, type) else home).get(name, MISSING)
        self.places.setdefault(id(home), (home, {}))[1][name] = value
        return value


def name_of_code(value: Any) -> str:
    """Return ``module.qualname``; empty for what has no name."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    return f"{module}.{name}" if isinstance(module, str) and isinstance(name, str) else ""
