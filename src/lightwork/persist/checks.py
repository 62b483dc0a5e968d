"""Checking files without loading them: `verify_file` reads every byte, `reseal_file` makes changed parts count again.

A buffer that was mapped for writing is marked *modified* in the file: its digest no longer says anything, so
no check can take the owner's own changes for damage. Resealing writes the digest of what is there now,
and only then the mark; whatever stops it in between leaves the part modified, never falsely damaged.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from xxhash import xxh3_128

from lightwork.errors import OptionError
from lightwork.persist import codecs, foreign, layout, reader, sealed
from lightwork.settings import cores

_BLOCK: Final = 1 << 20
_PARALLEL: Final = 16 << 20  # bytes of buffers from which threads are worth their start (chosen by guess)


class FileCheck(NamedTuple):
    """What `verify_file` found: how many bytes it checked, and which buffers are marked as modified."""

    path: str
    checked: int
    modified: tuple[str, ...]


def verify_file(path: str | os.PathLike[str]) -> FileCheck:
    """Check every byte of a file that `dump` wrote, executing nothing.

    Parameters
    ----------
    path : str or path
        The file, compressed or not.

    Returns
    -------
    FileCheck
        ``modified`` names the buffers that were mapped for writing and are unprotected until `reseal_file`.

    Raises
    ------
    DamagedFileError
        Something is not as it was written; the message says where.

    Examples
    --------
    >>> import os, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = os.path.join(folder.name, "numbers")
    >>> _ = dump([1, 2, 3], path)
    >>> verify_file(path).modified
    ()
    >>> folder.cleanup()
    """
    name = os.fsdecode(path)
    with sealed.opened(name) as fd, sealed.blaming(name):
        start = os.pread(fd, layout.HEAD_SIZE, 0)
        method = codecs.method_of(start)
        if method is None:
            return _verified(fd, start, name)
        with open(fd, "rb", closefd=False) as file:
            plain = reader.expanded(file, method, name)
        source = sealed.MemoryBytes(plain, len(plain))
        found = sealed.footer(source, bytes(plain[: layout.HEAD_SIZE]))
        sealed.stream(source, found)
        for number, entry in enumerate(found.entries):
            sealed.check_buffer(found, number, source.buffer(entry.offset, entry.length)[1])
        return FileCheck(name, len(plain), ())


def _verified(fd: int, start: bytes, name: str) -> FileCheck:
    source = _source(fd, start, name)
    found = sealed.footer(source, start)
    sealed.stream(source, found)
    for number, digest in enumerate(_digests(fd, found, range(len(found.entries)))):
        sealed.check_buffer(found, number, digest)
    modified = [number for number, state in enumerate(found.states) if state == layout.MODIFIED]
    unprotected = sum(found.entries[number].length for number in modified)
    return FileCheck(name, found.total - unprotected, tuple(f"buffer {number}" for number in modified))


def verify_objects(path: str | os.PathLike[str]) -> int:
    """Check every byte of a file of objects that `dump` wrote one behind the other; returns how many there are."""
    name = os.fsdecode(path)
    with sealed.opened(name) as fd, sealed.blaming(name):
        size, position, count = os.fstat(fd).st_size, 0, 0
        while position < size or not count:
            start = os.pread(fd, layout.HEAD_SIZE, position)
            source = _Part(fd, position, sealed.length(start, size - position))
            found = sealed.footer(source, start)
            sealed.stream(source, found)
            for number, entry in enumerate(found.entries):
                sealed.check_buffer(found, number, source.buffer(entry.offset, entry.length)[1])
            position += found.total
            count += 1
        return count


class _Part(sealed.FileBytes):
    """The bytes of one object in a file of several."""

    def __init__(self, fd: int, begin: int, size: int) -> None:
        super().__init__(fd, size)
        self._begin = begin

    def read(self, offset: int, size: int) -> bytes:
        """Return these bytes."""
        return super().read(self._begin + offset, size)

    def _fill(self, offset: int, view: memoryview) -> None:
        super()._fill(self._begin + offset, view)


def _source(fd: int, start: bytes, name: str) -> sealed.FileBytes:
    size = os.fstat(fd).st_size
    if not layout.looks_ours(
        start, os.pread(fd, layout.FOOTER_MINIMUM, max(0, size - layout.FOOTER_MINIMUM))
    ):
        what = "this is an ordinary pickle" if foreign.looks_like_pickle(start) else foreign.describe(start)
        raise sealed.damaged(name, f"there are no checksums in it: {what}")
    return sealed.FileBytes(fd, sealed.length(start, size))


def reseal_file(path: str | os.PathLike[str]) -> int:
    """Protect again what was changed through ``mmap_mode="r+"``: take the digests of what is in the file now.

    Flush and let go of the mapped arrays first: what is written later would look like damage.

    Parameters
    ----------
    path : str or path
        An uncompressed file that `dump` wrote.

    Returns
    -------
    int
        How many buffers were sealed again.

    Examples
    --------
    >>> import os, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = os.path.join(folder.name, "numbers")
    >>> _ = dump([1, 2, 3], path)
    >>> reseal_file(path)
    0
    >>> folder.cleanup()
    """
    name = os.fsdecode(path)
    with sealed.opened(name, os.O_RDWR) as fd, sealed.blaming(name):
        start = os.pread(fd, layout.HEAD_SIZE, 0)
        if codecs.method_of(start) is not None:
            raise OptionError(f"{name} is compressed: it cannot be mapped, so there is nothing to seal again")
        found = sealed.footer(_source(fd, start, name), start)
        numbers = [number for number, state in enumerate(found.states) if state == layout.MODIFIED]
        for number, digest in zip(numbers, _digests(fd, found, numbers), strict=True):
            offset = layout.record_offset(found.start, number)
            os.pwrite(fd, layout.record(layout.MODIFIED, digest), offset)
            os.fsync(fd)  # before the mark: in whatever order the disk would write
            os.pwrite(fd, layout.SEALED, offset)
        os.fsync(fd)
        return len(numbers)


def _digests(fd: int, found: layout.Footer, numbers: range | list[int]) -> list[bytes]:
    entries = [found.entries[number] for number in numbers]
    if sum(entry.length for entry in entries) < _PARALLEL or len(entries) < 2:
        return [_digest(fd, entry) for entry in entries]
    with ThreadPoolExecutor(cores()) as pool:
        return list(pool.map(lambda entry: _digest(fd, entry), entries))


def _digest(fd: int, entry: layout.Entry) -> bytes:
    digest = xxh3_128()
    room = memoryview(bytearray(min(_BLOCK, entry.length)))
    done = 0
    while done < entry.length:
        got = os.preadv(fd, [room[: min(_BLOCK, entry.length - done)]], entry.offset + done)
        if not got:
            break  # shorter than when its footer was read: the digest will tell
        digest.update(room[:got])
        done += got
    return digest.digest()
