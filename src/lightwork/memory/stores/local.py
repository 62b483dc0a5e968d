"""A folder of entries.

    location/lightwork/<2 hex>/<label>-<32 hex>

Label and digest come from `key`; the two digits are the digest's first, so each of the 256 folders (shards) holds
an even sample of the cache. There is no index: an entry exists when its file does, and `persist` puts it there by
a rename, whole. Besides there are ``state``, for `flight` and `budget`, and the folder ``code``, for `history`; whoever
removes them loses no result. A ``.gitignore`` that is made with the folder keeps all this out of a repository that it
lies in.
Folders are made when the first entry needs them, for the owner alone (0700) or, if the cache is shared, for the group
of the folder that they are made in (2770, files 0660, whatever the umask); those that exist keep their mode.
Whoever removes an entry does no harm to those who read it.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from lightwork.memory.budget import Budget
    from lightwork.memory.quota import Held, Limits

__all__ = ["SHARED_FILE", "LocalStore", "make_folder", "make_home", "remove"]

SHARED_FILE: Final = 0o660
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_SHARED_FOLDER: Final = 0o2770  # with setgid: what is made in it has its group, whoever makes it

_SHARD = re.compile(r"[0-9a-f]{2}")
_ENTRY = re.compile(r"(.+)-[0-9a-f]{32}")


class LocalStore:
    """The entries below one folder.

    Parameters
    ----------
    location : str
        The folder that the user named; a relative one is taken from where we are now, for good.
    limits : Limits, optional
        What it may hold.
    shared : bool
        Whether what we make is for the folder's group, too.
    """

    def __init__(self, location: str, limits: Limits | None = None, shared: bool = False) -> None:
        self.location = location
        self.limits = limits
        self.shared = shared
        self.folder = os.path.join(os.path.abspath(location), "lightwork")
        self.told: set[str] = set()
        """What was already warned about."""

    def __reduce__(self) -> tuple[object, ...]:
        return LocalStore, (os.path.dirname(self.folder), self.limits, self.shared)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LocalStore) and self.folder == other.folder

    def __hash__(self) -> int:
        return hash(self.folder)

    def path(self, label: str, digest: str) -> str:
        """Where the entry of a key lies, or would lie."""
        return f"{self.folder}/{digest[:2]}/{label}-{digest}"

    def code_path(self, label: str) -> str:
        """Where it lies by which code a function was last computed."""
        return f"{self.folder}/code/{label}"

    def make_room(self, path: str) -> None:
        """Make the folders that an entry needs."""
        make_home(self.folder, self.shared)
        make_folder(os.path.dirname(path), self.shared)

    @property
    def mode(self) -> int | None:
        """The permissions of files that we make; None for what the umask leaves, in folders of our own."""
        return SHARED_FILE if self.shared else None

    def entries(self, label: str | None = None) -> Iterator[str]:
        """The files of all entries, or of those with a label; in no order."""
        for shard in self._shards():
            for found in _scan(shard):
                match = _ENTRY.fullmatch(found.name)
                if match and label in (None, match[1]):
                    yield found.path

    def held(self, shard: str | None = None) -> Iterator[Held]:
        """All entries, or those of a shard, with their sizes and last uses."""
        from lightwork.memory.quota import Held

        for folder in self._shards() if shard is None else [f"{self.folder}/{shard}"]:
            for each in _scan(folder):
                if _ENTRY.fullmatch(each.name):
                    with suppress(FileNotFoundError):  # removed meanwhile
                        found = each.stat()
                        yield Held(each.path, found.st_size, max(found.st_atime, found.st_mtime))

    # --- limits -----------------------------------------------------------------------------------

    def stored(self, path: str) -> None:
        """An entry was written."""
        if self.limits is not None:
            self._budget(self.limits).pay(path)

    def used(self, path: str) -> None:
        """An entry was read."""
        if self.limits is not None:
            self._budget(self.limits).touch(path)

    def remove(self, path: str) -> None:
        """Remove an entry; gone already is as good."""
        with suppress(FileNotFoundError):
            size = os.stat(path).st_size
            os.unlink(path)
            if self.limits is not None:
                self._budget(self.limits).refund(size)

    def recount(self) -> None:
        """After many entries were removed: let the limits know."""
        if self.limits is not None and os.path.isdir(self.folder):
            self._budget(self.limits).recount()

    def _budget(self, limits: Limits) -> Budget:
        from lightwork.memory.budget import budget_of

        return budget_of(self, limits)

    # --- clearing ---------------------------------------------------------------------------------

    def clear(self, label: str | None = None) -> None:
        """Remove all entries, or those with a label. With all, what broken-off writes left goes too."""
        if label is not None:
            for path in self.entries(label):
                self.remove(path)
            remove(self.code_path(label))
            return
        for folder in (*self._shards(), self.code_path("")):
            for found in _scan(folder):
                remove(found.path)
            with suppress(OSError):  # somebody wrote an entry meanwhile: the folder stays
                os.rmdir(folder)
        self.recount()

    def _shards(self) -> Iterator[str]:
        for found in _scan(self.folder):
            if _SHARD.fullmatch(found.name):
                yield found.path


def remove(path: str) -> None:
    """Remove a file; gone already is as good."""
    with suppress(FileNotFoundError):
        os.unlink(path)


def _scan(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except (FileNotFoundError, NotADirectoryError):
        return []


def make_home(folder: str, shared: bool) -> None:
    """Make the folder that all lies in; whoever removes its ``.gitignore`` afterwards has done so for good."""
    if os.path.isdir(folder):
        return
    make_folder(folder, shared)
    # Another process may have made it meanwhile; and where no file can be made, the entry will tell.
    with suppress(OSError):
        descriptor = os.open(f"{folder}/.gitignore", _NEW_FILE, 0o600)
        try:
            if shared:
                os.fchmod(descriptor, SHARED_FILE)
            os.write(descriptor, b"# made by lightwork\n*\n")
        finally:
            os.close(descriptor)


def make_folder(folder: str, shared: bool) -> None:
    """Make a folder and those above it; one that is removed meanwhile is not made again."""
    make = _make_shared if shared else _make_private
    try:
        make(folder)
    except FileExistsError:
        with suppress(FileNotFoundError):
            if not stat.S_ISDIR(os.stat(folder).st_mode):
                raise
    except FileNotFoundError:
        make_folder(os.path.dirname(folder), shared)
        with suppress(FileExistsError, FileNotFoundError):  # another process was as quick, or quicker
            make(folder)


def _make_private(folder: str) -> None:
    os.mkdir(folder, 0o700)


_numbers = count()


def _make_shared(folder: str) -> None:
    """Make a folder that the group can use from the moment it is seen: it gets its name last."""
    if os.path.lexists(folder):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), folder)
    begun = f"{folder}.{os.getpid()}-{next(_numbers)}.tmp"
    os.mkdir(begun, 0o700)
    try:
        os.chmod(begun, _SHARED_FOLDER)
        os.rename(begun, folder)
    except OSError as error:
        os.rmdir(begun)
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise FileExistsError(error.errno, error.strerror, folder) from None
        raise
