"""`load`: a file into an object, verified before anything in it is executed.

A file of ours is read in this order: head and footer, then the stream, then the buffers, each checked against
its digest (`sealed`); only then is the stream unpickled, with the buffers put in their places. Offsets come from the
checked footer, never from a scan. Mapped buffers are not touched; `verify_file` checks them when asked to.

In an ordinary pickle there is nothing to check, so it is executed as it is; what is no pickle is named for what it
looks like.
"""

from __future__ import annotations

import gc
import io
import mmap
import os
import pickle
import stat
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

from lightwork import errors
from lightwork.observe import notices
from lightwork.persist import codecs, foreign, layout, places, sealed, versions

if TYPE_CHECKING:
    from lightwork.persist.mapping import Swapping

MmapMode = Literal["r", "r+", "w+", "c"]
Loaded = tuple[object, dict[str, object]]  # the object, and the metadata that was given to `dump` with it

_FIRST: Final = 64 * 1024  # read at once: a small file needs no second call
_LOOK: Final = 1024  # enough to say what a file looks like
_BLOCK: Final = 1 << 20  # read from an open file at a time
_TRUSTED: Final = 64 << 20  # bytes that a head may claim without its file being asked whether it has them
_MODES: Final = (None, "r", "r+", "w+", "c")
_WRITING: Final = ("r+", "w+")


def load(
    filename: places.Source,
    mmap_mode: MmapMode | None = None,
    ensure_native_byte_order: bool | Literal["auto"] = "auto",
) -> object:
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


