"""The pool: every process that lightwork has started from this one, and who may use it now.

There is one pool in a process, made when it is first needed, and ended at exit. A call borrows workers for
itself alone (`lend`) and hands them back (`give_back`), or has them killed (`kill`) when it is aborted. Idle
workers stay for the next call; they leave by themselves after some minutes, which costs that call a
millisecond to fork others.

A forked child of this process must not touch its parent's workers: it forgets the pool and makes its own.
Calls from several threads share the pool; one lock guards its tables, no user code runs under it, and Ctrl-C waits
until it is free (`interrupts`).
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, cast

from lightwork.errors import WorkerStartError
from lightwork.workers import anonymous, launch, oom
from lightwork.workers.channel import Channel, pair
from lightwork.workers.framing import Kind
from lightwork.workers.handle import DEFAULT_MAKE, Make, Streams, WorkerHandle, stream_files
from lightwork.workers.interrupts import held_back
from lightwork.workers.page import Page
from lightwork.workers.parentage import bury
from lightwork.workers.payload import pack, unpack
from lightwork.workers.segments import Kept

__all__ = ["Ending", "Pool", "PoolInfo", "WorkerInfo", "lend_pool", "pool_info", "shutdown"]

# How long to wait for what takes milliseconds unless the machine stands still.
_PATIENCE = 30.0
# How long idle workers may take to leave by the front door, their `atexit` functions included, before they are killed.
_FAREWELL = 5.0
_OUTBOXES = 2
# What a worker takes of its parent's: socket, map of the control page, outboxes.
_DESCRIPTORS = 2 + _OUTBOXES
# Modules that the zygote loads before it forks if this process has them: each would take every worker long.
_PRELOADED = ("numpy",)


Start = Callable[[socket.socket, socket.socket], int]


class Ending(NamedTuple):
    """How a worker ended.

    Attributes
    ----------
    status : int
        Its wait status.
    peak_memory : int
        The most memory that it had, in bytes.
    seconds : float
        Its processor time.
    out_of_memory : bool
        Whether the system has killed processes for want of memory since the last time that was looked at.
    """

    status: int
    peak_memory: int
    seconds: float
    out_of_memory: bool


class WorkerInfo(NamedTuple):
    """A worker process.

    Attributes
    ----------
    pid : int
        Its process number.
    idle : bool
        Whether it waits for the next call.
    memory : int or None
        The memory that it has resident, in bytes; None where the system does not tell.
    kept : int
        Bytes of shared memory kept for its next results.
    """

    pid: int
    idle: bool
    memory: int | None
    kept: int


class PoolInfo(NamedTuple):
    """The processes that lightwork has started from this one.

    Attributes
    ----------
    zygote : int or None
        The process number of the one that all workers descend from; None while there is none.
    workers : tuple of WorkerInfo
        The workers that live now.
    kept : int
        Bytes of big arguments kept for the next loop, as long as your program has the arrays.
    """

    zygote: int | None
    workers: tuple[WorkerInfo, ...]
    kept: int


class Pool:
    """A zygote and its workers.

    Parameters
    ----------
    start : callable
        Starts the zygote with its end of a socket, and told ours; returns its process number.
    """

    def __init__(self, start: Start = launch.start_zygote) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._control: Channel | None = None
        self._zygote = 0
        self._has_forked = False
        self._idle: list[WorkerHandle] = []
        self._next = 0
        self._endings: dict[int, Ending] = {}
        self._pids: dict[int, int] = {}
        self._living: dict[int, WorkerHandle] = {}
        self._streams: Streams = ()
        self._oom_kills = 0
        self.kept = Kept()

    # --- lending ---

    def lend(self, count: int, make: Make = DEFAULT_MAKE) -> list[WorkerHandle]:
        """Workers for one call: idle ones first, new ones for the rest (they may be sent to at once).

        Parameters
        ----------
        count : int
            How many.
        make : Make
            How they must have been made: others stay idle.
        """
        with held_back(), self._lock:
            control = self._ensure_zygote()
            workers: list[WorkerHandle] = []
            for worker in [worker for worker in reversed(self._idle) if worker.make == make]:
                if len(workers) == count:
                    break
                self._idle.remove(worker)
                leaves = any(kind == Kind.LEAVING for kind, _, _ in worker.channel.receive())
                if leaves or worker.channel.ended:
                    self._endings.pop(worker.number, None)
                    self._bury(worker)
                else:
                    workers.append(worker)
            try:
                while len(workers) < count:
                    workers.append(self._fork(control, make))
            except OSError as error:
                self._idle += workers
                raise WorkerStartError(
                    f"only {len(workers)} of {count} workers could be started: {error}; each takes {_DESCRIPTORS} file"
                    " descriptors of this process (`ulimit -n` tells how many it may have), so ask for fewer workers"
                    " or raise that limit"
                ) from error
            return workers

    def give_back(self, workers: Iterable[WorkerHandle]) -> None:
        """Workers that run nothing are idle from now on; those whose zygote has gone meanwhile are let go of."""
        workers = list(workers)
        for worker in workers:
            worker.shrink()
        with held_back(), self._lock:
            for worker in workers:
                if worker.control is self._control:
                    self._idle.append(worker)
                else:
                    self._bury(worker)

    def kill(self, workers: Sequence[WorkerHandle]) -> None:
        """End workers at once, whatever they run, with the processes that they started."""
        with held_back(), self._lock:
            control = self._control
            mine = [worker for worker in workers if worker.control is control]
            if control is not None:
                for worker in mine:
                    control.post(Kind.KILL, pack(worker.number))
                for worker in mine:
                    self._wait_for_ending(worker.number)
                    self._endings.pop(worker.number, None)
            for worker in workers:
                self._bury(worker)

    def strike(self, worker: WorkerHandle) -> bool:
        """Have a worker killed, with the processes that it started; False where its zygote has gone."""
        with held_back(), self._lock:
            control = self._control
            if control is None or worker.control is not control:
                return False
            control.post(Kind.KILL, pack(worker.number))
            return True

    def ending(self, worker: WorkerHandle) -> Ending | None:
        """How a worker whose socket has closed ended; None if not even its zygote is there to tell."""
        with held_back(), self._lock:
            self._living.pop(worker.number, None)
            if worker.control is not self._control:
                return None
            self._wait_for_ending(worker.number)
            return self._endings.pop(worker.number, None)

    def dismiss(self, make: Make) -> None:
        """End the idle workers that were made so, by the front door."""
        with self._lock:
            leaving = [worker for worker in self._idle if worker.make == make]
            self._idle = [worker for worker in self._idle if worker.make != make]
            for worker in leaving:
                worker.channel.post(Kind.STOP)
            self._await_endings({worker.number for worker in leaving}, _FAREWELL)
            for worker in leaving:
                self._endings.pop(worker.number, None)
                self._bury(worker)

    def _bury(self, worker: WorkerHandle) -> None:
        self._living.pop(worker.number, None)
        worker.close()

    def info(self) -> PoolInfo:
        """What there is now; see `pool_info`."""
        with held_back(), self._lock:
            if self._control is not None:
                self._read_reports()
                # One that has run tasks already may not have been told of here.
                self._await(
                    lambda: self._living.keys() <= self._pids.keys() | self._endings.keys(), _PATIENCE
                )
            idle = {worker.number for worker in self._idle}
            workers = tuple(
                WorkerInfo(pid, number in idle, _resident(pid), self._living[number].kept)
                for number, pid in sorted(self._pids.items())
                if number in self._living
            )
            return PoolInfo(self._zygote or None, workers, self.kept.size)

    # --- the zygote ---

    def _ensure_zygote(self) -> Channel:
        control = self._control
        if control is not None:
            self._read_reports()
            if not control.ended:
                return control
            self._forget_zygote(unexpected=True)
        self._streams = stream_files()
        ours, theirs = pair()
        self._oom_kills = oom.kills()
        try:
            self._zygote = self._start(theirs, ours)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._control = Channel(ours)
        self._has_forked = False
        return self._control

    def _fork(self, control: Channel, make: Make) -> WorkerHandle:
        with contextlib.ExitStack() as after, contextlib.ExitStack() as undo:
            ours, theirs = pair()
            undo.callback(ours.close)
            after.callback(theirs.close)
            shared = Page.create()
            after.callback(os.close, shared)  # the map of the page holds what it needs
            outboxes: list[int] = []
            for _ in range(_OUTBOXES):
                outboxes.append(anonymous.create(0))
                undo.callback(os.close, outboxes[-1])
            page = Page(shared)
            number = self._next
            self._next += 1
            preloaded = tuple(name for name in _PRELOADED if name in sys.modules)
            control.post(
                Kind.FORK, pack((number, make.spawn, preloaded)), (theirs.fileno(), shared, *outboxes)
            )
            undo.pop_all()
        handle = WorkerHandle(number, control, Channel(ours), page, tuple(outboxes), self._streams, make)
        self._living[number] = handle
        return handle

    def _read_reports(self) -> None:
        control = self._control
        assert control is not None
        for kind, _, body in control.receive():
            if kind == Kind.FORKED:
                number, pid = cast("tuple[int, int]", unpack(body))
                self._pids[number] = pid
                self._has_forked = True
            elif kind == Kind.ENDED:
                number, _, status, kilobytes, seconds = cast("tuple[int, int, int, int, float]", unpack(body))
                self._pids.pop(number, None)
                self._endings[number] = Ending(status, kilobytes * 1024, seconds, self._out_of_memory(status))

    def _out_of_memory(self, status: int) -> bool:
        if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
            return False
        before, self._oom_kills = self._oom_kills, oom.kills()
        return self._oom_kills > before

    def _wait_for_ending(self, number: int) -> None:
        if not self._await_endings({number}, _PATIENCE):
            raise WorkerStartError(
                f"the zygote (process {self._zygote}) did not answer for {_PATIENCE:.0f} s; kill it to go on"
            )

    def _await_endings(self, numbers: set[int], seconds: float) -> bool:
        return self._await(lambda: numbers <= self._endings.keys(), seconds)

    def _await(self, told: Callable[[], bool], seconds: float) -> bool:
        """Wait until the zygote has told something, or is not there to tell; False when it takes too long."""
        control = self._control
        deadline = time.monotonic() + seconds
        while control is not None and not told() and not control.ended:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            control.flush()
            _wait(control, left)
            self._read_reports()
        return True

    def has_crashed(self) -> bool:
        """Whether the zygote has ended by itself since anybody looked; the next `lend` starts another.

        Raises
        ------
        WorkerStartError
            If it had made no worker: another would not either.
        """
        with held_back(), self._lock:
            if self._control is None or not self._control.ended:
                return False
            status = self._forget_zygote(unexpected=True)
            if self._has_forked:
                return True
        raise WorkerStartError(
            f"the process that starts the workers ended unexpectedly ({_status_text(status)});"
            " what it printed stands above"
        )

    def _forget_zygote(self, *, unexpected: bool = False) -> int | None:
        control, self._control = self._control, None
        if control is not None:
            control.close()
        for worker in self._idle:
            worker.close()
        self._idle.clear()
        self._living.clear()
        self._endings.clear()
        self._pids.clear()
        pid, self._zygote = self._zygote, 0
        if not pid:
            return None
        try:
            # Its guardian ends what there was. If both were killed, what has not left their session is found.
            return bury(pid) if unexpected else os.waitpid(pid, 0)[1]
        except ChildProcessError:
            return None  # somebody else's `os.wait` has taken it

    # --- the end ---

    def shutdown(self) -> None:
        """End all workers, idle ones by the front door, and the zygote; the next `lend` starts anew."""
        self.kept.clear()
        with held_back(), self._lock:
            if self._control is None:
                return
            idle, self._idle = self._idle, []
            for worker in idle:
                worker.channel.post(Kind.STOP)
            self._await_endings({worker.number for worker in idle}, _FAREWELL)
            for worker in idle:
                worker.close()
            self._control.post(Kind.STOP)
            self._forget_zygote()

    def forget_inherited(self) -> None:
        """In a forked child: close what was copied of the parent's pool, without a word to its workers."""
        self._lock = threading.Lock()
        self._zygote = 0
        self.kept.clear()
        with contextlib.suppress(OSError):
            self._forget_zygote()


