"""The foundation: start of a process, tiny tasks, big results, a remembered call, the import."""

from __future__ import annotations

import subprocess
import sys
from math import sqrt
from pathlib import Path
from statistics import median
from time import perf_counter
from types import ModuleType

from bench.harness import Case, Figure, Work, at_least, at_most, faster

_TINY = 10_000
_BIG, _BIG_FLOATS = 50, 5_000_000  # 50 results of 40 MB


def first_call(lib: ModuleType, folder: Path) -> Work:
    return lambda: lib.Parallel(n_jobs=2)(lib.delayed(sqrt)(i**2) for i in range(2))


def _check_first(result: object) -> None:
    assert result == [0.0, 1.0]


def tiny_tasks(lib: ModuleType, folder: Path) -> Work:
    return lambda: lib.Parallel(n_jobs=2, batch_size=1)(lib.delayed(abs)(-i) for i in range(_TINY))


def _check_tiny(result: object) -> None:
    assert result == list(range(_TINY))


def big_results(lib: ModuleType, folder: Path) -> Work:
    import numpy

    return lambda: lib.Parallel(n_jobs=2)(lib.delayed(numpy.full)(_BIG_FLOATS, float(i)) for i in range(_BIG))


def _check_big(result: object) -> None:
    assert isinstance(result, list)
    assert len(result) == _BIG
    for i, array in enumerate(result):
        assert array.shape == (_BIG_FLOATS,)
        assert array[0] == array[-1] == i
        assert array[:: _BIG_FLOATS // 1000].sum() == i * 1000


def cache_hit(lib: ModuleType, folder: Path) -> Work:
    remembered = lib.Memory(folder, verbose=0).cache(_square)
    return lambda: remembered(3)


def _square(x: int) -> int:
    return x * x


def _check_square(result: object) -> None:
    assert result == 9


def import_time(lib: ModuleType, folder: Path) -> Work:
    def seconds(code: str) -> float:
        started = perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return perf_counter() - started

    def work() -> Figure:
        return Figure(median(seconds(f"import {lib.__name__}") - seconds("pass") for _ in range(5)))

    return work


def _check_import(result: object) -> None:
    assert result is None  # the import itself was checked by its exit status


CASES = [
    Case("first Parallel call of a process", first_call, _check_first, at_most(0.1), fresh=True),
    Case(
        "10,000 tiny tasks, batch_size=1, warm",
        tiny_tasks,
        _check_tiny,
        at_least(40_000),
        work=_TINY,
        unit="tasks",
    ),
    Case("50 results of 40 MB", big_results, _check_big, faster(4), repeats=3),
    Case("cache hit, small", cache_hit, _check_square, faster(8), calls=1000),
    Case("import, less a bare interpreter", import_time, _check_import, at_most(0.03)),
]
