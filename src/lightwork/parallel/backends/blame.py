"""Errors of worker processes, told so that their reader knows which task, with which arguments, and why.

Pure: reports in, exceptions out. An error that a task raised comes back as itself, with the remote traceback
as its cause and a note that names the task. What the machinery met (a task that cannot be pickled, a worker
that died) is an error of ours.
"""

from __future__ import annotations

import os
import reprlib
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from lightwork.errors import WorkerStartError
from lightwork.workers.failures import Report, read
from lightwork.workers.inside import bare

if TYPE_CHECKING:
    from lightwork.errors import PicklingFailedError, TaskExited, TaskTimeout, WorkerDied
    from lightwork.parallel.backends.base import Task

__all__ = [
    "broken",
    "died",
    "exited",
    "lost",
    "not_read",
    "not_sent",
    "overdue",
    "raised",
    "shown_call",
    "unfit",
]

# What usually is behind a signal, for those who see its name for the first time.
_MEANINGS = {
    signal.SIGKILL: "killed from outside, most often because the machine or its container ran out of memory",
    signal.SIGSEGV: "a native library crashed (an invalid memory access, or a stack that overflowed)",
    signal.SIGBUS: "a mapped file was cut short or its disk is full",
    signal.SIGABRT: "a native library gave up by itself",
    signal.SIGILL: "a native library uses instructions that this processor lacks",
    signal.SIGFPE: "a native library divided by zero",
    signal.SIGTERM: "asked to end by another process",
    signal.SIGXCPU: "its limit of processor time was used up",
}


class Ended(Protocol):
    """How a process ended, as the pool tells it."""

    @property
    def status(self) -> int:
        """The wait status."""

    @property
    def peak_memory(self) -> int:
        """The most memory that it had, in bytes."""

    @property
    def out_of_memory(self) -> bool:
        """Whether the system has killed for want of memory meanwhile."""


def shown_call(func: Callable[..., object], args: tuple[object, ...], kwargs: Mapping[str, object]) -> str:
    """A call as it would be written, shortened; bounded work however large the arguments are."""
    func, args = bare(func, args)
    short = reprlib.Repr()
    short.maxother = short.maxstring = 60
    shown = [_shown(value, short) for value in args[:8]]
    shown += [f"{name}={_shown(value, short)}" for name, value in list(kwargs.items())[:8]]
    if len(args) > 8 or len(kwargs) > 8:
        shown.append("...")
    name = getattr(func, "__qualname__", None) or type(func).__qualname__
    return f"{name}({', '.join(shown)})"


def _shown(value: object, short: reprlib.Repr) -> str:
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape and type(shape) is tuple:
        return f"<{type(value).__name__} {'x'.join(map(str, shape))}{f' {dtype}' if dtype else ''}>"
    try:
        return short.repr(value).replace("\n", " ")
    except Exception as error:  # a repr of the user's that fails must not hide the error that is being told
        return f"<{type(value).__name__}, whose repr raised {type(error).__name__}>"


def raised(report: Report, index: int, task: Task[object]) -> BaseException:
    """The exception that a task raised."""
    error = read(report)
    error.add_note(f"raised by task {index} of the loop: {shown_call(*task)}")
    return error


def not_sent(
    error: Exception,
    index: int | None,
    func: Callable[..., object],
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
) -> PicklingFailedError:
    """The error for a task, or an initializer (no index), that cannot travel; it names the part that is in the way."""
    from lightwork.errors import PicklingFailedError

    func, args = bare(func, args)
    parts: list[tuple[str, object]] = [("the function", func)]
    parts += [(f"argument {position}", value) for position, value in enumerate(args)]
    parts += [(f"argument {name!r}", value) for name, value in kwargs.items()]
    culprit = next((part for part, value in parts if not _pickles(value)), "one of its parts")
    what = "the initializer" if index is None else f"task {index}"
    return PicklingFailedError(
        f"{what}, {shown_call(func, args, kwargs)}, cannot be sent to a worker process: {culprit}"
        f" cannot be pickled ({type(error).__name__}: {error}); pass something that can, or use the threads backend",
        culprit,
    )