def _wait(control: Channel, seconds: float) -> None:
    watch = select.poll()
    watch.register(control.fileno(), select.POLLIN | (select.POLLOUT if control.pending else 0))
    watch.poll(seconds * 1000)


def _resident(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None  # it has just ended, or this system has no /proc


def _status_text(status: int | None) -> str:
    if status is None:
        return "nobody knows how"
    code = os.waitstatus_to_exitcode(status)
    return f"signal {-code}" if code < 0 else f"exit code {code}"


_pool: Pool | None = None
_making = threading.Lock()


def lend_pool() -> Pool:
    """The pool of this process, made now if there is none yet."""
    global _pool
    if _pool is None:
        with _making:
            if _pool is None:
                atexit.register(shutdown)
                _pool = Pool()
    return _pool


def pool_info() -> PoolInfo:
    """The processes that lightwork has started from this one, and the memory that they keep.

    Examples
    --------
    >>> from lightwork import Parallel, delayed
    >>> Parallel(n_jobs=2)(delayed(abs)(i) for i in (-1, -2))
    [1, 2]
    >>> info = pool_info()
    >>> len(info.workers), all(worker.idle for worker in info.workers)
    (2, True)
    """
    return PoolInfo(None, (), 0) if _pool is None else _pool.info()


def shutdown() -> None:
    """End the workers and the zygote of this process; the next loop starts others."""
    if _pool is not None:
        _pool.shutdown()


def _after_fork() -> None:
    global _pool, _making
    _making = threading.Lock()
    pool, _pool = _pool, None
    if pool is not None:
        pool.forget_inherited()


os.register_at_fork(after_in_child=_after_fork)
