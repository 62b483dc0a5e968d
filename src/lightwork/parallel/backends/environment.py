"""What surrounds the tasks of one call: the caller's process as it was when the call began, told to each worker first.

Paths of modules, arguments of the program, working folder, environment variables, where output goes, how warnings and
loggers stand. A worker keeps what it was told last (`WorkerHandle` knows what that was), so of the large parts only
those are sent that have changed since.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from lightwork.parallel.backends.base import CrewOptions
from lightwork.workers import limits, multiprocess
from lightwork.workers.framing import Kind
from lightwork.workers.functions import will_be_awaited
from lightwork.workers.handle import WorkerHandle, stream_files
from lightwork.workers.payload import pack
from lightwork.workers.relay import surroundings

__all__ = ["Environment"]


class Environment:
    """The caller's process at the beginning of a call.

    Parameters
    ----------
    call : int
        The number of the call.
    count : int
        How many workers share the cores.
    options : CrewOptions
        What workers must know of the options.
    """

    __slots__ = ("_awaited", "_call", "_folder", "_options", "_streams", "_surroundings", "_variables")

    def __init__(self, call: int, count: int, options: CrewOptions) -> None:
        self._call = call
        self._options = options
        self._variables = _variables(count, options)
        self._surroundings = surroundings()
        self._streams = stream_files()
        self._folder = _folder()
        self._awaited = will_be_awaited()

    def tell(self, handle: WorkerHandle) -> None:
        """Begin the call at a worker."""
        moved = self._streams if self._streams != handle.streams else ()
        call = {
            "call": self._call,
            "read_only": self._options.mmap_mode == "r",
            "task_timeout": self._options.task_timeout,
            "awaited": self._awaited,
            "path": [entry for entry in sys.path if type(entry) is str],
            "argv": [str(word) for word in sys.argv],
            "folder": self._folder,
            "environment": self._variables if self._variables != handle.environment else None,
            "surroundings": self._surroundings if self._surroundings != handle.surroundings else None,
            "streams": len(moved),
            "multiprocessing": multiprocess.settings(),
        }
        handle.environment, handle.surroundings = self._variables, self._surroundings
        handle.streams = self._streams or handle.streams
        rides = (1, 2) if moved else ()
        if self._folder is None:
            with _opened_here() as here:
                handle.channel.post(Kind.CALL, pack(call), (*rides, here))
        else:
            handle.channel.post(Kind.CALL, pack(call), rides)


def _folder() -> str | None:
    """The working folder; None where it has no name: it was removed, or lies in one that may not be read."""
    try:
        return os.getcwd()
    except OSError:
        return None


@contextlib.contextmanager
def _opened_here() -> Iterator[int]:
    """A descriptor of the working folder, which a worker can enter though no name leads there."""
    here = os.open(".", getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY)
    try:
        yield here
    finally:
        os.close(here)


def _variables(count: int, options: CrewOptions) -> dict[str, str]:
    """The environment variables; libraries read from some how many threads they may use."""
    variables = dict(os.environ)
    threads = options.inner_max_num_threads
    if threads is None:
        return variables | limits.thread_limits(count, variables)
    return variables | dict.fromkeys(limits.THREAD_VARIABLES, str(threads))
