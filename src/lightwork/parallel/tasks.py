"""What a task is: a triple of function, arguments and keyword arguments, noted down by `delayed`. Pure.

Any triple of that shape will do, so loops check what they are given: the usual case (a tuple that holds a tuple
and a dict) is told by `is_plain`, the rest is brought into that shape by `triple`, or refused by its position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, ParamSpec, TypeGuard, TypeVar, cast

from lightwork.errors import OptionTypeError, TaskFormatError
from lightwork.parallel.backends.base import Task

if TYPE_CHECKING:
    from lightwork.workers.inside import Inside

__all__ = ["delayed", "dressed", "is_plain", "refusal", "triple"]

P = ParamSpec("P")
T = TypeVar("T")


def delayed(function: Callable[P, T]) -> Callable[P, Task[T]]:
    """Note down a call instead of making it: ``delayed(f)(x, y=1)`` is the task ``(f, (x,), {"y": 1})``.

    Examples
    --------
    >>> delayed(pow)(2, 3)
    (<built-in function pow>, (2, 3), {})
    """
    given: object = function
    if not callable(given):
        from lightwork.observe.messages import shorten

        raise OptionTypeError(
            f"delayed({shorten(function)}): {type(function).__name__} cannot be called; write delayed(f)(x)"
        )

    def note(*args: P.args, **kwargs: P.kwargs) -> Task[T]:
        return function, args, kwargs

    # No `functools.wraps`: loops write delayed(f)(x) for every x, and it would take 1 µs, five times the rest.
    return note


def is_plain(task: object) -> TypeGuard[Task[object]]:
    """Whether a task has the usual shape, a tuple of three that holds a tuple and a dict."""
    return type(task) is tuple and len(task) == 3 and type(task[1]) is tuple and type(task[2]) is dict


def triple(index: int, task: object) -> Task[object]:
    """A task as a plain triple of function, tuple and dict."""
    try:
        func, args, kwargs = cast("tuple[object, list[object], dict[str, object]]", task)
        if callable(func):
            return func, tuple(args), dict(kwargs)
    except (TypeError, ValueError):
        pass  # said below in our own words
    raise TaskFormatError(refusal(index, task))


def dressed(
    tasks: Iterable[object], dress: Callable[[Callable[..., object]], Inside]
) -> Iterator[Task[object]]:
    """Tasks whose functions are what `dress` makes of them, called with the number of the task first."""
    func: object = None
    for index, given in enumerate(tasks):
        task = given if is_plain(given) else triple(index, given)
        if task[0] is not func:  # a loop calls one function as a rule, and what is one is sent once
            func = task[0]
            if not callable(func):
                raise TaskFormatError(refusal(index, task))
            inside = dress(task[0])
        yield inside, (index, *task[1]), task[2]


def refusal(index: int, task: object) -> str:
    """What to say of an item that is no task.

    Examples
    --------
    >>> refusal(7, 3)
    'got 3 at position 7: did you forget `delayed`?'
    """
    from lightwork.observe.messages import shorten

    if isinstance(task, tuple) and len(task) == 3 and not callable(task[0]):
        kind = type(task[0]).__name__
        return (
            f"the task at position {index} calls {shorten(task[0])}, of type {kind}, which cannot be called"
        )
    return f"got {shorten(task)} at position {index}: did you forget `delayed`?"
