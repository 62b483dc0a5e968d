"""Loops on real worker processes, as people write them."""

import math
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from lightwork import Parallel, delayed, parallel_config
from lightwork.errors import OptionError, PicklingFailedError, RemoteTraceback, TaskTimeout, WorkerDied

each_kind = pytest.mark.parametrize("kind", ["list", "generator", "generator_unordered"])


def square(i):
    return i * i


def fail_at(bad, i):
    if i == bad:
        raise ValueError("bad", i)
    return i


def nap(i):
    time.sleep(0.001 * (i % 3))
    return i


def meet(folder, me, others=2):
    """Come back when all are here: each is then in a worker of its own."""
    (folder / str(me)).touch()
    deadline = time.monotonic() + 30
    while len(os.listdir(folder)) < others:
        assert time.monotonic() < deadline
    return os.getpid()


def with_a_lock():
    return {"a": [1], "b": (2, threading.Lock())}


class TestResults:
    @each_kind
    @pytest.mark.parametrize("count", [0, 1, 3, 3000])
    @pytest.mark.parametrize("batch_size", ["auto", 1, 50])
    def test_all_of_them(self, kind, count, batch_size):
        results = list(
            Parallel(n_jobs=2, return_as=kind, batch_size=batch_size)(
                delayed(square)(i) for i in range(count)
            )
        )
        assert (sorted(results) if kind == "generator_unordered" else results) == [
            i * i for i in range(count)
        ]

    def test_in_order_whatever_takes_how_long(self):
        assert Parallel(n_jobs=3, batch_size=1)(delayed(nap)(i) for i in range(60)) == list(range(60))

    def test_on_as_many_workers_as_asked_for(self, tmp_path):
        pids = Parallel(n_jobs=3, batch_size=1, pre_dispatch="all")(
            delayed(meet)(tmp_path, i, 3) for i in range(3)
        )
        assert len({*pids, os.getpid()}) == 4

    def test_no_more_workers_than_tasks(self, tmp_path):
        pids = Parallel(n_jobs=5)([delayed(os.getpid)() for _ in range(2)])
        assert len(set(pids)) <= 2

    def test_closures_lambdas_methods_and_keywords(self):
        offset = 10
        tasks = [
            delayed(lambda x: x + offset)(1),
            delayed([5, 6, 7].__getitem__)(1),
            delayed(int)("11", base=2),
            delayed(np.full)((2,), fill_value=3.0),
        ]
        first, second, third, fourth = Parallel(n_jobs=2)(tasks)
        assert (first, second, third, fourth.tolist()) == (11, 6, 3, [3.0, 3.0])

    def test_the_same_workers_serve_the_next_call(self):
        with Parallel(n_jobs=2) as parallel:
            pids = {pid for _ in range(20) for pid in parallel(delayed(os.getpid)() for _ in range(4))}
        assert len(pids) <= 2
        assert os.getpid() not in pids

    def test_the_same_workers_serve_the_next_call_after_medium_and_big_results(self):
        with Parallel(n_jobs=2) as parallel:
            pids = {
                pid
                for _ in range(10)
                for size in (50_000, 500_000)
                for pid, _ in parallel(delayed(who_and_what)(size) for _ in range(4))
            }
        assert len(pids) <= 2

    def test_two_threads_calling_at_once(self):
        parallel = Parallel(n_jobs=2)
        results = {}

        def call(offset):
            for _ in range(5):
                results[offset] = parallel(delayed(square)(offset + i) for i in range(500))

        threads = [threading.Thread(target=call, args=(offset,)) for offset in (0, 10_000)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == {o: [(o + i) ** 2 for i in range(500)] for o in (0, 10_000)}

    def test_more_results_than_fit_anywhere_at_once(self):
        generator = Parallel(n_jobs=2, return_as="generator")(
            delayed(np.full)(200_000, float(i)) for i in range(100)
        )
        assert [(result[0], result[-1]) for result in generator] == [(i, i) for i in range(100)]


def who_and_what(size):
    return os.getpid(), np.zeros(size, "u1")


class TestGenerators:
    def test_several_at_once_on_one_object(self):
        parallel = Parallel(n_jobs=2, return_as="generator")

        def tasks(k):
            return (delayed(sum)((k, i)) for i in range(100))

        generators = [parallel(tasks(k)) for k in (0, 1000, 2000)]
        for i in range(100):
            assert [next(generator) for generator in generators] == [i, 1000 + i, 2000 + i]

    @pytest.mark.parametrize("read", [0, 3])
    def test_closing_one_early_ends_what_runs(self, read):
        parallel = Parallel(n_jobs=2, return_as="generator", batch_size=1)
        generator = parallel(delayed(time.sleep)(0 if i < read else 600) for i in range(100))
        for _ in range(read):
            next(generator)
        begun = time.monotonic()
        generator.close()
        # 0.2 s is promised; the tasks would take 600. A busy machine gets some room.
        assert time.monotonic() - begun < 2
        assert list(parallel(delayed(square)(i) for i in range(10))) == [i * i for i in range(10)]

    def test_a_failure_appears_at_its_place_and_the_next_call_is_whole(self):
        parallel = Parallel(n_jobs=2, return_as="generator")
        generator = parallel(delayed(fail_at)(7, i) for i in range(100))
        assert [next(generator) for _ in range(7)] == list(range(7))
        with pytest.raises(ValueError, match="bad"):
            next(generator)
        assert list(parallel(delayed(fail_at)(-1, i) for i in range(100))) == list(range(100))


class TestErrors:
    @pytest.mark.parametrize("batch_size", ["auto", 1, 20])
    def test_carry_the_traceback_of_the_worker(self, batch_size):
        with pytest.raises(ValueError, match="bad") as caught:
            Parallel(n_jobs=2, batch_size=batch_size)(delayed(fail_at)(13, i) for i in range(40))
        assert caught.value.args == ("bad", 13)
        assert isinstance(caught.value.__cause__, RemoteTraceback)
        assert "in fail_at" in str(caught.value.__cause__)
        assert 'raise ValueError("bad", i)' in str(caught.value.__cause__)

    @pytest.mark.parametrize("batch_size", ["auto", 1, 20])
    def test_a_task_that_cannot_be_pickled_says_which_argument(self, batch_size):
        tasks = [delayed(divmod)(7, 2)] * 10 + [delayed(divmod)(1, threading.Lock())]
        with pytest.raises(PicklingFailedError, match=r"task 10\b.*argument 1"):
            Parallel(n_jobs=2, batch_size=batch_size)(tasks)

    def test_a_result_that_cannot_be_pickled(self):
        with pytest.raises(PicklingFailedError, match="lock"):
            Parallel(n_jobs=2)(delayed(threading.Lock)() for _ in range(4))
        with pytest.raises(PicklingFailedError, match=r"the result\['b'\]\[1\], of type lock,") as caught:
            Parallel(n_jobs=2)([delayed(abs)(1), delayed(with_a_lock)()])
        assert caught.value.path == "result['b'][1]"

    @each_kind
    def test_of_the_input_are_the_callers_own(self, kind):
        def tasks():
            for i in range(20):
                yield delayed(time.sleep)(0 if i < 10 else 600)
            raise LookupError("the input's own")

        with pytest.raises(LookupError, match="own"):
            list(Parallel(n_jobs=2, return_as=kind, pre_dispatch="all")(tasks()))
        assert Parallel(n_jobs=2)(delayed(square)(i) for i in range(5)) == [0, 1, 4, 9, 16]

    def test_no_result_in_time_stops_what_runs(self):
        begun = time.monotonic()
        with pytest.raises(TaskTimeout, match="timeout=0\\.2 seconds"):
            Parallel(n_jobs=2, timeout=0.2)(delayed(time.sleep)(600) for _ in range(4))
        assert time.monotonic() - begun < 10

    def test_shared_memory_is_not_to_be_had(self):
        with pytest.raises(OptionError, match="sharedmem"):
            Parallel(n_jobs=2, backend="multiprocessing", require="sharedmem")


def end_at(bad, how, i):
    if i == bad:
        if how == "exit":
            os._exit(3)
        os.kill(os.getpid(), how)
    return i


class TestDeath:
    @pytest.mark.parametrize("how", ["exit", signal.SIGKILL, signal.SIGSEGV])
    @pytest.mark.parametrize("batch_size", [1, 10])
    def test_names_its_task_and_the_next_call_is_whole(self, how, batch_size):
        parallel = Parallel(n_jobs=2, batch_size=batch_size)
        with pytest.raises(WorkerDied) as caught:
            parallel(delayed(end_at)(13, how, i) for i in range(60))
        assert caught.value.index == 13
        assert caught.value.signal == (None if how == "exit" else how)
        assert "end_at(13, " in str(caught.value)
        assert parallel(delayed(end_at)(-1, how, i) for i in range(100)) == list(range(100))

    def test_from_outside_loses_nothing_but_the_task_that_ran(self, tmp_path):
        """Idle workers and tasks that wait behind others are not lost with a worker."""

        def task(i):
            if i == 0:
                (tmp_path / "pid").write_text(str(os.getpid()))
                time.sleep(600)
            return i

        def kill():
            deadline = time.monotonic() + 30
            while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
                assert time.monotonic() < deadline
            os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)

        generator = Parallel(n_jobs=2, return_as="generator_unordered", batch_size=1)(
            delayed(task)(i) for i in range(30)
        )
        thread = threading.Thread(target=kill)
        thread.start()
        seen = []
        with pytest.raises(WorkerDied) as caught:
            seen.extend(generator)
        thread.join()
        assert caught.value.index == 0
        assert 0 not in seen
        assert len(set(seen)) == len(seen)


