"""Results that were not loaded yet: a reference to an entry, to be kept, pickled and read later.

`MemorizedFunc.call_and_shelve` makes them. A reference is the place of an entry and nothing else; whether the
entry is still there is known when it is read.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from lightwork.memory import entry
from lightwork.memory.entry import ABSENT
from lightwork.memory.raised import Raised
from lightwork.memory.recording import is_recording, play
from lightwork.memory.stores.local import LocalStore, remove

if TYPE_CHECKING:
    from lightwork.settings import MmapMode

__all__ = ["MemorizedResult", "NotMemorizedResult", "ShelvedResult"]

R = TypeVar("R")


class ShelvedResult(Generic[R]):
    """What `call_and_shelve` returns: `MemorizedResult` or, where nothing is kept, `NotMemorizedResult`."""

    def get(self) -> R:
        """The result."""
        raise KeyError(self)

    def clear(self) -> None:
        """Forget the result."""


class MemorizedResult(ShelvedResult[R]):
    """A result in the cache; `get` reads it.

    Parameters
    ----------
    location : str or path-like
        The folder of the `Memory`.
    call_id : tuple of str
        The label of the function's entries, and the digest of the call.
    backend : {"local"}
        What kind of place that is.
    mmap_mode : {None, "r", "c", "r+", "w+"}
        How `get` maps arrays.
    verbose : int
        Accepted for joblib's sake; reading says nothing.
    timestamp : float, optional
        When the function was remembered.
    metadata : dict, optional
        What is known of the call; read from the entry when it is not given.

    Examples
    --------
    >>> from lightwork import Memory
    >>> double = Memory("cache", verbose=0).cache(lambda x: 2 * x)
    >>> shelved = double.call_and_shelve(21)
    >>> shelved.get()
    42
    >>> shelved.clear()
    >>> shelved.get()
    Traceback (most recent call last):
    ...
    lightwork.errors.ResultMissingError: ...
    """

    def __init__(
        self,
        location: str | os.PathLike[str],
        call_id: tuple[str, str],
        backend: str = "local",
        mmap_mode: MmapMode | None = None,
        verbose: int = 0,
        timestamp: float | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> None:
        self.location = os.fspath(location)
        self.func_id, self.args_id = call_id
        self.backend = backend
        self.mmap_mode = mmap_mode
        self.verbose = verbose
        self.timestamp = timestamp
        self._metadata = metadata
        self.store_backend = LocalStore(self.location)

    @property
    def _path(self) -> str:
        return self.store_backend.path(self.func_id, self.args_id)

    def get(self) -> R:
        """Read the result; where an error is kept in its place (``store_if``), that is raised.

        Raises
        ------
        ResultMissingError
            It was cleared meanwhile, or is damaged. A `KeyError`.
        """
        value, metadata = self._read()
        if is_recording(metadata):
            return cast(R, self._items())
        if isinstance(value, Raised):
            raise value.error()
        return cast(R, value)

    def _items(self) -> Generator[object, None, object]:
        """What a generator yielded, anew."""
        from lightwork.errors import DamagedFileError, ResultMissingError

        items = play(self._path)
        while True:
            try:
                item = next(items)
            except StopIteration as end:
                return end.value
            except (DamagedFileError, FileNotFoundError) as error:
                raise ResultMissingError(f"items of {self.func_id} are gone: {error}") from error
            yield item

    @property
    def metadata(self) -> Mapping[str, object]:
        """What is known of the call: ``duration``, ``input_args``, ``time``."""
        if self._metadata is None:
            self._metadata = self._read()[1]
        return self._metadata

    def clear(self) -> None:
        """Forget the result; the function will compute it again."""
        remove(self._path)

    def _read(self) -> tuple[object, Mapping[str, object]]:
        from lightwork.errors import DamagedFileError, ResultMissingError

        try:
            value, metadata = entry.read(self._path, entry.READ_MODES[self.mmap_mode], lambda: None)
        except DamagedFileError as error:
            raise ResultMissingError(f"the result of {self.func_id} is damaged: {error}") from error
        if value is ABSENT:
            raise ResultMissingError(
                f"the result of {self.func_id} is no longer in {self._path}; call the function again"
            )
        return value, metadata

    def __repr__(self) -> str:
        return (
            f"MemorizedResult(location={self.location!r}, call_id={(self.func_id, self.args_id)!r}, "
            f"mmap_mode={self.mmap_mode!r})"
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MemorizedResult) and self._path == other._path

    def __hash__(self) -> int:
        return hash(self._path)

    def __lightwork_hash__(self) -> object:
        return self.func_id, self.args_id


class NotMemorizedResult(ShelvedResult[R]):
    """A result that is held in memory, because it could not be, or was not to be, stored.

    Attributes
    ----------
    valid : bool
        Whether it is still held; `clear` lets it go.
    """

    def __init__(self, value: R) -> None:
        self._value: R | entry.Absent = value

    @property
    def valid(self) -> bool:
        """Whether the result is still held."""
        return self._value is not ABSENT

    def get(self) -> R:
        """The result; a `KeyError` after `clear`."""
        if isinstance(self._value, entry.Absent):
            from lightwork.errors import ResultMissingError

            raise ResultMissingError(
                "this result was cleared, and nothing was stored; call the function again"
            )
        return self._value

    def clear(self) -> None:
        """Let the result go."""
        self._value = ABSENT

    def __repr__(self) -> str:
        return f"NotMemorizedResult({self._value!r})" if self.valid else "NotMemorizedResult()"
