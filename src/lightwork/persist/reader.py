"""`load`: a file into an object, verified before anything in it is executed.

A file of ours is read in this order: head and footer, then the stream, then the buffers, each checked against
its digest; only then is the stream unpickled, with the buffers put in their places. Offsets come from the checked
footer, never from a scan. Mapped buffers are not touched; `verify_file` checks them when asked to.

In an ordinary pickle there is nothing to check, so it is executed as it is; what is no pickle is named for what it
looks like.
"""

from __future__ import annotations

import gc
import io
import json
import mmap
import os
import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

from xxhash import xxh3_128

from lightwork import errors
from lightwork.persist import codecs, foreign, layout, notices, places

if TYPE_CHECKING:
    from lightwork.persist.mapping import Swapping

MmapMode = Literal["r", "r+", "w+", "c"]

_FIRST: Final = 64 * 1024  # read at once: a small file needs no second call
_BLOCK: Final = 1 << 20  # read and digested at a time
_HUGE: Final = 1 << 20  # from here on a buffer gets a map of its own, of huge pages
_MODES: Final = (None, "r", "r+", "w+", "c")


def load(
    filename: places.Source,
    mmap_mode: MmapMode | None = None,
    ensure_native_byte_order: bool | Literal["auto"] = "auto",
) -> Any:
    """Read an object from a file that `dump`, joblib or ``pickle.dump`` wrote.

    Unpickling runs code: load only files that you trust.

    Parameters
    ----------
    filename : str, path, or binary file
        The file. An open one is left right after the object where that is possible.
    mmap_mode : {None, "r", "r+", "w+", "c"}, optional
        Map the arrays of an uncompressed file instead of reading them: read-only (``"r"``), writing through to
        the file (``"r+"``; ``"w+"`` is the same, so that no mode ever empties a file), or privately (``"c"``).
    ensure_native_byte_order : bool or "auto", default "auto"
        Convert arrays of the other byte order; "auto" does so unless they are mapped.

    Returns
    -------
    object
        What was written. Arrays are writable; mapped ones are ``numpy.memmap``.

    Raises
    ------
    DamagedFileError
        The file is not what was written, or is no such file; nothing in it was executed.

    Examples
    --------
    >>> import io
    >>> file = io.BytesIO()
    >>> dump([1, 2], file)
    >>> _ = file.seek(0)
    >>> load(file)
    [1, 2]
    """
    if mmap_mode not in _MODES:
        raise errors.OptionError(f"mmap_mode={mmap_mode!r}: give one of {', '.join(map(repr, _MODES))}")
    if ensure_native_byte_order not in (True, False, "auto"):
        raise errors.OptionError(
            f"ensure_native_byte_order={ensure_native_byte_order!r}: give True, False or 'auto'"
        )
    if ensure_native_byte_order is True and mmap_mode is not None:
        message = "ensure_native_byte_order=True needs arrays that are read: give mmap_mode=None, or 'auto'"
        raise errors.OptionError(message)
    native = mmap_mode is None if ensure_native_byte_order == "auto" else bool(ensure_native_byte_order)
    place = places.source(filename)
    if isinstance(place, str):
        return load_path(place, mmap_mode, native=native)[0]
    if mmap_mode is not None:
        _warn_unmapped(_name_of(place), "an open file")
    return _load_file(place, native=native)


def load_path(
    path: str, mmap_mode: MmapMode | None = None, *, native: bool = True
) -> tuple[Any, dict[str, Any]]:
    """The object in a file, and the metadata that was given to `dump` with it."""
    fd = _open(path)
    try:
        start = os.read(fd, _FIRST)
        if len(start) < _FIRST and mmap_mode is None:
            while more := os.read(fd, _FIRST):  # a pipe gives what it has
                start += more
            return read_bytes(start, path) if native else _from_memory(start, path, native=False)
        return _load_large(fd, start, path, mmap_mode, native=native)
    except IsADirectoryError as error:
        raise errors.FileMissingError(error.errno, "this is a folder, not a file", path) from error
    finally:
        os.close(fd)


