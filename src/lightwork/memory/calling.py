"""The parts of a remembered call, each in a method that has returned before the next one begins.

    bind the arguments -> fingerprint of the code -> digest -> path -> read the entry
                                                                     | compute, and write the entry

1. The key is made before the function runs: what the function does to its arguments, or what happens to its
   source meanwhile, makes no difference.
2. Nothing that happens to the cache ends a call. An entry that cannot be read is computed and replaced, a
   result that cannot be stored is returned; one warning says so.
3. What is expensive is put off: a binder is compiled at the first call, not by the decorator.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar, cast

from lightwork.errors import CacheWarning, MappingWarning
from lightwork.memory import entry
from lightwork.memory.entry import ABSENT, UNFIT, Absent
from lightwork.memory.function import CachedFunc
from lightwork.memory.key import Callee, Identity, Values, identify, unwrap
from lightwork.memory.keymaker import Key, KeyMaker, script
from lightwork.memory.options import Options
from lightwork.memory.raised import Raised, asks_about_errors, raised
from lightwork.memory.telling import tell
from lightwork.observe.messages import call_text, memory_line
from lightwork.observe.notices import warn

if TYPE_CHECKING:
    from lightwork.hashing.definitions import Sent
    from lightwork.hashing.scope import Scope
    from lightwork.memory.flight import Flight
    from lightwork.memory.stores.local import LocalStore

__all__ = ["RememberedCalls"]

P = ParamSpec("P")
R = TypeVar("R")

# How often in a row the folder of an entry may vanish before we give up; by guess.
_CLEARED_MEANWHILE: Final = 8


class RememberedCalls(CachedFunc[P, R]):
    """What all remembered functions are made of; `MemorizedFunc` says how a call puts it together."""

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
        self._set_callee(unwrap(self.func))
        self._keys = KeyMaker(self._callee.function, identity, store, options)

    def _set_callee(self, callee: Callee) -> None:
        self._callee = callee
        self._leads = bool(callee.args or callee.kwargs)  # whether it puts arguments before those of a call

    @property
    def store_backend(self) -> LocalStore:
        """Where the entries lie."""
        return self._keys.store

    @property
    def __lightwork_code__(self) -> tuple[Callable[..., object], Scope]:
        """The function whose code counts, and how far it is followed; `explain` goes as far."""
        return self._callee.function, self._options.scope

    @property
    def func_id(self) -> str:
        """The name that the entries of this function have in common."""
        return self._keys.identity.label

    def _key(self, args: Values, kwargs: Mapping[str, object], stream: bytes = b"") -> Key:
        if self._leads:
            args, kwargs = self._callee.arguments(args, kwargs)
        key = self._keys.key(args, kwargs)
        return self._keys.streamed(key, stream) if stream else key

    def recall(self, key: Key, args: Values, kwargs: Mapping[str, object]) -> R | Absent:
        """The remembered result, or `ABSENT`, or `UNFIT` where there is one that cannot be used."""
        started = time.perf_counter() if self.verbose > 1 else 0.0
        mode = None if self.mmap_mode is None else entry.READ_MODES[self.mmap_mode]
        may_age = self._may_age or self.cache_validation_callback is not None
        value: R | Absent
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
        if may_age and not self._is_valid(metadata):  # set where it may
            return UNFIT
        keys = self._keys
        keys.hits += 1
        if keys.store.limits is not None:
            keys.store.used(key.path)
        if self.verbose > 1:
            call = call_text(self.shown, args, kwargs)
            tell(memory_line("loaded", call, time.perf_counter() - started))
            if self.verbose > 10:
                tell(f"[Memory] from {key.path}")
        if type(value) is Raised:
            raise value.error()
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
            try:
                value = cast("Callable[..., R]", self.func)(*args, **kwargs)
            except Exception as error:
                self._keep_error(key, told, error, started)
                raise
            metadata = self._end(key, told, time.perf_counter() - started)
            return value, store and self._store(key.path, value, metadata)

    def _flight(self, key: Key, args: Values, kwargs: Mapping[str, object]) -> Flight:
        """The time in which nobody else computes this call."""
        from lightwork.memory.flight import Flight

        return Flight(*self._place(key, args, kwargs))

    def _place(
        self, key: Key, args: Values, kwargs: Mapping[str, object]
    ) -> tuple[str, str, Callable[[], str | None], bool]:
        """What a flight is told: the cache, the key's digest, the call in words, and whether the cache is shared."""

        def describe() -> str | None:
            return call_text(self.shown, args, kwargs) if self.verbose else None

        return self.store_backend.folder, key.path[-32:], describe, self.store_backend.shared

    def _recall_again(
        self, waited: bool, before: Absent, key: Key, args: Values, kwargs: Mapping[str, object]
    ) -> R | Absent:
        """The result that somebody else computed between our first look and our turn, or what we saw before."""
        if waited or (before is ABSENT and entry.exists(key.path)):
            return self.recall(key, args, kwargs)
        return before

    def key_at(self, path: str, args: Values, kwargs: Mapping[str, object], stream: bytes = b"") -> Key:
        """The key of a call whose path another process made."""
        return self._keys.key_at(path, *self._callee.arguments(args, kwargs), stream)

    def _begin(self, key: Key, args: Values, kwargs: Mapping[str, object]) -> dict[str, str]:
        """What is to be told of a call before the function may change its arguments."""
        self._keys.misses += 1
        if self.verbose:
            self._tell_code(key)
            tell(memory_line("computing", call_text(self.shown, args, kwargs)))
        return self._keys.told(key.values)

    def _end(self, key: Key, told: Mapping[str, str], seconds: float) -> dict[str, object]:
        """The metadata of a call that has been computed."""
        self._tell_computed(seconds)
        return entry.describe(str(self._keys.identity), told, seconds, self._keys.code(key))

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

    def _keep_error(self, key: Key, told: Mapping[str, str], error: Exception, started: float) -> None:
        """Store what the function raised, if that is wanted."""
        store_if = self._options.store_if
        if not asks_about_errors(store_if) or not cast("Callable[..., object]", store_if)(None, error=error):
            return
        made = raised(error)
        if made is None:
            self._tell_unstored(TypeError(f"it raised {type(error).__qualname__}, which cannot be pickled"))
        else:
            self._write(key.path, made, self._end(key, told, time.perf_counter() - started))

    def _store(self, path: str, value: object, metadata: Mapping[str, object]) -> bool:
        store_if = self._options.store_if
        return (store_if is None or bool(store_if(value))) and self._write(path, value, metadata)

    def _write(self, path: str, value: object, metadata: Mapping[str, object]) -> bool:
        store, options = self.store_backend, self._options
        try:
            for _ in range(_CLEARED_MEANWHILE):
                try:
                    entry.write(path, value, options.compress, metadata, store.mode)
                    break
                except FileNotFoundError:  # the first entry of its shard, or somebody is clearing
                    store.make_room(path)
            else:
                entry.write(path, value, options.compress, metadata, store.mode)
            store.stored(path)
            return True
        except (Warning, RecursionError):
            raise
        except Exception as error:
            self._tell_unstored(error)
        return False

    # --- what is told -----------------------------------------------------------------------------

    @property
    def shown(self) -> str:
        """The name of the function in messages."""
        return f"{self.__dict__.get('__module__')}.{self.__dict__.get('__qualname__')}"

    def _tell_code(self, key: Key) -> None:
        """Say what changed of the code, when it computes for the first time in this process."""
        keys = self._keys
        if keys.told_code == key.code.digest:
            return
        keys.told_code = key.code.digest
        from lightwork.memory.history import changed_code

        changed = changed_code(keys.store, self.func_id, str(keys.identity), keys.code(key))
        if changed:
            tell(f"[Memory] {self.shown}: code changed: {changed}")

    def tell_once(self, topic: str, message: str, category: type[Warning] = CacheWarning) -> None:
        """Give a warning, if none on this topic was given for these entries."""
        told = self.store_backend.told
        if topic not in told:
            told.add(topic)
            warn(message, category)

    def _tell_computed(self, seconds: float) -> None:
        if self.verbose:
            tell(memory_line("computed", self.shown, seconds))

    def _tell_unstored(self, error: Exception) -> None:
        if isinstance(error, OSError):
            self.tell_once("full", f"results are not stored in {self.store_backend.folder}: {error}")
        else:
            self.tell_once(f"result of {self.func_id}", f"a result of {self.shown} is not stored: {error}")

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

    def _bound_to(self, instance: object) -> RememberedCalls[P, R]:
        bound = cast("RememberedCalls[P, R]", super()._bound_to(instance))
        bound._set_callee(self._callee.bound_to(instance))
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
