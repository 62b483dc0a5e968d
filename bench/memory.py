"""Remembered functions: hits and misses, small and large, alone and in loops, and what they cost on disk.

diskcache and cachier remember too, each in its own way: diskcache in one SQLite file, without a look at the code;
cachier in one pickle for a function, or in one for each call, which is what is measured here.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from bench.harness import Case, Figure, Prepare, Work, at_most, faster

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


# --- other peers ------------------------------------------------------------------------------------


def _by_diskcache(lib: ModuleType, folder: Path) -> Callable[..., float]:
    return lib.Cache(str(folder / "cache")).memoize()(_area)  # type: ignore[no-any-return]


def _by_cachier(lib: ModuleType, folder: Path) -> Callable[..., float]:
    return lib.cachier(cache_dir=folder / "cache", separate_files=True)(_area)  # type: ignore[no-any-return]


def _hit_of(make: Callable[[ModuleType, Path], Callable[..., float]]) -> Prepare:
    def prepare(lib: ModuleType, folder: Path) -> Work:
        remembered = make(lib, folder)
        return lambda: remembered(3, height=4.0)

    return prepare


def _miss_of(make: Callable[[ModuleType, Path], Callable[..., float]]) -> Prepare:
    def prepare(lib: ModuleType, folder: Path) -> Work:
        remembered, numbers = make(lib, folder), itertools.count()
        return lambda: remembered(next(numbers), height=0.0)

    return prepare


def miss_with_limits(lib: ModuleType, folder: Path) -> Work:
    """Each miss evicts: the limit was reached before."""
    remembered = lib.Memory(folder, verbose=0, items_limit=1000).cache(_area)
    numbers = itertools.count()
    for _ in range(1500):
        remembered(next(numbers), height=0.0)
    return lambda: remembered(next(numbers), height=0.0)


def _limited_diskcache(lib: ModuleType, folder: Path) -> Callable[..., float]:
    remembered = lib.Cache(str(folder / "cache"), size_limit=1 << 19).memoize()(_area)
    for number in range(1500):
        remembered(-1 - number, height=0.0)
    return remembered  # type: ignore[no-any-return]


# --- crowded ----------------------------------------------------------------------------------------


def _crowded(entries: int, action: str) -> Prepare:
    """A cache of so many entries: names of few files, since the number of names is what could cost."""

    def prepare(lib: ModuleType, folder: Path) -> Work:
        remembered = lib.Memory(folder, verbose=0).cache(_area)
        remembered(3, height=4.0)
        shards = folder / "lightwork"
        for shard in range(256):
            os.makedirs(shards / f"{shard:02x}", exist_ok=True)
            first = shards / f"{shard:02x}" / f"bench.other-{shard:02x}{0:030x}"
            first.write_bytes(b"x")
            for number in range(1, entries // 256):
                os.link(first, f"{os.fspath(first)[:-30]}{number:030x}")
        numbers = itertools.count()
        if action == "hit":
            return lambda: remembered(3, height=4.0)
        return lambda: remembered(next(numbers), height=0.0)

    return prepare


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
    Case(
        "hit, small, beside diskcache",
        hit,
        _is_area,
        at_most(15e-6),
        peer="diskcache",
        prepare_peer=_hit_of(_by_diskcache),
        calls=1000,
    ),
    Case(
        "hit, small, beside cachier",
        hit,
        _is_area,
        at_most(15e-6),
        peer="cachier",
        prepare_peer=_hit_of(_by_cachier),
        calls=100,
    ),
    Case(
        "miss, small, beside diskcache",
        miss,
        _is_zero,
        at_most(100e-6),
        peer="diskcache",
        prepare_peer=_miss_of(_by_diskcache),
        calls=200,
    ),
    Case(
        "miss, small, beside cachier",
        miss,
        _is_zero,
        at_most(100e-6),
        peer="cachier",
        prepare_peer=_miss_of(_by_cachier),
        calls=50,
    ),
    Case(
        "miss, small, with limits",
        miss_with_limits,
        _is_zero,
        at_most(150e-6),
        peer="diskcache",
        prepare_peer=_miss_of(_limited_diskcache),
        calls=200,
    ),
    Case(
        "hit among 1 M entries, beside 1 k",
        _crowded(1_000_000, "hit"),
        _is_area,
        faster(1 / 1.3),
        peer="lightwork",
        prepare_peer=_crowded(1_000, "hit"),
        calls=1000,
    ),
    Case(
        "miss among 1 M entries, beside 1 k",
        _crowded(1_000_000, "miss"),
        _is_zero,
        faster(1 / 1.3),
        peer="lightwork",
        prepare_peer=_crowded(1_000, "miss"),
        calls=300,
    ),
    Case("hit with a 100 MB argument", large_argument, _is_length, faster(10)),
    Case("hit with a 100 MB result, read", large_result, _is_ramp, faster(1.5)),
    Case("hit with a 100 MB result, mapped", mapped_result, _is_ramp, at_most(0.3e-3), calls=20),
    Case("8 processes hit and miss 500 keys", processes, _went_well, faster(8), repeats=3),
    Case("disk for 10,000 small results", disk, _is_zero, faster(2), unit="MB", repeats=1),
    Case("decorate 1,000 functions", decorate, _all_decorated, at_most(20e-6 * _DECORATED)),
    Case("sweep of 1,000 tasks, all hits, 2 workers", sweep, _is_sweep, faster(15), repeats=5),
]
