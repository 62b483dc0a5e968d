"""Processes around loops: `multiprocessing` in tasks, loops in its children and in forks of a program at work."""

import importlib.util
import math
import multiprocessing
import os
import subprocess
import sys
import threading
import time

import pytest

from lightwork import Parallel, delayed

from .programs import run

METHODS = ["fork", "spawn", "forkserver"]
each_method = pytest.mark.parametrize("method", METHODS)


def factorials(method, numbers):
    with multiprocessing.get_context(method).Pool(2) as pool:
        return pool.map(math.factorial, numbers)


def from_a_child(method, value):
    context = multiprocessing.get_context(method)
    results = context.SimpleQueue()
    child = context.Process(target=results.put, args=(value,))
    child.start()
    result = results.get()
    child.join()
    results.close()
    return result, child.exitcode


@each_method
def test_multiprocessing_in_tasks(method):
    # Its forkserver and resource tracker are grandchildren that end with the worker.
    loop = Parallel(n_jobs=2, batch_size=1)
    assert loop(delayed(factorials)(method, [i, 5]) for i in range(2)) == [[1, 120], [1, 120]]
    assert loop(delayed(from_a_child)(method, i) for i in range(2)) == [(0, 0), (1, 0)]


def test_forked_children_of_tasks_know_what_main_defines(tmp_path):
    code = """
    import multiprocessing
    from lightwork import Parallel, delayed
    class Point:
        def __init__(self, x): self.x = x
    def twice(point): return Point(2 * point.x)
    def task(i):
        with multiprocessing.get_context("fork").Pool(2) as pool:
            return pool.map(twice, [Point(i), Point(i + 1)])
    results = Parallel(n_jobs=2)(delayed(task)(i) for i in range(2))
    print([[point.x for point in points] for points in results], isinstance(results[0][0], Point))
    """
    assert run(code) == ("[[0, 2], [2, 4]] True\n", "", 0)


IN_CHILDREN = """
import multiprocessing, os, sys
from lightwork import Parallel, delayed


class Point:
    def __init__(self, x):
        self.x = x

SCALE = 3

def scale(point):
    return Point(point.x * SCALE)

def loop(count):
    points = Parallel(n_jobs=2)(delayed(scale)(Point(i)) for i in range(count))
    assert all(type(point) is Point for point in points)
    return sum(point.x for point in points) + sum(Parallel(n_jobs=2)(delayed(lambda i: i)(i) for i in range(count)))

def child(results):
    results.put(loop(5))

if __name__ == "__main__":
    assert loop(4) == 24
    context = multiprocessing.get_context(sys.argv[1])
    with context.Pool(2) as pool:
        print(pool.map(loop, range(4)))
    for daemon in (False, True):
        results = context.SimpleQueue()
        process = context.Process(target=child, args=(results,), daemon=daemon)
        process.start()
        print(results.get())
        process.join()
        print(process.exitcode)
"""


@each_method
def test_loops_in_children_of_multiprocessing(method, tmp_path):
    script = tmp_path / "program.py"
    script.write_text(IN_CHILDREN.replace("from lightwork.workers import pool_info\n", ""))
    done = subprocess.run([sys.executable, "-B", script, method], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[0, 0, 4, 12]\n40\n0\n40\n0\n", "")


def test_a_fork_while_another_thread_runs_a_loop():
    code = """
    import os, sys, threading, warnings
    from lightwork import Parallel, delayed
    warnings.filterwarnings("ignore", "This process .* is multi-threaded")  # from Python 3.12 on; it is what we test
    loop = Parallel(n_jobs=2, batch_size=1)
    begun, results = threading.Event(), []
    def tasks():
        for i in range(300):
            if i == 20:
                begun.set()
            yield delayed(abs)(-i)
    thread = threading.Thread(target=lambda: results.extend(loop(tasks())))
    thread.start()
    begun.wait()
    for _ in range(5):
        child = os.fork()
        if child == 0:
            print(sum(loop(delayed(abs)(-i) for i in range(50))), flush=True)
            sys.exit(0)  # the way of a program that ends, `atexit` included
        assert os.waitpid(child, 0)[1] == 0
    thread.join()
    print(results == list(range(300)))
    """
    assert run(code) == ("1225\n" * 5 + "True\n", "", 0)


def leave_a_thread(started, until):
    thread = threading.Thread(target=until, daemon=True)
    thread.start()
    started.append(thread.name)
    return os.getpid()


def keep_printing():
    while True:
        print("still here")
        time.sleep(0.001)


def test_threads_that_tasks_leave_behind_disturb_nobody(capsys):
    """Their lines arrive, whole, with those of later tasks, and they end with their worker."""
    loop = Parallel(n_jobs=2, batch_size=1)
    loop(delayed(leave_a_thread)([], keep_printing) for _ in range(4))
    for _ in range(20):
        assert loop(delayed(abs)(-i) for i in range(20)) == list(range(20))
    assert set(capsys.readouterr().out.splitlines()) <= {"still here"}


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs torch: `make test-torch`")
@pytest.mark.parametrize("workers", [0, 2])
def test_a_data_loader_of_torch_in_tasks(workers):
    results = Parallel(n_jobs=2)(delayed(load)(workers, i) for i in range(2))
    assert results == [sum(range(10)), sum(range(1, 11))]


def load(workers, first):
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    data = TensorDataset(torch.arange(first, first + 10))
    return sum(int(batch.sum()) for (batch,) in DataLoader(data, batch_size=3, num_workers=workers))
