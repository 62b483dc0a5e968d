"""An input is read in one go only as long as it is quick, and what it gave is not held up by what it does next."""

import itertools
import time
from collections import deque
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lightwork
from lightwork import Parallel, delayed
from lightwork.parallel import brisk
from lightwork.parallel.brisk import Brisk
from lightwork.parallel.intake import Intake

from .fakes import FakeCrew


class Clock:
    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(brisk, "perf_counter", lambda: self.now)

    def source(self, durations):
        for index, seconds in enumerate(durations):
            self.now += seconds
            yield index


@given(st.lists(st.integers(0, 60), max_size=20), st.integers(0, 200))
def test_everything_comes_once_and_in_order(counts, length):
    reader, source = Brisk(), iter(range(length))
    found = [list(reader.read(source, count)) for count in counts]
    assert [*itertools.chain(*found), *source] == list(range(length))


@pytest.mark.parametrize("slow_from", [0, 1, 5, 100, 1000])
def test_of_a_source_that_becomes_slow_few_more_are_read_at_once_and_then_one_at_a_time(
    slow_from, monkeypatch
):
    clock = Clock(monkeypatch)
    source = clock.source([1e-7] * slow_from + [1.0] * 100)
    reader = Brisk()
    assert slow_from < len(list(reader.read(source, 1000))) <= slow_from + 16 or slow_from == 1000
    list(reader.read(source, 1000))
    assert reader.was_cut
    assert len(list(reader.read(source, 1000))) == 1
    assert reader.was_cut


def test_what_is_quick_is_read_as_asked_for(monkeypatch):
    clock = Clock(monkeypatch)
    source = clock.source([1e-7] * 10_000)
    reader = Brisk()
    assert len(list(reader.read(source, 8192))) == 8192
    assert not reader.was_cut
    assert len(list(reader.read(source, 8192))) == 10_000 - 8192
    assert not reader.was_cut


class Untouched(deque):
    def __iter__(self):
        raise AssertionError("went over all that was read before")


@pytest.mark.parametrize("whole", [False, True])
def test_reading_ahead_costs_no_more_for_what_was_read_before(whole):
    tasks = (delayed(abs)(-index) for index in range(50))
    intake = Intake(tasks, lambda: FakeCrew(1), eager=True, whole=whole)
    intake._held = Untouched()
    while intake.reads_ahead:
        intake.read_ahead(0, 7)
    found = []
    while items := intake.take(len(found), 5):
        found += items
    assert [args for _, args, _ in found] == [(-index,) for index in range(50)]


def mark(folder, index):
    (folder / str(index)).touch()
    return index


def wait_for(path):
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"task {path.name} was not begun while the input waited"
        time.sleep(0.001)


@pytest.mark.parametrize(
    ("backend", "pre_dispatch"),
    [
        ("processes", "2 * n_jobs"),
        ("processes", "all"),
        ("threads", "2 * n_jobs"),
        ("threads", "all"),
        ("sequential", "2 * n_jobs"),  # nobody could run what is read ahead
    ],
)
@pytest.mark.parametrize("kind", ["list", "generator", "generator_unordered"])
def test_an_input_that_waits_for_what_it_gave_before_goes_on(backend, kind, pre_dispatch, tmp_path):
    def tasks():
        for index in range(100):
            yield delayed(mark)(tmp_path, index)
            wait_for(tmp_path / str(index))

    loop = Parallel(n_jobs=2, backend=backend, return_as=kind, batch_size=1, pre_dispatch=pre_dispatch)
    assert sorted(loop(tasks())) == list(range(100))


def slow_at_the_end(folder, make):
    """So many are quick that messages become large; then each takes its time, and the last waits for the first such."""
    for index in range(3000):
        yield make(index)
    for index in range(3000, 3040):
        time.sleep(0.01)
        yield make(index)
    wait_for(folder / "3000")
    yield make(3040)


def mark_late(folder, index):
    return mark(folder, index) if index >= 3000 else index


@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_one_that_becomes_slow_keeps_nothing_back(backend, tmp_path):
    tasks = slow_at_the_end(tmp_path, lambda index: delayed(mark_late)(tmp_path, index))
    assert Parallel(n_jobs=2, backend=backend)(tasks) == list(range(3041))


@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_nor_does_one_of_map(backend, tmp_path):
    values = slow_at_the_end(tmp_path, int)
    found = lightwork.map(partial(mark_late, tmp_path), values, n_jobs=2, backend=backend)
    assert found == list(range(3041))