def read_bytes(data: bytes, name: str) -> tuple[Any, dict[str, Any]]:
    """The object in the bytes of a whole file, and the metadata that was given to `dump` with it."""
    user = layout.check_small(data)
    if user is None:
        return _from_memory(data, name, native=True)
    try:
        return pickle.loads(data), json.loads(user) if user else {}
    except Exception as error:
        _told(error, name)


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise errors.FileMissingError(error.errno, "there is no such file", path) from error


# --- ways in --------------------------------------------------------------------------------------


def _load_large(
    fd: int, start: bytes, path: str, mode: MmapMode | None, *, native: bool
) -> tuple[Any, dict[str, Any]]:
    size = os.fstat(fd).st_size
    method = codecs.method_of(start)
    end = os.pread(fd, layout.FOOTER_MINIMUM, max(0, size - layout.FOOTER_MINIMUM))
    if method is not None or not layout.looks_ours(start, end):
        if mode is not None and (method or foreign.looks_like_pickle(start)):
            _warn_unmapped(path, "compressed" if method else "an ordinary pickle")
        with open(fd, "rb", closefd=False) as file:
            file.seek(0)
            return _sniffed(file, start, path, native=native)
    try:
        found = _footer(_FileBytes(fd, _length(start, size)), start)
    except layout.Flaw as flaw:
        raise _damage(path, flaw) from None
    if mode is None:
        return _read(_FileBytes(fd, found.total), found, path, native=native)
    from lightwork.persist.mapping import Mapping

    spans = _spans(_FileBytes(fd, found.total), found, path)
    return _unpickled(spans, found, path, mapping=Mapping(path, fd, found, mode))


def _length(start: bytes, size: int) -> int:
    """Where the first object of a file ends."""
    total = layout.total_of(start) if len(start) >= layout.HEAD_SIZE else None
    return total if total is not None and total < size else size


def _load_file(file: places.Readable, *, native: bool) -> Any:
    name = _name_of(file)
    start = _read_up_to(file, layout.HEAD_SIZE)
    if len(start) < layout.HEAD_SIZE:
        return _from_memory(start, name, native=native)[0]
    if layout.looks_ours(start, b""):
        total = layout.total_of(start)
        rest = _read_up_to(file, total - len(start) if total is not None else None)
        return _from_memory(start + rest, name, native=native)[0]
    return _sniffed(_rewound(file, start), start, name, native=native)[0]


def _rewound(file: Any, start: bytes) -> Any:
    """The file before `start` was read from it: itself where it can seek, so that what follows is not lost."""
    try:
        file.seek(-len(start), os.SEEK_CUR)
    except (AttributeError, OSError, ValueError):
        return _Rest(start, file)
    return file


class _Rest:
    """A file that cannot seek, and whose first bytes were read already."""

    def __init__(self, start: bytes, file: places.Readable) -> None:
        self._start = start
        self._file = file

    def read(self, size: int = -1) -> bytes:
        taken, self._start = (self._start, b"") if size < 0 else (self._start[:size], self._start[size:])
        if size < 0:
            return taken + _read_up_to(self._file, None)
        return taken + (_read_up_to(self._file, size - len(taken)) if len(taken) < size else b"")

    def readline(self) -> bytes:
        line = bytearray()
        while not line.endswith(b"\n") and (byte := self.read(1)):
            line += byte
        return bytes(line)


def _read_up_to(file: places.Readable, size: int | None) -> bytes:
    """Read this many bytes, or all; fewer only at the end of the file."""
    blocks = []
    while size is None or size > 0:
        block = file.read(_BLOCK if size is None else min(size, 64 * _BLOCK))
        if not block:
            break
        blocks.append(block)
        if size is not None:
            size -= len(block)
    return blocks[0] if len(blocks) == 1 else b"".join(blocks)


