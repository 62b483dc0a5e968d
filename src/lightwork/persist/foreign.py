"""What a file looks like that is not of our layout, so that an error can name it. Reads bytes, executes nothing."""

from __future__ import annotations

import io
from typing import Final

# First bytes -> what it is, and what to do about it.
_LOOKS: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\x93NUMPY", "a NumPy array file (.npy); read it with numpy.load"),
    (b"PK\x03\x04", "a zip archive, such as NumPy's .npz; read it with numpy.load or zipfile"),
    (b"\x89HDF", "an HDF5 file"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"%PDF", "a PDF document"),
    (b"BZh", "compressed by bzip2; decompress it first"),
    (b"\xfd7zXZ", "compressed by xz; decompress it first"),
    (b"\x04\x22\x4d\x18", "compressed by lz4; decompress it first"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself; run git lfs pull"),
)
_MARKUP: Final = (b"<!doctype html", b"<html", b"<?xml", b"<head")


def describe(start: bytes) -> str:
    """One clause about a file that starts with these bytes."""
    if not start:
        return "the file is empty"
    for magic, what in _LOOKS:
        if start.startswith(magic):
            return f"this is not a file that can be loaded: it looks like {what}"
    if start.lstrip().lower().startswith(_MARKUP):
        return "this is not a file that can be loaded: it looks like an HTML page, as a failed download leaves it"
    if not start.strip(b"\0"):
        return "the file holds only zeros: its space was reserved, and its content never written"
    try:
        text = start[:1024].decode()
    except UnicodeDecodeError as error:
        text = start[: error.start].decode() if error.start > 1000 else ""
    if text and all(character.isprintable() or character.isspace() for character in text):
        return "this is not a file that can be loaded: it looks like text"
    return (
        "this is not a file that can be loaded: it is neither a pickle nor compressed in a way that is known"
    )


def looks_like_pickle(start: bytes) -> bool:
    """Whether these are the first bytes of a pickle of protocol 2 or later."""
    return len(start) >= 2 and start[0] == 0x80 and 2 <= start[1] <= 5


def may_be_old_pickle(start: bytes) -> bool:
    """Whether these could be the first bytes of a pickle of protocol 0 or 1, which has no sign of its own."""
    return start[:1] in (b"(", b"]", b"}", b")", b"c", b"I", b"K", b"M", b"J", b"L", b"F", b"G", b"N", b"S", b"U", b"T",
                         b"V", b"X")  # fmt: skip


def parses(data: bytes) -> bool:
    """Whether all of it is one sequence of opcodes that ends with STOP; nothing is executed."""
    import pickletools

    if not data.endswith(b"."):
        return False
    file = io.BytesIO(data)
    try:
        for _ in pickletools.genops(file):
            continue
    except Exception:  # whatever unsound bytes make of the reader
        return False
    return file.tell() == len(data)
