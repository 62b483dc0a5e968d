"""The guardian of a zygote: its parent, asleep until the zygote ends, to see to what it leaves.

Who is killed by force cannot end what it has started. The kernel kills workers with their zygote, but what tasks had
moved into sessions of their own was known to the zygote alone, which had adopted it. So it is not the zygote that
the program starts but this process, which adopts in its turn and forks the zygote. If that is killed, all that it
leaves becomes the guardian's and is killed, with what comes to light by that. If it ended by itself, it has done so
already, and what is left may stay. When the guardian is killed, the kernel tells the zygote, which ends as with its
program.

Each leads a group of its own, so that a signal to the one's group does not reach the other. Where processes cannot
adopt (outside Linux), the zygote has no guardian.
"""

from __future__ import annotations

import os
import sys

from lightwork.workers.prctl import adoption, death_signal

__all__ = ["main"]

_SIGTERM = 15  # `signal` takes 3 ms to import


def main(control: int, path: list[str]) -> None:
    """The program of the process that is started for a zygote; in a worker it goes on as the worker's.

    It forks before anything is loaded that it can do without: memory that both share is copied page by page when one
    of them writes, which costs 4 µs each: 3 ms for an interpreter that has just begun.

    Parameters
    ----------
    control : int
        The descriptor of the socket to the parent.
    path : list of str
        The parent's ``sys.path``.
    """
    program = os.getppid()
    if sys.platform == "linux":
        _fork(control)
    from lightwork.workers import zygote

    zygote.main(control, path, program)


def _fork(control: int) -> None:
    """Go on in a fork of this process, which becomes its guardian and never returns."""
    adoption()()
    end_with_us = death_signal(_SIGTERM)
    guardian = os.getpid()
    zygote = os.fork()
    if zygote:
        _guard(zygote, control)
    os.setpgid(0, 0)
    end_with_us()
    if os.getppid() != guardian:
        os._exit(1)  # it was gone before the kernel knew whose death to tell


def _guard(zygote: int, control: int) -> None:
    status = 1
    try:
        os.close(control)  # by which the program sees the zygote's end, so that nobody else may hold it
        status = os.waitstatus_to_exitcode(os.waitpid(zygote, 0)[1])
        if status:
            _end_all()
        if status < 0:
            _end_by(-status)
    finally:
        os._exit(status)


def _end_all() -> None:
    from lightwork.workers.parentage import children, kill

    while left := kill(children(thorough=True)):
        for pid in left:
            os.waitpid(pid, 0)


def _end_by(number: int) -> None:
    """End as the zygote did: the program asks this process how that was."""
    import signal

    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
