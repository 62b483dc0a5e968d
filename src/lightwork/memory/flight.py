"""One computation of a key at a time: in this process by a table, between processes by the kernel's locks.

Who computes a key holds the byte of the file ``state`` whose number is the first 60 bits of the key's digest.
Whoever needs the same key waits, then finds the entry. The kernel frees the byte when its holder dies, so there
is nothing to expire and nothing to clean up. Where a lock cannot be had (no such locks here, folder not writable,
too many held) the key is computed without: that costs work done twice, never a wrong result, since entries
appear by a rename.

Waiting must not dead-lock, though a function may need further keys while it holds one:

1. A *holder* is a thread or a task with all that it starts while it holds a key (a context variable hands its number
   down), since it may wait for them. One that holds nothing may wait for anything: nobody waits for it.
2. In one process, a holder does not wait for one that waits (however indirectly) for it; it computes.
3. Between processes the kernel finds the cycles (``EDEADLK``), but it sees processes and one wait of each. So a holder
   of other keys waits in the kernel only while nobody else in its process holds keys or waits there; else it
   computes. Those who hold nothing poll meanwhile.
4. A worker of a loop that runs while a key is held does not wait: the holder waits for it, which no lock sees.
5. Coroutines cannot wait in the kernel; they poll (`awaiting`), which it does not see. So who holds a key does not wait
   for one that polls.

Locks of this kind belong to the process and go when *any* descriptor of the file is closed; so ``state`` is open once,
while keys are held, and the last one closes it.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar, Token
from functools import partial
from itertools import count
from threading import Lock
from types import TracebackType
from typing import Final, NamedTuple

from lightwork.memory import waiting
from lightwork.memory.stores.local import SHARED_FILE, make_home
from lightwork.memory.waiting import Wait, computing_process, this_process
from lightwork.workers.functions import ask_when_hiring, is_awaited

try:
    import fcntl
except ImportError:  # Windows: one computation at a time in each process only
    _BETWEEN_PROCESSES = False
else:
    _BETWEEN_PROCESSES = True

__all__ = ["Flight", "Running", "close_state", "open_state"]

_MOST_HELD: Final = 64  # keys of one holder: a deep recursion needs no lock for each level. Chosen by guess.
_POLL: Final = 0.02  # seconds; rule 3, rare
_BUSY: Final = (errno.EAGAIN, errno.EACCES)

Place = tuple[str, int]
"""The folder of a cache, and the number of a key's byte."""


class Running(NamedTuple):
    """A key that is being computed in this process: by whom, and a lock that is released at the end."""

    holder: int
    gate: Lock
    wake: list[Callable[[], None]]
    """Called after that."""


class _Table:
    """What the threads of this process compute and wait for."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.running: dict[Place, Running] = {}
        self.waits: dict[int, list[Place]] = {}
        self.held: dict[int, int] = {}
        self.polled: set[Place] = set()
        """Keys whose holders here poll for another process to release them (rule 5)."""
        self.in_kernel: set[int] = set()
        self.holds_and_waits = False
        self.files: dict[str, tuple[int, int]] = {}
        """The descriptor of each open ``state``, and how many keys use it."""

    def open(self, folder: str, shared: bool) -> int | None:
        """The descriptor of a cache's ``state``; None where there can be no locks."""
        found = self.files.get(folder)
        if found is None:
            if not _BETWEEN_PROCESSES:
                return None
            try:
                found = _open_state(folder, shared), 0
            except OSError:
                return None
        self.files[folder] = found[0], found[1] + 1
        return found[0]

    def close(self, folder: str) -> None:
        descriptor, users = self.files[folder]
        if users > 1:
            self.files[folder] = descriptor, users - 1
            return
        del self.files[folder]
        os.close(descriptor)

    def release(self, holder: int) -> None:
        """A holder holds one key less."""
        left = self.held.pop(holder, 1) - 1
        if left:
            self.held[holder] = left

    def waits_no_more(self, holder: int, place: Place) -> None:
        """A holder's wait for a key is over."""
        with self.lock:
            places = self.waits[holder]
            places.remove(place)
            if not places:
                del self.waits[holder]

    def leads_to(self, holder: int, me: int) -> bool:
        """Whether a holder waits, however indirectly, for me."""
        looked: set[int] = set()
        to_look = [holder]
        while to_look:
            each = to_look.pop()
            if each == me:
                return True
            if each not in looked:
                looked.add(each)
                running = [self.running.get(place) for place in self.waits.get(each, ())]
                to_look += [found.holder for found in running if found is not None]
        return False


def _open_state(folder: str, shared: bool) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        descriptor = os.open(f"{folder}/state", flags, 0o600)
    except FileNotFoundError:
        make_home(folder, shared)
        descriptor = os.open(f"{folder}/state", flags, 0o600)
    if shared and stat.S_IMODE(os.fstat(descriptor).st_mode) != SHARED_FILE:
        with suppress(PermissionError):  # it is somebody else's, who made it before it was shared
            os.fchmod(descriptor, SHARED_FILE)
    return descriptor


_table = _Table()


def _forget_parent() -> None:
    """A forked child holds none of its parent's keys; that descriptor of `state` is not its own."""
    global _table
    before, _table = _table, _Table()
    for descriptor, _ in before.files.values():
        with suppress(OSError):
            os.close(descriptor)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)


_here: ContextVar[int | None] = ContextVar("lightwork_holder", default=None)
_numbers = count()

ask_when_hiring(lambda: _here.get() in _table.held)


