"""A remembered function: what a call goes through.

    bind the arguments -> fingerprint of the code -> digest -> path -> read the entry
                                                                     | compute, and write the entry

1. `MemorizedFunc.__call__` is the only frame of ours between a caller and the user's function while that runs,
   so that recursion goes deep. What comes before and after is in methods that have returned.
2. The key is made before the function runs: what the function does to its arguments, or what happens to its
   source meanwhile, makes no difference.
3. Nothing that happens to the cache ends a call. An entry that cannot be read is computed and replaced, a
   result that cannot be stored is returned; one warning says so.
4. What is expensive is put off: a binder is compiled at the first call, not by the decorator.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple, ParamSpec, TypeVar, cast

from lightwork.errors import CacheWarning, MappingWarning
from lightwork.memory import entry
from lightwork.memory.entry import ABSENT, UNFIT, Absent
from lightwork.memory.function import CachedFunc
from lightwork.memory.key import Identity, Values, identify, unwrap
from lightwork.memory.keymaker import Key, KeyMaker, script
from lightwork.memory.options import Options
from lightwork.memory.result import MemorizedResult, NotMemorizedResult, ShelvedResult
from lightwork.observe.messages import call_text, memory_line, say
from lightwork.observe.notices import warn

if TYPE_CHECKING:
    from lightwork.hashing.definitions import Sent
    from lightwork.memory.flight import Flight
    from lightwork.memory.inquiry import EntryRecord
    from lightwork.memory.stores.local import LocalStore
    from lightwork.workers.functions import Found, Missing

__all__ = ["CacheInfo", "MemorizedFunc"]

P = ParamSpec("P")
R = TypeVar("R")


# How often in a row the folder of an entry may vanish before we give up; by guess.
_CLEARED_MEANWHILE: Final = 8


class CacheInfo(NamedTuple):
    """What `MemorizedFunc.cache_info` tells, with the names of `functools.lru_cache`."""

    hits: int
    misses: int
    maxsize: None
    currsize: int


class MemorizedFunc(CachedFunc[P, R]):
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

    def __init__(self, func: Callable[P, R], store: LocalStore, options: Options) -> None:
        super().__init__(func)
        self.timestamp = time.time()
        self._set_up(store, options, identify(unwrap(func).function, script()))
        if options.ignore:
            from lightwork.memory.binding import check_ignore

            check_ignore(self._callee.function, options.ignore)

    def _set_up(self, store: LocalStore, options: Options, identity: Identity) -> None:
        self._options = options
        self._may_age = options.expires is not None
        self.ignore = options.ignore
        self.verbose = options.verbose
        self.mmap_mode = options.mmap_mode
        self.cache_validation_callback = options.cache_validation_callback
        self._callee = unwrap(self.func)
        self._keys = KeyMaker(self._callee.function, identity, store, options)

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
            computed = self.func(*args, **kwargs)
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
        computed = self.func(*args, **kwargs)
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
            say(f"[Memory] Clearing the results of {self.shown}", output=True)
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
        return f"miss: {difference(told, key.code.digest.hex(), self.entries())}"

    @property
    def store_backend(self) -> LocalStore:
        """Where the entries lie."""
        return self._keys.store

    @property
    def func_id(self) -> str:
        """The name that the entries of this function have in common."""
        return self._keys.identity.label

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
        from lightwork.memory.task import missing
        from lightwork.workers.functions import Found

        key = self._key(args, kwargs)
        if stream:
            key = self._keys.streamed(key, stream)
        value = self.recall(key, args, kwargs)
        return (
            missing(cast("MemorizedFunc[..., object]", self), key, args, kwargs)
            if isinstance(value, Absent)
            else Found(value)
        )

    # --- parts of a call --------------------------------------------------------------------------

    def _key(self, args: Values, kwargs: Mapping[str, object]) -> Key:
        callee = self._callee
        if callee.args or callee.kwargs:
            args, kwargs = callee.arguments(args, kwargs)
        return self._keys.key(args, kwargs)

    def recall(self, key: Key, args: Values, kwargs: Mapping[str, object]) -> R | Absent:
        """The remembered result, or `ABSENT`, or `UNFIT` where there is one that cannot be used."""
        started = time.perf_counter() if self.verbose > 1 else 0.0
        mode = entry.READ_MODES[self.mmap_mode]
        may_age = self._may_age or self.cache_validation_callback is not None
        value: R | Absent
        metadata: dict[str, object] = {}
        try:
            if may_age:
                value, metadata = entry.read(key.path, mode, self._tell_compressed)
            else:
                value = entry.value(key.path, mode, self._tell_compressed)
        except (Warning, RecursionError, MemoryError):
            raise
        except Exception as error:
            self._tell_unreadable(key.path, error)
            return UNFIT
        if value is ABSENT:
            return ABSENT
        if may_age and not self._is_valid(metadata):
            return UNFIT
        keys = self._keys
        keys.hits += 1
        if keys.store.limits is not None:
            keys.store.used(key.path)
        if self.verbose > 1:
            call = call_text(self.shown, args, kwargs)
            say(memory_line("loaded", call, time.perf_counter() - started), output=True)
            if self.verbose > 10:
                say(f"[Memory] from {key.path}", output=True)
        return value

    def _is_valid(self, metadata: dict[str, object]) -> bool:
        """Whether an entry that is there may be used."""
        life, valid = self._options.expires, self.cache_validation_callback
        if life is not None:
            from lightwork.memory.freshness import is_fresh

            if not is_fresh(metadata, life, time.time()):
                return False
        return valid is None or bool(valid(metadata))

    def _is_there(self, key: Key) -> bool:
        if not self._may_age and self.cache_validation_callback is None:
            return entry.exists(key.path)
        try:
            value, metadata = entry.read(key.path, "r", self._tell_compressed)
        except Exception:  # an entry that cannot be read is none; the next call says so, and replaces it
            return False
        return value is not ABSENT and self._is_valid(metadata)

    def compute(self, key: Key, args: Values, kwargs: Mapping[str, object], *, store: bool) -> tuple[R, bool]:
        """Compute, in a worker or to shelve; returns the result, and whether the entry holds it."""
        with self._flight(key, args, kwargs) as flight:
            found = self._recall_again(flight.waited, ABSENT, key, args, kwargs)
            if not isinstance(found, Absent):
                return found, True
            told = self._begin(key, args, kwargs)
            started = time.perf_counter()
            value = cast("Callable[..., R]", self.func)(*args, **kwargs)
            metadata = self._end(key, told, time.perf_counter() - started)
            return value, store and self._store(key.path, value, metadata)

    def _flight(self, key: Key, args: Values, kwargs: Mapping[str, object]) -> Flight:
        """The time in which nobody else computes this call."""
        from lightwork.memory.flight import Flight

        def when_waiting() -> None:
            if self.verbose:
                call = call_text(self.shown, args, kwargs)
                say(f"[Memory] Waiting for {call}, which is being computed elsewhere", output=True)

        return Flight(self.store_backend.folder, key.path[-32:], when_waiting)

    def _recall_again(
        self, waited: bool, before: Absent, key: Key, args: Values, kwargs: Mapping[str, object]
    ) -> R | Absent:
        """The result that somebody else computed between our first look and our turn, or what we saw before."""
        if waited or (before is ABSENT and entry.exists(key.path)):
            return self.recall(key, args, kwargs)
        return before

    def key_at(self, path: str, args: Values, kwargs: Mapping[str, object]) -> Key:
        """The key of a call whose path another process made."""
        return self._keys.key_at(path, *self._callee.arguments(args, kwargs))

    def _begin(self, key: Key, args: Values, kwargs: Mapping[str, object]) -> dict[str, str]:
        """What is to be told of a call before the function may change its arguments."""
        self._keys.misses += 1
        if self.verbose:
            say(memory_line("computing", call_text(self.shown, args, kwargs)), output=True)
        return self._keys.told(key.values)

    def _end(self, key: Key, told: Mapping[str, str], seconds: float) -> dict[str, object]:
        """The metadata of a call that has been computed."""
        if self.verbose:
            say(memory_line("computed", self.shown, seconds), output=True)
        return entry.describe(str(self._keys.identity), told, seconds, key.code.digest.hex())

    def _keep(
        self, key: Key, told: Mapping[str, str], value: R, seconds: float
    ) -> tuple[R, dict[str, object]]:
        """Store a result; returns what the caller gets (the same, or mapped from the entry), and the metadata."""
        metadata = self._end(key, told, seconds)
        if (
            self._store(key.path, value, metadata)
            and self.mmap_mode is not None
            and not self._options.compress
        ):
            # So that the first call returns what later ones do.
            mapped = entry.read(key.path, entry.READ_MODES[self.mmap_mode], self._tell_compressed)[0]
            if mapped is not ABSENT:
                value = cast(R, mapped)
        return value, metadata

    def _store(self, path: str, value: object, metadata: Mapping[str, object]) -> bool:
        store, options = self.store_backend, self._options
        if options.store_if is not None and not options.store_if(value):
            return False
        try:
            for _ in range(_CLEARED_MEANWHILE):
                try:
                    entry.write(path, value, options.compress, metadata)
                    break
                except FileNotFoundError:  # the first entry of its shard, or somebody is clearing
                    store.make_room(path)
            else:
                entry.write(path, value, options.compress, metadata)
            store.stored(path)
            return True
        except (Warning, RecursionError):
            raise
        except OSError as error:
            self.tell_once("full", f"results are not stored in {store.folder}: {error}")
        except Exception as error:
            self.tell_once(f"result of {self.func_id}", f"a result of {self.shown} is not stored: {error}")
        return False

    # --- what is told -----------------------------------------------------------------------------

    @property
    def shown(self) -> str:
        """The name of the function in messages."""
        return f"{self.__dict__.get('__module__')}.{self.__dict__.get('__qualname__')}"

    def tell_once(self, topic: str, message: str, category: type[Warning] = CacheWarning) -> None:
        """Give a warning, if none on this topic was given for these entries."""
        told = self.store_backend.told
        if topic not in told:
            told.add(topic)
            warn(message, category)

    def _tell_unreadable(self, path: str, error: Exception) -> None:
        warn(
            f"the entry {path} cannot be read ({type(error).__name__}: {error}); "
            f"{self.shown} is computed again, and the entry replaced",
            CacheWarning,
        )

    def _tell_compressed(self) -> None:
        self.tell_once(
            "compressed",
            f"mmap_mode={self.mmap_mode!r}: entries in {self.store_backend.folder} are compressed, so results "
            f"are read instead of mapped; remember them with compress=False to map them",
            MappingWarning,
        )

    # --- making and pickling ----------------------------------------------------------------------

    def _bound_to(self, instance: object) -> MemorizedFunc[P, R]:
        bound = cast("MemorizedFunc[P, R]", super()._bound_to(instance))
        bound._callee = self._callee.bound_to(instance)
        return bound

    def __getstate__(self) -> dict[str, object]:
        said = {name: getattr(self, name) for name in ("verbose", "mmap_mode", "cache_validation_callback")}
        return {
            **super().__getstate__(),
            "options": self._options._replace(**said),
            "identity": self._keys.identity,
            "store": self._keys.store,
            "timestamp": self.timestamp,
            "definitions": self._keys.definitions(),
        }

    def __setstate__(self, state: Mapping[str, object]) -> None:
        super().__setstate__(state)
        if sent := cast("tuple[Sent, ...]", state.get("definitions")):
            from lightwork.hashing.definitions import receive

            receive(sent)
        self.timestamp = cast(float, state["timestamp"])
        options, identity = cast(Options, state["options"]), cast(Identity, state["identity"])
        self._set_up(cast("LocalStore", state["store"]), options, identity)
