"""A remembered function, as its users see it.

`MemorizedFunc.__call__` is the only frame of ours between a caller and the user's function while that runs, so that
recursion goes deep. What comes before and after is in methods of `calling` that have returned.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar, cast

from lightwork.memory import entry
from lightwork.memory.calling import RememberedCalls
from lightwork.memory.entry import Absent
from lightwork.memory.function import CacheInfo
from lightwork.memory.key import Values
from lightwork.memory.keymaker import Key
from lightwork.memory.result import MemorizedResult, NotMemorizedResult, ShelvedResult
from lightwork.memory.telling import tell
from lightwork.workers.functions import Found

if TYPE_CHECKING:
    from lightwork.memory.inquiry import EntryRecord
    from lightwork.workers.functions import Missing

__all__ = ["MemorizedFunc"]

_new: Final = tuple.__new__  # makes a Found in half of the time

P = ParamSpec("P")
R = TypeVar("R")


class MemorizedFunc(RememberedCalls[P, R]):
    """A function whose results are kept; made by `Memory.cache`.

    Attributes
    ----------
    func : callable
        The function itself.
    ignore : tuple of str
        Parameters that make no difference to the key.
    verbose : int
        0 silent; 1 says when the function is computed; above 1 also when a result was loaded.
    mmap_mode : str or None
        How arrays in results are mapped from the file; None reads them.
    timestamp : float
        When this object was made, in seconds since the epoch.

    Examples
    --------
    >>> from lightwork import Memory
    >>> memory = Memory("cache", verbose=0)
    >>> @memory.cache
    ... def square(x):
    ...     return x * x
    >>> square(3), square.check_call_in_cache(3), square.check_call_in_cache(4)
    (9, True, False)
    >>> square.clear()
    """

    answers_from_entry = False
    """Whether a worker leaves results in their entries, for the parent to read: where they cannot travel."""

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """The result of this call: from its entry, or computed and stored."""
        key = self._key(args, kwargs)
        value = self.recall(key, args, kwargs)
        if not isinstance(value, Absent):
            return value
        with self._flight(key, args, kwargs) as flight:
            value = self._recall_again(flight.waited, value, key, args, kwargs)
            if not isinstance(value, Absent):
                return value
            told = self._begin(key, args, kwargs)
            started = time.perf_counter()
            try:
                computed = self.func(*args, **kwargs)
            except Exception as error:
                self._keep_error(key, told, error, started)
                raise
            return self._keep(key, told, computed, time.perf_counter() - started)[0]

    def call(self, /, *args: P.args, **kwargs: P.kwargs) -> tuple[R, dict[str, object]]:
        """Compute anew and put the result in the place of the one that is there.

        Returns
        -------
        result : object
            What the function returned.
        metadata : dict
            ``duration`` in seconds, ``input_args`` (name to shortened value), ``time``, and more.
        """
        key = self._key(args, kwargs)
        told = self._begin(key, args, kwargs)
        started = time.perf_counter()
        try:
            computed = self.func(*args, **kwargs)
        except Exception as error:
            self._keep_error(key, told, error, started)
            raise
        return self._keep(key, told, computed, time.perf_counter() - started)

    def check_call_in_cache(self, /, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Whether the result of this call is there and may be used (it is not loaded, unless that must be asked)."""
        return self._is_there(self._key(args, kwargs))

    def call_and_shelve(self, /, *args: P.args, **kwargs: P.kwargs) -> ShelvedResult[R]:
        """A reference to the result of this call, which is computed if it is not there, and not loaded if it is."""
        key = self._key(args, kwargs)
        if not self._is_there(key):
            value, stored = self.compute(key, args, kwargs, store=True)
            if not stored:
                return NotMemorizedResult(value)
        return self._shelved(key)

    def _shelved(self, key: Key) -> MemorizedResult[R]:
        location = os.path.dirname(self.store_backend.folder)
        call_id = self.func_id, key.path[-32:]
        return MemorizedResult(location, call_id, mmap_mode=self.mmap_mode, timestamp=self.timestamp)

    def forget(self, /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Forget the result of one call."""
        self.store_backend.remove(self._key(args, kwargs).path)

    def refresh(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Compute the result of one call anew, and keep that."""
        return self.call(*args, **kwargs)[0]

    def cache_info(self) -> CacheInfo:
        """Hits and misses in this process, and how many results are kept."""
        size = sum(1 for _ in self.store_backend.entries(self.func_id))
        return CacheInfo(self._keys.hits, self._keys.misses, None, size)

    def cache_clear(self) -> None:
        """`clear`, by the name that `functools.lru_cache` has for it; the counts begin anew, too."""
        self.clear(warn=False)
        self._keys.hits = self._keys.misses = 0

    def clear(self, warn: bool = True) -> None:
        """Forget all results of this function, those of its earlier code too.

        Parameters
        ----------
        warn : bool, default True
            Say so, if `verbose` is not 0.
        """
        if warn and self.verbose:
            tell(f"[Memory] Clearing the results of {self.shown}")
        self.store_backend.clear(self._keys.identity.label)

    def entries(self) -> list[EntryRecord]:
        """What is kept of this function: arguments, size, duration and ages of each result, as a list of dicts."""
        from lightwork.memory.inquiry import records

        return records(self.store_backend, self.func_id)

    def stats(self) -> dict[str, int]:
        """Hits and misses in this process; how many results are kept, and their bytes."""
        from lightwork.memory.inquiry import count

        size = count(self.store_backend, self.func_id)
        return {
            "hits": self._keys.hits,
            "misses": self._keys.misses,
            "items": size["items"],
            "bytes": size["bytes"],
        }

    def why(self, /, *args: P.args, **kwargs: P.kwargs) -> str:
        """Whether a call would be a hit, and if not, why: in a sentence for people."""
        from lightwork.memory.inquiry import difference

        key = self._key(args, kwargs)
        if self._is_there(key):
            return f"hit: the result is in {key.path}"
        if entry.exists(key.path):
            return f"miss: the result in {key.path} is damaged, has expired, or was found no longer valid"
        told = self._keys.told(key.values)
        return f"miss: {difference(told, self._keys.code(key), self.entries())}"

    def __repr__(self) -> str:
        return f"MemorizedFunc(func={self.func!r}, location={self.store_backend.location})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MemorizedFunc):
            return NotImplemented
        if self is other:
            return True
        from lightwork.hashing import digest

        mine, theirs = self._keys, other._keys
        return (mine.identity, mine.options.ignore, mine.store) == (
            theirs.identity,
            theirs.options.ignore,
            theirs.store,
        ) and digest(self.func) == digest(other.func)

    def __hash__(self) -> int:
        return hash((self._keys.identity, self._keys.store))

    def __lightwork_hash__(self) -> object:
        return self.func

    # --- in a loop --------------------------------------------------------------------------------

    def __lightwork_lookup__(
        self, args: Values, kwargs: Mapping[str, object], stream: bytes = b"", /
    ) -> Found | Missing:
        """Answer a loop: the result, or what to send to a worker; see `lightwork.memory.task`."""
        key = self._key(args, kwargs, stream)
        value = self.recall(key, args, kwargs)
        if not isinstance(value, Absent):
            return _new(Found, (value,))
        from lightwork.memory.task import missing

        if self.verbose:
            self._tell_code(key)  # here, so that it is not said by each worker
        return missing(cast("MemorizedFunc[..., object]", self), key, args, kwargs)

    def received(self, value: object) -> object:
        """The result, of what a worker returned that could not store it."""
        return value
