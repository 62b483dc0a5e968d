"""Remembered functions: hits and misses, small and large, alone and in loops, and what they cost on disk."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

from bench.harness import Case, Figure, Work, at_most, faster

_FLOATS = 12_500_000  # 100 MB
_SMALL_RESULTS = 10_000
_DECORATED = 1_000
_SWEEP = 1_000
_PROCESSES, _CALLS = 8, 2_000


def _area(width: float, height: float) -> float:
    return width * height


def _is_area(result: object) -> None:
    assert result == 12.0


def hit(lib: ModuleType, folder: Path) -> Work:
    remembered = lib.Memory(folder, verbose=0).cache(_area)
    return lambda: remembered(3, height=4.0)


def miss(lib: ModuleType, folder: Path) -> Work:
    remembered = lib.Memory(folder, verbose=0).cache(_area)
    numbers = itertools.count()
    return lambda: remembered(next(numbers), height=0.0)


def _is_zero(result: object) -> None:
    assert result == 0.0


# --- large ------------------------------------------------------------------------------------------


def _length(array: object) -> int:
    return len(array)  # type: ignore[arg-type]


def large_argument(lib: ModuleType, folder: Path) -> Work:
    import numpy

    array = numpy.arange(float(_FLOATS))
    remembered = lib.Memory(folder, verbose=0).cache(_length)
    return lambda: remembered(array)


def _is_length(result: object) -> None:
    assert result == _FLOATS


def _ramp(count: int) -> object:
    import numpy

    return numpy.arange(float(count))


def large_result(lib: ModuleType, folder: Path) -> Work:
    remembered = lib.Memory(folder, verbose=0).cache(_ramp)
    return lambda: remembered(_FLOATS)


def mapped_result(lib: ModuleType, folder: Path) -> Work:
    remembered = lib.Memory(folder, mmap_mode="r", verbose=0).cache(_ramp)
    return lambda: remembered(_FLOATS)


def _is_ramp(result: object) -> None:
    assert len(result) == _FLOATS  # type: ignore[arg-type]
    assert result[-1] == _FLOATS - 1  # type: ignore[index]


# --- many -------------------------------------------------------------------------------------------

_HAMMER = """
import importlib, sys
lib = importlib.import_module(sys.argv[1])
def double(x):
    return 2 * x
double = lib.Memory(sys.argv[2], verbose=0).cache(double)
start = int(sys.argv[3])
for i in range({calls}):
    assert double((start + i) % 500) == 2 * ((start + i) % 500)
"""


def processes(lib: ModuleType, folder: Path) -> Work:
    program = folder / "hammer.py"
    program.write_text(_HAMMER.format(calls=_CALLS))
    rounds = itertools.count()

    def work() -> int:
        command = [sys.executable, str(program), lib.__name__, str(folder / str(next(rounds)))]
        running = [subprocess.Popen([*command, str(50 * i)]) for i in range(_PROCESSES)]
        return sum(process.wait() for process in running)

    return work


def _went_well(result: object) -> None:
    assert result == 0


def disk(lib: ModuleType, folder: Path) -> Work:
    rounds = itertools.count()

    def work() -> Figure:
        place = folder / str(next(rounds))
        remembered = lib.Memory(place, verbose=0).cache(_area)
        for i in range(_SMALL_RESULTS):
            remembered(i, 0.0)
        blocks = sum(
            os.lstat(os.path.join(parent, name)).st_blocks
            for parent, folders, files in os.walk(place)
            for name in (*folders, *files)
        )
        return Figure(blocks * 512 / 1e6, 0.0)

    return work


def decorate(lib: ModuleType, folder: Path) -> Work:
    memory = lib.Memory(folder, verbose=0)
    scope: dict[str, object] = {"__name__": "made"}
    exec("\n".join(f"def f{i}(x, y=1): return x + y" for i in range(_DECORATED)), scope)
    functions = [scope[f"f{i}"] for i in range(_DECORATED)]
    return lambda: len([memory.cache(function) for function in functions])


def _all_decorated(result: object) -> None:
    assert result == _DECORATED


def sweep(lib: ModuleType, folder: Path) -> Work:
    remembered = lib.Memory(folder, verbose=0).cache(_area)
    return lambda: lib.Parallel(n_jobs=2)(lib.delayed(remembered)(i, 2.0) for i in range(_SWEEP))


def _is_sweep(result: object) -> None:
    assert result == [2.0 * i for i in range(_SWEEP)]


CASES = [
    Case("hit, small", hit, _is_area, faster(10), calls=1000),
    Case("hit, small, by the clock", hit, _is_area, at_most(15e-6), calls=1000),
    Case("miss, small", miss, _is_zero, at_most(100e-6), calls=200),
    Case("hit with a 100 MB argument", large_argument, _is_length, faster(10)),
    Case("hit with a 100 MB result, read", large_result, _is_ramp, faster(1.5)),
    Case("hit with a 100 MB result, mapped", mapped_result, _is_ramp, at_most(0.3e-3), calls=20),
    Case("8 processes hit and miss 500 keys", processes, _went_well, faster(8), repeats=3),
    Case("disk for 10,000 small results", disk, _is_zero, faster(2), unit="MB", repeats=1),
    Case("decorate 1,000 functions", decorate, _all_decorated, at_most(20e-6 * _DECORATED)),
    Case("sweep of 1,000 tasks, all hits, 2 workers", sweep, _is_sweep, faster(15), repeats=5),
]
