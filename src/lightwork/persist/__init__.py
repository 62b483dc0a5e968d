"""Objects into files and back; every uncompressed file is a standard pickle. See `layout` for where each byte goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightwork.persist.reader import load, load_path, read_bytes
from lightwork.persist.writer import dump

if TYPE_CHECKING:
    from lightwork.persist.checks import FileCheck, reseal_file, verify_file

__all__ = ["FileCheck", "dump", "load", "load_path", "read_bytes", "reseal_file", "verify_file"]


def __getattr__(name: str) -> object:
    if name in __all__:  # what few programs need is imported when it is first asked for
        from lightwork.persist import checks

        value: object = getattr(checks, name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
