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
from collections.abc import Iterable, Iterator

__all__ = [
    "children",
    "end_session",
    "is_stopped",
    "kill",
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
