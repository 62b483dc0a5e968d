"""Our workers in the manner of `concurrent.futures`: what its documentation promises, and where ours is better."""

import asyncio
import gc
import itertools
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from concurrent.futures import CancelledError, as_completed, wait
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest

from lightwork import Memory, Parallel, ProcessExecutor, delayed, pool_info
from lightwork.errors import (
    BrokenExecutorError,
    OptionError,
    OptionTypeError,
    PicklingFailedError,
    RemoteTraceback,
    WorkerDied,
)
from lightwork.parallel import desk
from lightwork.workers import pool


@pytest.fixture
def executor():
    with ProcessExecutor(2) as made:
        yield made


def square(x):
    return x * x


def collect(*args, **kwargs):
    return args, kwargs


def wait_for(path):
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.001)
    return path.name


def touch(path):
    path.touch()
    return path


def meet(folder, me):
    """Come back when both are here."""
    (folder / str(me)).touch()
    wait_for(folder / str(1 - me))
    return os.getpid()


def fail(x=None):
    raise ValueError("bad", x)


def fail_at(bad, x):
    return fail(x) if x == bad else x


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(bad, x):
    return die() if x == bad else x


def total(array):
    return float(array.sum())


def is_prime(n):
    if n < 2:
        return False
    return all(n % i for i in range(2, math.isqrt(n) + 1))


def run(script, *, timeout=60, **options):
    """A program, run to its end: exit code, words printed, errors printed."""
    code = "from lightwork import *\nimport os, sys, time, threading\n" + textwrap.dedent(script)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=timeout, **options
    )
    return done.returncode, done.stdout.split(), done.stderr


