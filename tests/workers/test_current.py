"""What code inside a task is told of it, on every backend."""

import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context, resource_tracker

import pytest

from lightwork import Parallel, Retries, current_task, delayed
from lightwork import map as parallel_map


@pytest.fixture(scope="module", autouse=True)
def _tracker():
    """The standard library starts a process of its own beside its first workers, and keeps it: not ours to end."""
    resource_tracker.ensure_running()


def told(_=None):
    task = current_task()
    return task and (task.index, task.attempt, task.deadline)


def worker_of(_):
    return current_task().worker


def fail_twice(_):
    if current_task().attempt < 3:
        raise ValueError(current_task().attempt)
    return current_task().attempt


PLACES = {
    "plain": {"n_jobs": 1},
    "plain generator": {"n_jobs": 1, "return_as": "generator"},
    "processes": {"n_jobs": 2},
    "batches": {"n_jobs": 2, "batch_size": 7},
    "spawned": {"n_jobs": 2, "start_method": "spawn"},
    "forked": {"n_jobs": 2, "start_method": "fork"},
    "threads": {"n_jobs": 2, "backend": "threads"},
}
each_place = pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)


@each_place
class TestEverywhere:
    def test_the_number_of_the_task(self, place):
        assert list(Parallel(**place)(delayed(told)(i) for i in range(20))) == [
            (i, 1, None) for i in range(20)
        ]
        assert current_task() is None

    def test_the_attempt(self, place):
        loop = Parallel(retries=Retries(2, backoff=0.001), **place)
        assert list(loop(delayed(fail_twice)(i) for i in range(5))) == [3] * 5
        assert current_task() is None

    def test_the_inner_of_two_loops(self, place):
        def outer(_):
            before = told()
            inner = Parallel()(delayed(told)(i) for i in range(2))
            return before, inner, told()

        inner = [(0, 1, None), (1, 1, None)]
        assert list(Parallel(**place)(delayed(outer)(i) for i in range(3))) == [
            ((i, 1, None), inner, (i, 1, None)) for i in range(3)
        ]

    def test_the_input_of_an_inner_loop_belongs_to_the_outer_task(self, place):
        def outer(_):
            return Parallel()(delayed(abs)(-current_task().index) for _ in range(2))

        assert list(Parallel(**place)(delayed(outer)(i) for i in range(3))) == [[i, i] for i in range(3)]

    def test_a_task_that_failed_is_over(self, place):
        def fail(_):
            raise KeyError

        with pytest.raises(KeyError):
            list(Parallel(**place)(delayed(fail)(i) for i in range(3)))
        assert current_task() is None


def test_workers_have_numbers():
    assert len(set(Parallel(n_jobs=2, batch_size=1)(delayed(worker_of)(i) for i in range(50)))) == 2
    assert set(Parallel(n_jobs=1)(delayed(worker_of)(i) for i in range(5))) == {0}


@pytest.mark.parametrize(
    "executor",
    [lambda: ThreadPoolExecutor(2), lambda: ProcessPoolExecutor(2, get_context("spawn"))],
    ids=["threads", "processes"],
)
def test_executors(executor):
    with executor() as pool:
        loop = Parallel(backend=pool, batch_size=3)
        assert loop(delayed(told)(i) for i in range(10)) == [(i, 1, None) for i in range(10)]
        assert pool.submit(told).result() is None


def test_threads_of_a_task_ask_as_well():
    def ask(_):
        found = []
        thread = threading.Thread(target=lambda: found.append(told()))
        thread.start()
        thread.join()
        return found[0]

    assert Parallel(n_jobs=2)(delayed(ask)(i) for i in range(4)) == [(i, 1, None) for i in range(4)]


def test_blocks_of_map():
    assert parallel_map(told, range(5000), n_jobs=2) == [(i, 1, None) for i in range(5000)]


def test_the_deadline():
    def left(_):
        return current_task().deadline - time.monotonic()

    assert all(
        55 < seconds < 60.01
        for seconds in Parallel(n_jobs=2, task_timeout=60)(delayed(left)(i) for i in range(4))
    )


def test_it_says_what_it_is():
    shown = Parallel(n_jobs=1)([delayed(lambda: repr(current_task()))()])
    assert shown == ["CurrentTask(index=0, worker=0, attempt=1, deadline=None)"]