def inner_pids(backend=None):
    with parallel_config(n_jobs=2):
        pids = Parallel(backend=backend)(delayed(os.getpid)() for _ in range(4))
    return {os.getpid()} == set(pids)


def inner_threads():
    barrier = threading.Barrier(2)
    return sorted(
        Parallel(n_jobs=2, backend="threads", batch_size=1)(delayed(barrier.wait)(30) for _ in range(2))
    )


class TestNested:
    @pytest.mark.parametrize("backend", [None, "loky", "sequential"])
    def test_loops_in_workers_stay_in_them(self, backend):
        assert Parallel(n_jobs=2)(delayed(inner_pids)(backend) for _ in range(4)) == [True] * 4

    def test_threads_named_in_a_worker_are_threads(self):
        assert Parallel(n_jobs=2)(delayed(inner_threads)() for _ in range(2)) == [[0, 1]] * 2

    def test_three_deep(self):
        def outer(depth):
            if not depth:
                return 1
            return sum(Parallel(n_jobs=2)(delayed(outer)(depth - 1) for _ in range(2)))

        assert Parallel(n_jobs=2)(delayed(outer)(3) for _ in range(2)) == [8, 8]

    def test_a_loop_in_the_input_of_another(self):
        def tasks():
            for i in range(5):
                (inner,) = Parallel(n_jobs=2)([delayed(square)(i)])
                yield delayed(square)(inner)

        assert Parallel(n_jobs=2)(tasks()) == [i**4 for i in range(5)]


