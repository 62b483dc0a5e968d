"""Loops over executors of the standard library: the user's own, and the one that serves where we have no workers."""

import os
import signal
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context, resource_tracker

import numpy as np
import pytest

from lightwork import Parallel, delayed, parallel_config
from lightwork.errors import OptionError, OptionTypeError, PicklingFailedError, WorkerDied
from lightwork.parallel import backends
from lightwork.parallel.backends import executors


@pytest.fixture(autouse=True, scope="module")
def _tracker():
    """The standard library starts a process of its own beside its first workers, and keeps it: not ours to end."""
    resource_tracker.ensure_running()


@pytest.fixture(params=["processes", "threads"])
def executor(request):
    threads = request.param == "threads"
    with ThreadPoolExecutor(2) if threads else ProcessPoolExecutor(2, get_context("spawn")) as made:
        yield made


def square(i):
    return i * i


def fail_at(when, i):
    if i == when:
        raise ValueError("bad", i)
    return i


def test_results_in_order_by_the_users_executor_which_stays_his(executor):
    for kind in ("list", "generator"):
        loop = Parallel(backend=executor, return_as=kind)
        assert list(loop(delayed(square)(i) for i in range(300))) == [i * i for i in range(300)]
    assert sorted(
        Parallel(n_jobs=2, backend=executor, return_as="generator_unordered")(
            delayed(square)(i) for i in range(50)
        )
    ) == sorted(i * i for i in range(50))
    assert executor.submit(square, 3).result() == 9


def test_it_may_be_configured(executor):
    with parallel_config(backend=executor):
        pids = set(Parallel(n_jobs=2)(delayed(os.getpid)() for _ in range(10)))
    assert (os.getpid() in pids) is isinstance(executor, ThreadPoolExecutor)


def test_a_failure_is_raised_with_its_task(executor):
    with pytest.raises(ValueError, match="bad") as caught:
        Parallel(backend=executor)(delayed(fail_at)(13, i) for i in range(40))
    assert caught.value.args == ("bad", 13)


def test_lambdas_and_arrays(executor):
    array = np.arange(5.0)
    results = Parallel(backend=executor)(delayed(lambda a, k: a * k)(array, k) for k in range(3))
    assert [result[-1] for result in results] == [0.0, 4.0, 8.0]


def test_a_buffer_may_be_refilled():
    buffer = np.zeros(3)

    def tasks():
        for i in range(30):
            buffer[:] = i
            yield delayed(np.sum)(buffer)

    with ProcessPoolExecutor(2, get_context("spawn")) as executor:
        assert Parallel(backend=executor)(tasks()) == [3.0 * i for i in range(30)]


def test_what_cannot_travel_is_its_own_tasks_failure():
    with ProcessPoolExecutor(1, get_context("spawn")) as executor:
        loop = Parallel(n_jobs=2, backend=executor)
        with pytest.raises(PicklingFailedError, match=r"task 1, .* argument 0 cannot be pickled"):
            loop(delayed(f)(x) for f, x in ((square, 2), (print, threading.Lock())))
        with pytest.raises(TypeError, match="lock"):
            loop([delayed(square)(2), delayed(threading.Lock)()])


def test_a_broken_executor_is_told():
    said = "a worker of the executor ended, probably while it ran task 0"
    with (
        ProcessPoolExecutor(1, get_context("spawn")) as executor,
        pytest.raises(WorkerDied, match=said),
    ):
        Parallel(n_jobs=2, backend=executor)(
            delayed(os.kill)(pid, signal.SIGKILL) for pid in killed_pids(executor)
        )


def killed_pids(executor):
    yield executor.submit(os.getpid).result()


def test_contradictions():
    with ProcessPoolExecutor(1) as executor, pytest.raises(OptionError, match="sharedmem"):
        Parallel(backend=executor, require="sharedmem")
    with ThreadPoolExecutor(1) as executor:
        assert Parallel(n_jobs=2, backend=executor, require="sharedmem")([delayed(square)(2)] * 2) == [4, 4]
    with pytest.raises(OptionTypeError, match="or an executor"):
        Parallel(backend=object())


class TestWhereWeHaveNoWorkers:
    @pytest.fixture(autouse=True)
    def _elsewhere(self, monkeypatch):
        elsewhere = backends.BACKENDS["processes"]._replace(module=backends._EXECUTORS)
        monkeypatch.setitem(backends.BACKENDS, "processes", elsewhere)
        yield
        executors._end_kept()

    def test_loops_run_and_the_pool_is_kept(self):
        assert Parallel(n_jobs=2)(delayed(square)(i) for i in range(100)) == [i * i for i in range(100)]
        kept = executors._kept[1]
        assert Parallel(n_jobs=2)(delayed(square)(i) for i in range(3)) == [0, 1, 4]
        assert executors._kept[1] is kept
        assert Parallel(n_jobs=2, initializer=os.nice, initargs=(0,))(
            delayed(square)(i) for i in range(3)
        ) == [0, 1, 4]
        assert executors._kept[1] is not kept

    def test_a_generator_that_is_closed_ends_what_runs(self):
        generator = Parallel(n_jobs=2, return_as="generator", batch_size=1)(
            delayed(time.sleep)(0 if i == 0 else 600) for i in range(10)
        )
        next(generator)
        begun = time.monotonic()
        generator.close()
        assert time.monotonic() - begun < 30
        assert Parallel(n_jobs=2)(delayed(square)(i) for i in range(3)) == [0, 1, 4]
