"""An input that raises, in a loop that is to finish what it was given before that. Pure.

To the rest of the loop such an input ends early, and nothing else is different; its error is kept until every task
in front of it has been handed over, and is raised then. Whatever ends the loop before comes first, and tells of it.

Only an `Exception` is kept: Ctrl-C and its like end a loop at once. An item that is no task is no error of the
input's code, but a slip in the call, and ends the loop as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, TypeVar

from lightwork.errors import TaskFormatError

__all__ = ["Guard", "OnInputError"]

T = TypeVar("T")

OnInputError = Literal["cancel", "finish"]
"""What becomes of the tasks that an input gave before it raised."""


class Guard:
    """Keeps the error of one input.

    Attributes
    ----------
    error : Exception or None
        What the input raised.

    Examples
    --------
    >>> guard = Guard()
    >>> list(guard.watched(1 // x for x in (1, 0))), guard.error
    ([1], ZeroDivisionError('integer division or modulo by zero'))
    """

    __slots__ = ("error",)

    def __init__(self) -> None:
        self.error: Exception | None = None

    def watched(self, source: Iterable[T]) -> Iterator[T]:
        """The input; it ends where it raises."""
        try:
            for task in source:  # noqa: UP028 - `yield from` would close the user's generator with the loop
                yield task
        except TaskFormatError:
            raise
        except Exception as error:
            trace = error.__traceback__
            self.error = error.with_traceback(trace and trace.tb_next)

    def release(self) -> None:
        """Everything in front of it was handed over: raise the error, if there is one."""
        error, self.error = self.error, None
        if error is not None:
            raise error

    def note_on(self, error: BaseException) -> None:
        """Another error came first, and is the one to be raised: let it tell of this one."""
        kept, self.error = self.error, None
        if kept is not None and not isinstance(error, GeneratorExit):
            import traceback

            (*_, line) = traceback.format_exception_only(kept)
            error.add_note(f"before that, the input of the loop had raised {line.strip()}")
