"""Exceptions of tasks as bytes that can certainly be read again.

An exception is a message to the caller: its type and attributes are what `except` clauses look at. So it is pickled
as itself where that works both ways, which is tried here, in the worker: a class whose constructor takes other
arguments than ``args`` says pickles well and then breaks its reader. Such ones are written in another form, made again
without their constructor; one that holds what cannot be pickled (a lock, a connection) loses that, and a note says so.
Only what no form can carry travels as its text alone. The exceptions behind it (its cause, what it was raised while
handling) travel with it in the same way.
"""

from __future__ import annotations

import pickle
from types import FrameType
from typing import cast

from lightwork.errors import LightworkError, RemoteTraceback

__all__ = ["Report", "describe", "read"]

Report = tuple["list[tuple[bytes | None, bool]]", str]
"""The pickled exception, then those behind it, each with whether it is the cause (or the context) of the one before;
and the traceback of all as text. None stands for a pickle that could not be made; nothing follows it."""

_AROUND_TASKS = {"lightwork.workers.worker", "lightwork.workers.page", "lightwork.workers.inside"}
# Exceptions behind an exception that travel with it; the text shows all of them.
_MOST_LINKS = 16


def describe(error: BaseException, *, whole: bool = False) -> Report:
    """An exception as a report for the parent; our frames around the task are left out of the traceback.

    With `whole`, one that would lose something that it holds is one that cannot be carried.
    """
    import traceback

    trace = error.__traceback__
    shown = trace.tb_next if trace is not None and trace.tb_next is not None else trace
    while shown is not None and shown.tb_next is not None and _is_ours(shown.tb_frame):
        shown = shown.tb_next
    text = "".join(traceback.format_exception(type(error), error, shown)).rstrip()
    links: list[tuple[bytes | None, bool]] = []
    each: BaseException | None = error
    is_cause = False
    while each is not None and len(links) < _MOST_LINKS:
        # What a loop inside the task had finished stays here: it would travel with each exception again.
        finished = each.__dict__.pop("partial_results", None)
        data = _pickled(each, whole)
        if finished is not None:
            each.__dict__["partial_results"] = finished
        links.append((data, is_cause))
        if data is None:
            break
        is_cause = each.__cause__ is not None
        each = each.__cause__ if is_cause or each.__suppress_context__ else each.__context__
    return links, text


def _is_ours(frame: FrameType) -> bool:
    """Whether a frame is of what stands between a worker and its task."""
    return frame.f_globals.get("__name__") in _AROUND_TASKS


def read(report: Report) -> BaseException:
    """The exception of a report, with those behind it; at the end of them stands the traceback as text."""
    links, text = report
    first: BaseException | None = None
    last: BaseException | None = None
    for data, is_cause in links:
        try:
            error = cast(BaseException, pickle.loads(data)) if data is not None else None
        except Exception:
            error = None  # it could be read where it was written, and cannot here
        if first is None or last is None:
            first = error = error or _stand_in(text)
        elif error is None:
            break
        elif is_cause:
            last.__cause__ = error
        else:
            last.__context__ = error
        last = error
    if first is None or last is None:
        return _stand_in(text)
    last.__cause__ = RemoteTraceback(text)
    return first


def _stand_in(text: str) -> LightworkError:
    return LightworkError(f"a task raised an exception that cannot be pickled: {text.splitlines()[-1]}")


def _pickled(error: BaseException, whole: bool) -> bytes | None:
    for make in _WHOLE if whole else (*_WHOLE, _without_what_stays):
        try:
            data = make(error)
            if type(pickle.loads(data)) is type(error):
                return data
        except Exception:
            continue  # the next form may carry it; the text always arrives
    return None


def _as_itself(error: BaseException) -> bytes:
    try:
        return pickle.dumps(error, 5)
    except Exception:
        return _by_value(error)


def _without_constructor(error: BaseException) -> bytes:
    return _by_value(_Rebuilt(error))


def _without_what_stays(error: BaseException) -> bytes:
    return _by_value(_Reduced(error))


_WHOLE = (_as_itself, _without_constructor)


def _by_value(value: object) -> bytes:
    import cloudpickle

    return cast(bytes, cloudpickle.dumps(value, 5))


class _Rebuilt:
    """Pickles as the exception that it was made from, to be made again without its constructor."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __reduce__(self) -> tuple[object, ...]:
        error = self._error
        return _rebuild, (type(error), self._wrapped(error.args), error.__dict__)

    def _wrapped(self, value: object) -> object:
        """The members of a group are exceptions too, each in need of the same."""
        if isinstance(value, BaseException):
            return type(self)(value)
        if type(value) is tuple:
            return tuple(map(self._wrapped, value))
        return list(map(self._wrapped, value)) if type(value) is list else value


class _Reduced(_Rebuilt):
    """The same, without what cannot be pickled: an argument becomes the name of its type, an attribute is left out."""

    def __reduce__(self) -> tuple[object, ...]:
        error = self._error
        state = {name: value for name, value in error.__dict__.items() if _travels(value)}
        args = [self._wrapped(value) for value in error.args]
        left = [f".{name}" for name in error.__dict__ if name not in state]
        for place, value in enumerate(args):
            if not _travels(value):
                args[place] = f"<{type(value).__name__}>"
                left.append(f".args[{place}]")
        if left:
            note = f"left in the worker, as it cannot be pickled: {', '.join(left)}"
            state["__notes__"] = [*state.get("__notes__", ()), note]
        return _rebuild, (type(error), tuple(args), state)


def _travels(value: object) -> bool:
    try:
        pickle.loads(_by_value(value))
    except Exception:
        return False
    return True


def _rebuild(kind: type[BaseException], args: tuple[object, ...], state: dict[str, object]) -> BaseException:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error
