"""Parents, children and orphans: processes that end with others, stand still with them, or are left behind.

Where the kernel can see to it (`prctl`), a process is killed when the one that made it dies, and adopts what its dead
children leave, so that also those who left their process group are found. Nobody is told that another process was
stopped (Ctrl-Z, or a batch system that takes the machine back): that is looked up. Where there is no ``/proc``,
nothing is found, and nobody is stopped.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Container, Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import resource

__all__ = [
    "bury",
    "children",
    "end_session",
    "is_stopped",
    "kill",
    "reap",
    "signal_group",
    "tells_states",
]


def tells_states() -> bool:
    """Whether `is_stopped` can know: there is a ``/proc`` with what it reads."""
    return os.path.exists("/proc/self/stat")


def is_stopped(pid: int) -> bool:
    """Whether a process stands still until somebody lets it go on; being traced by a debugger is not meant."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"T"
    except OSError:
        return False  # it has ended


def children(*, thorough: bool = False) -> set[int]:
    """The children of this process's main thread, also those that ended and were not waited for.

    The kernel's own list may leave some out while others end; the thorough search, through all processes, does not.
    """
    if not thorough:
        with contextlib.suppress(OSError), open("/proc/thread-self/children") as file:
            return set(map(int, file.read().split()))  # absent in kernels without CONFIG_PROC_CHILDREN
    us = os.getpid()
    return {pid for pid, _, parent, _ in _processes() if parent == us}


def kill(pids: Iterable[int]) -> set[int]:
    """Kill processes, with the groups that they lead; returns them but for those that have become another user's."""
    killed: set[int] = set()
    for pid in pids:
        signal_group(pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
    return killed


def signal_group(pid: int, number: signal.Signals) -> None:
    """Signal a process group, if it is there."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def reap(leaders: Container[int]) -> tuple[int, int, resource.struct_rusage] | None:
    """Wait for a child that has ended, once the group that it led, if it is a leader, was killed; None if none has.

    Returns
    -------
    tuple of (int, int, struct_rusage), or None
        Its number, how it ended, and what it used, as of `os.wait4`.
    """
    with contextlib.suppress(ChildProcessError):
        if hasattr(os, "waitid"):
            # Look first and wait after the group was killed: until then the number cannot be another's.
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is not None:
                if found.si_pid in leaders:
                    signal_group(found.si_pid, signal.SIGKILL)
                return os.wait4(found.si_pid, 0)
        else:  # macOS before Python 3.13
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if pid in leaders:
                signal_group(pid, signal.SIGKILL)
            return (pid, status, usage) if pid else None
    return None


def bury(pid: int) -> int:
    """Wait for a child that has led a session, and kill what it left there; returns how it ended."""
    if hasattr(os, "waitid"):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        end_session(pid)
    return os.waitpid(pid, 0)[1]


def end_session(session: int) -> None:
    """Kill the processes of a session whose leader has ended and was not waited for: its number is nobody else's."""
    while found := [pid for pid, state, _, of in _processes() if of == session and state not in b"ZX"]:
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            except PermissionError:
                return  # it has become another user's


def _processes() -> Iterator[tuple[int, bytes, int, int]]:
    """The number, state, parent and session of each process that there is."""
    if not tells_states():
        return
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    state, parent, _, session = file.read().rpartition(b")")[2].split()[:4]
            except OSError:
                continue  # it has just gone
            yield int(name), state, int(parent), int(session)
