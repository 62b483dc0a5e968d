"""Exceptions of tasks as bytes that can certainly be read again.

An exception is a message to the caller: its type and attributes are what `except` clauses look at. So it is pickled
as itself where that works both ways, which is tried here, in the worker: a class whose constructor takes other
arguments than ``args`` says pickles well and then breaks its reader. Such ones are written in another form, made again
without their constructor. Only what neither form can carry travels as its text alone.
"""

from __future__ import annotations

import pickle
from typing import cast

__all__ = ["Report", "describe"]

Report = tuple["bytes | None", str]
"""The pickled exception, None where it has no pickle, and its traceback as text."""


def describe(error: BaseException) -> Report:
    """An exception as a report for the parent; the frame that caught it is left out of the traceback."""
    import traceback

    trace = error.__traceback__
    shown = trace.tb_next if trace is not None and trace.tb_next is not None else trace
    text = "".join(traceback.format_exception(type(error), error, shown)).rstrip()
    for make in (_as_itself, _without_constructor):
        try:
            data = make(error)
            if type(pickle.loads(data)) is type(error):
                return data, text
        except Exception:
            continue  # the next form may carry it; the text always arrives
    return None, text


def _as_itself(error: BaseException) -> bytes:
    try:
        return pickle.dumps(error, 5)
    except Exception:
        import cloudpickle

        return cast(bytes, cloudpickle.dumps(error, 5))


def _without_constructor(error: BaseException) -> bytes:
    import cloudpickle

    return cast(bytes, cloudpickle.dumps(_Rebuilt(error), 5))


class _Rebuilt:
    """Pickles as the exception that it was made from, to be made again without its constructor."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __reduce__(self) -> tuple[object, ...]:
        error = self._error
        return _rebuild, (type(error), error.args, error.__dict__)


def _rebuild(kind: type[BaseException], args: tuple[object, ...], state: dict[str, object]) -> BaseException:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error
