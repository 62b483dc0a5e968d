"""Limits of a cache, kept by every process that stores into it: the shell around `quota`.

The counter lies in the first bytes of ``state``, behind a checksum, and is read and written under a lock at a byte of
its own. A counter that is damaged or not there yet is made from a listing, once. Entries are removed shard by shard,
from a random one on: a shard holds an even sample of the cache, so its oldest quarter is nearly the oldest of all. All
who share a cache should name the same limits; who names none stores uncounted.

A hit is noted in the entry's time, but only if that is older than an eighth of the age at which entries were
removed last: nearer in time, the order makes no difference.
"""

from __future__ import annotations

import atexit
import errno
import fcntl
import os
import random
import struct
import time
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Final

from lightwork.memory import flight
from lightwork.memory.quota import Account, Amount, Held, Limits, charge, oldest_quarter

if TYPE_CHECKING:
    from lightwork.memory.stores.local import LocalStore

__all__ = ["Budget", "budget_of"]

_COUNTER: Final = struct.Struct("<8sQQ")
_MAGIC: Final = b"lwstate1"
_CHECK: Final = 8  # bytes of checksum behind it
_BYTE: Final = 1 << 60  # behind those of all keys
_FIRST_TOUCH: Final = 60.0  # seconds, until the first removal tells better; by guess
_SAMPLE: Final = 32  # entries among which the oldest are chosen: more than a shard where a cache is small
_SWEEP: Final = 64  # results stored between two looks for entries that are too old; by guess


class Budget:
    """What this process may store in one cache."""

    def __init__(self, store: LocalStore, limits: Limits) -> None:
        self._store = store
        self._limits = limits
        self._account = Account(limits)
        self._lock = Lock()
        self._shard = random.randrange(256)
        self._touch_after = _FIRST_TOUCH
        self._stored = 0

    def pay(self, path: str) -> None:
        """An entry was stored: pay for it, and make room if there is none left to be had."""
        with self._lock:
            try:
                self._account.spend(charge(os.stat(path).st_size))
            except FileNotFoundError:  # removed already
                return
            if self._account.in_debt and self._ask() and self._account.in_debt:
                self._make_room()
            self._stored += 1
            if self._limits.age is not None and self._stored % _SWEEP == 0:
                self._remove_unused(time.time() - self._limits.age)

    def refund(self, size: int) -> None:
        """An entry of this size was removed by us."""
        with self._lock:
            self._account.add(charge(size))

    def touch(self, path: str) -> None:
        """An entry was used: note it, if that makes a difference."""
        with suppress(OSError):  # removed, or not ours to change
            if time.time() - os.stat(path).st_mtime > self._touch_after:
                os.utime(path)

    def recount(self) -> None:
        """Make the counter anew from what is there."""
        with self._lock, _Counter(self._store) as counter:
            if counter.held:
                self._account.spend(self._positive())
                counter.write(self._listed())

    def settle(self) -> None:
        """Give back what was not used."""
        with self._lock, _Counter(self._store) as counter:
            granted = counter.read() if counter.held else None
            if granted is not None:
                left = self._positive()
                counter.write(Amount(max(0, granted.bytes - left.bytes), max(0, granted.items - left.items)))
                self._account.spend(left)

    # --- parts, under the lock --------------------------------------------------------------------

    def _ask(self) -> bool:
        """Take room from the counter, if there is any; False where it cannot be asked now: then we owe."""
        with _Counter(self._store) as counter:
            if not counter.held:
                return False
            granted = counter.read()
            if granted is None:
                granted = self._listed()
                # What is owed is among what was listed.
                self._account.add(
                    Amount(max(0, -self._account.left.bytes), max(0, -self._account.left.items))
                )
                counter.write(granted)
            more = self._account.asks(granted)
            if more != Amount():
                counter.write(granted.plus(more))
                self._account.add(more)
            return True

    def _make_room(self) -> None:
        """Remove the oldest of shard after shard, until what is owed is paid, or nothing is left to remove."""
        unfruitful = 0
        while self._account.in_debt and unfruitful < 256:
            sample: list[Held] = []
            looked = 0
            while looked < 256 and len(sample) < _SAMPLE:
                looked += 1
                self._shard = (self._shard + 1) % 256
                sample.extend(self._store.held(f"{self._shard:02x}"))
            freed = [self._remove(each) for each in oldest_quarter(sample)]
            unfruitful = 0 if any(freed) else unfruitful + looked

    def _remove(self, entry: Held) -> bool:
        """Remove an entry unless it was used since we looked; what somebody else removed is theirs."""
        with suppress(OSError):
            if os.stat(entry.path).st_mtime > entry.used:
                return False
            os.unlink(entry.path)
            self._account.add(charge(entry.size))
            self._touch_after = max(0.0, time.time() - entry.used) / 8
            return True
        return False

    def _remove_unused(self, since: float) -> None:
        self._shard = (self._shard + 1) % 256
        for each in self._store.held(f"{self._shard:02x}"):
            if each.used < since:
                with suppress(OSError):
                    os.unlink(each.path)
                    self._account.add(charge(each.size))

    def _listed(self) -> Amount:
        total = Amount()
        for each in self._store.held():
            total = total.plus(charge(each.size))
        return total

    def _positive(self) -> Amount:
        return Amount(max(0, self._account.left.bytes), max(0, self._account.left.items))


