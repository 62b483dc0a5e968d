"""Errors that are remembered: what a function raised, in the place of a result.

An error says mostly that something went wrong this time, so the next call computes again. Where it is an answer (there
is no such page; these parameters do not converge), `store_if` may say so: one that takes a parameter ``error`` is asked
about errors too, as ``store_if(None, error=error)``. A function that looks at results alone, such as ``lambda result:
result is not None``, is never asked, and so cannot keep an error by accident.

The entry holds the error as a loop's worker would send it (`workers.failures`): it is raised anew at each hit, with the
traceback of the time when it was computed as its cause.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightwork.workers.failures import Report

__all__ = ["Raised", "asks_about_errors", "raised"]


class Raised:
    """Stands in an entry for an error."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def error(self) -> BaseException:
        """The error, made anew."""
        from lightwork.workers.failures import read

        return read(self.report)


def raised(error: Exception) -> Raised | None:
    """What an entry holds for an error; None for one that could not be read again."""
    from lightwork.workers.failures import describe

    report = describe(error, whole=True)
    return None if report[0][0][0] is None else Raised(report)


def asks_about_errors(store_if: Callable[..., object] | None) -> bool:
    """Whether a function that decides what is kept decides about errors too: it has a parameter ``error``."""
    if store_if is None:
        return False
    import inspect

    try:
        return "error" in inspect.signature(store_if).parameters
    except (TypeError, ValueError):  # a built-in that does not tell its parameters
        return False
