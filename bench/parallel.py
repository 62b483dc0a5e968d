"""Loops: how they start, many tiny tasks, big data in and out, uneven tasks, slow readers; two workers throughout."""

from __future__ import annotations

import operator
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from heapq import heapreplace
from math import sqrt
from pathlib import Path
from time import perf_counter
from types import ModuleType
from typing import Any

from bench.harness import Case, Figure, Prepare, Work, at_least, at_most, faster

_MANY, _SOME = 1_000_000, 10_000


def _like(expected: Any) -> Callable[[object], None]:
    def check(result: object) -> None:
        assert result == expected

    return check


def _is_count(count: int) -> Callable[[object], None]:
    """The absolute values of 0, -1, -2 … in order; compared without keeping a second list of them."""

    def check(result: object) -> None:
        assert isinstance(result, list)
        assert len(result) == count
        assert all(map(operator.eq, result, range(count)))

    return check


# --- the start --------------------------------------------------------------------------------------


def first_call(lib: ModuleType, folder: Path) -> Work:
    return lambda: lib.Parallel(n_jobs=2)(lib.delayed(sqrt)(i**2) for i in range(2))


def second_call(lib: ModuleType, folder: Path) -> Work:
    def work() -> Figure:
        first_call(lib, folder)()
        begun = perf_counter()
        result = first_call(lib, folder)()
        return Figure(perf_counter() - begun, result)

    return work


def first_numpy_call(lib: ModuleType, folder: Path) -> Work:
    import numpy

    return lambda: [
        float(value) for value in lib.Parallel(n_jobs=2)(lib.delayed(numpy.sqrt)(i**2) for i in range(2))
    ]


def calls_in_a_row(calls: int, tasks: int) -> Prepare:
    def prepare(lib: ModuleType, folder: Path) -> Work:
        parallel = lib.Parallel(n_jobs=2)

        def work() -> object:
            for _ in range(calls):
                result = parallel(lib.delayed(abs)(-i) for i in range(tasks))
            return result

        return work

    return prepare


# --- tiny tasks -------------------------------------------------------------------------------------


def loop_of(count: int, **options: object) -> Prepare:
    def prepare(lib: ModuleType, folder: Path) -> Work:
        parallel = lib.Parallel(**{"n_jobs": 2, **options})
        return lambda: parallel(lib.delayed(abs)(-i) for i in range(count))

    return prepare


def keywords(lib: ModuleType, folder: Path) -> Work:
    parallel = lib.Parallel(n_jobs=2)
    return lambda: parallel(lib.delayed(int)("7", base=8) for _ in range(_MANY))


def mapped(lib: ModuleType, folder: Path) -> Work:
    if lib.__name__ != "lightwork":
        return loop_of(_MANY)(lib, folder)
    return lambda: lib.map(abs, range(0, -_MANY, -1), n_jobs=2)


def pool_of(count: int, chunk: int) -> Prepare:
    """The same calls by the pool of another library, kept from call to call."""

    def prepare(lib: ModuleType, folder: Path) -> Work:
        inputs = range(0, -count, -1)
        if lib.__name__ == "concurrent.futures":
            executor = lib.ProcessPoolExecutor(2)
            return lambda: list(executor.map(abs, inputs, chunksize=chunk))
        if lib.__name__ == "mpire":
            workers = lib.WorkerPool(2, keep_alive=True)
            return lambda: list(workers.map(abs, inputs, chunk_size=chunk, iterable_len=count))
        pool = lib.Pool(2)
        return lambda: pool.map(abs, inputs, chunk)

    return prepare


# --- big data ---------------------------------------------------------------------------------------

_ARRAY, _ARRAY_TASKS = 50_000_000, 100  # 400 MB
_BIG, _BIG_FLOATS = 50, 5_000_000  # 50 results of 40 MB
_MEDIUM, _MEDIUM_FLOATS = 2_000, 12_500  # 2,000 results of 100 KB


def _look(array: Any, place: int) -> float:
    return float(array[place])


def big_argument(lib: ModuleType, folder: Path) -> Work:
    import numpy

    array = numpy.arange(float(_ARRAY))
    return lambda: lib.Parallel(n_jobs=2)(lib.delayed(_look)(array, i) for i in range(_ARRAY_TASKS))


def results_of(count: int, floats: int) -> Prepare:
    def prepare(lib: ModuleType, folder: Path) -> Work:
        import numpy

        return lambda: lib.Parallel(n_jobs=2)(lib.delayed(numpy.full)(floats, float(i)) for i in range(count))

    return prepare


def plain_big_results(lib: ModuleType, folder: Path) -> Work:
    import numpy

    return lambda: [numpy.full(_BIG_FLOATS, float(i)) for i in range(_BIG)]