class TestSubmit:
    def test_gives_a_future_of_the_result(self, executor):
        future = executor.submit(pow, 323, 1235)
        assert future.result() == 323**1235
        assert (future.done(), future.running(), future.cancelled(), future.exception()) == (
            True,
            False,
            False,
            None,
        )

    def test_passes_all_that_was_given(self, executor):
        assert executor.submit(collect, 1, fn=2, self=3).result() == ((1,), {"fn": 2, "self": 3})

    def test_takes_functions_without_a_name(self, executor):
        offset = 5
        assert executor.submit(lambda x: x + offset, 1).result() == 6
        assert executor.submit([7, 8].__getitem__, 1).result() == 8

    def test_many(self, executor):
        futures = {executor.submit(square, i): i for i in range(500)}
        assert all(future.result() == futures[future] ** 2 for future in as_completed(futures))
        done, rest = wait(futures)
        assert (len(done), rest) == (500, set())

    def test_from_many_threads(self, executor):
        results = {}

        def submit(me):
            futures = [executor.submit(square, me * 1000 + i) for i in range(60)]
            results[me] = [future.result() for future in futures]

        threads = [threading.Thread(target=submit, args=(me,)) for me in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == {me: [(me * 1000 + i) ** 2 for i in range(60)] for me in range(8)}

    def test_takes_arguments_as_they_are_now(self, executor, tmp_path):
        values, array = [0], np.zeros(300_000)
        blockers = [executor.submit(wait_for, tmp_path / "go") for _ in range(2)]
        futures = []
        for i in range(6):
            values[0] = array[:] = i
            futures.append((executor.submit(sum, values), executor.submit(total, array)))
        array[:] = values[0] = 99
        touch(tmp_path / "go")
        assert [(a.result(), b.result()) for a, b in futures] == [(i, 300_000.0 * i) for i in range(6)]
        assert [blocker.result() for blocker in blockers] == ["go", "go"]

    def test_lays_one_array_once_for_many_jobs(self, executor):
        array = np.ones(300_000)
        assert [executor.submit(total, array).result() for _ in range(5)] == [300_000.0] * 5
        executor.shutdown()
        assert pool_info().kept == array.nbytes

    def test_workers_let_go_of_arrays_that_no_job_needs(self, executor):
        counts = [executor.submit(segments_held, np.full(300_000, float(i))).result() for i in range(20)]
        assert max(counts) <= 3

    def test_no_job_sees_what_another_wrote_into_its_array(self, executor):
        array = np.zeros(300_000)
        futures = [executor.submit(add_one, array) for _ in range(6)]
        assert [future.result() for future in futures] == [300_000.0] * 6
        assert array.sum() == 0

    def test_starts_no_more_workers_than_there_are_jobs(self):
        with ProcessExecutor(16) as executor:
            assert executor.submit(square, 3).result() == 9
            assert len(pool_info().workers) == 1
            wait([executor.submit(square, i) for i in range(3)])
            assert len(pool_info().workers) <= 4

    def test_two_jobs_run_at_once(self, executor, tmp_path):
        """However short those before were: a job does not stay behind another while a worker is idle."""
        for round_ in range(20):
            folder = tmp_path / str(round_)
            folder.mkdir()
            quick = [executor.submit(square, i) for i in range(30)]
            pids = {executor.submit(meet, folder, me) for me in (0, 1)}
            assert len({future.result(30) for future in pids}) == 2
            assert [future.result() for future in quick] == [i * i for i in range(30)]

    @pytest.mark.parametrize("bad", [3, None, "f"])
    def test_refuses_what_cannot_be_called(self, executor, bad):
        with pytest.raises(OptionTypeError, match="cannot be called"):
            executor.submit(bad)

    def test_asks_a_remembered_function_first(self, executor, tmp_path):
        remembered = Memory(tmp_path, verbose=0).cache(square)
        assert [executor.submit(remembered, i).result() for i in (3, 4, 3)] == [9, 16, 9]
        assert remembered.check_call_in_cache(4)
        executor.shutdown()
        with ProcessExecutor(2) as another:
            pool.shutdown()
            assert another.submit(remembered, 3).result() == 9
            assert pool_info().workers == ()


def segments_held(array):
    """The memories that this worker has open, but for its two outboxes and its control page."""
    names = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
    return sum("memfd" in name for name in names) - 2


def add_one(array):
    array += 1
    return float(array.sum())


class TestErrors:
    def test_are_raised_by_the_result(self, executor):
        future = executor.submit(fail, 3)
        with pytest.raises(ValueError, match="bad") as caught:
            future.result()
        assert caught.value.args == ("bad", 3)
        assert future.exception() is caught.value
        assert isinstance(caught.value.__cause__, RemoteTraceback)
        assert "def fail" not in str(caught.value.__cause__)
        assert 'raise ValueError("bad", x)' in str(caught.value.__cause__)

    def test_of_an_argument_that_cannot_travel_are_the_futures(self, executor):
        future = executor.submit(collect, threading.Lock())
        assert isinstance(future.exception(), PicklingFailedError)
        assert executor.submit(square, 3).result() == 9

    def test_of_a_result_that_cannot_travel(self, executor):
        assert isinstance(executor.submit(threading.Lock).exception(), PicklingFailedError)
        assert executor.submit(square, 3).result() == 9

    def test_that_would_end_a_program_are_only_told(self, executor):
        assert isinstance(executor.submit(sys.exit, 3).exception(), SystemExit)
        assert executor.submit(square, 3).result() == 9


class TestDeaths:
    def test_cost_one_job_and_the_executor_goes_on(self, executor, tmp_path):
        futures = [executor.submit(die_at, 7, i) for i in range(40)]
        failed = [i for i, future in enumerate(futures) if future.exception() is not None]
        assert failed == [7]
        assert isinstance(futures[7].exception(), WorkerDied)
        assert isinstance(futures[7].exception(), BrokenProcessPool)
        assert "die_at(7, 7)" in str(futures[7].exception())
        assert executor.submit(square, 3).result() == 9

    def test_of_idle_workers_cost_nothing(self, executor):
        pids = {executor.submit(os.getpid).result() for _ in range(4)}
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        assert [executor.submit(square, i).result() for i in range(5)] == [0, 1, 4, 9, 16]

    def test_one_after_the_other(self, executor):
        futures = [executor.submit(die) for _ in range(5)]
        assert {type(future.exception()) for future in futures} == {WorkerDied}
        assert executor.submit(square, 3).result() == 9

    def test_with_kill_workers(self, tmp_path):
        executor = ProcessExecutor(2)
        running = [executor.submit(pause, tmp_path / str(i)) for i in range(2)]
        waiting = [executor.submit(square, i) for i in range(5)]
        for i in range(2):
            wait_for(tmp_path / str(i))
        begun = time.monotonic()
        executor.kill_workers()
        assert time.monotonic() - begun < 10  # the jobs would take ten minutes
        assert {type(future.exception()) for future in running} == {WorkerDied}
        assert all(future.cancelled() for future in waiting)
        with pytest.raises(RuntimeError, match="after shutdown"):
            executor.submit(square, 3)


def pause(path):
    path.touch()
    time.sleep(600)


class TestCancel:
    def test_ends_a_job_that_has_not_begun(self, executor, tmp_path):
        running = [executor.submit(wait_for, tmp_path / "go") for _ in range(2)]
        waiting = [executor.submit(touch, tmp_path / str(i)) for i in range(4)]
        wait_until(lambda: all(future.running() for future in running))
        assert [future.cancel() for future in running] == [False, False]
        assert [future.cancel() for future in waiting[1:]] == [True] * 3
        touch(tmp_path / "go")
        assert waiting[0].result() == tmp_path / "0"
        assert len(wait(waiting).done) == 4
        for future in as_completed(waiting[1:]):
            with pytest.raises(CancelledError):
                future.result()
        executor.shutdown()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "go"]

    def test_lets_go_of_the_arrays(self, executor, tmp_path):
        running = [executor.submit(wait_for, tmp_path / "go") for _ in range(2)]
        array = np.zeros(300_000)
        assert executor.submit(total, array).cancel()
        touch(tmp_path / "go")
        wait(running)


def wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


class TestCallbacks:
    def test_may_submit(self, executor):
        results, done = [], threading.Event()

        def on_done(future):
            results.append(future.result())
            if len(results) < 20:
                executor.submit(square, len(results)).add_done_callback(on_done)
            else:
                done.set()

        executor.submit(square, 0).add_done_callback(on_done)
        assert done.wait(30)
        assert results == [i * i for i in range(20)]

    def test_may_shut_the_executor_down(self):
        executor = ProcessExecutor(2)
        future = executor.submit(square, 3)
        ended = threading.Event()
        future.add_done_callback(lambda _: (executor.shutdown(), ended.set()))
        assert ended.wait(30)
        executor.shutdown()


class TestMap:
    def test_the_example_of_the_documentation(self, executor):
        primes = [112272535095293, 112582705942171, 115280095190773, 1099726899285419, 15]
        small = [n % 100_003 for n in primes]
        assert list(executor.map(is_prime, small)) == [is_prime(n) for n in small]

    @pytest.mark.parametrize("chunksize", [1, 3, 100])
    @pytest.mark.parametrize("buffersize", [None, 1, 4, 100])
    def test_is_that_of_the_built_in(self, executor, chunksize, buffersize):
        found = executor.map(pow, range(30), itertools.repeat(2), chunksize=chunksize, buffersize=buffersize)
        assert list(found) == [i * i for i in range(30)]

    def test_takes_inputs_at_once_or_no_further_than_its_buffer(self, executor):
        taken = iter(range(10))
        results = executor.map(square, taken)
        assert list(taken) == []
        assert list(results) == [i * i for i in range(10)]
        endless = itertools.count()
        results = executor.map(square, endless, buffersize=3)
        assert [next(results) for _ in range(5)] == [0, 1, 4, 9, 16]
        assert next(endless) == 8
        results.close()

    @pytest.mark.parametrize("chunksize", [1, 4, 100])
    def test_gives_what_is_in_front_of_a_failure(self, executor, chunksize):
        results = executor.map(fail_at, itertools.repeat(9), range(20), chunksize=chunksize)
        assert [next(results) for _ in range(9)] == list(range(9))
        with pytest.raises(ValueError, match="bad"):
            next(results)
        with pytest.raises(StopIteration):
            next(results)

    def test_ends_by_its_timeout(self, executor, tmp_path):
        results = executor.map(wait_for, [tmp_path / "go"] * 6, timeout=0.05)
        with pytest.raises(TimeoutError):
            next(results)
        touch(tmp_path / "go")

    def test_that_is_closed_cancels_the_rest(self, executor, tmp_path):
        touch(tmp_path / "0")
        results = executor.map(wait_for, [tmp_path / name for name in ("0", "1", "2", "3", "4", "5")])
        assert next(results) == "0"
        results.close()
        for i in range(1, 6):
            touch(tmp_path / str(i))

    def test_keeps_its_executor_while_inputs_are_left(self):
        assert list(ProcessExecutor(2).map(square, range(20), buffersize=2)) == [i * i for i in range(20)]
        gc.collect()

    @pytest.mark.parametrize(
        ("options", "error"),
        [
            ({"chunksize": 0}, ValueError),
            ({"chunksize": -1}, ValueError),
            ({"buffersize": 0}, ValueError),
            ({"buffersize": "2"}, TypeError),
            ({"buffersize": 2.5}, TypeError),
        ],
    )
    def test_refuses_what_makes_no_sense(self, executor, options, error):
        with pytest.raises(error):
            executor.map(square, [1], **options)


