"""Jobs of an executor: begun or cancelled, never both, wherever they lie."""

import random
import threading
import time
from concurrent.futures import FIRST_COMPLETED, CancelledError, wait

import numpy as np
import pytest

from lightwork import ProcessExecutor
from lightwork.parallel.claims import Claim, JobFuture
from lightwork.workers import anonymous
from lightwork.workers.page import Page, open_once


@pytest.fixture
def page():
    made = open_once(anonymous.create(4096))
    yield made
    made.close()


def begin(page, span):
    """What a worker does: whether it runs the span."""
    page.words[Page.BEGUN] = span
    return page.words[Page.WITHDRAWN + span % Page.RING] != span


class TestFuture:
    @pytest.fixture
    def claim(self):
        return Claim()

    @pytest.fixture
    def future(self, claim):
        return JobFuture(claim)

    def test_is_pending_while_the_job_lies_with_a_worker_unbegun(self, claim, future, page):
        assert claim.queue(lambda: (page, 7))
        begin(page, 6)
        assert (future.running(), future.done()) == (False, False)
        assert future.cancel()
        assert (future.running(), future.done(), future.cancelled()) == (False, True, True)
        assert not begin(page, 7)
        assert begin(page, 8)
        assert future.cancel()
        with pytest.raises(CancelledError):
            future.result()

    def test_runs_from_the_moment_that_its_worker_says_so(self, claim, future, page):
        claim.queue(lambda: (page, 7))
        assert begin(page, 7)
        assert future.running()
        assert not future.cancel()
        assert future.begin()
        assert future.running()
        future.set_result(3)
        assert (future.running(), future.cancel(), future.result()) == (False, False, 3)

    def test_of_a_cancelled_job_is_not_begun_nor_sent(self, claim, future, page):
        assert future.cancel()
        assert not future.begin()
        assert not claim.queue(lambda: (page, 1))

    def test_of_a_job_that_had_begun_is_never_cancelled_again(self, claim, future, page):
        """Its worker died, and it waits for another: it has been seen to run."""
        assert future.begin()
        claim.come_back()
        assert not future.cancel()
        assert claim.queue(lambda: (page, 9))
        assert not future.cancel()
        assert future.begin()

    def test_of_a_job_whose_worker_is_no_more_cannot_be_cancelled_until_that_is_known(self, claim, future):
        page = open_once(anonymous.create(4096))
        claim.queue(lambda: (page, 7))
        page.close()
        assert not future.cancel()
        assert not future.running()
        claim.come_back()
        assert future.cancel()

    def test_tells_whoever_waits_at_once_and_calls_back_once(self, future):
        calls, done = [], []
        future.add_done_callback(calls.append)
        waiter = threading.Thread(target=lambda: done.append(wait([future], 30, FIRST_COMPLETED)))
        waiter.start()
        cancellers = [threading.Thread(target=future.cancel) for _ in range(4)]
        for thread in cancellers:
            thread.start()
        for thread in [*cancellers, waiter]:
            thread.join(30)
        assert done[0].done == {future}
        assert calls == [future]


def test_a_ring_of_withdrawn_spans_mixes_up_none(page):
    begin(page, 1)
    withdrawn = [span for span in range(2, 60) if span % 3 == 0 and page.withdraw(span)]
    assert [span for span in range(2, 200) if not begin(page, span)] == withdrawn


def note(path):
    with open(path, "x"):
        return True


def pause(begun, path):
    note(begun)
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def wait_for(path):
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture
def executor():
    """With one worker, whose jobs have been brief so far: it has more of them than it runs."""
    with ProcessExecutor(1) as made:
        assert list(made.map(abs, range(50))) == list(range(50))
        yield made


def test_what_lies_behind_another_job_can_be_cancelled(executor, tmp_path):
    long = executor.submit(pause, tmp_path / "begun", tmp_path / "go")
    behind = [executor.submit(note, tmp_path / str(i)) for i in range(6)]
    wait_for(tmp_path / "begun")
    assert long.running()
    assert not any(future.running() for future in behind)
    assert [future.cancel() for future in behind[:4]] == [True] * 4
    assert wait(behind[:4], 30).not_done == set()
    note(tmp_path / "go")
    assert [future.result(30) for future in behind[4:]] == [True, True]
    assert executor.submit(abs, -3).result(30) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["4", "5", "begun", "go"]


def test_a_callback_may_cancel_while_its_caller_holds_a_lock(executor, tmp_path):
    """Whoever cancels waits for nobody: not for the keeper, which runs callbacks that may wait for him."""
    lock, inside = threading.Lock(), threading.Event()

    def callback(_):
        inside.set()
        with lock:
            pass

    with lock:
        # Not done before it has its callback, which would then run right here.
        executor.submit(pause, tmp_path / "begun", tmp_path / "go").add_done_callback(callback)
        note(tmp_path / "go")
        assert inside.wait(30)
        waiting = [executor.submit(note, tmp_path / str(i)) for i in range(3)]
        assert [future.cancel() for future in waiting] == [True] * 3
    executor.submit(abs, -1).result(30)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["begun", "go"]


def test_its_arrays_are_let_go(executor, tmp_path):
    executor.submit(pause, tmp_path / "begun", tmp_path / "go")
    wait_for(tmp_path / "begun")
    array = np.zeros(300_000)
    futures = [executor.submit(np.sum, array) for _ in range(4)]
    deadline = time.monotonic() + 30
    while not executor._desk._lanes or len(next(iter(executor._desk._lanes.values()))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert [future.cancel() for future in futures[:3]] == [True] * 3
    note(tmp_path / "go")
    assert futures[3].result(30) == 0
    executor.submit(abs, -1).result(30)
    assert [segment.in_flight for segment in executor._desk._segments._by_number.values()] == [0]


def test_shutdown_cancels_it_too(executor, tmp_path):
    executor.submit(pause, tmp_path / "begun", tmp_path / "go")
    behind = [executor.submit(note, tmp_path / str(i)) for i in range(6)]
    wait_for(tmp_path / "begun")
    executor.shutdown(wait=False, cancel_futures=True)
    assert wait(behind, 30).not_done == set()
    assert all(future.cancelled() for future in behind)
    note(tmp_path / "go")
    executor.shutdown()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["begun", "go"]


@pytest.mark.parametrize("workers", [1, 2])
def test_storm(tmp_path, workers):
    """Whatever the moment: a cancelled job has not run, any other has, once."""
    chance = random.Random(workers)
    with ProcessExecutor(workers) as executor:
        list(executor.map(abs, range(50)))
        futures = [executor.submit(note, tmp_path / str(i)) for i in range(400)]
        picked = [i for i in range(400) if chance.random() < 0.5]

        def cancel(numbers):
            for i in numbers:
                futures[i].cancel()

        threads = [threading.Thread(target=cancel, args=(picked[start::3],)) for start in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wait(futures, 60).not_done == set()
        cancelled = {i for i, future in enumerate(futures) if future.cancelled()}
        assert all(futures[i].result() for i in range(400) if i not in cancelled)
    assert {int(path.name) for path in tmp_path.iterdir()} == set(range(400)) - cancelled
    assert cancelled <= set(picked)