def _pickles(value: object) -> bool:
    import cloudpickle

    try:
        cloudpickle.dumps(value, 5, buffer_callback=lambda _: False)
    except Exception:  # whatever it is: this part is the one in the way
        return False
    return True


def unfit(report: Report, initializer: object) -> WorkerStartError:
    """The error for workers whose initializer raised."""
    error = read(report)
    failure = WorkerStartError(
        f"the initializer {getattr(initializer, '__qualname__', initializer)!r} raised {type(error).__name__} in a"
        f" worker process: {error}"
    )
    failure.__cause__ = error
    return failure


def not_read(error: Exception, index: int, task: Task[object]) -> PicklingFailedError:
    """The error for a result that arrived and cannot be unpickled here."""
    from lightwork.errors import PicklingFailedError

    failure = PicklingFailedError(
        f"the result of task {index}, {shown_call(*task)}, cannot be read here ({type(error).__name__}: {error})"
    )
    failure.__cause__ = error
    return failure


def died(ending: Ended | None, index: int | None, task: Task[object] | None) -> WorkerDied:
    """The error for a worker that ended, and for the task that it was running, if it was."""
    from lightwork.errors import WorkerDied

    code = None if ending is None else os.waitstatus_to_exitcode(ending.status)
    number = -code if code is not None and code < 0 else None
    how = _how(code)
    if ending is not None and ending.out_of_memory:
        how = f"signal {number} (SIGKILL) by the system's out-of-memory killer, most probably"
    doing = "while it ran no task" if task is None else f"while it ran task {index}: {shown_call(*task)}"
    memory = "" if ending is None else f"; it had used up to {ending.peak_memory / 2**20:.0f} MB of memory"
    return WorkerDied(f"a worker process ended {doing}: {how}{memory}", index, number)


def lost(error: BaseException, index: int, task: Task[object]) -> WorkerDied:
    """The error for a task that had run when its worker ended (by `error`), and whose result had not arrived."""
    from lightwork.errors import WorkerDied

    failure = WorkerDied(
        f"task {index}, {shown_call(*task)}, had run, but its worker ended before the result arrived, and"
        f" rerun_lost=False forbids to run it again ({error})",
        index,
        getattr(error, "signal", None),
    )
    failure.__cause__ = error
    return failure


def overdue(limit: float, index: int, task: Task[object]) -> TaskTimeout:
    """The error for a task that ran for longer than it may."""
    from lightwork.errors import TaskTimeout

    return TaskTimeout(
        f"task {index}, {shown_call(*task)}, ran for more than task_timeout={limit:g} seconds and was stopped, with its"
        " worker; the other tasks were not",
        index,
    )


def exited(error: SystemExit, index: int, task: Task[object]) -> TaskExited:
    """The error for a task that called `sys.exit`: its `SystemExit` would end the program without a word."""
    from lightwork.errors import TaskExited

    said = "" if error.code is None else repr(error.code)
    failure = TaskExited(
        f"task {index}, {shown_call(*task)}, called sys.exit({said}); return from a task, or raise an exception",
        index,
        error.code,
    )
    failure.__cause__ = error
    return failure


def broken(error: Exception, first: int, tasks: Sequence[Task[object]]) -> WorkerDied:
    """The error for an executor that broke; it tells less than our own workers do."""
    from lightwork.errors import WorkerDied

    last = first + len(tasks) - 1
    which = f"task {first}" if first == last else f"one of the tasks {first} to {last}, or one near them"
    return WorkerDied(f"a worker of the executor ended, probably while it ran {which}: {error}")


def _how(code: int | None) -> str:
    if code is None:
        return "with the zygote that had forked it, which was killed or ended unexpectedly"
    if code >= 0:
        return f"exit code {code}, by `os._exit` or the like"
    try:
        known = signal.Signals(-code)
    except ValueError:  # a real-time signal, which has no name
        return f"signal {-code}"
    meaning = _MEANINGS.get(known)
    return f"signal {-code} ({known.name})" + (f", {meaning}" if meaning else "")
