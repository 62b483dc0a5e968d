"""How many workers a loop would have here and now: the answer of a loop that is made and not run.

What code asks before it divides its data must be what its loop then finds: the same configuration, backend and place
in other loops. So nothing is decided here; `Parallel` is asked.
"""

from __future__ import annotations

from lightwork.parallel.parallel import Parallel

__all__ = ["effective_n_jobs"]


def effective_n_jobs(n_jobs: int | None = -1) -> int:
    """How many workers `Parallel` would have here, told so many jobs.

    Parameters
    ----------
    n_jobs : int, optional
        -1 means all cores, -2 all but one, and so on; None what `parallel_config` says, else 1.

    Returns
    -------
    int
        At least 1. Inside a task of another loop it is 1, since a loop there is a plain one.

    Raises
    ------
    OptionError
        If `n_jobs` is 0.

    Examples
    --------
    >>> from lightwork import cpu_count, effective_n_jobs, parallel_config
    >>> effective_n_jobs(3), effective_n_jobs(None)
    (3, 1)
    >>> effective_n_jobs(-1) == cpu_count()
    True
    >>> with parallel_config(n_jobs=2):
    ...     effective_n_jobs(None)
    2
    """
    return Parallel(n_jobs)._effective_n_jobs()