class TestInitializer:
    def test_runs_once_in_each_worker(self):
        with ProcessExecutor(2, initializer=remember, initargs=("note",)) as executor:
            notes = {executor.submit(recall).result() for _ in range(10)}
        assert all(note[:2] == ("note", 1) for note in notes)
        assert len(notes) <= 2

    def test_of_one_executor_is_not_anothers(self):
        pids = []
        for _ in range(2):
            with ProcessExecutor(1, initializer=remember, initargs=("note",)) as executor:
                pids.append(executor.submit(recall).result())
                living = {worker.pid for worker in pool_info().workers}
            assert pids[-1][2] in living
            assert pool_info().workers == ()
        assert pids[0] != pids[1]

    def test_that_raises_breaks_the_executor(self):
        executor = ProcessExecutor(2, initializer=fail, initargs=(3,))
        futures = [executor.submit(square, i) for i in range(5)]
        for future in futures:
            with pytest.raises(BrokenProcessPool, match="initializer 'fail' raised ValueError") as caught:
                future.result(30)
            assert isinstance(caught.value, BrokenExecutorError)
            assert isinstance(caught.value.__cause__, ValueError)
        with pytest.raises(BrokenProcessPool, match="fail"):
            executor.submit(square, 3)
        executor.shutdown()

    def test_workers_are_replaced_after_so_many_jobs(self):
        with ProcessExecutor(1, max_tasks_per_child=2) as executor:
            pids = [executor.submit(os.getpid).result() for _ in range(6)]
        assert [len(set(pids[i : i + 2])) for i in (0, 2, 4)] == [1, 1, 1]
        assert len(set(pids)) == 3


def remember(note):
    global _note, _times
    _note = note
    _times = globals().get("_times", 0) + 1


def recall():
    return _note, _times, os.getpid()


class TestShutdown:
    def test_waits_for_what_was_submitted(self, tmp_path):
        executor = ProcessExecutor(2)
        futures = [executor.submit(time.sleep, 0.01) for _ in range(6)]
        executor.shutdown()
        assert all(future.done() and not future.cancelled() for future in futures)

    def test_may_leave_it_to_end_by_itself(self, tmp_path):
        executor = ProcessExecutor(2)
        futures = [executor.submit(wait_for, tmp_path / "go") for _ in range(4)]
        executor.shutdown(wait=False)
        with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
            executor.submit(square, 3)
        with pytest.raises(RuntimeError, match="after shutdown"):
            executor.map(square, [3])
        touch(tmp_path / "go")
        assert [future.result() for future in futures] == ["go"] * 4
        executor.shutdown()

    def test_may_cancel_what_has_not_begun(self, tmp_path):
        executor = ProcessExecutor(2)
        running = [executor.submit(wait_for, tmp_path / "go") for _ in range(2)]
        waiting = [executor.submit(square, i) for i in range(5)]
        wait_until(lambda: all(future.running() for future in running))
        executor.shutdown(wait=False, cancel_futures=True)
        assert len(wait(waiting, 30).done) == 5
        assert all(future.cancelled() for future in waiting)
        touch(tmp_path / "go")
        executor.shutdown()
        assert [future.result() for future in running] == ["go", "go"]

    def test_of_one_that_did_nothing(self):
        executor = ProcessExecutor()
        executor.shutdown()
        executor.shutdown(wait=False)
        assert pool_info().zygote is None

    def test_ends_its_thread_and_leaves_workers_to_the_next(self):
        for _ in range(3):
            with ProcessExecutor(1) as executor:
                executor.submit(square, 3).result()
            assert not executor._desk.keeper.is_alive()
        assert len(pool_info().workers) == 1

    def test_comes_by_itself_when_the_executor_is_dropped(self, tmp_path):
        executor = ProcessExecutor(2)
        futures = [executor.submit(wait_for, tmp_path / "go") for _ in range(4)]
        keeper = executor._desk.keeper
        gone = weakref.ref(executor)
        del executor
        gc.collect()
        assert gone() is None
        touch(tmp_path / "go")
        assert [future.result() for future in futures] == ["go"] * 4
        keeper.join(30)
        assert not keeper.is_alive()

    def test_nothing_keeps_a_result_or_an_argument(self, executor):
        class Value:
            pass

        value = Value()
        future = executor.submit(Value)
        executor.submit(type, value).result()
        gone = weakref.ref(value), weakref.ref(future.result())
        del value, future
        executor.submit(square, 3).result()
        wait_until(lambda: (gc.collect(), gone[0]() is None and gone[1]() is None)[1])


