"""Workers are killed again and again while a loop runs: no result is lost, wrong or out of place, and blame is exact.

`make storm` runs the long form: 10,000 tasks, a kill every 50 ms. Each worker notes in a file of its own which task it
is in, so that a kill can be told from the outside: inside a task, or between two.
"""

from __future__ import annotations

import functools
import itertools
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Set
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from lightwork import Parallel, Retries, delayed, pool_info
from lightwork.errors import TaskError, WorkerDied
from lightwork.parallel.backends.base import Task

_LEAST_RUNS = 5
#  tasks; kills at least, and at most; seconds between them.
SIZES = [
    pytest.param(200, range(5, 6), 0.02, id="breeze"),
    pytest.param(10_000, range(100, 10**6), 0.05, id="storm", marks=pytest.mark.slow),
]


@functools.cache
def own_file(folder: Path, pid: int) -> int:
    """The descriptor of a worker's own file."""
    return os.open(folder / str(pid), os.O_RDWR | os.O_CREAT)


_runs = itertools.count()


def work(folder: Path, data: np.ndarray, i: int, seconds: float = 0.001) -> tuple[int, float]:
    file, runs = own_file(folder, os.getpid()), next(_runs)
    os.pwrite(file, b"%-12d%-12d" % (i, runs), 0)
    time.sleep(seconds)
    found = float(data[i % len(data)])
    os.pwrite(file, b"%-12d%-12d" % (-1, runs + 1), 0)
    return i, found


def noted(folder: Path, pid: int) -> tuple[int, int]:
    """The task that a worker is in, -1 for none, and how many it has run before."""
    task, runs = (folder / str(pid)).read_bytes().split() or (b"-1", b"0")
    return int(task), int(runs)


class Killer:
    """Kills a random worker again and again; `kills` are those that were.

    It has run some tasks before: on a busy machine, the loop would else come no further. With `only`, none is killed
    but in one of these tasks.
    """

    def __init__(self, folder: Path, most: int, seconds: float, only: Set[int] | None = None) -> None:
        self.folder = folder
        self.kills: list[int] = []
        self._most = most
        self._only = only
        self._seconds = seconds
        self._ended = threading.Event()
        self._random = random.Random(1)
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while len(self.kills) < self._most and not self._ended.wait(self._seconds):
            begun = {int(name) for name in os.listdir(self.folder)}
            pids = [w.pid for w in pool_info().workers if not w.idle and w.pid in begun - {*self.kills}]
            if pids := list(filter(self._may_die, pids)):
                pid = self._random.choice(pids)
                with suppress(ProcessLookupError):  # gone by itself
                    os.kill(pid, signal.SIGKILL)
                    self.kills.append(pid)

    def _may_die(self, pid: int) -> bool:
        task, runs = noted(self.folder, pid)
        return runs >= _LEAST_RUNS if self._only is None else task in self._only


def at_least(
    count: int, kills: list[int], most: int, task: Callable[[int], Task[object]]
) -> Iterator[Task[object]]:
    """Tasks until there were so many, and so many kills."""
    i = 0
    while i < count or len(kills) < most:
        yield task(i)
        i += 1


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("count", "kills", "seconds"), SIZES)
@pytest.mark.parametrize("kind", ["list", "generator"])
def test_all_results_are_right_and_in_order(count, kills, seconds, kind, tmp_path):
    data = np.arange(200_000.0)  # travels by memory
    loop = Parallel(n_jobs=2, return_as=kind, retries=Retries(50, on=()))
    with Killer(tmp_path, kills.stop, seconds) as killer:
        results = list(
            loop(at_least(count, killer.kills, kills.start, lambda i: delayed(work)(tmp_path, data, i)))
        )
    assert len(results) >= count
    assert results == [(i, float(i % len(data))) for i in range(len(results))]
    assert len(killer.kills) >= kills.start


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("count", "every"), [pytest.param(100, 25), pytest.param(5000, 50, marks=pytest.mark.slow)]
)
def test_just_the_tasks_whose_workers_are_killed_fail(count, every, tmp_path):
    data = np.arange(1000.0)
    doomed = set(range(7, count, every))
    loop = Parallel(n_jobs=2, on_error="return")
    with Killer(tmp_path, len(doomed), 0.001, only=doomed):
        results = loop(delayed(work)(tmp_path, data, i, 600 if i in doomed else 0.0001) for i in range(count))
    assert {result.index for result in results if isinstance(result, TaskError)} == doomed
    assert [result for result in results if not isinstance(result, TaskError)] == [
        (i, float(i % len(data))) for i in range(count) if i not in doomed
    ]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("count", "kills", "seconds"), SIZES)
def test_kills_inside_a_task_are_blamed_exactly(count, kills, seconds, tmp_path):
    data = np.arange(1000.0)
    loop = Parallel(n_jobs=2, on_error="return")
    with Killer(tmp_path, kills.stop, seconds) as killer:
        results = loop(at_least(count, killer.kills, kills.start, lambda i: delayed(work)(tmp_path, data, i)))
    blamed = {i for i, result in enumerate(results) if isinstance(result, TaskError)}
    for i in blamed:
        assert isinstance(results[i].error, WorkerDied)
        assert (results[i].index, results[i].error.signal) == (i, signal.SIGKILL)
    assert [result for i, result in enumerate(results) if i not in blamed] == [
        (i, float(i % len(data))) for i in range(len(results)) if i not in blamed
    ]
    inside = [i for pid in killer.kills if (i := noted(tmp_path, pid)[0]) >= 0]
    assert blamed >= set(inside)
    # A kill between two tasks may be blamed on one of them, if that was claimed already, or not delivered yet.
    assert len(blamed) <= len(killer.kills)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("count", "kills", "seconds"), SIZES)
def test_nothing_is_begun_twice_where_that_is_forbidden(count, kills, seconds, tmp_path):
    begun = tmp_path / "begun"
    begun.mkdir()
    notes = tmp_path / "notes"
    notes.mkdir()
    data = np.arange(1000.0)

    def once(i):
        os.close(os.open(begun / str(i), os.O_CREAT | os.O_EXCL))  # fails the second time
        return work(notes, data, i)

    loop = Parallel(n_jobs=2, on_error="return", rerun_lost=False)
    with Killer(notes, kills.stop, seconds) as killer:
        results = loop(at_least(count, killer.kills, kills.start, lambda i: delayed(once)(i)))
    lost = [result for result in results if isinstance(result, TaskError)]
    assert all(isinstance(each.error, WorkerDied) for each in lost)
    gone = {each.index for each in lost}
    assert [result for result in results if not isinstance(result, TaskError)] == [
        (i, float(i % len(data))) for i in range(len(results)) if i not in gone
    ]
