"""Every exception and warning of lightwork, each with what its reader can do about it.

Each class derives from `LightworkError` (or `LightworkWarning`) *and* from the built-in that a user
of this kind of library catches today, so `except ValueError` written for joblib goes on working.
A message says what happened, with which value, and what to do.

Classes whose bases are slow to import (those of `pickle`, `multiprocessing` and `concurrent.futures`)
live in `_late_errors.py` and are bound here when first asked for; to everybody they are
`lightwork.errors.X`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightwork._late_errors import (
        BrokenExecutorError,
        DamagedFileError,
        HashError,
        PicklingFailedError,
        TaskExited,
        TaskTimeout,
        WorkerDied,
    )

__all__ = [
    "ArrayChangedError",
    "BrokenExecutorError",
    "CacheWarning",
    "CodeChangedWarning",
    "DamagedFileError",
    "FileMissingError",
    "HashError",
    "LightworkError",
    "LightworkWarning",
    "MappingWarning",
    "NotFollowedWarning",
    "OptionError",
    "OptionTypeError",
    "PicklingFailedError",
    "RemoteTraceback",
    "ResultMissingError",
    "TargetDeniedError",
    "TargetError",
    "TargetIsFolderError",
    "TargetMissingError",
    "TaskError",
    "TaskExited",
    "TaskFormatError",
    "TaskTimeout",
    "VersionWarning",
    "WorkerDied",
    "WorkerStartError",
]

_LATE = {
    "BrokenExecutorError",
    "DamagedFileError",
    "HashError",
    "PicklingFailedError",
    "TaskExited",
    "TaskTimeout",
    "WorkerDied",
}


class LightworkError(Exception):
    """The root of all errors that lightwork raises of its own."""


class LightworkWarning(UserWarning):
    """The root of all warnings that lightwork gives; filter it to silence them."""


# --- what was asked for cannot be -----------------------------------------------------------------


class OptionError(LightworkError, ValueError):
    """An option has a value that it cannot take; the message lists those that it can."""


class OptionTypeError(LightworkError, TypeError):
    """An option, or an object given to be called, is of a type that cannot serve there."""


class TaskFormatError(LightworkError, TypeError):
    """An item of a parallel loop is not a task; wrap the call as ``delayed(f)(x)``."""


class TaskError(LightworkError):
    """A task failed; under ``on_error="return"`` it stands in the result's place, to be looked at or raised.

    Attributes
    ----------
    index : int
        The task, counted from 0 in the order of the loop.
    call : str
        The call that it was, in short.
    error : Exception
        What it raised; also the cause of this error.
    traceback : str
        The traceback, from the worker where there was one.
    attempt : int
        The number of its last attempt, from 1.
    """

    def __init__(self, index: int, call: str, error: Exception, traceback: str, attempt: int = 1) -> None:
        super().__init__(index, call, error, traceback, attempt)
        self.index = index
        self.call = call
        self.error = error
        self.traceback = traceback
        self.attempt = attempt

    def __str__(self) -> str:
        tries = "" if self.attempt == 1 else f" at attempt {self.attempt}"
        return f"task {self.index}, {self.call}, failed{tries}: {type(self.error).__name__}: {self.error}"


class ArrayChangedError(LightworkError, RuntimeError):
    """An array changed while the tasks that use it were being sent; give each task its own copy."""


class WorkerStartError(LightworkError, RuntimeError):
    """The worker processes could not be started; the message carries what they said."""


class RemoteTraceback(LightworkError):  # noqa: N818 - what is shown, as in concurrent.futures
    """The traceback of an error in a worker, shown as the cause of the error itself."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"\n{self.text}"


# --- files ----------------------------------------------------------------------------------------


class TargetError(LightworkError, OSError):
    """A file cannot be written where it was asked for; an older file of that name is untouched."""


class TargetMissingError(TargetError, FileNotFoundError):
    """The folder of the file to write does not exist; make it first."""


class TargetDeniedError(TargetError, PermissionError):
    """The folder of the file to write does not admit us; write elsewhere or change its mode."""


class TargetIsFolderError(TargetError, IsADirectoryError):
    """The name of the file to write is a folder's; name a file in it."""


class FileMissingError(LightworkError, FileNotFoundError):
    """The file to read does not exist."""


class VersionWarning(LightworkWarning):
    """A file was written with another version of a package than the one that reads it; the result may differ."""


class MappingWarning(LightworkWarning):
    """An array could not be mapped as asked (the file is compressed, say) and was read instead."""


# --- remembered functions -------------------------------------------------------------------------


class CacheWarning(LightworkWarning):
    """A cache entry could not be read or written; the result is right, and computed anew."""


class ResultMissingError(LightworkError, KeyError):
    """A shelved result is no longer in the cache; call the function again."""

    __str__ = Exception.__str__  # that of KeyError shows the message as text in quotes


class CodeChangedWarning(LightworkWarning):
    """A source file no longer holds the code that runs; restart to run what the file says now."""


class NotFollowedWarning(LightworkWarning):
    """A remembered function uses something whose changes will not be noticed."""


def __getattr__(name: str) -> type[Exception]:
    if name in _LATE:
        from lightwork import _late_errors

        found: type[Exception] = getattr(_late_errors, name)
        globals()[name] = found
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