class TestIdle:
    def test_executors_hold_no_workers(self, monkeypatch):
        monkeypatch.setattr(desk, "_IDLE", 0.05)
        with ProcessExecutor(2) as executor:
            for i in range(3):
                assert executor.submit(square, i).result() == i * i
                wait_until(lambda: all(worker.idle for worker in pool_info().workers))
                assert Parallel(n_jobs=2)(delayed(square)(i) for i in range(4)) == [0, 1, 4, 9]
        assert len(pool_info().workers) == 2

    def test_executors_with_an_initializer_keep_theirs(self, monkeypatch):
        monkeypatch.setattr(desk, "_IDLE", 0.05)
        with ProcessExecutor(1, initializer=remember, initargs=(1,)) as executor:
            first = executor.submit(recall).result()
            wait_until(lambda: all(worker.idle for worker in pool_info().workers))
            assert Parallel(n_jobs=2)(delayed(square)(i) for i in range(4)) == [0, 1, 4, 9]
            assert executor.submit(recall).result() == first
        assert first[2] not in {worker.pid for worker in pool_info().workers}

    def test_definitions_of_a_script_are_told_again(self):
        code = """
            from lightwork.parallel import desk
            desk._IDLE = 0.02
            class Pair:
                def __init__(self, x): self.x = x
            def make(x): return Pair(x)
            executor = ProcessExecutor(1)
            for i in range(3):
                pair = executor.submit(make, i).result()
                assert type(pair) is Pair and pair.x == i
                while not all(worker.idle for worker in pool_info().workers): time.sleep(0.001)
                pool = sys.modules["lightwork.workers.pool"]
                pool.shutdown()
            print("same")
        """
        assert run(code) == (0, ["same"], "")

    def test_a_function_that_is_defined_anew_changes_no_job_of_before(self):
        code = """
            import pathlib, tempfile
            folder = pathlib.Path(tempfile.mkdtemp())
            class Pair:
                def __init__(self, x): self.x = x
            def make(x): return Pair(x)
            def wait():
                while not (folder / "go").exists(): time.sleep(0.001)
            executor = ProcessExecutor(1)
            executor.submit(make, 0).result()
            blocker = executor.submit(wait)
            before = executor.submit(make, 1)
            class Pair:
                def __init__(self, x): self.y = x
            def make(x): return Pair(-x)
            after = [executor.submit(make, 2) for _ in range(3)]
            (folder / "go").touch()
            print(before.result().x)
            print(*{(each.result().y, type(each.result()) is Pair) for each in after})
            (folder / "go").unlink(); folder.rmdir()
        """
        assert run(code) == (0, ["1", "(-2,", "True)"], "")