def open_state(folder: str, shared: bool) -> int | None:
    """The descriptor of a cache's ``state``, one for all who use it; to be given back by `close_state`."""
    with _table.lock:
        return _table.open(folder, shared)


def close_state(folder: str) -> None:
    """Give back what `open_state` returned."""
    with _table.lock:
        _table.close(folder)


class Flight:
    """The time in which a key is computed, as a context: nobody else computes it meanwhile, if that can be had.

    Parameters
    ----------
    folder : str
        The folder of the cache.
    digest : str
        The key's digest, in hexadecimal digits.
    describe : callable
        The call in words, for lines that say that it waits; None where nothing is to be said.
    shared : bool
        Whether the folder's group uses the cache, too.

    Attributes
    ----------
    waited : bool
        Whether somebody else computed this key until now.
    """

    __slots__ = (
        "_describe",
        "_descriptor",
        "_gate",
        "_locked",
        "_me",
        "_place",
        "_shared",
        "_table",
        "_token",
        "_wait",
        "waited",
    )

    def __init__(
        self, folder: str, digest: str, describe: Callable[[], str | None], shared: bool = False
    ) -> None:
        self._shared = shared
        self._place = folder, int(digest[:15], 16)
        self._describe = describe
        self._wait: Wait | None = None
        self._locked = self.waited = False
        self._gate: Lock | None = None
        self._descriptor: int | None = None
        self._table = _table
        self._me = -1
        self._token: Token[int | None] | None = None

    def __enter__(self) -> Flight:
        self._name_holder()
        try:
            if self._become_owner() and self._descriptor is not None:
                self._lock(self._descriptor)
        except BaseException:
            self._end()
            raise
        finally:
            self._waits_no_more()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    # --- in this process --------------------------------------------------------------------------

    def _name_holder(self) -> None:
        """Who we are: whoever holds a key around us, or somebody new."""
        me = _here.get()
        if me is None:
            me = next(_numbers)
            self._token = _here.set(me)
        self._me = me

    def _become_owner(self) -> bool:
        """Enter the key in the table, after whoever is in it; False where we are to compute without."""
        while not isinstance(claimed := self._claim(), bool):
            try:
                self._say_waiting(this_process)
                with claimed.gate:
                    pass
            finally:
                self._table.waits_no_more(self._me, self._place)
        return claimed

    def _claim(self) -> bool | Running:
        """Enter the key in the table (True), or say why not: compute without (False), or wait for this one.

        A wait is noted; it has to be ended by `waits_no_more`.
        """
        table, place, me = self._table, self._place, self._me
        with table.lock:
            running = table.running.get(place)
            if running is None:
                if table.held.get(me, 0) >= _MOST_HELD:
                    return False
                gate = self._gate = Lock()
                gate.acquire()
                table.running[place] = Running(me, gate, [])
                table.held[me] = table.held.get(me, 0) + 1
                self._descriptor = table.open(place[0], self._shared)
                return True
            if is_awaited() or table.leads_to(running.holder, me):
                return False
            if place in table.polled and me in table.held:
                return False
            table.waits.setdefault(me, []).append(place)
            return running

    def _say_waiting(self, who: Callable[[], str]) -> None:
        """Say that we wait, once, and by whom that is computed what we wait for; `waiting` says it again."""
        self.waited = True
        if self._wait is not None:
            self._wait.who = who
        elif (text := self._describe()) is not None:
            self._wait = Wait(text, who, time.monotonic())
            waiting.begin(self._wait)

    def _waits_no_more(self) -> None:
        if self._wait is not None:
            waiting.end(self._wait)
            self._wait = None

    # --- between processes ------------------------------------------------------------------------

    def _lock(self, descriptor: int) -> None:
        """Hold the key's byte, after whoever holds it; where that cannot be, go without."""
        if self._try(descriptor) or is_awaited():
            return
        table, me = self._table, self._me
        self._say_waiting(partial(computing_process, descriptor, self._place[1]))
        while True:
            with table.lock:
                nested = table.held[me] > 1
                others = table.in_kernel or len(table.held) > 1
                if nested and others:
                    return
                poll = table.holds_and_waits
                if not poll:
                    table.in_kernel.add(me)
                    table.holds_and_waits = nested
            if not poll:
                break
            time.sleep(_POLL)
            if self._try(descriptor):
                return
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX, 1, self._place[1])
            self._locked = True
        except OSError as error:
            if error.errno not in (errno.EDEADLK, errno.ENOLCK, errno.EINVAL):
                raise
        finally:
            with table.lock:
                table.in_kernel.discard(me)
                if nested:
                    table.holds_and_waits = False

    def _try(self, descriptor: int) -> bool:
        """Take the byte if it is free; True also where there are no such locks."""
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, self._place[1])
        except OSError as error:
            return error.errno not in _BUSY
        self._locked = True
        return True

    def _end(self) -> None:
        table, place, gate = self._table, self._place, self._gate
        if self._token is not None:
            with suppress(ValueError):  # a coroutine that is collected ends in somebody else's context
                _here.reset(self._token)
            self._token = None
        if gate is None or table is not _table:  # nothing was entered; or we are a child forked meanwhile
            return
        with table.lock:
            if self._descriptor is not None:
                if self._locked:
                    fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, place[1])
                table.close(place[0])
            running = table.running.get(place)
            wake: list[Callable[[], None]] = []
            # An interrupt may have come before it was entered.
            if running is not None and running.gate is gate:
                del table.running[place]
                table.release(running.holder)
                wake = running.wake
        self._gate = None
        gate.release()
        for each in wake:
            each()