def _sniffed(file: Any, start: bytes, name: str, *, native: bool) -> tuple[Any, dict[str, Any]]:
    """What is compressed, or is not of our layout."""
    method = codecs.method_of(start)
    if method is not None:
        plain = bytearray()
        try:
            for block in codecs.expand(method, lambda: file.read(_BLOCK)):
                plain += block
        except codecs.CodecError as error:
            raise _damaged(name, f"its {method} data is damaged: {error}") from error
        return _from_memory(plain, name, native=native)
    if foreign.looks_like_pickle(start):
        return _plain_pickle(file, name), {}
    if foreign.may_be_old_pickle(start):
        data = file.read()
        if foreign.parses(data):
            return _plain_pickle(io.BytesIO(data), name), {}
    raise _damaged(name, foreign.describe(start))


def _from_memory(data: bytes | bytearray, name: str, *, native: bool) -> tuple[Any, dict[str, Any]]:
    start = bytes(data[: layout.HEAD_SIZE])
    if not layout.looks_ours(start, bytes(data[-layout.FOOTER_MINIMUM :])):
        if foreign.looks_like_pickle(start) and data[-1:] != b".":
            raise _damaged(name, "the pickle in it does not end: it was cut off")
        return _sniffed(io.BytesIO(data), bytes(data[:_FIRST]), name, native=native)
    try:
        source = _Memory(data, _length(start, len(data)))
        found = _footer(source, start)
    except layout.Flaw as flaw:
        raise _damage(name, flaw) from None
    return _read(source, found, name, native=native)


def _plain_pickle(file: Any, name: str) -> Any:
    try:
        return pickle.Unpickler(file).load()
    except (pickle.UnpicklingError, EOFError, UnicodeDecodeError, ValueError, IndexError, KeyError) as error:
        raise _damaged(name, f"the pickle in it cannot be read: {error}") from error
    except Exception as error:
        _told(error, name)


# --- reading and checking -------------------------------------------------------------------------


class _FileBytes:
    """The first `size` bytes of a file."""

    def __init__(self, fd: int, size: int) -> None:
        self.fd = fd
        self.size = size

    def read(self, offset: int, size: int) -> bytes:
        data = os.pread(self.fd, size, offset)
        if len(data) == size:
            return data
        whole = bytearray(data)
        while data and len(whole) < size:
            data = os.pread(self.fd, size - len(whole), offset + len(whole))
            whole += data
        return bytes(whole)

    def buffer(self, offset: int, size: int) -> tuple[Any, bytes]:
        """A private buffer filled from the file, and the digest of what is in it."""
        room = private(size)
        digest = xxh3_128()
        with memoryview(room) as view:
            done = 0
            while done < size:
                block = view[done : min(size, done + _BLOCK)]
                got = os.preadv(self.fd, [block], offset + done)
                if not got:
                    raise layout.Flaw("buffer", offset + done, "the file ends too early")
                digest.update(block[:got])
                done += got
                block.release()
        return room, digest.digest()


class _Memory:
    """The first `size` bytes of what is in memory; of a bytearray the buffers are parts, not copies."""

    def __init__(self, data: bytes | bytearray, size: int) -> None:
        self.size = size
        self._view = memoryview(data)

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self._view[offset : offset + size])

    def buffer(self, offset: int, size: int) -> tuple[Any, bytes]:
        part: Any = self._view[offset : offset + size]
        if part.readonly or offset % layout.ALIGNMENT:
            room = private(size)
            with memoryview(room) as view:
                view[:size] = part
            part = room
        digest = xxh3_128()
        digest.update(part)
        return part, digest.digest()


def private(size: int) -> bytearray | mmap.mmap:
    """Memory for a buffer; huge pages save most of the page faults of a large one."""
    if size < _HUGE:
        return bytearray(size)
    room = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        try:
            room.madvise(mmap.MADV_HUGEPAGE)
        except OSError:
            return room  # a kernel built without them
    return room


