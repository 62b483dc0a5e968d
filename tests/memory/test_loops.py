"""Remembered functions in parallel loops, with real workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from lightwork import Parallel, ProcessExecutor, delayed

_SOURCE = """
import os
import numpy as np
from lightwork import Memory

memory = Memory("cache", verbose=0, mmap_mode={mode})

def note(what):
    with open("log", "a") as log:
        log.write(f"{{what}} {{os.getpid()}}\\n")

@memory.cache
def square(x, dtype=float):
    note(x)
    return np.full(20_000, x * x, dtype)

def plain(x):
    return square(x)[0]

@memory.cache
def total(array):
    note(int(array[0]))
    return float(array.sum())

@memory.cache(store_if=lambda result: False)
def unkept(x):
    note(x)
    return x
"""


@pytest.fixture
def log(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def read() -> list[tuple[int, int]]:
        path = tmp_path / "log"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(int(what), int(pid)) for what, pid in map(str.split, lines)]

    return read


@pytest.mark.parametrize("mode", [None, "r"])
def test_workers_compute_and_the_parent_answers(module, log, mode):
    features = module(_SOURCE.format(mode=repr(mode)))
    for _ in range(2):
        found = Parallel(n_jobs=2)(delayed(features.square)(x) for x in range(6))
        assert [array[0] for array in found] == [0, 1, 4, 9, 16, 25]
        assert all(isinstance(array, np.memmap) == (mode == "r") for array in found)
    assert sorted(what for what, _ in log()) == list(range(6))
    assert os.getpid() not in {pid for _, pid in log()}
    assert features.square(x=3, dtype=float)[0] == 9
    assert len(log()) == 6


def test_equal_calls_in_an_executor_are_computed_once(module, log):
    """Each is sent; whichever worker is second waits for the first, and finds the result."""
    features = module(_SOURCE.format(mode=None))
    with ProcessExecutor(2) as executor:
        jobs = [executor.submit(features.square, x % 3) for x in range(12)]
        assert [job.result()[0] for job in jobs] == [(x % 3) ** 2 for x in range(12)]
    assert sorted(what for what, _ in log()) == [0, 1, 2]


def test_equal_calls_in_one_loop_are_computed_once(module, log):
    features = module(_SOURCE.format(mode=None))
    found = Parallel(n_jobs=2)(delayed(features.square)(x % 3) for x in range(30))
    assert [array[0] for array in found] == [(x % 3) ** 2 for x in range(30)]
    assert sorted(what for what, _ in log()) == [0, 1, 2]
    assert len({id(array) for array in found}) == 30
    found[0][:] = 7
    assert found[3][0] == features.square(0)[0] == 0


@pytest.mark.parametrize("backend", ["processes", "threads"])
@pytest.mark.parametrize("how", ["list", "generator", "generator_unordered"])
def test_equal_calls_are_sent_once(module, log, backend, how):
    features = module(_SOURCE.format(mode=None))
    sent = []

    class Counted(Parallel):
        def print_progress(self):
            sent.append(self.n_dispatched_tasks)

    buffer = np.zeros(3)

    def tasks():
        for x in [0, 0, 1, 0, 1, 2]:
            buffer[:] = x  # each is what it was when it was taken
            yield delayed(features.total)(buffer)

    found = list(
        Counted(n_jobs=2, backend=backend, return_as=how)(
            tasks()
            if backend == "processes"
            else (delayed(features.total)(np.full(3, x)) for x in [0, 0, 1, 0, 1, 2])
        )
    )
    assert sorted(found) == [0, 0, 0, 3, 3, 6]
    assert sorted(what for what, _ in log()) == [0, 1, 2]
    assert sent[-1] == 6


def test_what_is_not_kept_is_computed_by_each(module, log):
    features = module(_SOURCE.format(mode=None))
    assert Parallel(n_jobs=2)(delayed(features.unkept)(x % 2) for x in range(6)) == [0, 1] * 3
    assert sorted(what for what, _ in log()) == [0, 0, 0, 1, 1, 1]


def test_a_task_may_call_what_remembers(module, log):
    features = module(_SOURCE.format(mode=None))
    for _ in range(2):
        assert Parallel(n_jobs=2)(delayed(features.plain)(x % 4) for x in range(12)) == [0, 1, 4, 9] * 3
    assert sorted(what for what, _ in log()) == [0, 1, 2, 3]
    features.square(3)
    assert len(log()) == 4


def test_threads_and_the_plain_loop_remember_too(module, log):
    features = module(_SOURCE.format(mode=None))
    for backend in ("threads", "sequential", "processes"):
        found = Parallel(n_jobs=2, backend=backend)(delayed(features.square)(x) for x in range(4))
        assert [array[0] for array in found] == [0, 1, 4, 9]
    assert sorted(what for what, _ in log()) == [0, 1, 2, 3]


_SCRIPT = (
    _SOURCE.format(mode=None)
    + """
import sys, signal
from lightwork import Parallel, ProcessExecutor, delayed

if __name__ == "__main__":
    results = Parallel(n_jobs=2, return_as="generator", batch_size=1)(delayed(square)(x) for x in range(40))
    for number, result in enumerate(results):
        assert result[0] == number ** 2
        if "die" in sys.argv and number == 10:
            os.kill(os.getpid(), signal.SIGKILL)
"""
)


def test_a_killed_sweep_that_is_started_again_computes_only_what_is_missing(tmp_path, log):
    (tmp_path / "sweep.py").write_text(_SCRIPT)
    command = [sys.executable, "-B", "sweep.py"]
    died = subprocess.run([*command, "die"], cwd=tmp_path, check=False)
    assert died.returncode == -signal.SIGKILL
    first = [what for what, _ in log()]
    assert len(first) >= 11
    subprocess.run(command, cwd=tmp_path, check=True)
    computed = [what for what, _ in log()]
    assert set(computed) == set(range(40))
    # At most what two workers were at when their parent died is computed again.
    assert len(computed) - 40 <= 2
    subprocess.run(command, cwd=tmp_path, check=True)
    assert len(log()) == len(computed)
