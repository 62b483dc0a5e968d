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


IN_TASKS = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
from lightwork import Parallel, delayed
print("the script")

class Point:
    def __init__(self, x): self.x = x

FACTOR = 3

def times(point): return Point(FACTOR * point.x)

class Child(multiprocessing.Process):
    def __init__(self, results, point):
        super().__init__()
        self.results, self.point = results, point
    def run(self):
        self.results.put(Parallel(n_jobs=2)(delayed(times)(self.point) for _ in range(2)))

def by_pool(point):
    with multiprocessing.Pool(1) as pool:
        return pool.map(times, [point])

def by_process(point):
    results = multiprocessing.SimpleQueue()
    child = Child(results, point)
    child.start()
    found = results.get()
    child.join()
    return found

def by_executor(point):
    with ProcessPoolExecutor(1) as executor:
        return executor.submit(by_pool, point).result()  # a pool in a child

def by_manager(point):
    with multiprocessing.Manager() as manager:
        return list(manager.list([point]))

def task(i):
    assert multiprocessing.get_start_method() == METHOD
    return [point for way in (by_pool, by_process, by_executor, by_manager) for point in way(Point(i))]

multiprocessing.set_start_method(METHOD)
for start_method in ("zygote", "spawn"):
    results = Parallel(n_jobs=2, start_method=start_method)(delayed(task)(i) for i in range(2))
    print([[p.x for p in points] for points in results], {type(p) is Point for points in results for p in points})
"""


@pytest.mark.parametrize(
    ("method", "way"),
    [("spawn", "file"), ("forkserver", "-c"), ("spawn", "input"), ("forkserver", "file"), ("fork", "-c")],
)
def test_children_of_tasks_know_what_main_defines(method, way, tmp_path):
    """By the method that the program has set, and without running its script again, which has no guard."""
    code = IN_TASKS.replace("METHOD", repr(method))
    (tmp_path / "program.py").write_text(code)
    arguments = {"file": ["program.py"], "-c": ["-c", code], "input": ["-"]}[way]
    done = subprocess.run(
        [sys.executable, "-B", *arguments],
        input=code,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
    )
    expected = "the script\n" + "[[0, 0, 0, 0, 0], [3, 3, 3, 3, 1]] {True}\n" * 2
    assert (done.stdout, done.stderr) == (expected, "")


def test_tasks_speak_with_a_manager_of_the_program():
    code = """
    import multiprocessing
    from lightwork import Parallel, delayed
    def collect(squares, queue, i):
        squares[i] = i * i
        queue.put(i)
    with multiprocessing.Manager() as manager:
        for start_method in ("zygote", "spawn", "fork"):
            squares, queue = manager.dict(), manager.Queue()
            Parallel(n_jobs=2, start_method=start_method)(delayed(collect)(squares, queue, i) for i in range(3))
            print(sorted(squares.items()), {queue.get() for _ in range(3)})
    """
    assert run(code) == ("[(0, 0), (1, 1), (2, 4)] {0, 1, 2}\n" * 3, "", 0)


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
@pytest.mark.parametrize("method", [None, *METHODS])
def test_a_data_loader_of_torch_in_tasks(method):
    """In the worker itself, or by children that must find the data's class."""
    code = f"""
    from torch.utils.data import DataLoader, Dataset
    from lightwork import Parallel, delayed
    class Squares(Dataset):
        def __init__(self, first): self.first = first
        def __len__(self): return 10
        def __getitem__(self, i): return (self.first + i) ** 2
    def load(first, method={method!r}):
        options = {{}} if method is None else {{"num_workers": 2, "multiprocessing_context": method}}
        return sum(int(batch.sum()) for batch in DataLoader(Squares(first), batch_size=3, **options))
    print(Parallel(n_jobs=2)(delayed(load)(i) for i in range(2)))
    """
    assert run(code) == ("[285, 385]\n", "", 0)


def test_what_an_initializer_of_main_sets_is_there_for_tasks():
    code = """
    from lightwork import Parallel, ProcessExecutor, delayed
    model, state, config, added = None, {}, {"scale": 2}, None
    def prepare(value):
        global model
        model = scaled(value)
        state["model"] = model
        print("prepared", flush=True)
    def scaled(value): return value * config["scale"]
    class Asks:
        def model(self): return model
    def ask(i): return model, state["model"], Asks().model(), config["scale"]
    def ask_again(i): return model, state, added
    def loop(func, *tasks, **options):
        options = {"initializer": prepare, "initargs": (3,), **options}
        return set(map(repr, Parallel(n_jobs=2, batch_size=1, **options)(delayed(func)(i) for i in range(8))))
    for method in "zygote", "spawn":
        print(*loop(ask, start_method=method))
        print(*loop(ask_again, start_method=method), *loop(lambda i: model, start_method=method))
        print(*loop((lambda z: lambda i: (z, model))(1), start_method=method, seed=1))
    print("---")
    print(*loop(ask, max_tasks_per_child=2))  # the first workers were told of `ask` later, the others before
    config["scale"], added = 5, 1
    print(*loop(ask), *loop(ask_again))
    def prepare(value):
        global model
        model = "another"
    print(*loop(ask_again))
    print(*loop(ask_again, initializer=None, initargs=()))
    with ProcessExecutor(1, initializer=prepare, initargs=(3,)) as executor:
        print(executor.submit(ask_again, 1).result(), executor.submit(lambda: model).result())
    """
    out, err, status = run(code)
    both = ["(6, 6, 6, 2)", "(6, {'model': 6}, None) 6", "(1, 6)"]
    assert [line for line in out.splitlines() if line != "prepared"] == [
        *both,
        *both,
        "---",
        "(6, 6, 6, 2)",
        "(15, 15, 15, 5) (15, {'model': 15}, 1)",
        "('another', {}, 1)",
        "(None, {}, 1)",
        "('another', {}, 1) another",
    ]
    assert out.partition("---")[0].count("prepared") == 2 + 2  # once for each worker
    assert (err, status) == ("", 0)
