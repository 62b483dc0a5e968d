"""Whether a task that failed is run again, and when. Pure: errors and times in, answers out.

The law: the number of repeats is counted for each task by itself. A task is repeated only for what the policy names: an
exception of the classes in `on`, or, where `death` says so, the death of the worker that ran it. What a policy does not
name fails at once. Tasks that were lost with a worker without being to blame are no repeats and are not counted.

Waits grow as is usual (twice as long each time, up to a limit), and a random part is taken off each, so that tasks
that failed together do not come back together. The chance comes from the caller.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final, cast

from lightwork.errors import OptionError, OptionTypeError
from lightwork.parallel.options import whole

__all__ = ["Retries", "retries_of"]

# More doublings than this only overflow.
_MOST_DOUBLINGS: Final = 64
_FURTHER: Final = ("death", "backoff", "backoff_max", "jitter")


class Retries:
    """How often, for what, and how soon a failed task is run again; an option of `Parallel`.

    Parameters
    ----------
    times : int
        How often a task may be repeated; 0: never.
    on : exception class, or tuple of them
        Which exceptions are worth another attempt.
    death : bool
        Whether the death of the worker that ran the task (`lightwork.errors.WorkerDied`) is.
    backoff : float
        Seconds to wait before the first repeat; each further wait is twice as long. Other tasks run meanwhile.
    backoff_max : float
        The longest wait, in seconds.
    jitter : float
        Up to this part of each wait, from 0 to 1, is left out by chance.

    Examples
    --------
    >>> from lightwork import Parallel, Retries, delayed
    >>> flaky = Retries(3, on=(ConnectionError, TimeoutError), backoff=0.5)
    >>> Parallel(n_jobs=2, retries=flaky)(delayed(abs)(-i) for i in range(3))
    [0, 1, 2]
    """

    __slots__ = ("backoff", "backoff_max", "death", "jitter", "on", "times")

    def __init__(
        self,
        times: int,
        *,
        on: type[BaseException] | tuple[type[BaseException], ...] = Exception,
        death: bool = True,
        backoff: float = 0.0,
        backoff_max: float = 120.0,
        jitter: float = 0.5,
    ) -> None:
        if isinstance(times, bool):
            raise OptionTypeError(f"retries must be a number of repeats, not {times!r}")
        self.times = whole("retries", times, 0)
        self.on = on if isinstance(on, tuple) else (on,)
        for kind in self.on:
            if not (isinstance(cast(object, kind), type) and issubclass(kind, BaseException)):
                raise OptionTypeError(f"Retries(on=...) must name exception classes, and {kind!r} is none")
        self.death = death
        self.backoff = _between("backoff", backoff, float("inf"))
        self.backoff_max = _between("backoff_max", backoff_max, float("inf"))
        self.jitter = _between("jitter", jitter, 1.0)

    def __repr__(self) -> str:
        on = ", ".join(kind.__name__ for kind in self.on)
        rest = ", ".join(f"{name}={getattr(self, name)!r}" for name in _FURTHER)
        return f"Retries({self.times}, on=({on}), {rest})"

    def admits(self, error: BaseException, attempt: int) -> bool:
        """Whether a task is run again whose attempt of this number, from 1, ended in this error.

        Examples
        --------
        >>> Retries(1, on=ValueError).admits(ValueError(), 1)
        True
        >>> Retries(1, on=ValueError).admits(ValueError(), 2), Retries(1, on=ValueError).admits(KeyError(), 1)
        (False, False)
        """
        if attempt > self.times:
            return False
        return self.death if _is_death(error) else isinstance(error, self.on)

    def wait(self, attempt: int, chance: Callable[[], float]) -> float:
        """Seconds from the failure of the attempt of this number, from 1, to the next; `chance` is below 1.

        Examples
        --------
        >>> policy = Retries(9, backoff=0.5, backoff_max=3)
        >>> [policy.wait(attempt, lambda: 0.0) for attempt in (1, 2, 3, 4)]
        [0.5, 1.0, 2.0, 3.0]
        """
        if not self.backoff:
            return 0.0
        full = min(self.backoff * 2.0 ** min(attempt - 1, _MOST_DOUBLINGS), self.backoff_max)
        return full * (1 - self.jitter * chance())


def retries_of(said: int | Retries) -> Retries | None:
    """The policy that was said, or None for never.

    Examples
    --------
    >>> retries_of(0), retries_of(2).times
    (None, 2)
    """
    policy = said if isinstance(said, Retries) else Retries(said)
    return policy if policy.times else None


def _between(name: str, value: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(cast(object, value), int | float):
        raise OptionTypeError(f"Retries({name}=...) must be a number, not {value!r}")
    if not 0 <= value <= most:
        wanted = "0 or more" if most == float("inf") else f"from 0 to {most:g}"
        raise OptionError(f"Retries({name}={value!r}) must be {wanted}")
    return float(value)


def _is_death(error: BaseException) -> bool:
    late = sys.modules.get("lightwork._late_errors")  # not loaded: nobody made one
    return late is not None and isinstance(error, late.WorkerDied)
