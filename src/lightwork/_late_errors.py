"""The errors whose bases take long to import; `lightwork.errors` binds them when first needed."""

from __future__ import annotations

import multiprocessing
import pickle
from concurrent.futures.process import BrokenProcessPool

from lightwork.errors import LightworkError


class PicklingFailedError(LightworkError, pickle.PicklingError):
    """Something cannot be pickled; the message names the member that is in the way.

    Attributes
    ----------
    path : str
        Where in the object the culprit sits, such as ``model.steps[1].lock``; empty where unknown.
    """

    __module__ = "lightwork.errors"

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class HashError(LightworkError, pickle.PicklingError, TypeError):
    """A value has no digest (an open file, a lock, a generator); the message names its place in the whole."""

    __module__ = "lightwork.errors"


class DamagedFileError(LightworkError, pickle.UnpicklingError, ValueError):
    """A file is not what it was when written, or not a file that can be loaded; nothing in it was executed."""

    __module__ = "lightwork.errors"


class WorkerDied(LightworkError, BrokenProcessPool):  # noqa: N818 - what happened, as in joblib's TerminatedWorker
    """A worker process ended while it ran a task; the message names the task, the signal and the likely cause.

    Attributes
    ----------
    index : int or None
        The task that was running, counted from 0 in the order of the loop; None where none was.
    signal : int or None
        The number of the signal that ended the worker, if one did.
    """

    __module__ = "lightwork.errors"

    def __init__(self, message: str, index: int | None = None, signal: int | None = None) -> None:
        super().__init__(message)
        self.index = index
        self.signal = signal


class BrokenExecutorError(LightworkError, BrokenProcessPool):
    """An executor can have no workers (its initializer raised, say): no job of it is done any more; make another."""

    __module__ = "lightwork.errors"


class TaskExited(WorkerDied):
    """A task called `sys.exit`, which ends a program of its own and must not end yours; its cause is the `SystemExit`.

    Attributes
    ----------
    code : object
        What was given to `sys.exit`.
    """

    __module__ = "lightwork.errors"

    def __init__(self, message: str, index: int | None = None, code: object = None) -> None:
        super().__init__(message, index)
        self.code = code


class TaskTimeout(LightworkError, multiprocessing.TimeoutError, TimeoutError):  # noqa: N818 - the field's name
    """A task, or the next result, took longer than the time that was given; what was running has been stopped.

    Attributes
    ----------
    index : int or None
        The task that ran for longer than `task_timeout`; None where it was `timeout` that had passed.
    """

    __module__ = "lightwork.errors"

    def __init__(self, message: str, index: int | None = None) -> None:
        super().__init__(message)
        self.index = index
