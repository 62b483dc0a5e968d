"""Starting the zygote: one `posix_spawn` of this interpreter, with the flags it was started with.

`posix_spawn` neither copies the page tables of a big parent nor runs Python between fork and exec, so it is
safe in a program with threads. The zygote gets a process group of its own (so that Ctrl-C in a terminal
reaches the parent alone), no input, the parent's output, and one descriptor: its end of the control socket.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sys

from lightwork.errors import WorkerStartError

__all__ = ["interpreter_flags", "start_zygote"]

# Where the control socket lies in the zygote; sources are kept above, so that no `dup2` hits itself.
_CONTROL = 3

# attribute of sys.flags -> option of the command line
_FLAGS = {
    "debug": "d",
    "dont_write_bytecode": "B",
    "no_site": "S",
    "no_user_site": "s",
    "ignore_environment": "E",
    "verbose": "v",
    "bytes_warning": "b",
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
        options = ["-I", *(option for option in options if option not in ("-E", "-s"))]
    options += [f"-W{option}" for option in sys.warnoptions]
    options += [
        f"-X{name}" if value is True else f"-X{name}={value}" for name, value in sys._xoptions.items()
    ]
    return options


def start_zygote(control: socket.socket) -> int:
    """Start the zygote with this end of the control socket; returns its process number.

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
    path = [entry for entry in sys.path if type(entry) is str]
    code = f"import sys; sys.path[:] = {path!r}; from lightwork.workers.zygote import main; main({_CONTROL}, {path!r})"
    source = fcntl.fcntl(control.fileno(), fcntl.F_DUPFD_CLOEXEC, _CONTROL + 1)
    try:
        return os.posix_spawn(
            sys.executable,
            [sys.executable, *interpreter_flags(), "-c", code],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, source, _CONTROL),
            ],
            setpgroup=0,
            setsigmask=(),
            setsigdef=(signal.SIGINT, signal.SIGTERM, signal.SIGCHLD),
        )
    except OSError as error:
        raise WorkerStartError(f"the interpreter {sys.executable!r} could not be started: {error}") from error
    finally:
        os.close(source)
