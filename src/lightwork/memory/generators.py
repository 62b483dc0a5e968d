"""Remembered generator functions: what was yielded is kept, and yielded again.

1. A call looks for its entry at once; all else happens while somebody reads. A hit reads item by item from the file,
   a miss runs the generator and keeps each item as it passes.
2. There is an entry when the generator was read to its end, and never of a part.
3. While items are read, their reader may change the arguments, and the generator sees it. So the key is made
   once more at the end; if it is another, the items belong to no call and are not kept.
4. An entry that turns out damaged in the middle: the generator runs after all, and the items that its reader has
   are passed over.
5. No lock is held while items are read: a reader may take for ever. Who reads at the same time runs the generator too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from lightwork.errors import OptionError, OptionTypeError
from lightwork.memory import entry
from lightwork.memory.entry import Absent
from lightwork.memory.memorized import MemorizedFunc
from lightwork.memory.recording import Recorder, play
from lightwork.memory.result import NotMemorizedResult, ShelvedResult

if TYPE_CHECKING:
    from lightwork.memory.key import Values
    from lightwork.memory.keymaker import Key
    from lightwork.memory.options import Options
    from lightwork.memory.stores.local import LocalStore

__all__ = ["GeneratorMemorizedFunc"]

P = ParamSpec("P")
R = TypeVar("R")

Items = Generator[object, None, object]


class GeneratorMemorizedFunc(MemorizedFunc[P, Any]):
    """A generator function whose items are kept; made by `Memory.cache`."""

    answers_from_entry = True

    def __init__(self, func: Callable[P, Any], store: LocalStore, options: Options) -> None:
        if options.store_if is not None:
            raise OptionError("store_if= looks at a whole result, and that of a generator is never in memory")
        super().__init__(func, store, options)

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        """The items of this call: from its entry, or from the generator itself."""
        key = self._key(args, kwargs)
        found = self.recall(key, args, kwargs)
        return self._anew(key, args, kwargs) if isinstance(found, Absent) else found

    def call(self, /, *args: P.args, **kwargs: P.kwargs) -> tuple[Any, dict[str, object]]:
        """Run the generator anew, and keep what it yields.

        Returns
        -------
        items : generator
            What it yields.
        metadata : dict
            Filled when all items were read; see `MemorizedFunc.call`.
        """
        metadata: dict[str, object] = {}
        return self._anew(self._key(args, kwargs), args, kwargs, metadata), metadata

    def call_and_shelve(self, /, *args: P.args, **kwargs: P.kwargs) -> ShelvedResult[Any]:
        """A reference to the items of this call; if they are not there, the generator is run to its end."""
        key = self._key(args, kwargs)
        if not self._is_there(key):
            _exhaust(self._anew(key, args, kwargs))
            if not entry.exists(key.path):
                return NotMemorizedResult(self._source(args, kwargs))
        return self._shelved(key)

    def recall(self, key: Key, args: Values, kwargs: Mapping[str, object]) -> Any:
        """The remembered items, or `ABSENT`, or `UNFIT`."""
        found = super().recall(key, args, kwargs)
        return found if isinstance(found, Absent) else self._again(key, args, kwargs)

    def compute(
        self, key: Key, args: Values, kwargs: Mapping[str, object], *, store: bool
    ) -> tuple[Any, bool]:
        """Run the generator to its end, in a worker; returns a list of the items where no entry holds them."""
        if store:
            _exhaust(self._anew(key, args, kwargs))
            if entry.exists(key.path):
                return None, True
        return list(self._source(args, kwargs)), False

    def received(self, value: Any) -> Any:
        """The items that a worker could not store, as a generator."""
        yield from value

    # --- the two ways that items come ---------------------------------------------------------------

    def _again(self, key: Key, args: Values, kwargs: Mapping[str, object]) -> Items:
        items, given = play(key.path), 0
        while True:
            try:
                item = next(items)
            except StopIteration as end:
                return end.value
            except FileNotFoundError:  # removed before the first item was read
                break
            except (Warning, RecursionError, MemoryError):
                raise
            except Exception as error:
                self._tell_unreadable(key.path, error)
                break
            given += 1
            _refuse_sent((yield item))
        return (yield from self._anew(key, args, kwargs, passed=given))

    def _source(self, args: Values, kwargs: Mapping[str, object]) -> Items:
        return cast("Callable[..., Items]", self.func)(*args, **kwargs)

    def _anew(
        self,
        key: Key,
        args: Values,
        kwargs: Mapping[str, object],
        metadata: dict[str, object] | None = None,
        passed: int = 0,
    ) -> Items:
        """The generator itself, each item kept; a call that Python refuses is refused here and now."""
        return self._recorded(self._source(args, kwargs), key, args, kwargs, metadata, passed)

    def _recorded(
        self,
        source: Items,
        key: Key,
        args: Values,
        kwargs: Mapping[str, object],
        metadata: dict[str, object] | None,
        passed: int,
    ) -> Items:
        told = self._begin(key, args, kwargs)
        described = entry.describe(str(self._keys.identity), told, 0.0, self._keys.code(key))
        kept = self._attempt(partial(self._recorder, key.path, described))
        seconds = 0.0
        try:
            while True:
                started = time.perf_counter()
                try:
                    item = next(source)
                except StopIteration as end:
                    returned = end.value
                    break
                finally:
                    seconds += time.perf_counter() - started
                if kept is not None and not self._attempt(_adding(kept, item)):
                    kept.discard()
                    kept = None
                if passed:
                    passed -= 1
                else:
                    _refuse_sent((yield item))
            self._tell_computed(seconds)
            if kept is not None and self._is_unchanged(key, args, kwargs):
                made = self._attempt(partial(kept.finish, returned, seconds))
                if made is not None:
                    self.store_backend.stored(key.path)
                    if metadata is not None:
                        metadata.update(made)
            return returned
        finally:
            if kept is not None:
                kept.discard()
            source.close()

    def _recorder(self, path: str, described: Mapping[str, object]) -> Recorder:
        try:
            return self._new_recorder(path, described)
        except FileNotFoundError:  # the first entry of its shard
            self.store_backend.make_room(path)
            return self._new_recorder(path, described)

    def _new_recorder(self, path: str, described: Mapping[str, object]) -> Recorder:
        return Recorder(path, self._options.compress, described, self.store_backend.mode)

    def _attempt(self, step: Callable[[], R]) -> R | None:
        """Do something that writes; where it fails, say so once and go on without."""
        try:
            return step()
        except (Warning, RecursionError):
            raise
        except FileNotFoundError:  # the cache was cleared meanwhile
            return None
        except Exception as error:
            self._tell_unstored(error)
            return None

    def _is_unchanged(self, key: Key, args: Values, kwargs: Mapping[str, object]) -> bool:
        try:
            same = self._key(args, kwargs, key.stream).path == key.path
        except Exception:  # an argument that had a value has none any more
            same = False
        if not same:
            self.tell_once(
                f"arguments of {self.func_id}",
                f"an argument of {self.shown} (or its code) changed while items were read, so they are not stored. "
                f"Pass a copy of what the loop changes, or leave it out of the key with ignore=",
            )
        return same


def _refuse_sent(sent: object) -> None:
    if sent is not None:
        raise OptionTypeError(f"send({sent!r}): a remembered generator takes no values while it runs")


def _adding(kept: Recorder, item: object) -> Callable[[], bool]:
    def add() -> bool:
        kept.add(item)
        return True

    return add


def _exhaust(items: Items) -> None:
    for _ in items:
        pass