def test_many_calls():
    for i in range(100):
        assert Parallel(n_jobs=2)(delayed(math.sqrt)(i * i) for i in range(10)) == list(range(10))


def run_script(folder, source, **options):
    (folder / "script.py").write_text(textwrap.dedent(source))
    return subprocess.Popen(
        [sys.executable, "script.py"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_no_guard_is_needed(tmp_path):
    source = """
    from lightwork import Parallel, delayed
    class Point:
        def __init__(self, x): self.x = x
    def make(x): return Point(x * 2)
    points = Parallel(n_jobs=2)(delayed(make)(i) for i in range(4))
    print([p.x for p in points], all(isinstance(p, Point) for p in points))
    """
    with run_script(tmp_path, source) as script:
        out, err = script.communicate(timeout=60)
    assert (out, err) == ("[0, 2, 4, 6] True\n", "")


def test_a_forked_child_neither_reads_nor_ends_its_parents_loop(tmp_path):
    source = """
    import os
    from lightwork import Parallel, delayed
    from lightwork.errors import LightworkError
    parallel = Parallel(n_jobs=2, return_as="generator", batch_size=1, max_nbytes=10)
    data = bytearray(1000)
    generator = parallel(delayed(sum)(data, i) for i in range(100))
    print(next(generator), flush=True)
    if os.fork() == 0:
        try:
            next(generator)
        except LightworkError as error:
            print(error, flush=True)
        print(list(parallel(delayed(abs)(i) for i in range(3))), flush=True)
        del generator
        os._exit(0)
    os.wait()
    print(sum(generator) == sum(range(1, 100)))
    """
    with run_script(tmp_path, source) as script:
        out, err = script.communicate(timeout=60)
    assert err == ""
    assert out.splitlines() == [
        "0",
        "this loop was begun by the process that this one is forked from; read it there",
        "[0, 1, 2]",
        "True",
    ]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks at processes by /proc")
@pytest.mark.parametrize("kind", ["list", "generator"])
def test_an_interrupt_leaves_no_process(tmp_path, kind):
    source = f"""
    import os, time
    from lightwork import Parallel, delayed
    def wait(i):
        print(os.getpid(), flush=True)
        time.sleep(600)
    list(Parallel(n_jobs=2, return_as={kind!r})(delayed(wait)(i) for i in range(20)))
    """
    with run_script(tmp_path, source, start_new_session=True) as script:
        pids = [int(script.stdout.readline()) for _ in range(2)]
        os.killpg(script.pid, signal.SIGINT)  # as a terminal does: to the whole group
        begun = time.monotonic()
        assert script.wait(30) == -signal.SIGINT
        # 0.5 s is promised, the machine may be busy; the tasks would take 600 s.
        assert time.monotonic() - begun < 3
        assert script.stderr.read().rstrip().endswith("KeyboardInterrupt")
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_class_that_is_defined_again_is_the_new_one():
    code = """
from lightwork import Parallel, delayed
CELL = '''
class Cell:
    VERSION = {version}
    def __init__(self, x): self.x = x
    def show(self): return self.x, self.VERSION
def work(cell): return Cell(cell.show())
'''
for version in (1, 2, 3):
    exec(compile(CELL.replace("{version}", str(version)), f"<cell {version}>", "exec"), globals())
    results = Parallel(n_jobs=2)(delayed(work)(Cell(i)) for i in range(4))
    assert all(type(result) is Cell for result in results)
    print(results[-1].show())
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert out.stdout.splitlines() == ["((3, 1), 1)", "((3, 2), 2)", "((3, 3), 3)"]
    assert out.stderr == ""


def spoil(frame):
    before = float(frame["a"].iloc[0])
    frame.loc[:, "a"] = -1.0
    frame["new"] = 0
    return before


def test_the_blocks_of_a_frame_are_laid_once_and_each_task_has_its_own():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({name: np.arange(1.0, 200_001.0) for name in "abcd"})
    assert Parallel(n_jobs=2, batch_size=1)(delayed(spoil)(frame) for _ in range(8)) == [1.0] * 8
    assert list(frame.columns) == list("abcd")
    assert frame["a"].iloc[0] == 1.0
