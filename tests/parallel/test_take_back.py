"""Taking work back from real workers: nothing runs twice, nothing is lost, nobody waits for ever, blame is exact."""

import os
import random
import signal
import time
from math import inf

import numpy as np
import pytest

from lightwork.parallel.backends.base import Back, CrewOptions, Died, Done, Up
from lightwork.parallel.backends.processes import lend
from lightwork.parallel.batching import Pace
from lightwork.parallel.outcomes import Outcomes
from lightwork.parallel.pump import Pump
from lightwork.parallel.tasks import delayed
from lightwork.workers.page import Page

from .fakes import RestlessPlan
from .test_pump import Recorder


def note(folder, index):
    """Leave a mark of having run, and where: a second one fails."""
    mark = os.open(folder / str(index), os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    os.write(mark, str(os.getpid()).encode())
    os.close(mark)
    return index


def gate(folder, index):
    """Run until the test opens the gate."""
    note(folder, index)
    deadline = time.monotonic() + 60
    while not (folder / "open").exists():
        assert time.monotonic() < deadline
        time.sleep(0.0005)
    return index


def kill_after_gate(folder, index):
    gate(folder, index)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def crew():
    made = lend(2, CrewOptions(max_nbytes=1000))
    yield made
    made.abort()


def send(crew, worker, first, tasks):
    crew.send(worker, first, [crew.encode(index, task) for index, task in enumerate(tasks, first)])


def wait_for(path):
    """The process that has left this mark."""
    deadline = time.monotonic() + 60
    while not path.exists() or not path.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.0005)
    return int(path.read_text())


def collect(crew, until):
    events = []
    while not until(events):
        news = crew.wait(60)
        assert news, events
        events += news
    return events


def busy(crew, folder, first_task=gate):
    """A worker that runs the second task of its second span, with two more behind it, and a span after that."""
    worker = crew.workers[0]
    send(crew, worker, 0, [(note, (folder, 0), {})])
    send(crew, worker, 1, [(note, (folder, 1), {}), (first_task, (folder, 2), {}), *notes(folder, 3, 4)])
    send(crew, worker, 5, notes(folder, 5, 6))
    crew.flush()
    wait_for(folder / "2")
    return worker


def notes(folder, *indices):
    return [(note, (folder, index), {}) for index in indices]


def ran(folder):
    return sorted(int(name) for name in os.listdir(folder) if name != "open")


def up_again(events):
    return any(type(event) is Up for event in events)


def test_what_lies_behind_a_running_task_comes_back_while_it_runs(crew, tmp_path):
    worker, other = busy(crew, tmp_path), crew.workers[1]
    assert crew.revoke([worker]) == [Back(worker, [(1, 2), (5, 0)])]
    send(crew, other, 3, notes(tmp_path, 3, 4))
    send(crew, other, 5, notes(tmp_path, 5, 6))
    events = collect(crew, lambda events: sum(type(event) is Done for event in events) == 3)
    (tmp_path / "open").touch()
    events += collect(crew, up_again)
    done = {event.first: (event.worker, event.results) for event in events if type(event) is Done}
    assert done == {0: (worker, [0]), 1: (worker, [1, 2]), 3: (other, [3, 4]), 5: (other, [5, 6])}
    assert [event for event in events if type(event) is not Done] == [Up(worker)]
    send(crew, worker, 7, notes(tmp_path, 7))
    assert collect(crew, bool)[0].results == [7]
    crew.release()
    assert ran(tmp_path) == list(range(8))


@pytest.mark.parametrize("seed", range(8))
def test_at_whatever_moment_each_task_is_answered_once(crew, tmp_path, seed):
    """A fresh worker, one in its start, one between tasks, one that has just answered: all at some seed."""
    chance = random.Random(seed)
    worker = crew.workers[0]
    length = chance.choice([1, 5, 30])
    for first in range(0, 90, length):
        send(crew, worker, first, notes(tmp_path, *range(first, first + length)))
    crew.flush()
    if chance.random() < 0.8:
        wait_for(tmp_path / str(chance.randrange(90)))
    events = [*crew.revoke([worker]), *collect(crew, up_again)]
    answered = sorted(i for e in events if type(e) is Done for i in range(e.first, e.first + len(e.results)))
    assert answered == ran(tmp_path)
    spans = dict.fromkeys(range(0, 90, length), length)
    for event in events:
        if type(event) is Back:
            for first, kept in event.kept:
                assert kept < spans[first]
                spans[first] = kept
        elif type(event) is Done:
            assert spans.pop(event.first) == len(event.results)
    assert not any(spans.values())


