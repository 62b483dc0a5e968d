"""Starting processes: a `posix_spawn` of this interpreter, with the flags it was started with.

`posix_spawn` neither copies the page tables of a big parent nor runs Python between fork and exec, so it is
safe in a program with threads. The zygote gets a session of its own, no input, the parent's output, and one
descriptor: its end of the control socket. Without a terminal, Ctrl-C reaches the parent alone, and no worker can be
stopped by the kernel for reading from the terminal or writing to it (``stty tostop``) in the background.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sys
from collections.abc import Sequence

from lightwork.errors import WorkerStartError

__all__ = ["fork_zygote", "interpreter_flags", "start_worker", "start_zygote"]

# Where descriptors lie in a process that is started; their sources are kept above, so that no `dup2` hits one.
_FIRST = 3

# attribute of sys.flags -> option of the command line
_FLAGS = {
    "debug": "d",
    "dont_write_bytecode": "B",
    "no_site": "S",
    "no_user_site": "s",
    "ignore_environment": "E",
    "verbose": "v",
    "bytes_warning": "b",
    "safe_path": "P",
    "quiet": "q",
}


def interpreter_flags() -> list[str]:
    """The options that start another interpreter like this one."""
    options = [
        f"-{letter * int(getattr(sys.flags, name))}"
        for name, letter in _FLAGS.items()
        if getattr(sys.flags, name)
    ]
    if sys.flags.optimize:
        options.append("-" + "O" * sys.flags.optimize)
    if sys.flags.isolated:
        options = ["-I", *(option for option in options if option not in ("-E", "-P", "-s"))]
    options += [f"-W{option}" for option in sys.warnoptions]
    options += [
        f"-X{name}" if value is True else f"-X{name}={value}" for name, value in sys._xoptions.items()
    ]
    return options


def start_zygote(control: socket.socket, ours: socket.socket) -> int:
    """Start the zygote with its end of the control socket; ours closes by itself. Returns its process number."""
    path = [entry for entry in sys.path if type(entry) is str]
    return _start("guardian", f"main({_FIRST}, {path!r})", path, [control.fileno()], leads_session=True)


def start_worker(number: int, descriptors: Sequence[int]) -> int:
    """Start an interpreter of its own for a worker, as ``start_method="spawn"`` asks; returns its process number."""
    places = [_FIRST + place for place in range(len(descriptors))]
    return _start("worker", f"spawned({number}, *{places!r})", sys.path, descriptors)


def _start(
    module: str, call: str, path: Sequence[str], descriptors: Sequence[int], *, leads_session: bool = False
) -> int:
    """Start an interpreter like this one that makes a call to a module of this room, with descriptors from 3 on.

    It leads a session of its own, or a process group in ours.

    Raises
    ------
    WorkerStartError
        If this program has no interpreter of its own to start (embedded Python), or the system refuses.
    """
    if not sys.executable:
        raise WorkerStartError(
            "sys.executable is empty, so there is no interpreter to start workers with;"
            " set it, or use the threads backend"
        )
    code = (
        f"import sys; sys.path[:] = {list(path)!r}; from lightwork.workers import {module}; {module}.{call}"
    )
    above = _FIRST + len(descriptors)
    sources = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, above) for descriptor in descriptors]
    try:
        return os.posix_spawn(
            sys.executable,
            [sys.executable, *interpreter_flags(), "-c", code],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                *((os.POSIX_SPAWN_DUP2, source, _FIRST + place) for place, source in enumerate(sources)),
            ],
            **({"setsid": True} if leads_session else {"setpgroup": 0}),
            setsigmask=(),
            setsigdef=(signal.SIGINT, signal.SIGTERM, signal.SIGCHLD),
        )
    except OSError as error:
        raise WorkerStartError(f"the interpreter {sys.executable!r} could not be started: {error}") from error
    finally:
        for source in sources:
            os.close(source)


def fork_zygote(control: socket.socket, ours: socket.socket) -> int:
    """Fork this process into a zygote, as ``start_method="fork"`` asks; returns its process number.

    Its workers see the memory of this process as it is now. They end without this program's `atexit` functions, which
    are the parent's to run.
    """
    from lightwork.workers import guardian

    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        ours.close()  # else the end of this process would never be seen at the other
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        guardian.main(control.detach(), sys.path)
        status = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)
