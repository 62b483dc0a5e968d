"""Taking work back from threads and from other people's executors: nothing runs twice, nothing is lost."""

import random
import threading
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from math import inf
from multiprocessing import get_context, resource_tracker

import pytest

from lightwork import Parallel
from lightwork.parallel.backends import executors, threads
from lightwork.parallel.backends.base import Back, CrewOptions, Done, Up
from lightwork.parallel.batching import Pace
from lightwork.parallel.outcomes import Outcomes
from lightwork.parallel.pump import Pump
from lightwork.parallel.tasks import delayed

from .fakes import RestlessPlan
from .test_pump import Recorder


@pytest.fixture(params=["threads", "executor"])
def crew(request):
    """A crew of two whose tasks run in this process."""
    if request.param == "threads":
        made = threads.lend(2, CrewOptions())
        yield made
        made.abort()
        for thread in made._threads:
            thread.join(30)
    else:
        with ThreadPoolExecutor(2) as pool:
            made = executors.lend_from(pool, 2, CrewOptions())
            yield made
            made.abort()


class Gate:
    """A task that runs until the test lets it go."""

    def __init__(self):
        self.begun, self.open = threading.Event(), threading.Event()

    def __call__(self):
        self.begun.set()
        assert self.open.wait(60)
        return "gate"


def collect(crew, until):
    events = []
    while not until(events):
        news = crew.wait(60)
        assert news, events
        events += news
    return events


def up_again(events):
    return any(type(event) is Up for event in events)


def test_what_lies_behind_a_running_task_comes_back_while_it_runs(crew):
    gate, ran = Gate(), []
    crew.send(0, 0, [(ran.append, (0,), {}), (gate, (), {}), (ran.append, (2,), {}), (ran.append, (3,), {})])
    assert gate.begun.wait(30)
    assert crew.revoke([0]) == [Back(0, [(0, 2)])]
    crew.send(1, 2, [(ran.append, (2,), {}), (ran.append, (3,), {})])
    (other,) = collect(crew, bool)
    assert (other.worker, other.first, other.results) == (1, 2, [None, None])
    gate.open.set()
    done, up = collect(crew, up_again)
    assert (done.worker, done.first, done.results) == (0, 0, [None, "gate"])
    assert up == Up(0)
    assert ran == [0, 2, 3]
    crew.send(0, 4, [(ran.append, (4,), {})])
    assert collect(crew, bool)[0].first == 4


def test_whole_spans_come_back_and_are_not_answered():
    made, gate, ran = threads.lend(2, CrewOptions()), Gate(), []
    try:
        made.send(0, 0, [(gate, (), {})])
        made.send(0, 1, [(ran.append, (1,), {}), (ran.append, (2,), {})])
        made.send(0, 3, [(ran.append, (3,), {})])
        assert gate.begun.wait(30)
        assert made.revoke([0]) == [Back(0, [(1, 0), (3, 0)])]
        made.send(1, 1, [(ran.append, (10,), {})])  # the same number, elsewhere
        (other,) = collect(made, bool)
        gate.open.set()
        assert [(type(event), event.worker) for event in collect(made, up_again)] == [(Done, 0), (Up, 0)]
        made.send(0, 5, [(ran.append, (5,), {})])
        assert collect(made, bool)[0].first == 5
        assert (other.first, ran) == (1, [10, 5])
    finally:
        gate.open.set()
        made.release()


def test_one_that_has_nothing_may_have_more_at_once(crew):
    assert crew.revoke([0]) == [Up(0)]
    crew.send(0, 0, [(abs, (-1,), {})])
    assert collect(crew, bool)[0].results == [1]


@pytest.mark.parametrize("seed", range(6))
def test_at_whatever_moment_each_task_is_answered_once(crew, seed):
    chance = random.Random(seed)
    for _ in range(50):
        length = chance.choice([1, 5, 30])
        ran = []
        for first in range(0, 90, length):
            crew.send(0, first, [(ran.append, (index,), {}) for index in range(first, first + length)])
        seen, most = chance.randrange(90), time.monotonic() + 30
        while len(ran) < seen and time.monotonic() < most:
            pass
        events = list(crew.revoke([0]))
        if not up_again(events):
            events += collect(crew, up_again)
        spans = dict.fromkeys(range(0, 90, length), length)
        for event in events:
            if type(event) is Back:
                for first, kept in event.kept:
                    assert kept < spans[first]
                    spans[first] = kept
            elif type(event) is Done:
                assert spans.pop(event.first) == len(event.results)
        assert not any(spans.values())
        answered = [i for e in events if type(e) is Done for i in range(e.first, e.first + len(e.results))]
        assert sorted(answered) == sorted(ran)


@pytest.fixture(scope="module")
def _tracker():
    """The standard library starts a process of its own beside its first workers, and keeps it: not ours to end."""
    resource_tracker.ensure_running()


@pytest.mark.usefixtures("_tracker")
def test_spans_that_an_executor_has_not_begun_come_back(tmp_path):
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        made = executors.lend_from(pool, 1, CrewOptions())
        for index in range(10):
            made.send(0, index, [made.encode(index, (wait_for, (tmp_path / "open", index), {}))])
        (back,) = made.revoke([0])
        (tmp_path / "open").touch()
        kept = [first for first in range(10) if (first, 0) not in back.kept]
        assert len(kept) < 10  # those that the pool has handed on already it does not give back
        events = collect(made, up_again)
        assert sorted(event.results[0] for event in events if type(event) is Done) == kept


def wait_for(path, index):
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.001)
    return index


@pytest.mark.parametrize("kind", ["threads", "executor"])
def test_what_lies_behind_a_long_task_is_run_by_the_others(kind):
    """One message of tasks that were brief so far; one waits until all the others are done."""
    count, done, over = 400, Counter(), threading.Event()

    def task(index):
        if index == 200:
            assert over.wait(60)
        done[index] += 1
        if len(done) == count - 1:
            over.set()
        return index

    with ThreadPoolExecutor(2) as pool:
        backend = "threads" if kind == "threads" else pool
        loop = Parallel(n_jobs=2, backend=backend, batch_size=50)
        assert loop(delayed(task)(index) for index in range(count)) == list(range(count))
    assert set(done.values()) == {1}


def uneven(ran, index):
    """Mostly instant, sometimes some milliseconds, now and then long."""
    ran.append(index)
    chance = random.Random(index).random()
    time.sleep(0.03 if chance < 0.002 else 0.003 if chance < 0.02 else 0)
    return index


@pytest.mark.parametrize("kind", ["threads", "executor"])
@pytest.mark.parametrize(("size", "seed"), [(None, 0), (7, 1)])
def test_storm(kind, size, seed):
    """Work is taken back from anybody all the time; each task runs once, and all results are there in order."""
    pace, ran = Pace(size), []
    plan = RestlessPlan(inf, pace, in_batches=True, workers=3, seed=seed)
    outcomes = Outcomes(ordered=True)
    tasks = (delayed(uneven)(ran, index) for index in range(3000))
    with ThreadPoolExecutor(3) as pool:

        def hire():
            options = CrewOptions()
            return threads.lend(3, options) if kind == "threads" else executors.lend_from(pool, 3, options)

        pump = Pump(tasks, hire, plan, pace, outcomes, None, Recorder())
        assert pump.collect() == list(range(3000))
    assert sorted(ran) == list(range(3000))
    assert plan.taken_back > 20
