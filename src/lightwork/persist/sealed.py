"""Bytes of our layout, read and checked: from a file, or from memory. Executes nothing.

What is not sound raises `layout.Flaw`; `blaming` makes an error for the user of it, which names the file.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

from xxhash import xxh3_128

from lightwork import errors
from lightwork.persist import layout
from lightwork.settings import cores

_TAIL: Final = 4096  # read at once, in the hope that the whole footer is in it
_BLOCK: Final = 256 * 1024  # read and digested at a time: digested while still in the second-level cache
_PARALLEL: Final = 16 << 20  # bytes from which reading is spread over threads (chosen by guess)
_PORTION: Final = 4 << 20  # bytes that a thread reads at a time (200 MB: 1 MiB 39 ms, 2 34, 4 33, 8 33)
_HUGE: Final = 1 << 20  # from here on a buffer gets a map of its own, of huge pages


class Bytes(Protocol):
    """The bytes of one whole file of our layout."""

    size: int

    def read(self, offset: int, size: int) -> bytes:
        """Return these bytes; fewer where the file is shorter than it was."""

    def read_into(self, offset: int, view: memoryview, digest: xxh3_128) -> None:
        """Fill a view with the bytes from here on, and the digest with what was filled in."""

    def buffer(self, offset: int, size: int) -> tuple[Any, bytes]:
        """Return a private, writable buffer of these bytes, and the digest of what is in it."""


class FileBytes:
    """The first `size` bytes of an open file."""

    def __init__(self, fd: int, size: int) -> None:
        self.fd = fd
        self.size = size

    def read(self, offset: int, size: int) -> bytes:
        """Return these bytes; fewer where the file is shorter than it was."""
        return os.pread(self.fd, size, offset)  # only asked for the ends of a file

    def read_into(self, offset: int, view: memoryview, digest: xxh3_128) -> None:
        """Fill a view with the bytes from here on, and the digest with what was filled in."""
        if len(view) >= _PARALLEL and cores() > 1:
            self._read_in_parallel(offset, view, digest)
            return
        for start in range(0, len(view), _BLOCK):
            with view[start : start + _BLOCK] as block:
                self._fill(offset + start, block)
                digest.update(block)

    def _read_in_parallel(self, offset: int, view: memoryview, digest: xxh3_128) -> None:
        """Read with other threads, and digest in order; this thread reads too, whenever it would have to wait."""
        portions = [view[start : start + _PORTION] for start in range(0, len(view), _PORTION)]
        read = [threading.Event() for _ in portions]
        numbers, lock = iter(range(len(portions))), threading.Lock()
        failures: list[BaseException] = []

        def read_one() -> bool:
            with lock:
                number = next(numbers, None)
            if number is None or failures:
                return False
            try:
                self._fill(offset + number * _PORTION, portions[number])
            except BaseException as error:  # raised again by the thread that digests
                failures.append(error)
            read[number].set()
            return True

        def read_all() -> None:
            while read_one():
                continue

        threads = [threading.Thread(target=read_all, name="lightwork-read") for _ in range(cores() - 1)]
        for thread in threads:
            thread.start()
        try:
            for portion, ready in zip(portions, read, strict=True):
                while not ready.is_set() and read_one():
                    continue
                if not failures:
                    ready.wait()
                if failures:
                    raise failures[0]
                digest.update(portion)
        finally:
            with lock:
                numbers = iter(())
            for thread in threads:
                thread.join()
            for portion in portions:
                portion.release()

    def _fill(self, offset: int, view: memoryview) -> None:
        done = 0
        while done < len(view):
            got = os.preadv(self.fd, [view[done:]], offset + done)
            if not got:
                raise layout.Flaw("file", offset + done, "it ends too early")
            done += got

    def buffer(self, offset: int, size: int) -> tuple[Any, bytes]:
        """Return a private, writable buffer of these bytes, and the digest of what is in it."""
        room = private(size)
        digest = xxh3_128()
        with memoryview(room) as view:
            self.read_into(offset, view, digest)
        return room, digest.digest()


class MemoryBytes:
    """The first `size` bytes of what is in memory; where that is private, the buffers are parts of it, not copies."""

    def __init__(self, data: bytes | bytearray | mmap.mmap, size: int) -> None:
        self.size = size
        self._view = memoryview(data)

    def read(self, offset: int, size: int) -> bytes:
        """Return these bytes."""
        return bytes(self._view[offset : offset + size])

    def read_into(self, offset: int, view: memoryview, digest: xxh3_128) -> None:
        """Fill a view with the bytes from here on, and the digest with what was filled in."""
        view[:] = self._view[offset : offset + len(view)]
        digest.update(view)

    def buffer(self, offset: int, size: int) -> tuple[Any, bytes]:
        """Return a private, writable buffer of these bytes, and the digest of what is in it."""
        part: Any = self._view[offset : offset + size]
        digest = xxh3_128()
        if part.readonly:
            room = private(size)
            with memoryview(room) as view:
                self.read_into(offset, view, digest)
            return room, digest.digest()
        digest.update(part)
        return part, digest.digest()


class Room(mmap.mmap):
    """Memory of our own, which no other process and no file shares."""


def private(size: int) -> bytearray | mmap.mmap:
    """Memory for a buffer; huge pages save most of the page faults of a large one."""
    if size < _HUGE:
        return bytearray(size)
    room = Room(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        try:
            room.madvise(mmap.MADV_HUGEPAGE)
        except OSError:
            return room  # a kernel built without them
    return room


def length(start: bytes, size: int) -> int:
    """Where the first object ends in a file of `size` bytes that starts like this."""
    return min(layout.total_of(start), size) if len(start) >= layout.HEAD_SIZE else size


def footer(source: Bytes, start: bytes) -> layout.Footer:
    """Head and footer, checked."""
    layout.check_head(start[: layout.HEAD_SIZE], source.size)
    end = source.read(max(0, source.size - _TAIL), min(_TAIL, source.size))
    size = layout.footer_size(end, source.size)
    if size > len(end):
        end = source.read(source.size - size, size)
    return layout.parse_footer(end[-size:], source.size)


def stream(source: Bytes, found: layout.Footer) -> memoryview:
    """The stream as one pickle that takes its buffers from outside, checked."""
    spans = list(layout.stream_spans(found))
    # Each span is read with the introduction of its buffer behind it, which the next one covers.
    size = len(layout.PROTO) + sum(span.kept + len(span.opcodes) for span in spans)
    room = memoryview(private(size + max(span.end - span.begin - span.kept for span in spans)))
    digest = xxh3_128()
    at = len(layout.PROTO)
    room[:at] = layout.PROTO
    for begin, end, kept, opcodes in spans:
        with room[at : at + end - begin] as view:
            source.read_into(begin, view, digest)
        at += kept
        room[at : at + len(opcodes)] = opcodes
        at += len(opcodes)
    if digest.digest() != found.stream:
        raise layout.Flaw("stream", layout.HEAD_SIZE, "the checksum does not match")
    return room[:at]


def buffers(source: Bytes, found: layout.Footer) -> Iterator[Any]:
    """All buffers one after the other, each read and checked, as what the pickle needs."""
    for number in range(len(found.entries)):
        yield checked_buffer(source, found, number)


def checked_buffer(source: Bytes, found: layout.Footer, number: int) -> Any:
    """One buffer, read and checked."""
    entry = found.entries[number]
    buffer, digest = source.buffer(entry.offset, entry.length)
    check_buffer(found, number, digest)
    return _CONVERTERS[entry.kind](buffer)


def check_buffer(found: layout.Footer, number: int, digest: bytes) -> None:
    """Raise `Flaw` unless this is the digest that a buffer should have, or it is marked as modified."""
    if found.states[number] == layout.SEALED and digest != found.digests[number]:
        where = found.entries[number].offset
        raise layout.Flaw(f"buffer {number}", where, "the checksum does not match")


_CONVERTERS: Final[dict[int, Callable[[Any], Any]]] = {
    layout.WRITABLE: lambda buffer: buffer,
    layout.READONLY: lambda buffer: buffer,
    layout.BYTES: bytes,
    layout.BYTEARRAY: lambda buffer: buffer if type(buffer) is bytearray else bytearray(buffer),
}


# --- files and errors -----------------------------------------------------------------------------


@contextmanager
def opened(path: str, flags: int = os.O_RDONLY) -> Iterator[int]:
    """The descriptor of a file that has to exist."""
    try:
        fd = os.open(path, flags | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise errors.FileMissingError(error.errno, "there is no such file", path) from error
    try:
        yield fd
    finally:
        os.close(fd)


class blaming:  # noqa: N801 - reads as a statement
    """Make of a `Flaw` the error that names the file."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, layout.Flaw):
            raise damaged(self._name, f"the file is damaged: {error}") from None


def damaged(name: str, what: str, *, executed: bool = False) -> errors.DamagedFileError:
    """The error for a file that cannot be loaded."""
    return errors.DamagedFileError(f"{name}: {what}" + ("" if executed else ". Nothing in it was executed"))
