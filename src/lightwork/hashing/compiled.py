"""Compiled code of the user's: extension modules in C, Cython or Rust that lie where the user works.

The law: what such a module does cannot be read, so its file counts, by its bytes. As with source, what runs counts and
not what is on disk: a file that was replaced since the process loaded it says nothing about the code that runs, so
that code counts as known to this process alone, and whoever asks is told. Where the system does not say which
file was loaded (all but Linux), the file is taken for it. Extension modules of libraries count by version, as their
Python code does. What a module is linked with, and what it reads when it runs, is not seen.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from typing import NamedTuple

from lightwork.hashing.buffers import XXH3_128
from lightwork.hashing.libraries import is_library_module

__all__ = ["Extension", "extension"]

_MAPS = "/proc/self/maps"  # the files that are mapped, by their paths at the end of lines; see proc(5)
_MYPYC = "__mypyc"  # the module that holds the code of a group; the others are empty shells


class Extension(NamedTuple):
    """A module of compiled code."""

    file: str
    digest: bytes
    replaced: bool  # whether another file lies there than was loaded


_known: dict[tuple[str, int], Extension | None] = {}


def extension(module: str | None) -> Extension | None:
    """Return what there is to know of a module that is compiled; None for one of source."""
    loaded = sys.modules.get(module or "")
    if loaded is None:
        return None
    # A compiled module stays what it is as long as the process lives.
    key = str(module), id(loaded)
    if key not in _known:
        file = _file(loaded)
        _known[key] = None if file is None else _read(file)
    return _known[key]


def _file(module: object) -> str | None:
    file = getattr(module, "__file__", None)
    return file if isinstance(file, str) and file.endswith(tuple(EXTENSION_SUFFIXES)) else None


def _read(file: str) -> Extension:
    holders = [
        other
        for name, module in sorted(sys.modules.items())
        if name.endswith(_MYPYC) and not is_library_module(name) and (other := _file(module))
    ]
    hasher = XXH3_128.new()
    for each in (file, *holders):
        try:
            with open(each, "rb") as opened:
                hasher.update(opened.read())
            replaced = _is_replaced(each)
        except OSError:
            replaced = True  # it is gone
        if replaced:
            return Extension(file, os.urandom(16), True)
    return Extension(file, bytes(hasher.digest()), False)


def _is_replaced(file: str) -> bool:
    """Whether the file that was loaded from this place is gone: builds put another in its place by its name."""
    gone = f" {os.path.realpath(file)} (deleted)"
    try:
        with open(_MAPS, encoding="utf-8", errors="surrogateescape") as maps:
            return any(line.rstrip("\n").endswith(gone) for line in maps)
    except OSError:
        return False
