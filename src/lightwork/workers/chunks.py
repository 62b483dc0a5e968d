"""What an executor sends in place of a function of its user's: a run of calls, or an initializer of its own.

A module by itself, and a small one, because workers import it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lightwork.workers.failures import Report, describe

__all__ = ["OwnInitializer", "run_chunk"]


def run_chunk(
    func: Callable[..., object], rows: Iterable[tuple[object, ...]]
) -> tuple[list[object], Report | None]:
    """Call a function with the arguments of each row: the results up to the first failure, and that failure.

    Examples
    --------
    >>> results, failure = run_chunk(divmod, [(7, 2), (7, 0), (7, 1)])
    >>> results, failure[1].splitlines()[-1]
    ([(3, 1)], 'ZeroDivisionError: integer division or modulo by zero')
    """
    results: list[object] = []
    try:
        for row in rows:
            results.append(func(*row))  # noqa: PERF401 - what came before a failure is kept
    except BaseException as error:  # whatever a call raises is its caller's to handle
        return results, describe(error)
    return results, None


class OwnInitializer:
    """An initializer that is one executor's alone: no other loop or executor takes workers that ran it.

    Parameters
    ----------
    func : callable
        The user's initializer.
    owner : int
        Tells it from the same function of other executors.
    """

    def __init__(self, func: Callable[..., object], owner: int) -> None:
        self.func = func
        self.owner = owner
        self.__qualname__ = getattr(func, "__qualname__", repr(func))

    def __call__(self, *args: object) -> object:
        """Run it, in a new worker."""
        return self.func(*args)
