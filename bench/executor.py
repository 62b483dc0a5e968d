"""One function over many inputs, and executors: `map` and `ProcessExecutor` beside what people use instead."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from bench.harness import Case, Work, at_least, at_most, faster

_MANY = 1_000_000
_JOBS = 2_000
_CHUNKED = 200_000


def _negative(x: int) -> int:
    return -x


def _is_run(length: int) -> Callable[[object], None]:
    def check(result: object) -> None:
        assert isinstance(result, list)
        assert len(result) == length
        assert result == [-i for i in range(length)]

    return check


# --- map --------------------------------------------------------------------------------------------


def map_many(lib: ModuleType, folder: Path) -> Work:
    return lambda: lib.map(_negative, range(_MANY), n_jobs=2)


def joblib_many(lib: ModuleType, folder: Path) -> Work:
    return lambda: lib.Parallel(n_jobs=2)(lib.delayed(_negative)(i) for i in range(_MANY))


def pool_many(lib: ModuleType, folder: Path) -> Work:
    pool = lib.Pool(2)
    return lambda: pool.map(_negative, range(_MANY))


def imap_many(lib: ModuleType, folder: Path) -> Work:
    return lambda: list(lib.imap(_negative, range(_MANY), n_jobs=2))


def pool_imap_many(lib: ModuleType, folder: Path) -> Work:
    pool = lib.Pool(2)
    return lambda: list(pool.imap(_negative, range(_MANY), chunksize=1000))


def amap_many(lib: ModuleType, folder: Path) -> Work:
    return lambda: asyncio.run(lib.amap(_negative, range(_MANY), n_jobs=2))


# --- executors ----------------------------------------------------------------------------------------


def _executor(lib: ModuleType) -> object:
    """Two worker processes: ours, the standard library's, or those that joblib brings."""
    if lib.__name__ == "lightwork":
        return lib.ProcessExecutor(2)
    if lib.__name__ == "joblib":
        from joblib.externals.loky import get_reusable_executor

        return get_reusable_executor(2)
    from concurrent.futures import ProcessPoolExecutor

    return ProcessPoolExecutor(2)


def first_job(lib: ModuleType, folder: Path) -> Work:
    return lambda: _executor(lib).submit(_negative, 3).result()  # type: ignore[attr-defined]


def round_trip(lib: ModuleType, folder: Path) -> Work:
    executor = _executor(lib)
    return lambda: executor.submit(_negative, 3).result()  # type: ignore[attr-defined]


def _is_negative(result: object) -> None:
    assert result == -3


def jobs(lib: ModuleType, folder: Path) -> Work:
    submit = _executor(lib).submit  # type: ignore[attr-defined]
    return lambda: [future.result() for future in [submit(_negative, i) for i in range(_JOBS)]]


def chunks(lib: ModuleType, folder: Path) -> Work:
    executor = _executor(lib)
    return lambda: list(executor.map(_negative, range(_CHUNKED), chunksize=1000))  # type: ignore[attr-defined]


def big_argument(lib: ModuleType, folder: Path) -> Work:
    import numpy

    executor, array = _executor(lib), numpy.ones(5_000_000)
    return lambda: [executor.submit(_length, array).result() for _ in range(10)]  # type: ignore[attr-defined]


def _length(array: object) -> int:
    return len(array)  # type: ignore[arg-type]


def _is_lengths(result: object) -> None:
    assert result == [5_000_000] * 10


_STANDARD = "concurrent.futures"

CASES = [
    Case(
        "map, 1 M tiny calls",
        map_many,
        _is_run(_MANY),
        at_least(3_000_000),
        prepare_peer=joblib_many,
        work=_MANY,
        unit="calls",
        repeats=3,
    ),
    Case(
        "map, 1 M tiny calls, beside a Pool",
        map_many,
        _is_run(_MANY),
        faster(1),
        peer="multiprocessing",
        prepare_peer=pool_many,
        work=_MANY,
        unit="calls",
    ),
    Case(
        "imap, 1 M tiny calls, beside a Pool in chunks",
        imap_many,
        _is_run(_MANY),
        faster(1),
        peer="multiprocessing",
        prepare_peer=pool_imap_many,
        work=_MANY,
        unit="calls",
    ),
    Case(
        "amap, 1 M tiny calls, beside a Pool",
        amap_many,
        _is_run(_MANY),
        faster(1),
        peer="multiprocessing",
        prepare_peer=pool_many,
        work=_MANY,
        unit="calls",
    ),
    Case(
        "executor: first job of a process",
        first_job,
        _is_negative,
        at_most(0.06),
        peer=_STANDARD,
        fresh=True,
    ),
    Case("executor: round trip", round_trip, _is_negative, faster(1), peer=_STANDARD, calls=500),
    Case("executor: round trip, beside loky", round_trip, _is_negative, faster(1), calls=500),
    Case("executor: 2,000 jobs", jobs, _is_run(_JOBS), faster(1), peer=_STANDARD, work=_JOBS, unit="jobs"),
    Case("executor: 2,000 jobs, beside loky", jobs, _is_run(_JOBS), faster(1), work=_JOBS, unit="jobs"),
    Case(
        "executor: map, chunks of 1,000",
        chunks,
        _is_run(_CHUNKED),
        faster(1),
        peer=_STANDARD,
        work=_CHUNKED,
        unit="calls",
    ),
    Case("executor: a 40 MB array in 10 jobs", big_argument, _is_lengths, faster(5), peer=_STANDARD),
]
