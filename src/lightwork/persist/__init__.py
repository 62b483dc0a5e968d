"""Objects into files and back; every uncompressed file is a standard pickle. See `layout` for where each byte goes."""

from __future__ import annotations

from lightwork.persist.reader import load, load_path, read_bytes
from lightwork.persist.writer import dump

__all__ = ["dump", "load", "load_path", "read_bytes"]
