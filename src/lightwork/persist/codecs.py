"""Compression: which method, which level, and the streams of each.

A compressed file is the plain pickle, compressed: ``zstd -d`` or ``gzip -d`` gives it back. With zstd it is cut
into frames of 2 MiB, each with its content size and checksum (both off by default in zstd: a flipped bit
would pass silently), followed by the table of zstd's seekable format in a frame that every decompressor skips. Frames
are compressed and decompressed on all cores (zstd's own threads gained nothing here).
"""

from __future__ import annotations

import os
import struct
import sys
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from lightwork.errors import OptionError, OptionTypeError
from lightwork.settings import cores

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from typing_extensions import Buffer

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

    def close(self) -> None:
        """Let go of threads."""


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

    def __init__(self, level: int, memory: int) -> None:
        zstd = _zstd()
        self._compress: Callable[..., bytes] = zstd.compress
        self._options = {
            zstd.CompressionParameter.compression_level: level,
            zstd.CompressionParameter.checksum_flag: 1,
        }
        self._room, self._filled = bytearray(FRAME), 0
        self._table: list[tuple[int, int]] = []
        # Each frame on its way takes its own size and about as much again.
        self._ahead = max(1, min(2 * cores(), memory // (2 * FRAME)))
        self._pool: ThreadPoolExecutor | None = None
        self._frames: deque[Future[tuple[bytes, int]]] = deque()

    def compress(self, block: Buffer) -> bytes:
        done = []
        rest = memoryview(block)
        while rest:
            taken = min(len(rest), FRAME - self._filled)
            self._room[self._filled : self._filled + taken] = rest[:taken]
            self._filled += taken
            rest = rest[taken:]
            if self._filled == FRAME:
                self._send(self._room)
                self._room, self._filled = bytearray(FRAME), 0
                while len(self._frames) >= self._ahead:
                    done.append(self._take())
        return b"".join(done)

    def flush(self) -> bytes:
        done = []
        if self._filled:
            del self._room[self._filled :]
            self._send(self._room)
        while self._frames:
            done.append(self._take())
        entries = b"".join([struct.pack("<II", *sizes) for sizes in self._table])
        table = entries + struct.pack("<IBI", len(self._table), 0, _SEEKABLE)
        return b"".join((*done, struct.pack("<II", _SKIPPABLE, len(table)), table))

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _send(self, data: bytearray) -> None:
        from concurrent.futures import Future, ThreadPoolExecutor

        if len(data) < FRAME and not self._frames:  # the only frame: not worth a thread
            future: Future[tuple[bytes, int]] = Future()
            future.set_result(self._frame(data))
        else:
            self._pool = self._pool or ThreadPoolExecutor(cores(), "lightwork-compress")
            future = self._pool.submit(self._frame, data)
        self._frames.append(future)

    def _frame(self, data: bytearray) -> tuple[bytes, int]:
        return self._compress(data, options=self._options), len(data)

    def _take(self) -> bytes:
        frame, size = self._frames.popleft().result()
        self._table.append((len(frame), size))
        return frame


def sample_size(sample: Buffer) -> int:
    """How many bytes zstd makes of a sample at its fastest level."""
    return len(_zstd().compress(sample, 1))


class Frame(NamedTuple):
    """Where a frame lies in a compressed file, and where its bytes belong in the plain one."""

    start: int
    size: int
    target: int
    plain: int


def frames(read: Callable[[int, int], bytes], size: int) -> list[Frame]:
    """The frames of a zstd file of `size` bytes by its table; empty where it has none that adds up."""
    end = read(max(0, size - 9), 9)
    if len(end) < 9:
        return []
    count, flags, magic = struct.unpack("<IBI", end)
    length = 17 + 8 * count
    if magic != _SEEKABLE or flags or length > size:
        return []
    table = read(size - length, length)
    if struct.unpack_from("<II", table) != (_SKIPPABLE, length - 8):
        return []
    found, start, target = [], 0, 0
    for packed, plain in struct.iter_unpack("<II", table[8:-9]):
        if plain > FRAME:
            return []
        found.append(Frame(start, packed, target, plain))
        start, target = start + packed, target + plain
    return found if start == size - length else []


def expand_frames(found: list[Frame], read: Callable[[int, int], bytes], room: memoryview) -> None:
    """Decompress all frames into `room`, on all cores; raises `CodecError`."""
    from concurrent.futures import ThreadPoolExecutor

    zstd = _zstd()

    def expand_one(frame: Frame) -> None:
        packed = read(frame.start, frame.size)
        stream = zstd.ZstdDecompressor()
        try:
            plain = stream.decompress(packed, frame.plain + 1)
        except zstd.ZstdError as error:
            raise CodecError(f"{error} (in the frame at byte {frame.start})") from error
        if len(plain) != frame.plain or not stream.eof or stream.unused_data:
            raise CodecError(f"the frame at byte {frame.start} is not as long as the table says")
        room[frame.target : frame.target + frame.plain] = plain

    with ThreadPoolExecutor(cores(), "lightwork-expand") as pool:
        for _ in pool.map(expand_one, found):
            continue


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


class _ZlibCompressor:
    def __init__(self, level: int, bits: int) -> None:
        import zlib

        self._stream = zlib.compressobj(level, zlib.DEFLATED, bits)

    def compress(self, block: Buffer) -> bytes:
        return self._stream.compress(block)

    def flush(self) -> bytes:
        return self._stream.flush()

    def close(self) -> None:
        """Nothing is held."""


def _zlib_compressor(bits: int) -> Callable[[int, int], Compressor]:
    return lambda level, memory: _ZlibCompressor(level, bits)


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
    compressor: Callable[[int, int], Compressor]  # level, bytes of memory
    expand: Callable[[Callable[[], bytes]], Iterator[bytes]]


_METHODS: Final[dict[str, _Method]] = {
    "zstd": _Method((b"\x28\xb5\x2f\xfd",), _ZstdCompressor, _expand_zstd),
    "zlib": _Method(
        (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"), _zlib_compressor(15), _expand_zlib(15)
    ),
    "gzip": _Method((b"\x1f\x8b\x08",), _zlib_compressor(31), _expand_zlib(31)),
}


def compressor(chosen: Compression, cache_size: float | None = None) -> Compressor:
    """A fresh stream of this compression, which takes about `cache_size` megabytes of memory."""
    memory = sys.maxsize if cache_size is None else int(cache_size * 2**20)
    return _METHODS[chosen.method].compressor(chosen.level, memory)


def method_of(start: bytes) -> str | None:
    """The method by which a file that starts like this is compressed; None where by none that is known."""
    for name, method in _METHODS.items():
        if start.startswith(method.starts):
            return name
    return None


def expand(method: str, read: Callable[[], bytes]) -> Iterator[bytes]:
    """The decompressed bytes of what `read` returns until it returns nothing, checked; raises `CodecError`."""
    return _METHODS[method].expand(read)
