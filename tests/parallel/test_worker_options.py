"""How worker processes are made and bounded, tried through `Parallel`."""

import logging
import os
import random
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from lightwork import Parallel, delayed, parallel_config, pool_info
from lightwork.errors import OptionError, OptionTypeError, PicklingFailedError, WorkerDied, WorkerStartError

METHODS = ["zygote", "spawn", "fork"]
each_method = pytest.mark.parametrize("method", METHODS)

big = np.arange(100_000.0)
prepared = []


def touch(i):
    big[i] += 1
    return float(big[i])


@each_method
class TestStartMethod:
    def test_results_isolation_and_order(self, method):
        loop = Parallel(n_jobs=2, start_method=method, batch_size=1)
        assert loop(delayed(touch)(i) for i in range(20)) == [i + 1.0 for i in range(20)]
        assert big[3] == 3.0

    def test_big_arrays_both_ways(self, method):
        array = np.ones(300_000)
        results = Parallel(n_jobs=2, start_method=method)(delayed(np.add)(array, i) for i in range(6))
        assert [result[-1] for result in results] == [1.0 + i for i in range(6)]

    @pytest.mark.parametrize("draw", [np.random.rand, np.random.normal, random.random, random.getrandbits])
    def test_random_numbers_differ(self, method, draw):
        args = (128,) if draw is random.getrandbits else ()
        loop = Parallel(n_jobs=2, start_method=method, batch_size=1)
        assert len(set(loop(delayed(draw)(*args) for _ in range(8)))) == 8

    def test_a_death_is_blamed_and_leaves_nothing(self, method):
        with pytest.raises(WorkerDied, match="task 3"):
            Parallel(n_jobs=2, start_method=method, batch_size=1)(delayed(die_at)(3, i) for i in range(6))
        assert Parallel(n_jobs=2, start_method=method)(delayed(abs)(-i) for i in range(4)) == [0, 1, 2, 3]

    def test_main_by_name_and_value(self, method):
        code = f"""
from lightwork import Parallel, delayed
class Point:
    def __init__(self, x): self.x = x
SCALE = 3
def scale(point): return Point(point.x * SCALE)
results = Parallel(n_jobs=2, start_method={method!r})(delayed(scale)(Point(i)) for i in range(5))
assert all(type(result) is Point for result in results)
added = Parallel(n_jobs=2, start_method={method!r})(delayed(lambda i: i + SCALE)(i) for i in range(3))
print([result.x for result in results], added)
"""
        out = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
        )
        assert out.stdout == "[0, 3, 6, 9, 12] [3, 4, 5]\n"
        assert out.stderr == ""

    def test_a_killed_parent_takes_all_with_it(self, method):
        code = f"""
import os, time
from lightwork import Parallel, delayed
results = Parallel(n_jobs=2, start_method={method!r}, return_as="generator", batch_size=1)(
    delayed(f)() for f in [os.getpid, os.getppid, *[lambda: time.sleep(60)] * 4])
print(next(results), next(results), flush=True)
time.sleep(60)
"""
        program = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        pids = [int(word) for word in program.stdout.readline().split()]
        program.kill()
        program.wait()
        program.stdout.close()
        deadline = time.monotonic() + 30
        while any(os.path.exists(f"/proc/{pid}") for pid in pids):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def die_at(when, i):
    if i == when:
        os.kill(os.getpid(), signal.SIGKILL)
    return i


def test_forks_of_this_process_share_its_memory_and_do_not_outlive_the_call():
    prepared.append(7)
    try:
        assert Parallel(n_jobs=2, start_method="fork")(delayed(prepared.copy)() for _ in range(2)) == [
            [7],
            [7],
        ]
        assert Parallel(n_jobs=2, start_method="fork")(delayed(last)() for _ in range(2)) == [7, 7]
        assert Parallel(n_jobs=2)(delayed(last)() for _ in range(2)) == [None, None]
        assert len(pool_info().workers) == 2
    finally:
        prepared.clear()


def last():
    return prepared[-1] if prepared else None


class TestInitializer:
    def test_runs_once_in_each_worker_before_its_first_task(self):
        loop = Parallel(n_jobs=2, initializer=prepared.extend, initargs=([1],))
        # A bound method of a list is pickled with its list: the worker extends a copy.
        assert loop(delayed(last)() for _ in range(4)) == [None] * 4
        loop = Parallel(n_jobs=2, initializer=prepare, initargs=("x",), batch_size=1)
        for _ in range(2):
            assert loop(delayed(prepared_here)() for _ in range(6)) == [["x"]] * 6
        assert Parallel(n_jobs=2)(delayed(prepared_here)() for _ in range(2)) == [[], []]

    def test_one_that_raises_ends_the_call_with_its_error(self):
        with pytest.raises(
            WorkerStartError, match=r"initializer 'refuse' raised ValueError .* not today"
        ) as caught:
            Parallel(n_jobs=2, initializer=refuse)(delayed(abs)(i) for i in range(4))
        assert isinstance(caught.value.__cause__, ValueError)
        assert Parallel(n_jobs=2)(delayed(abs)(i) for i in range(3)) == [0, 1, 2]

    def test_one_that_cannot_travel_is_named(self):
        with pytest.raises(PicklingFailedError, match=r"the initializer, .*argument 0 cannot be pickled"):
            Parallel(n_jobs=2, initializer=print, initargs=(sys._getframe(),))([delayed(abs)(1)] * 2)

    def test_replacements_run_it_too(self):
        loop = Parallel(n_jobs=2, initializer=prepare, initargs=("y",), batch_size=1)
        with pytest.raises(WorkerDied):
            loop(delayed(die_at)(1, i) for i in range(4))
        assert loop(delayed(prepared_here)() for _ in range(4)) == [["y"]] * 4