@pytest.mark.parametrize("kill", ["by itself", "from outside"])
def test_a_death_is_blamed_on_the_task_that_ran_and_on_no_neighbour(crew, tmp_path, kill):
    worker = busy(crew, tmp_path, kill_after_gate if kill == "by itself" else gate)
    crew.revoke([worker])
    if kill == "by itself":
        (tmp_path / "open").touch()
    else:
        os.kill(wait_for(tmp_path / "2"), signal.SIGKILL)
    events = collect(crew, up_again)
    (died,) = [event for event in events if type(event) is Died]
    assert (died.worker, died.claimed, died.error.index) == (worker, 2, 2)


def test_one_that_owes_nothing_but_word_goes_to_the_next_call_unharmed(crew, tmp_path):
    """It has not even begun; what was taken back from it is not run there, in no later call."""
    worker = crew.workers[0]
    send(crew, worker, 0, [(os.getpid, (), {})])
    (event,) = collect(crew, bool)
    (pid,) = event.results
    os.kill(pid, signal.SIGSTOP)
    try:
        send(crew, worker, 1, notes(tmp_path, 1, 2))
        crew.flush()
        assert crew.revoke([worker]) == [Back(worker, [(1, 0)])]
        crew.release()
        again = lend(2, CrewOptions())
    finally:
        os.kill(pid, signal.SIGCONT)
    assert worker in again.workers
    send(again, worker, 0, [(os.getpid, (), {})])
    send(again, worker, 1, notes(tmp_path, 7))
    first, second = collect(again, lambda events: len(events) == 2)
    assert (first.results, second.results) == ([pid], [7])
    again.release()
    assert ran(tmp_path) == [7]


def fail(folder, index):
    note(folder, index)
    raise ValueError(index)


def test_what_was_run_though_it_was_taken_back_is_dropped(crew, tmp_path, monkeypatch):
    """The order of stores could let a worker miss the limit: then a task runs twice, and counts once."""
    monkeypatch.setattr(Page, "call_off", lambda page, spans: None)
    worker = crew.workers[0]
    tasks = [(gate, (tmp_path, 0), {}), (fail, (tmp_path, 1), {})]
    tasks += [
        (np.full, (100_000, float(n)), {}) for n in range(3)
    ]  # big: the worker waits until they are fetched
    send(crew, worker, 0, tasks)
    for first in (5, 6, 7):
        send(crew, worker, first, [(np.full, (100_000, 1.0), {})])
    crew.flush()
    wait_for(tmp_path / "0")
    assert crew.revoke([worker]) == [Back(worker, [(0, 1), (5, 0), (6, 0), (7, 0)])]
    (tmp_path / "open").touch()
    events = collect(crew, up_again)
    assert [(event.first, event.results, event.failures) for event in events[:-1]] == [(0, [0], None)]
    send(crew, worker, 8, notes(tmp_path, 8))
    assert collect(crew, bool)[0].results == [8]


def uneven(folder, index):
    """Mostly instant, sometimes some milliseconds, now and then long."""
    note(folder, index)
    chance = random.Random(index).random()
    time.sleep(0.03 if chance < 0.002 else 0.003 if chance < 0.02 else 0)
    return index


@pytest.mark.parametrize(("size", "seed"), [(None, 0), (7, 1)])
def test_storm(tmp_path, size, seed):
    """Work is taken back from anybody all the time; each task runs once, and all results are there in order."""
    pace = Pace(size)
    plan = RestlessPlan(inf, pace, in_batches=True, workers=3, seed=seed)
    outcomes = Outcomes(ordered=True)
    tasks = (delayed(uneven)(tmp_path, index) for index in range(3000))
    pump = Pump(tasks, lambda: lend(3, CrewOptions()), plan, pace, outcomes, None, Recorder())
    assert pump.collect() == list(range(3000))
    assert ran(tmp_path) == list(range(3000))
    assert plan.taken_back > 20
