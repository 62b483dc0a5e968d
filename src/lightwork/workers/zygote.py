"""The zygote: a small, single-threaded process that forks workers on demand.

Forking the user's own process is unsafe once it has threads (BLAS, OpenMP, its own), and starting an
interpreter for each worker takes long. So one clean interpreter is started once and forks: a worker is there
in about a millisecond, with what the zygote has loaded already. The program below knows three things:

- a FORK frame carries a worker's number and its four descriptors (socket, page, two outboxes), which only the
  fork keeps;
- a KILL frame names a worker, which is killed with its whole process group;
- each worker that ended is told as ENDED, with its wait status and resource use, after its group was killed, and
  with it whatever else its tasks had started, unless it left by the front door.

When its parent has gone (end-of-file on the control socket, the one sign that cannot be missed or faked), the
zygote kills all of them, with what they have left, and ends. When the zygote itself is killed, the kernel kills
the workers (PR_SET_PDEATHSIG, where there is such a thing), and its guardian whatever is left. Nothing of ours
outlives the program that it was started for. While the parent stands still (Ctrl-Z), so do the workers; the zygote
looks a few times a second, as there is no event.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
from typing import cast

from lightwork.workers import worker  # 15 ms, which each fork would take by itself
from lightwork.workers.channel import Channel
from lightwork.workers.framing import Kind
from lightwork.workers.parentage import children, is_stopped, kill, reap, signal_group, tells_states
from lightwork.workers.payload import pack, unpack
from lightwork.workers.prctl import adoption, death_signal

__all__ = ["Order", "main"]

Order = tuple[int, bool, tuple[str, ...]]
"""What FORK says: the worker's number, whether to start an interpreter for it, modules to load before it is forked."""

# How often the zygote looks whether its parent was stopped, while there are workers; 15 µs each time. A guess at what
# nobody waits for and no battery notices.
_LOOK_SECONDS = 0.2

_LIBRARY_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


class _Stop(Exception):  # noqa: N818 - what happens, not what went wrong
    """The parent has gone, or asked for the end."""


