"""Whether the user's modules that a worker has loaded are still what lies on disk.

Between two calls people edit their code. A worker that has imported a module keeps the old one, so it must not serve
the next call: it leaves, and its successor, forked from a process that never loads users' modules, imports
the new one. Only modules outside the interpreter's and the installed packages' folders are looked at: those are
the ones that people edit while a program runs.
"""

from __future__ import annotations

import os
import sys

__all__ = ["Sources"]

Stamp = tuple[int, int]
"""Time of last change (ns) and size of a file."""


class Sources:
    """The source files of the user's modules of this process, as they were when they were first seen here."""

    def __init__(self) -> None:
        self._foreign: tuple[str, ...] = ()
        self._seen = len(sys.modules)
        self._known: set[str] = set(sys.modules)
        self._stamps: dict[str, Stamp | None] = {}

    def note(self) -> None:
        """Take note of modules that were loaded since the last time."""
        if len(sys.modules) == self._seen:
            return
        self._seen = len(sys.modules)
        if not self._foreign:
            self._foreign = _library_folders()
        for name in sys.modules.keys() - self._known:
            self._known.add(name)
            file = getattr(sys.modules[name], "__file__", None)
            if type(file) is str and not file.startswith(self._foreign):
                self._stamps[file] = _stamp(file)

    def changed(self) -> bool:
        """Whether one of the files is no longer what it was; one that has gone counts as well."""
        self.note()
        return any(_stamp(file) != stamp for file, stamp in self._stamps.items())


def _library_folders() -> tuple[str, ...]:
    import sysconfig

    paths = sysconfig.get_paths()
    folders = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return (*(os.path.join(folder, "") for folder in folders), os.path.dirname(__file__))


def _stamp(file: str) -> Stamp | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
