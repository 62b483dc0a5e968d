"""How many workers and threads there should be: cores that this process may use, threads in each worker.

A core counts if the scheduler lets us use it (affinity) and the control group's quota pays for it.
`LIGHTWORK_MAX_CPU_COUNT`, or joblib's `LOKY_MAX_CPU_COUNT`, lowers the number further. BLAS and OpenMP
libraries start as many threads as the machine has cores in every process; workers give each its share
instead, by the libraries' own variables.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from lightwork.errors import OptionError, OptionTypeError
from lightwork.settings import affinity as _affinity
from lightwork.workers.control_groups import lines, memberships

__all__ = [
    "THREAD_VARIABLES",
    "cpu_count",
    "limit_memory",
    "limit_threads",
    "thread_limits",
    "worker_count",
]

# The variables that the usual native libraries read once, when they are loaded.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


def cpu_count(only_physical_cores: bool = False) -> int:
    """How many cores this process may keep busy; at least 1.

    Parameters
    ----------
    only_physical_cores : bool, default False
        Count the two threads of one core once, where the system tells which they are (Linux).

    Examples
    --------
    >>> cpu_count() >= 1
    True
    """
    allowed = _affinity()
    count = len(allowed) if allowed else os.cpu_count() or 1
    if only_physical_cores and allowed:
        count = min(count, _physical(allowed))
    quota = _cgroup_quota("/sys/fs/cgroup", "/proc/self/cgroup")
    if quota is not None:
        count = min(count, quota)
    for name in ("LIGHTWORK_MAX_CPU_COUNT", "LOKY_MAX_CPU_COUNT"):
        if value := os.environ.get(name, ""):
            count = min(count, _positive(name, value))
    return max(1, count)


def worker_count(n_jobs: int | None = -1) -> int:
    """How many workers `n_jobs` means here: None is 1, -1 all cores, -2 all but one, and so on.

    Raises
    ------
    OptionError
        If `n_jobs` is 0.

    Examples
    --------
    >>> worker_count(3)
    3
    >>> worker_count(-1) == cpu_count()
    True
    """
    if n_jobs is None:
        return 1
    try:
        number = int(n_jobs)
    except (TypeError, ValueError):
        raise OptionTypeError(f"n_jobs must be a whole number or None, not {n_jobs!r}") from None
    if number == 0:
        raise OptionError("n_jobs=0 has no meaning; use 1 for a plain loop, -1 for all cores")
    return number if number > 0 else max(1, cpu_count() + 1 + number)


def thread_limits(workers: int, environment: Mapping[str, str]) -> dict[str, str]:
    """The thread variables for each of `workers` processes, where the user has not set them."""
    share = str(max(1, cpu_count() // workers))
    return {name: share for name in THREAD_VARIABLES if name not in environment}


def limit_threads(count: int) -> bool:
    """Let native libraries that are loaded already use so many threads; returns whether that could be said to them.

    They read the variables only once, when they are loaded; afterwards it takes `threadpoolctl`, which is optional.
    """
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return False
    threadpool_limits(count)
    return True


def limit_memory(size: int) -> None:
    """Let this process have at most so many bytes of data; what asks for more gets `MemoryError`.

    Mapped arguments count too, as far as they may be written to. Where the system has no such limit, nothing happens.
    """
    try:
        import resource
    except ImportError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = size if hard == resource.RLIM_INFINITY else min(size, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _positive(name: str, value: str) -> int:
    if not value.isdigit() or int(value) == 0:
        raise OptionError(f"{name}={value!r} in the environment must be a whole number above 0")
    return int(value)


def _physical(cores: set[int]) -> int:
    siblings = set()
    for core in cores:
        told = lines(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
        # Where the system does not tell, every core counts by itself.
        siblings.add(told[0] if told else str(core))
    return len(siblings)


def _cgroup_quota(root: str, membership: str) -> int | None:
    """Cores that the control groups' CPU quota pays for, rounded up; None where there is no quota.

    Both versions are hierarchical: a limit on any group above ours holds too, so all are looked at.
    """
    quotas = [-(-quota // period) for quota, period in _cgroup_limits(root, membership) if quota > 0]
    return min(quotas, default=None)


def _cgroup_limits(root: str, membership: str) -> Iterator[tuple[int, int]]:
    for unified, group in memberships(membership, "cpu"):
        folder = root if unified else f"{root}/cpu"
        for name in ("", *filter(None, group.split("/"))):
            folder = f"{folder}/{name}" if name else folder
            if unified:
                words = " ".join(lines(f"{folder}/cpu.max")).split()
            else:
                words = lines(f"{folder}/cpu.cfs_quota_us") + lines(f"{folder}/cpu.cfs_period_us")
            if len(words) == 2 and words[0] != "max":
                yield int(words[0]), int(words[1])
