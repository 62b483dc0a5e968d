"""Objects into files and back; every uncompressed file is a standard pickle. See `layout` for where each byte goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightwork.persist.reader import load, load_path, read_bytes, read_value

if TYPE_CHECKING:
    from lightwork.persist.checks import FileCheck, reseal_file, verify_file, verify_objects
    from lightwork.persist.inspection import FileReport, inspect_file
    from lightwork.persist.writer import dump

__all__ = [
    "FileCheck",
    "FileReport",
    "dump",
    "inspect_file",
    "load",
    "load_path",
    "read_bytes",
    "read_value",
    "reseal_file",
    "verify_file",
    "verify_objects",
]

# What few programs need is imported when it is first asked for; and what writes, because a second run often only reads.
_LATE = {
    "FileCheck": "checks",
    "FileReport": "inspection",
    "dump": "writer",
    "inspect_file": "inspection",
    "reseal_file": "checks",
    "verify_file": "checks",
    "verify_objects": "checks",
}


def __getattr__(name: str) -> object:
    if name in _LATE:
        from importlib import import_module

        value: object = getattr(import_module(f"{__name__}.{_LATE[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