def prepare(what):
    prepared.append(what)


def prepared_here():
    return list(prepared)


def refuse():
    raise ValueError("not today")


class TestBounds:
    def test_a_worker_is_replaced_after_so_many_tasks(self):
        pids = Parallel(n_jobs=2, max_tasks_per_child=3, batch_size=1)(
            delayed(os.getpid)() for _ in range(20)
        )
        assert max(map(pids.count, pids)) <= 3

    def test_a_task_that_needs_more_memory_than_allowed_gets_an_error_and_the_worker_lives(self):
        loop = Parallel(n_jobs=2, memory_limit="400M")
        with pytest.raises(MemoryError):
            loop(delayed(bytearray)(size) for size in (10, 1 << 30))
        assert loop(delayed(len)(b"abc") for _ in range(2)) == [3, 3]

    def test_threads_of_native_libraries(self):
        name = "OPENBLAS_NUM_THREADS"
        assert (
            Parallel(n_jobs=2, inner_max_num_threads=3)(delayed(os.getenv)(name) for _ in range(2))
            == ["3"] * 2
        )
        with parallel_config(inner_max_num_threads=5):
            assert Parallel(n_jobs=2)(delayed(os.getenv)(name) for _ in range(2)) == ["5"] * 2
            assert (
                Parallel(n_jobs=2, inner_max_num_threads=1)(delayed(os.getenv)(name) for _ in range(2))
                == ["1"] * 2
            )


def say(i):
    print("said", i)
    print("no end", i, end="")
    logging.getLogger("lightwork_test").warning("logged %d", i)


class TestNames:
    @pytest.mark.parametrize("how", ["option", "configuration", "environment"])
    def test_stand_before_printed_lines_where_asked_for(self, how, capsys, monkeypatch):
        if how == "environment":
            monkeypatch.setenv("LIGHTWORK_WORKER_NAMES", "1")
        with parallel_config(**({"worker_names": True} if how == "configuration" else {})):
            # One by one: what two tasks of a message print stands in a line together where the first ends none.
            loop = Parallel(n_jobs=2, batch_size=1, **({"worker_names": True} if how == "option" else {}))
            loop(delayed(say)(i) for i in range(4))
        lines = capsys.readouterr().out.splitlines()
        assert sorted(line.partition("] ")[2] for line in lines) == sorted(
            f"{what} {i}" for what in ("said", "no end") for i in range(4)
        )
        numbers = {line.partition("] ")[0] for line in lines}
        assert all(re.fullmatch(r"\[worker \d+", number) for number in numbers)
        assert len(numbers) <= 2

    def test_stand_nowhere_else(self, capsys, monkeypatch):
        monkeypatch.setenv("LIGHTWORK_WORKER_NAMES", "1")
        Parallel(n_jobs=2, worker_names=False)(delayed(print)(i) for i in range(3))
        assert sorted(capsys.readouterr().out.split()) == ["0", "1", "2"]

    def test_are_those_of_the_process_in_log_records(self, caplog):
        Parallel(n_jobs=2)(delayed(say)(i) for i in range(4))
        assert len(caplog.records) == 4
        assert all(re.fullmatch(r"worker \d+", record.processName) for record in caplog.records)

    def test_are_asked_for_by_yes_or_no(self):
        with pytest.raises(OptionTypeError, match="worker_names"):
            Parallel(worker_names="yes")


def native_threads():
    import threadpoolctl

    np.ones((2, 2)) @ np.ones((2, 2))
    return {pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"}


def test_libraries_that_are_loaded_already_are_told_of_their_threads():
    for count in (2, 1):
        found = Parallel(n_jobs=2, inner_max_num_threads=count)(delayed(native_threads)() for _ in range(2))
        assert found == [{count}] * 2


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"backend": "threading", "inner_max_num_threads": 1}, OptionError, "inner_max_num_threads=1 is for"),
        ({"backend": "threads", "initializer": print}, OptionError, "initializer=.* is for worker processes"),
        (
            {"backend": "threads", "memory_limit": "1G"},
            OptionError,
            "memory_limit='1G' is for worker processes",
        ),
        ({"backend": "threads", "max_tasks_per_child": 1}, OptionError, "there is no process to replace"),
        ({"backend": "proceses"}, OptionError, "did you mean 'processes'"),
        ({"memory_limits": 1}, OptionTypeError, "no option 'memory_limits'; did you mean 'memory_limit'"),
        ({"verbos": 1}, OptionTypeError, "did you mean 'verbose'"),
        ({"xyzzy": 1}, OptionTypeError, "no option 'xyzzy'$"),
        ({"start_method": "forkserver"}, OptionError, "start_method='forkserver'"),
        ({"initializer": 3}, OptionTypeError, "initializer must be a function"),
        ({"memory_limit": "much"}, OptionError, "memory_limit='much'"),
        ({"max_tasks_per_child": 0}, OptionError, "max_tasks_per_child"),
        ({"inner_max_num_threads": 0}, OptionError, "inner_max_num_threads"),
    ],
)
def test_what_cannot_be_is_refused_before_any_worker_starts(options, error, said):
    with pytest.raises(error, match=said):
        Parallel(n_jobs=2, **options)
    if options.keys() & {"xyzzy", "verbos", "memory_limits", "backend"}:
        with pytest.raises(error, match=said):
            parallel_config(**options)
    assert pool_info().workers == ()