def _are_full(count: int, floats: int) -> Callable[[object], None]:
    def check(result: Any) -> None:
        assert len(result) == count
        for i, array in enumerate(result):
            assert array.shape == (floats,)
            assert array[0] == array[-1] == array[floats // 2] == i

    return check


# --- even and uneven work ---------------------------------------------------------------------------

_SPINS = 200


def _spin(_: object) -> int:
    """About 10 ms of a core."""
    return sum(range(600_000))


def spins(lib: ModuleType, folder: Path) -> Work:
    parallel = lib.Parallel(n_jobs=2)
    return lambda: len(parallel(lib.delayed(_spin)(i) for i in range(_SPINS)))


def forked_spins(lib: ModuleType, folder: Path) -> Work:
    """What two processes do at best: a bare loop each, nothing said between them."""

    def work() -> int:
        children = []
        for _ in range(2):
            child = os.fork()
            if not child:
                for i in range(_SPINS // 2):
                    _spin(i)
                os._exit(0)
            children.append(child)
        return _SPINS if not any(os.waitpid(child, 0)[1] for child in children) else 0

    return work


def _uneven() -> list[float]:
    """Seconds to sleep: Pareto, half below 1.6 ms, the longest some hundred."""
    chance = random.Random(5)
    return [min(1e-3 * chance.paretovariate(1.3), 0.4) for _ in range(600)]


def greedy(seconds: Sequence[float], workers: int) -> float:
    """How long it takes where each worker that is free takes the next task, at no cost."""
    free = [0.0] * workers
    for each in seconds:
        heapreplace(free, free[0] + each)
    return max(free)


def _nap(seconds: float) -> float:
    """Sleep, and tell how long it came to be: timers are late by some ten microseconds."""
    begun = perf_counter()
    time.sleep(seconds)
    return perf_counter() - begun


def uneven(backend: str) -> Prepare:
    def prepare(lib: ModuleType, folder: Path) -> Work:
        parallel = lib.Parallel(n_jobs=2, backend=backend)
        parallel(lib.delayed(_nap)(0) for _ in range(4))

        def work() -> Figure:
            begun = perf_counter()
            slept = parallel(lib.delayed(_nap)(seconds) for seconds in _uneven())
            took = perf_counter() - begun
            return Figure(took / greedy(slept, 2), len(slept))

        return work

    return prepare


# --- options ----------------------------------------------------------------------------------------

_TASKS = 20_000


def added_by(n_jobs: int, **options: object) -> Prepare:
    """What an option adds to each task of a loop: the least of some loops with it less the least of as many without."""

    def prepare(lib: ModuleType, folder: Path) -> Work:
        loops = [lib.Parallel(n_jobs=n_jobs, **said) for said in ({}, options)]

        def took(loop: Any) -> tuple[float, object]:
            begun = perf_counter()
            result = loop(lib.delayed(abs)(-i) for i in range(_TASKS))
            return perf_counter() - begun, result

        def work() -> Figure:
            rounds = [[took(loop) for loop in loops] for _ in range(3)]
            without, with_it = (min(seconds for seconds, _ in each) for each in zip(*rounds, strict=True))
            return Figure((with_it - without) / _TASKS * 1e6, rounds[-1][1][1])

        return work

    return prepare


_VARIABLE = ContextVar("_VARIABLE", default=0)
_VARIABLE.set(1)
# What each costs in a plain loop too, but for those that do nothing there.
_OPTIONS: list[tuple[str, dict[str, object], tuple[int, ...]]] = [
    ("task_timeout", {"task_timeout": 60}, (2,)),
    ("retries", {"retries": 2}, (2, 1)),
    ("on_error", {"on_error": "return"}, (2, 1)),
    ("on_input_error", {"on_input_error": "finish"}, (2,)),
    ("rerun_lost", {"rerun_lost": False}, (2,)),
    ("contextvars", {"contextvars": [_VARIABLE]}, (2, 1)),
    ("worker_names", {"worker_names": True}, (2,)),
    ("seed", {"seed": 1}, (2, 1)),
]


def _options() -> list[Case]:
    return [
        Case(
            f"a task more, {name}, n_jobs={n_jobs}",
            added_by(n_jobs, **said),
            _is_count(_TASKS),
            at_most(2),
            peer="",
            unit="µs",
            repeats=3,
        )
        for name, said, numbers in _OPTIONS
        for n_jobs in numbers
    ]


# --- generators -------------------------------------------------------------------------------------

_NAPS = 300


def slow_reader(lib: ModuleType, folder: Path) -> Work:
    """The share of the time in which workers had nothing to do."""
    parallel = lib.Parallel(n_jobs=2, return_as="generator", pre_dispatch=64)

    def work() -> Figure:
        slept = count = 0.0
        begun = perf_counter()
        for seconds in parallel(lib.delayed(_nap)(0.01) for _ in range(_NAPS)):
            slept += seconds
            count += 1
            until = perf_counter() + 0.004
            while perf_counter() < until:
                pass
        return Figure(1 - slept / (2 * (perf_counter() - begun)), count)

    return work


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def memory_of_a_stream(lib: ModuleType, folder: Path) -> Work:
    """By how much the parent grows (MB) over many results that it reads and forgets."""
    parallel = lib.Parallel(n_jobs=2, return_as="generator_unordered")

    def results(count: int) -> Iterator[int]:
        yield from parallel(lib.delayed(abs)(-i) for i in range(count))

    def work() -> Figure:
        total = sum(results(_SOME))
        start = most = _resident()
        for count, value in enumerate(results(_MANY)):
            total += value
            if count % 5_000 == 0:
                most = max(most, _resident())
        return Figure((max(most, _resident()) - start) / 1e6, total)

    return work


# --- the table --------------------------------------------------------------------------------------

_COUNTED = {"work": _MANY, "unit": "tasks"}
_TOTAL = sum(range(_SOME)) + sum(range(_MANY))


def _beside(peer: str, count: int, chunk: int) -> dict[str, Any]:
    return {"peer": peer, "prepare_peer": pool_of(count, chunk), "work": count, "unit": "tasks"}


def _pools(name: str, prepare: Prepare, count: int, chunk: int) -> list[Case]:
    peers = ("concurrent.futures", "multiprocessing", "mpire")
    return [
        Case(f"{name}, {peer}", prepare, _is_count(count), None, repeats=3, **_beside(peer, count, chunk))
        for peer in peers
    ]


CASES = [
    Case("first call", first_call, _like([0.0, 1.0]), at_most(0.06), fresh=True),
    Case("first call with NumPy", first_numpy_call, _like([0.0, 1.0]), at_most(0.18), fresh=True),
    Case("second call", second_call, _like([0.0, 1.0]), at_most(0.002), fresh=True),
    Case(
        "tiny tasks, batch_size=1",
        loop_of(_SOME, batch_size=1),
        _is_count(_SOME),
        at_least(55_000),
        work=_SOME,
        unit="tasks",
        repeats=5,
    ),
    *_pools("tiny tasks, batch_size=1", loop_of(_SOME, batch_size=1), _SOME, 1),
    Case("1 M tiny tasks", loop_of(_MANY), _is_count(_MANY), at_least(1.4e6), repeats=3, **_COUNTED),
    *_pools("1 M tiny tasks", loop_of(_MANY), _MANY, 1_000),
    Case("1 M with keywords", keywords, _like([7] * _MANY), at_least(0.8e6), repeats=3, **_COUNTED),
    Case("1 M by map", mapped, _is_count(_MANY), at_least(3e6), repeats=3, **_COUNTED),
    *_pools("1 M by map", mapped, _MANY, 1_000),
    Case(
        "threads, tiny tasks",
        loop_of(50_000, backend="threading"),
        _is_count(50_000),
        at_least(1e6),
        work=50_000,
        unit="tasks",
        repeats=5,
    ),
    Case(
        "n_jobs=1",
        loop_of(300_000, n_jobs=1),
        _is_count(300_000),
        at_least(2.5e6),
        work=300_000,
        unit="tasks",
        repeats=5,
    ),
    Case(
        "400 MB to 100 tasks, first call",
        big_argument,
        _like([float(i) for i in range(_ARRAY_TASKS)]),
        faster(3),
        fresh=True,
        repeats=5,
    ),
    Case(
        "400 MB to 100 tasks, again",
        big_argument,
        _like([float(i) for i in range(_ARRAY_TASKS)]),
        faster(6),
        repeats=5,
    ),
    Case(
        "50 results of 40 MB",
        results_of(_BIG, _BIG_FLOATS),
        _are_full(_BIG, _BIG_FLOATS),
        faster(8),
        repeats=3,
    ),
    Case(
        "50 results of 40 MB, plain loop",
        results_of(_BIG, _BIG_FLOATS),
        _are_full(_BIG, _BIG_FLOATS),
        faster(1 / 2.5),
        peer="builtins",
        prepare_peer=plain_big_results,
        repeats=5,
    ),
    Case(
        "2,000 results of 100 KB",
        results_of(_MEDIUM, _MEDIUM_FLOATS),
        _are_full(_MEDIUM, _MEDIUM_FLOATS),
        faster(3),
    ),
    Case(
        "200 tasks of 10 ms, two bare forks",
        spins,
        _like(_SPINS),
        faster(0.97),
        peer="os",
        prepare_peer=forked_spins,
        repeats=9,
    ),
    Case("uneven tasks, against greedy", uneven("loky"), _like(600), at_most(1.05), unit="×", repeats=5),
    Case(
        "uneven tasks on threads, against greedy",
        uneven("threading"),
        _like(600),
        at_most(1.05),
        unit="×",
        repeats=5,
    ),
    Case("slow reader, share of idle time", slow_reader, _like(_NAPS), at_most(0.08), unit="idle", repeats=3),
    Case(
        "parent's growth, 1 M streamed",
        memory_of_a_stream,
        _like(_TOTAL),
        at_most(20),
        unit="MB",
        fresh=True,
        repeats=2,
    ),
    Case("200 calls of 10 tasks", calls_in_a_row(200, 10), _is_count(10), faster(8), repeats=3),
    Case("1,000 calls of 4 tasks", calls_in_a_row(1_000, 4), _is_count(4), faster(8), repeats=3),
    *_options(),
]
