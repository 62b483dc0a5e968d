"""Anonymous memory: bytes behind a descriptor, with no name in any file system.

`create` makes such memory, to be handed to another process through a socket; `private_map` maps it so that
writes stay with the one who maps; `fresh` gives ordinary memory of this process that big results are copied
into. Linux has `memfd_create`; where that is refused (old kernels, strict sandboxes) and on macOS a POSIX
shared memory object is opened and unlinked at once, so that nothing can be left behind there either.
"""

from __future__ import annotations

import mmap
import os

__all__ = ["create", "fresh", "private_map", "write_all"]

# From this size on, fresh memory is mapped with huge pages: filling 200 MB takes 65 ms so, and 232 ms as a
# bytearray (measured; see DESIGN, "Reading").
_HUGE = 1 << 20


def create(size: int) -> int:
    """Make `size` bytes (may be 0, grown by `os.ftruncate`) of zeroed anonymous memory; returns a descriptor."""
    descriptor = _open()
    try:
        if size:
            os.ftruncate(descriptor, size)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _open() -> int:
    try:
        return os.memfd_create("lightwork", os.MFD_CLOEXEC)
    except (AttributeError, OSError):
        return _open_unlinked()


def _open_unlinked() -> int:
    import _posixshmem  # type: ignore[import-not-found]  # the stubs leave out this private module

    name = f"/lightwork-{os.urandom(8).hex()}"
    descriptor: int = _posixshmem.shm_open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode=0o600)
    _posixshmem.shm_unlink(name)
    os.set_inheritable(descriptor, False)
    return descriptor


def write_all(descriptor: int, buffer: memoryview, offset: int = 0) -> None:
    """Write the whole of a buffer of bytes at `offset`, however short the single writes are."""
    done = 0
    while done < len(buffer):
        done += os.pwrite(descriptor, buffer[done:], offset + done)


def read_all(descriptor: int, buffer: memoryview, offset: int) -> None:
    """Fill a buffer of bytes from `offset` on; the memory must reach that far."""
    done = 0
    while done < len(buffer):
        count = os.preadv(descriptor, [buffer[done:]], offset + done)
        if count == 0:
            raise EOFError(f"anonymous memory ends {len(buffer) - done} bytes early")
        done += count


def private_map(descriptor: int, size: int, *, writable: bool = True) -> mmap.mmap:
    """Map anonymous memory so that it can be written to without anybody else seeing it (copy on write)."""
    protection = mmap.PROT_READ | mmap.PROT_WRITE if writable else mmap.PROT_READ
    return mmap.mmap(descriptor, size, flags=mmap.MAP_PRIVATE, prot=protection)


def fresh(size: int) -> mmap.mmap | bytearray:
    """Ordinary zeroed memory of this process, on huge pages where it is large."""
    if size < _HUGE:
        return bytearray(size)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        try:
            memory.madvise(mmap.MADV_HUGEPAGE)
        except OSError:
            return memory  # a kernel without huge pages: the memory is as good, only slower to fill
    return memory