class _Counter:
    """The counter in ``state``, while this process has its lock.

    `held` is False where it cannot be had now. On a file system without locks it is had without: then what two
    processes write at once may be lost, and the limits are kept roughly.
    """

    def __init__(self, store: LocalStore) -> None:
        self._folder, self._shared = store.folder, store.shared
        self._descriptor: int | None = None
        self.held = False

    def __enter__(self) -> _Counter:
        self._descriptor = flight.open_state(self._folder, self._shared)
        if self._descriptor is not None:
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX, 1, _BYTE)
                self.held = True
            except OSError as error:
                # The kernel sees processes, not threads: it may find a cycle where none is.
                self.held = error.errno != errno.EDEADLK
            except BaseException:
                flight.close_state(self._folder)
                raise
        return self

    def __exit__(self, *exception: object) -> None:
        if self._descriptor is not None:
            if self.held:
                with suppress(OSError):
                    fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, _BYTE)
            flight.close_state(self._folder)

    def read(self) -> Amount | None:
        """How much was granted; None where that is not known."""
        from xxhash import xxh3_64_digest

        assert self._descriptor is not None
        data = os.pread(self._descriptor, _COUNTER.size + _CHECK, 0)
        if len(data) < _COUNTER.size + _CHECK or xxh3_64_digest(data[:-_CHECK]) != data[-_CHECK:]:
            return None
        magic, size, items = _COUNTER.unpack(data[:-_CHECK])
        return Amount(size, items) if magic == _MAGIC else None

    def write(self, granted: Amount) -> None:
        from xxhash import xxh3_64_digest

        assert self._descriptor is not None
        data = _COUNTER.pack(_MAGIC, granted.bytes, granted.items)
        os.pwrite(self._descriptor, data + xxh3_64_digest(data), 0)


# --- one for each cache of this process -----------------------------------------------------------

_budgets: dict[tuple[str, Limits], Budget] = {}
_making: Final = Lock()


def budget_of(store: LocalStore, limits: Limits) -> Budget:
    """The budget of this process for a cache under these limits."""
    key = store.folder, limits
    with _making:
        if key not in _budgets:
            if not _budgets:
                atexit.register(_settle_all)
            _budgets[key] = Budget(store, limits)
        return _budgets[key]


def _settle_all() -> None:
    for budget in _budgets.values():
        with suppress(OSError):  # the cache is gone
            budget.settle()


def _forget_parent() -> None:
    """What a forked child could spend is its parent's."""
    _budgets.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