def load_path(path: str, mmap_mode: MmapMode | None = None, *, native: bool = True) -> Loaded:
    """The object in a file, and the metadata that was given to `dump` with it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise errors.FileMissingError(error.errno, "there is no such file", path) from error
    try:
        start = os.read(fd, _FIRST if mmap_mode is None else _LOOK)
        if len(start) < _FIRST and mmap_mode is None:
            while more := os.read(fd, _FIRST):  # a pipe gives what it has
                start += more
            return read_bytes(start, path) if native else _from_memory(start, path, native=False)
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return _from_pipe(fd, start, path, mmap_mode, native=native)
        return _load_large(fd, start, status.st_size, path, mmap_mode, native=native)
    except IsADirectoryError as error:
        raise errors.FileMissingError(error.errno, "this is a folder, not a file", path) from error
    finally:
        os.close(fd)


def read_bytes(data: bytes, name: str) -> Loaded:
    """The object in the bytes of a whole file, and the metadata that was given to `dump` with it."""
    found = layout.check_small(data)
    if found is None:
        return _from_memory(data, name, native=True)
    return _checked(data, found[0], name), layout.metadata_in(layout.metadata_at(data, found[1]))


def read_value(data: bytes, name: str) -> object:
    """The object alone; the metadata of a small file takes a fifth of the time to read."""
    found = layout.check_small(data)
    return _from_memory(data, name, native=True)[0] if found is None else _checked(data, found[0], name)


def _checked(data: bytes, noted: bytes, name: str) -> object:
    """The object in bytes that were checked; `noted` are the versions that they were written with."""
    try:
        value = pickle.loads(data)
        if noted:
            versions.check(noted, name)
    except Exception as error:
        _tell(error, name)
    return value


# --- ways in --------------------------------------------------------------------------------------


def _from_pipe(fd: int, start: bytes, path: str, mode: MmapMode | None, *, native: bool) -> Loaded:
    if mode is not None:
        _warn_unmapped(path, "not a file on a disk")
    with open(fd, "rb", closefd=False) as file:
        return _from_memory(start + file.read(), path, native=native)


def _load_large(
    fd: int, start: bytes, size: int, path: str, mode: MmapMode | None, *, native: bool
) -> Loaded:
    if not _is_ours(fd, start, size):
        method = codecs.method_of(start)
        if method is not None and mode is not None:
            _warn_unmapped(path, "compressed")
        if method == "zstd" and (plain := _expanded_in_parallel(fd, size, path)) is not None:
            return _from_memory(plain, path, native=native)
        with open(fd, "rb", closefd=False) as file:
            file.seek(0)
            return _sniffed(file, start, path, mode, native=native)
    if mode in _WRITING:
        with sealed.opened(path, os.O_RDWR) as writable:
            # Replaced in between: where things lie may have changed.
            if not os.path.sameopenfile(fd, writable):
                return load_path(path, mode, native=native)
            return _load_ours(writable, start, size, path, mode, native=native)
    return _load_ours(fd, start, size, path, mode, native=native)


def _load_ours(fd: int, start: bytes, size: int, path: str, mode: MmapMode | None, *, native: bool) -> Loaded:
    with sealed.blaming(path):
        source = sealed.FileBytes(fd, sealed.length(start, size))
        found = sealed.footer(source, start)
        if mode is None:
            return _read(source, found, path, native=native)
        from lightwork.persist.mapping import Mapping

        stream = sealed.stream(source, found)
        mapping = Mapping(path, fd, found, mode)
    return _unpickled(stream, found, path, mapping=mapping)


def _is_ours(fd: int, start: bytes, size: int) -> bool:
    if start.startswith(layout.HEAD_START):
        return True
    return layout.looks_ours(start, os.pread(fd, layout.FOOTER_MINIMUM, max(0, size - layout.FOOTER_MINIMUM)))


def _load_file(file: places.Readable, *, native: bool) -> object:
    name = _name_of(file)
    start = _read_up_to(file, layout.HEAD_SIZE)
    if len(start) < layout.HEAD_SIZE:
        return _from_memory(start, name, native=native)[0]
    if layout.looks_ours(start, b""):
        return _from_memory(_read_object(file, start), name, native=native)[0]
    return _sniffed(_rewound(file, start), start, name, native=native)[0]


def _read_object(file: Any, start: bytes) -> bytes | bytearray | mmap.mmap:
    """All bytes of the object that starts like this, and none of what follows it."""
    total = layout.total_of(start)
    if total > _TRUSTED and not _has(file, total - len(start)):
        return start  # it was cut off: the check of the head says so
    if total < _FIRST or not hasattr(file, "readinto"):
        return start + _read_up_to(file, total - len(start))
    room = sealed.private(total)
    room[: len(start)] = start
    done = len(start)
    with memoryview(room) as view:
        while done < total and (got := file.readinto(view[done : done + 64 * _BLOCK])):
            done += got
    return room if done == total else room[:done]


def _has(file: Any, size: int) -> bool:
    """Whether this many bytes are left, where the file can say so."""
    try:
        here = file.tell()
        end = file.seek(0, os.SEEK_END)
        file.seek(here)
    except (AttributeError, OSError, ValueError):
        return True
    return bool(end - here >= size)


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


def _sniffed(file: Any, start: bytes, name: str, mode: MmapMode | None = None, *, native: bool) -> Loaded:
    """What is compressed, or is not of our layout."""
    method = codecs.method_of(start)
    if method is not None:
        return _from_memory(expanded(file, method, name), name, native=native)
    if foreign.looks_like_pickle(start):
        return _plain_pickle(file, name, mode, native=native), {}
    if foreign.may_be_old_pickle(start):
        data = file.read()
        if foreign.parses(data):
            return _plain_pickle(io.BytesIO(data), name, native=native), {}
    raise sealed.damaged(name, foreign.describe(start))


def expanded(file: Any, method: str, name: str) -> bytearray:
    """What is in a compressed file, all of it checked."""
    plain = bytearray()
    try:
        for block in codecs.expand(method, lambda: file.read(_BLOCK)):
            plain += block
    except codecs.CodecError as error:
        raise sealed.damaged(name, f"its {method} data is damaged: {error}") from error
    return plain


def _expanded_in_parallel(fd: int, size: int, name: str) -> bytearray | mmap.mmap | None:
    """What is in a zstd file with a table of its frames; None where it has none."""
    packed = sealed.FileBytes(fd, size)
    found = codecs.frames(packed.read, size)
    if len(found) < 2:
        return None
    room = sealed.private(found[-1].target + found[-1].plain)
    try:
        with memoryview(room) as view:
            codecs.expand_frames(found, packed.read, view)
    except codecs.CodecError as error:
        raise sealed.damaged(name, f"its zstd data is damaged: {error}") from error
    return room


def _from_memory(data: bytes | bytearray | mmap.mmap, name: str, *, native: bool) -> Loaded:
    start = bytes(data[: layout.HEAD_SIZE])
    if not layout.looks_ours(start, bytes(data[-layout.FOOTER_MINIMUM :])):
        if foreign.looks_like_pickle(start) and data[-1:] != b".":
            raise sealed.damaged(name, "the pickle in it does not end: it was cut off")
        return _sniffed(io.BytesIO(data), bytes(data[:_FIRST]), name, native=native)
    with sealed.blaming(name):
        source = sealed.MemoryBytes(data, sealed.length(start, len(data)))
        return _read(source, sealed.footer(source, start), name, native=native)


def _plain_pickle(file: Any, name: str, mode: MmapMode | None = None, *, native: bool) -> Any:
    """An ordinary pickle, or one of joblib's files, which look like one at first."""
    try:
        if isinstance(file, _Rest):  # what cannot seek cannot be looked through beforehand
            return pickle.Unpickler(file).load()
        from lightwork.persist import joblib_files

        if joblib_files.mentions_wrapper(file):
            return joblib_files.Unpickler(file, native=native, path=name, mode=mode).load()
        if mode is not None:
            _warn_unmapped(name, "an ordinary pickle")
        return pickle.Unpickler(file).load()
    except Exception as error:
        if isinstance(error, pickle.UnpicklingError | EOFError) or _is_unpicklers_own(error):
            raise sealed.damaged(name, f"the pickle in it cannot be read: {error}", executed=True) from error
        _tell(error, name)


