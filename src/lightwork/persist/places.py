"""Where a file is: a name, or a binary file that is already open. What is neither is refused here, in one place."""

from __future__ import annotations

import io
import os
from typing import IO, Protocol, runtime_checkable

from lightwork.errors import OptionTypeError


@runtime_checkable
class Writable(Protocol):
    """A binary file that can be written to."""

    def write(self, data: bytes, /) -> object:
        """Write bytes, all or some; return how many."""


@runtime_checkable
class Readable(Protocol):
    """A binary file that can be read from."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; none at the end."""


Target = str | os.PathLike[str] | Writable | IO[bytes]
Source = str | os.PathLike[str] | Readable | IO[bytes]


def target(place: object) -> str | Writable:
    """A path as `str`, or a file to write to."""
    path = _path(place)
    if path is not None:
        return path
    if not isinstance(place, io.TextIOBase) and isinstance(place, Writable):
        return place
    raise OptionTypeError(_refusal("dump", place, "wb"))


def source(place: object) -> str | Readable:
    """A path as `str`, or a file to read from."""
    path = _path(place)
    if path is not None:
        return path
    if not isinstance(place, io.TextIOBase) and isinstance(place, Readable):
        return place
    raise OptionTypeError(_refusal("load", place, "rb"))


def _path(place: object) -> str | None:
    if isinstance(place, str):
        return place
    if isinstance(place, os.PathLike | bytes):
        return os.fsdecode(place)
    return None


def _refusal(verb: str, place: object, mode: str) -> str:
    if isinstance(place, io.TextIOBase):
        return f"{verb}() needs a binary file, and this one was opened for text: open it with mode {mode!r}"
    return f"{verb}() takes a file name, a path, or a binary file opened with {mode!r}, not {type(place).__name__}"