class TestPrograms:
    def test_that_end_finish_what_was_submitted(self):
        code = """
            def work(i):
                time.sleep(0.05)
                print("done", i, flush=True)
            executor = ProcessExecutor(2)
            for i in range(4):
                executor.submit(work, i)
        """
        status, words, errors = run(code)
        assert (status, errors) == (0, "")
        assert sorted(words[1::2]) == ["0", "1", "2", "3"]

    def test_that_end_within_a_job(self):
        code = """
            import atexit
            executor = ProcessExecutor(2)
            def late():
                try:
                    print(executor.submit(abs, -3).result(30))
                except RuntimeError as error:
                    print("refused" if "schedule" in str(error) else error)
            atexit.register(late)
            print(executor.submit(abs, -2).result())
        """
        status, words, errors = run(code)
        assert (status, errors) == (0, "")
        assert words in (["2", "3"], ["2", "refused"])

    @pytest.mark.parametrize("inside", [True, False])
    def test_that_are_interrupted_end_what_runs(self, inside, tmp_path):
        code = f"""
            def work(i):
                open({str(tmp_path)!r} + "/" + str(i), "w").close()
                time.sleep(600)
            def main(executor):
                futures = [executor.submit(work, i) for i in range(6)]
                futures[0].result()
            if {inside}:
                with ProcessExecutor(2) as executor:
                    main(executor)
            else:
                main(ProcessExecutor(2))
        """
        full = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        full += "from lightwork import *\nimport os, sys, time\n" + textwrap.dedent(code)
        process = subprocess.Popen(
            [sys.executable, "-c", full], stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        for i in range(2):
            wait_for(tmp_path / str(i))
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert errors.rstrip().endswith("KeyboardInterrupt")
        assert process.returncode == -signal.SIGINT

    def test_that_fork(self, executor):
        assert executor.submit(square, 2).result() == 4
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("fork").Process(target=in_a_fork, args=(executor, theirs))
        process.start()
        assert ours.poll(60)
        assert ours.recv() == [i * i for i in range(20)]
        process.join(60)
        assert process.exitcode == 0
        assert executor.submit(square, 3).result() == 9
        ours.close()
        theirs.close()

    def test_that_are_children_of_multiprocessing_finish_their_jobs(self, tmp_path):
        code = f"""
            import multiprocessing
            def work(i):
                time.sleep(0.05)
                open({str(tmp_path)!r} + "/" + str(i), "w").close()
            def child():
                executor = ProcessExecutor(2)
                for i in range(4):
                    executor.submit(work, i)
            process = multiprocessing.get_context("fork").Process(target=child, daemon=True)
            process.start()
            process.join(30)
            print(process.exitcode, *sorted(os.listdir({str(tmp_path)!r})))
        """
        assert run(code) == (0, ["0", "0", "1", "2", "3"], "")


def in_a_fork(executor, pipe):
    pipe.send([executor.submit(square, i).result() for i in range(20)])


class TestOthersUseIt:
    def test_asyncio(self, executor):
        async def main():
            loop = asyncio.get_running_loop()
            return await asyncio.gather(*(loop.run_in_executor(executor, square, i) for i in range(50)))

        assert asyncio.run(main()) == [i * i for i in range(50)]

    def test_asyncio_cancels_what_has_not_begun(self, executor, tmp_path):
        async def main():
            loop = asyncio.get_running_loop()
            running = [loop.run_in_executor(executor, wait_for, tmp_path / "go") for _ in range(2)]
            waiting = loop.run_in_executor(executor, touch, tmp_path / "late")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(waiting, 0.05)
            touch(tmp_path / "go")
            return await asyncio.gather(*running)

        assert asyncio.run(main()) == ["go", "go"]
        executor.shutdown()
        assert not (tmp_path / "late").exists()

    def test_parallel(self, executor):
        with Parallel(n_jobs=2, backend=executor) as parallel:
            assert parallel(delayed(square)(i) for i in range(300)) == [i * i for i in range(300)]


class TestPlaces:
    def test_the_debugging_mode_calls_in_this_thread(self, executor, monkeypatch):
        monkeypatch.setenv("LIGHTWORK_SEQUENTIAL", "1")
        assert executor.submit(threading.get_ident).result() == threading.get_ident()
        assert isinstance(executor.submit(fail).exception(), ValueError)
        assert list(executor.map(square, range(5), chunksize=2)) == [0, 1, 4, 9, 16]
        with pytest.raises(KeyboardInterrupt):
            executor.submit(interrupt)
        assert pool_info().zygote is None

    def test_a_job_of_a_job_is_a_plain_call(self, executor):
        assert executor.submit(in_a_job).result() == ([0, 1, 4], True)


def interrupt():
    raise KeyboardInterrupt


def in_a_job():
    with ProcessExecutor(2) as executor:
        return list(executor.map(square, range(3))), executor.submit(os.getpid).result() == os.getpid()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_workers": 0}, ValueError),
        ({"max_workers": -1}, ValueError),
        ({"max_workers": "2"}, TypeError),
        ({"initializer": 3}, TypeError),
        ({"max_tasks_per_child": 0}, ValueError),
        ({"start_method": "teleport"}, OptionError),
    ],
)
def test_options_that_make_no_sense_are_refused(options, error):
    with pytest.raises(error):
        ProcessExecutor(**options)


def test_a_context_of_multiprocessing_says_how_workers_start():
    with ProcessExecutor(1, multiprocessing.get_context("spawn")) as executor:
        assert executor.submit(square, 3).result() == 9
    assert executor._options.start_method == "spawn"


def test_forks_of_the_program_see_its_memory():
    table = {i: i * i for i in range(10)}
    with ProcessExecutor(2, start_method="fork") as executor:
        assert list(executor.map(table.get, range(10))) == [i * i for i in range(10)]