def _is_unpicklers_own(error: Exception) -> bool:
    """Whether an error arose in the unpickler itself, not in code that it called and not in finding a class."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = trace.tb_frame.f_globals.get("__name__", "") if trace is not None else ""
    unsound = isinstance(error, ValueError | IndexError | KeyError | OverflowError | MemoryError)
    return unsound and where in (__name__, "pickle", "lightwork.persist.joblib_files")


# --- unpickling -----------------------------------------------------------------------------------


def _read(source: sealed.Bytes, found: layout.Footer, name: str, *, native: bool) -> Loaded:
    with sealed.blaming(name):
        stream = sealed.stream(source, found)
        buffers = list(sealed.buffers(source, found))
    if native and found.flags & layout.FOREIGN:
        from lightwork.persist.mapping import Swapping

        return _unpickled(stream, found, name, mapping=Swapping(buffers))
    return _unpickled(stream, found, name, buffers=buffers)


def _unpickled(
    stream: memoryview,
    found: layout.Footer,
    name: str,
    *,
    buffers: list[Any] | None = None,
    mapping: Swapping | None = None,
) -> Loaded:
    collecting = gc.isenabled()
    gc.disable()  # it would look at all the new objects again and again (100k dicts: 112 -> 69 ms)
    try:
        value = pickle.loads(stream, buffers=buffers) if mapping is None else mapping.unpickle(stream)
    except Exception as error:
        _tell(error, name)
    finally:
        if collecting:
            gc.enable()
    versions.check(found.versions, name)
    return value, layout.metadata_in(found.user)


# --- what is said ---------------------------------------------------------------------------------


def _tell(error: Exception, name: str) -> NoReturn:
    error.add_note(f"while loading {name}")
    raise error


def _warn_unmapped(name: str, why: str) -> None:
    message = f"mmap_mode has no effect on {name}, which is {why}: its arrays were read into memory"
    notices.warn(message, errors.MappingWarning)


def _name_of(file: object) -> str:
    name = getattr(file, "name", None)
    return name if isinstance(name, str) else f"<{type(file).__name__}>"
