"""Compression: which method, which level, and the streams of each.

A compressed file is the plain pickle, compressed: ``zstd -d`` or ``gzip -d`` gives it back. With zstd it is cut
into frames of 2 MiB, each with its content size and checksum (both off by default in zstd: a flipped bit
would pass silently), followed by the table of zstd's seekable format in a frame that every decompressor skips.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from lightwork.errors import OptionError, OptionTypeError

if TYPE_CHECKING:
    from collections.abc import Buffer  # type: ignore[attr-defined]

FRAME: Final = (
    2 << 20
)  # bytes of the pickle in one frame; larger frames gained under 1 % on the design's corpus
EXPANDED: Final = (
    1 << 20
)  # bytes that a decompressor gives at a time, so that a small file cannot claim all memory

_SEEKABLE: Final = 0x8F92EAB1
_SKIPPABLE: Final = 0x184D2A5E


class CodecError(Exception):
    """Compressed bytes are not sound; the reader turns it into DamagedFileError."""


class Compression(NamedTuple):
    """A method and its level."""

    method: str
    level: int


class Compressor(Protocol):
    """Bytes in, compressed bytes out."""

    def compress(self, block: Buffer, /) -> bytes:
        """Return what can be written by now."""

    def flush(self) -> bytes:
        """Return the rest."""


# --- the choice -----------------------------------------------------------------------------------

_DEFAULT_LEVEL: Final = 3
_EXTENSIONS: Final = {".zst": "zstd", ".z": "zlib", ".gz": "gzip"}


def choose(compress: object, path: str | None) -> Compression | None:
    """The compression that the option and the file's extension ask for; None for none."""
    if compress is None:
        method = _EXTENSIONS.get(os.path.splitext(path)[1].lower()) if path else None
        return Compression(method, _DEFAULT_LEVEL) if method else None
    by_extension = _EXTENSIONS.get(os.path.splitext(path)[1].lower(), "zstd") if path else "zstd"
    if isinstance(compress, str):
        return Compression(_method(compress), _DEFAULT_LEVEL)
    if isinstance(compress, tuple):
        if len(compress) != 2:
            raise OptionError(f"compress={compress!r} must be a pair such as ('zstd', 3)")
        method, level = _method(compress[0]), _level(compress[1], compress)
    else:
        method, level = by_extension, _level(compress, compress)
    return Compression(method, level) if level else None


def _method(name: object) -> str:
    if name in _METHODS:
        return str(name)
    raise OptionError(f"compress: there is no method {name!r}; there are {', '.join(map(repr, _METHODS))}")


def _level(level: object, whole: object) -> int:
    if isinstance(level, bool):
        return _DEFAULT_LEVEL if level else 0
    try:
        number = level.__index__()  # type: ignore[attr-defined]
    except AttributeError:
        message = f"compress={whole!r}: give True, False, a level from 0 to 9, a method, or a pair of both"
        raise OptionTypeError(message) from None
    if number not in range(10):
        raise OptionError(f"compress={whole!r}: the level must lie between 0 and 9")
    return int(number)


# --- zstd -----------------------------------------------------------------------------------------


def _zstd() -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd


class _ZstdCompressor:
    """Frames of a fixed size, each compressed on its own, and the table of them at the end."""

    def __init__(self, level: int) -> None:
        zstd = _zstd()
        self._compress: Callable[..., bytes] = zstd.compress
        self._options = {
            zstd.CompressionParameter.compression_level: level,
            zstd.CompressionParameter.checksum_flag: 1,
        }
        self._pending = bytearray()
        self._table: list[tuple[int, int]] = []

    def compress(self, block: Buffer) -> bytes:
        self._pending += block
        done = []
        while len(self._pending) >= FRAME:
            with memoryview(self._pending) as view:
                done.append(self._frame(view[:FRAME]))
            del self._pending[:FRAME]
        return b"".join(done)

    def flush(self) -> bytes:
        last = self._frame(memoryview(self._pending)) if self._pending else b""
        entries = b"".join([struct.pack("<II", *sizes) for sizes in self._table])
        table = entries + struct.pack("<IBI", len(self._table), 0, _SEEKABLE)
        return last + struct.pack("<II", _SKIPPABLE, len(table)) + table

    def _frame(self, view: memoryview) -> bytes:
        frame = self._compress(view, options=self._options)
        self._table.append((len(frame), len(view)))
        return frame


def _expand_zstd(read: Callable[[], bytes]) -> Iterator[bytes]:
    zstd = _zstd()
    data = read()
    try:
        while data:
            frame = zstd.ZstdDecompressor()
            while not frame.eof:
                if frame.needs_input and not data:
                    data = read()
                    if not data:
                        raise CodecError("the compressed data ends within a frame")
                block = frame.decompress(data, EXPANDED)
                data = b""
                if block:
                    yield block
            data = frame.unused_data or read()
    except zstd.ZstdError as error:
        raise CodecError(str(error)) from error


# --- zlib and gzip --------------------------------------------------------------------------------


def _zlib_compressor(bits: int) -> Callable[[int], Compressor]:
    def start(level: int) -> Compressor:
        import zlib

        return zlib.compressobj(level, zlib.DEFLATED, bits)

    return start


def _expand_zlib(bits: int) -> Callable[[Callable[[], bytes]], Iterator[bytes]]:
    def expand(read: Callable[[], bytes]) -> Iterator[bytes]:
        import zlib

        data = read()
        try:
            while data:  # gzip files may hold several members
                stream = zlib.decompressobj(bits)
                while not stream.eof:
                    block = stream.decompress(data, EXPANDED)
                    data = stream.unconsumed_tail
                    if block:
                        yield block
                    elif not data and not stream.eof:
                        data = read()
                        if not data:
                            raise CodecError("the compressed data ends too early")
                data = stream.unused_data or read()
        except zlib.error as error:
            raise CodecError(str(error)) from error

    return expand


# --- the table of methods -------------------------------------------------------------------------


class _Method(NamedTuple):
    starts: tuple[bytes, ...]
    compressor: Callable[[int], Compressor]
    expand: Callable[[Callable[[], bytes]], Iterator[bytes]]


_METHODS: Final[dict[str, _Method]] = {
    "zstd": _Method((b"\x28\xb5\x2f\xfd",), _ZstdCompressor, _expand_zstd),
    "zlib": _Method(
        (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"), _zlib_compressor(15), _expand_zlib(15)
    ),
    "gzip": _Method((b"\x1f\x8b\x08",), _zlib_compressor(31), _expand_zlib(31)),
}


def compressor(chosen: Compression) -> Compressor:
    """A fresh stream of this compression."""
    return _METHODS[chosen.method].compressor(chosen.level)


def method_of(start: bytes) -> str | None:
    """The method by which a file that starts like this is compressed; None where by none that is known."""
    for name, method in _METHODS.items():
        if start.startswith(method.starts):
            return name
    return None


def expand(method: str, read: Callable[[], bytes]) -> Iterator[bytes]:
    """The decompressed bytes of what `read` returns until it returns nothing, checked; raises `CodecError`."""
    return _METHODS[method].expand(read)