class Zygote:
    """The state of the zygote: its control channel and its living workers."""

    def __init__(self, control: socket.socket, parent: int) -> None:
        self._control = Channel(control, takes_descriptors=True)
        self._wake_read, wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        wake_write.setblocking(False)
        self._wake_write = wake_write
        self._numbers: dict[int, int] = {}
        self._end_with_us = death_signal(signal.SIGKILL)
        self._adopt = adoption()
        self._adopt()
        # What workers left: programs that a task started to stay, if the worker ended by itself; else to be killed.
        self._staying: set[int] = set()
        self._doomed: set[int] = set()
        self._parent = parent if tells_states() else None
        self._asked = False
        self._standing = False

    def run(self) -> tuple[int, tuple[int, ...]] | None:
        """Serve until the parent has gone; in a forked worker, return its number and descriptors."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        terminate = signal.signal(signal.SIGTERM, self._ask)
        signal.set_wakeup_fd(self._wake_write.fileno(), warn_on_full_buffer=False)
        watch = select.poll()
        watch.register(self._control.fileno(), select.POLLIN)
        watch.register(self._wake_read, select.POLLIN)
        try:
            while True:
                self._reap()
                for kind, rides, body in self._control.receive():
                    forked = self._obey(kind, self._control.take_descriptors(rides), body)
                    if forked is not None:
                        signal.signal(signal.SIGTERM, terminate)
                        return forked
                if self._control.ended or self._asked:
                    raise _Stop
                self._reap()
                out = select.POLLOUT if self._control.pending else 0
                watch.modify(self._control.fileno(), select.POLLIN | out)
                watch.poll(_LOOK_SECONDS * 1000 if self._numbers and self._parent else None)
                self._stand_or_go()
                with contextlib.suppress(BlockingIOError):
                    self._wake_read.recv(4096)
                self._control.flush()
        except _Stop:
            self._end_all()
            self._close()
            return None

    def _ask(self, number: int, frame: object) -> None:
        """The guardian has died, or somebody asks for the end."""
        self._asked = True

    def _obey(
        self, kind: int, descriptors: tuple[int, ...], body: bytes | bytearray
    ) -> tuple[int, tuple[int, ...]] | None:
        if kind == Kind.STOP:
            raise _Stop
        if kind == Kind.KILL:
            number = unpack(body)
            for pid in [pid for pid, known in self._numbers.items() if known == number]:
                signal_group(pid, signal.SIGKILL)
            return None
        number, spawn, modules = cast(Order, unpack(body))
        if spawn:
            from lightwork.workers.launch import start_worker

            self._started(number, start_worker(number, descriptors), descriptors)
            return None
        for module in modules:
            _load_single_threaded(module)
        return self._fork(number, descriptors)

    def _stand_or_go(self) -> None:
        """Let the workers stand still while the parent does, with all that they started."""
        standing = self._parent is not None and bool(self._numbers) and is_stopped(self._parent)
        if standing or self._standing:
            for pid in self._numbers:
                signal_group(pid, signal.SIGSTOP if standing else signal.SIGCONT)
        self._standing = standing

    def _started(self, number: int, pid: int, descriptors: tuple[int, ...]) -> None:
        for descriptor in descriptors:
            os.close(descriptor)
        self._numbers[pid] = number
        self._control.post(Kind.FORKED, pack((number, pid)))

    def _fork(self, number: int, descriptors: tuple[int, ...]) -> tuple[int, tuple[int, ...]] | None:
        us = os.getpid()
        pid = os.fork()
        if pid:
            # On both sides, so that neither a kill nor the worker's first child comes before its group.
            with contextlib.suppress(PermissionError, ProcessLookupError):
                os.setpgid(pid, pid)
            self._started(number, pid, descriptors)
            return None
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._end_with_us()
        self._adopt()  # what tasks leave stays theirs, so that it is known whose it is when the worker ends
        if os.getppid() != us:
            os._exit(1)  # the zygote was gone before the kernel knew whose death to watch for
        self._close()
        return number, descriptors

    def _close(self) -> None:
        signal.set_wakeup_fd(-1)  # which is closed here, while what was left to us may still end
        self._control.close()
        self._wake_read.close()
        self._wake_write.close()

    def _reap(self) -> None:
        reports: list[tuple[int, int, int, int, float]] = []
        forced = bool(self._doomed)
        ended: set[int] = set()
        while (found := reap(self._numbers)) is not None:
            pid, status, usage = found
            ended.add(pid)
            number = self._numbers.pop(pid, None)
            if number is not None:
                forced = forced or status != 0
                reports.append((number, pid, status, usage.ru_maxrss, usage.ru_utime + usage.ru_stime))
        if not ended:
            return
        self._staying -= ended
        self._doomed -= ended
        if forced:
            self._end_orphans()
        else:
            self._staying |= self._orphans()
        for report in reports:
            self._control.post(Kind.ENDED, pack(report))

    def _orphans(self, *, thorough: bool = False) -> set[int]:
        """What workers that have ended left to us."""
        return children(thorough=thorough) - self._numbers.keys() - self._staying

    def _end_orphans(self, *, thorough: bool = False) -> set[int]:
        """Kill what workers left; what those leave in turn, or the list left out, follows when they are reaped."""
        orphans = kill(self._orphans(thorough=thorough))
        self._doomed |= orphans
        return orphans

    def _end_all(self) -> None:
        for pid in self._numbers:
            signal_group(pid, signal.SIGKILL)
        while self._numbers:
            os.waitpid(self._numbers.popitem()[0], 0)
        while orphans := self._end_orphans(thorough=True):
            for pid in orphans:
                os.waitpid(pid, 0)


def _load_single_threaded(module: str) -> None:
    """Import a module with its native libraries told to start no threads, so that forking stays safe."""
    if module in sys.modules:
        return
    kept = {name: os.environ.get(name) for name in _LIBRARY_THREADS}
    os.environ.update(dict.fromkeys(_LIBRARY_THREADS, "1"))
    try:
        __import__(module)
    except ImportError:
        return  # the worker will meet the same error where it says more: in the task that needs the module
    finally:
        for name, value in kept.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def main(control: int, path: list[str], parent: int) -> None:
    """The program of the zygote process; in a worker it goes on as the worker's.

    Parameters
    ----------
    control : int
        The descriptor of the socket to the parent.
    path : list of str
        The parent's ``sys.path``.
    parent : int
        The process number of the parent.
    """
    sys.path[:] = path
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    forked = Zygote(socket.socket(fileno=control), parent).run()
    if forked is not None:
        number, descriptors = forked
        worker.main(number, *descriptors)
