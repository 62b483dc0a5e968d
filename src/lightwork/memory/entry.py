"""One entry: a result and how it came about, in one file that `persist` writes and reads.

The file is a plain pickle (or a compressed one) of the result. Its footer carries the metadata: the
function, its arguments shortened, the seconds it took, when, the fingerprint of its code. A
small file is read in one piece, which costs 4 µs (mapping it 14, Python's `open` 8); larger ones are
left to `persist.load`, which maps them where that is asked.

Entries are never written in place: `r+` and `w+` act as `c`, so that what a caller writes into a result never
reaches the entry. (joblib's `r+` wrote into its cache, and the next hit returned the change.)
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from lightwork.settings import MmapMode

__all__ = ["ABSENT", "UNFIT", "Absent", "Code", "Compress", "describe", "exists", "read", "write"]

ReadMode = Literal["r", "c"]
Compress = bool | int | str | tuple[str, int]


class Absent:
    """The type of `ABSENT` and `UNFIT`, which stand in the place of a result."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


ABSENT: Final = Absent("ABSENT")
"""There is no entry."""
UNFIT: Final = Absent("UNFIT")
"""There is an entry, which is damaged or not to be used any more."""

# From this size on, `persist` lays buffers apart, and copying them twice would show.
_SMALL: Final = 64 << 10
_FLAGS: Final = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_PICKLE: Final = b"\x80"  # PROTO, the first byte of any pickle since protocol 2

READ_MODES: Final[Mapping[MmapMode | None, ReadMode | None]] = {
    None: None,
    "r": "r",
    "c": "c",
    "r+": "c",
    "w+": "c",
}


class Code(NamedTuple):
    """By which code a result was computed, in words (`lightwork.hashing.parts`)."""

    fingerprint: str
    parts: Mapping[str, str] = {}
    besides: Mapping[str, str] = {}  # of classes of arguments, and of what the user said to count

    @property
    def whole(self) -> dict[str, str]:
        """All parts."""
        return {**self.parts, **self.besides}


def read(
    path: str, mmap_mode: ReadMode | None, when_compressed: Callable[[], None]
) -> tuple[Any, dict[str, object]]:
    """The result in an entry, and its metadata; `ABSENT` where there is none.

    An empty file, as a power cut leaves, is none. `when_compressed` is called where a mapping was asked and
    the entry is compressed: then it is read.
    """
    data = _head(path)
    if _is_small(data, mmap_mode):
        from lightwork.persist import read_bytes

        return read_bytes(data, path)
    return _read_large(data, path, mmap_mode, when_compressed)


def value(path: str, mmap_mode: ReadMode | None, when_compressed: Callable[[], None]) -> Any:
    """The result alone: the way of a hit, on which nothing is imported and no metadata read."""
    try:
        descriptor = os.open(path, _FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        return ABSENT
    try:
        data = os.read(descriptor, _SMALL)
    finally:
        os.close(descriptor)
    if (mmap_mode is None and 0 < len(data) < _SMALL) or _is_small(data, mmap_mode):
        return _read_small(data, path)
    return _read_large(data, path, mmap_mode, when_compressed)[0]


def _is_small(data: bytes, mmap_mode: ReadMode | None) -> bool:
    return len(data) < _SMALL and data[:1] == _PICKLE and (mmap_mode is None or b"numpy" not in data)


def _read_large(
    data: bytes, path: str, mmap_mode: ReadMode | None, when_compressed: Callable[[], None]
) -> tuple[Any, dict[str, object]]:
    if not data:
        return ABSENT, {}
    if mmap_mode is not None and data[:1] != _PICKLE:
        when_compressed()
        mmap_mode = None
    from lightwork.persist import load_path

    try:
        return load_path(path, mmap_mode, native=mmap_mode is None)
    except FileNotFoundError:  # removed since we looked at its head
        return ABSENT, {}


def exists(path: str) -> bool:
    """Whether there is an entry that is not empty."""
    try:
        return os.stat(path).st_size > 0
    except (FileNotFoundError, NotADirectoryError):
        return False


def _first_read(data: bytes, path: str) -> object:
    """Import `persist` when the first entry is read; an import in `value` would cost each hit 0.5 µs."""
    global _read_small
    from lightwork.persist import read_value

    _read_small = read_value
    return read_value(data, path)


_read_small: Callable[[bytes, str], object] = _first_read


def _head(path: str) -> bytes:
    """The first bytes of a file, all of them if it is small; none if there is no file."""
    try:
        descriptor = os.open(path, _FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        return b""
    try:
        return os.read(descriptor, _SMALL)
    finally:
        os.close(descriptor)


def write(
    path: str, value: object, compress: Compress, metadata: Mapping[str, object], mode: int | None = None
) -> None:
    """Put a result where others find it, whole or not at all."""
    from lightwork.persist import dump

    # By name, so that a hit in the same script is of the script's own classes.
    dump(value, path, compress=compress, metadata=metadata, by_name=True, mode=mode)


def describe(function: str, arguments: Mapping[str, str], seconds: float, code: Code) -> dict[str, object]:
    """The metadata of an entry; `duration`, `input_args` and `time` are joblib's names.

    Of the code there are its fingerprint and its parts, so that it can be said later what changed.
    """
    more = {"besides": dict(code.besides)} if code.besides else {}
    return {
        "function": function,
        "input_args": dict(arguments),
        "duration": seconds,
        "time": time.time(),
        "fingerprint": code.fingerprint,
        "code": dict(code.parts),
        **more,
    }