def _footer(source: _FileBytes | _Memory, start: bytes) -> layout.Footer:
    end = source.read(max(0, source.size - _FIRST), min(_FIRST, source.size))
    layout.check_head(start[: layout.HEAD_SIZE], source.size)
    size = layout.footer_size(end, source.size)
    if size > len(end):
        end = source.read(source.size - size, size)
    return layout.parse_footer(end[-size:], source.size)


def _spans(source: _FileBytes | _Memory, found: layout.Footer, name: str) -> list[bytes]:
    spans = [source.read(begin, end - begin) for begin, end, _ in layout.stream_spans(found)]
    stream = layout.StreamDigest()
    for span in spans:
        stream.update(span)
    if stream.digest() != found.stream:
        raise _damage(name, layout.Flaw("stream", layout.HEAD_SIZE, "the checksum does not match"))
    return spans


def _read(
    source: _FileBytes | _Memory, found: layout.Footer, name: str, *, native: bool
) -> tuple[Any, dict[str, Any]]:
    spans = _spans(source, found, name)
    buffers = []
    parts = zip(found.entries, found.states, found.digests, strict=True)
    for number, (entry, state, expected) in enumerate(parts):
        try:
            buffer, digest = source.buffer(entry.offset, entry.length)
        except layout.Flaw as flaw:
            raise _damage(name, flaw) from None
        if state == layout.SEALED and digest != expected:
            raise _damage(name, layout.Flaw(f"buffer {number}", entry.offset, "the checksum does not match"))
        buffers.append(_CONVERTERS[entry.kind](buffer))
    if native and found.flags & layout.FOREIGN:
        from lightwork.persist.mapping import Swapping

        return _unpickled(spans, found, name, mapping=Swapping(buffers))
    return _unpickled(spans, found, name, buffers=buffers)


_CONVERTERS: Final[dict[int, Callable[[Any], Any]]] = {
    layout.WRITABLE: lambda buffer: buffer,
    layout.READONLY: lambda buffer: buffer,
    layout.BYTES: bytes,
    layout.BYTEARRAY: lambda buffer: buffer if type(buffer) is bytearray else bytearray(buffer),
}


def _unpickled(
    spans: list[bytes],
    found: layout.Footer,
    name: str,
    *,
    buffers: list[Any] | None = None,
    mapping: Swapping | None = None,
) -> tuple[Any, dict[str, Any]]:
    stream = layout.substituted(spans, found.entries)
    with _no_collection():
        try:
            value = pickle.loads(stream, buffers=buffers) if mapping is None else mapping.unpickle(stream)
        except Exception as error:
            _told(error, name)
    return value, json.loads(found.user) if found.user else {}


class _no_collection:  # noqa: N801 - reads as a statement
    """Garbage collection suspended: it would look at all the new objects again and again (100k dicts: 112 -> 69 ms)."""

    def __enter__(self) -> None:
        self._was_on = gc.isenabled()
        gc.disable()

    def __exit__(self, *exception: object) -> None:
        if self._was_on:
            gc.enable()


# --- what is said ---------------------------------------------------------------------------------


def _damaged(name: str, what: str) -> errors.DamagedFileError:
    return errors.DamagedFileError(f"{name}: {what}. Nothing in it was executed")


def _damage(name: str, flaw: layout.Flaw) -> errors.DamagedFileError:
    return _damaged(name, f"the file is damaged: {flaw}")


def _told(error: Exception, name: str) -> NoReturn:
    error.add_note(f"while loading {name}")
    raise error


def _warn_unmapped(name: str, why: str) -> None:
    message = f"mmap_mode has no effect on {name}, which is {why}: its arrays were read into memory"
    notices.warn(message, errors.MappingWarning)


def _name_of(file: object) -> str:
    name = getattr(file, "name", None)
    return name if isinstance(name, str) else f"<{type(file).__name__}>"
