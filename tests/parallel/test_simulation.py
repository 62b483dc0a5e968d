"""Loops in virtual time: how near to greedy dispatch they come, and that their cost does not grow."""

import time
import tracemalloc

import pytest

from lightwork.parallel.plan import Plan

from .simulation import Constant, Durations, busy_share, greedy, heavy_tail, mixed, run


def ratios(kind, workers, each, seeds):
    """How much longer a loop takes than greedy dispatch of single tasks that costs nothing, seed by seed."""
    found = []
    for seed in range(seeds):
        seconds = kind(workers * each, seed)
        took, _ = run(workers, Durations(seconds), len(seconds))
        found.append(took / greedy(workers, seconds))
    return found


class TestMakespan:
    @pytest.mark.parametrize("workers", [2, 8])
    @pytest.mark.parametrize(("kind", "each"), [(heavy_tail, 200), (mixed, 1000)])
    def test_is_nearly_that_of_greedy_dispatch(self, kind, each, workers):
        assert max(ratios(kind, workers, each, seeds=3)) <= 1.05

    @pytest.mark.slow
    @pytest.mark.parametrize("workers", [2, 4, 8, 16, 32, 64])
    @pytest.mark.parametrize(("kind", "each"), [(heavy_tail, 500), (mixed, 2000)])
    def test_is_nearly_that_of_greedy_dispatch_for_many_workers_and_seeds(self, kind, each, workers):
        found = ratios(kind, workers, each, seeds=10)
        print(kind.__name__, workers, [f"{ratio:.3f}" for ratio in found])
        assert max(found) <= 1.05

    def test_without_taking_back_it_is_not(self, monkeypatch):
        """So the tests above measure what they are for."""
        monkeypatch.setattr(Plan, "take_back", _takes_nothing_back)
        assert max(ratios(mixed, 8, 1000, seeds=3)) > 1.05

    def test_a_batch_size_of_the_users_is_no_prison(self):
        """Batches of 100 tasks of 10 ms, 5 of them for 4 workers: the last is shared out."""
        seconds = [0.01] * 500
        took, crew = run(4, Durations(seconds), 500, size=100)
        assert crew.revokes
        assert took <= 1.05 * greedy(4, seconds)

    def test_even_tasks_are_left_where_they_are(self):
        _, crew = run(4, Constant(1e-3), 20_000)
        assert crew.revokes <= 8  # at the end, when somebody has nothing left


class TestSlowReader:
    """Two workers, tasks of 10 ms: on average the reader takes less than the 5 ms in which one is done."""

    @pytest.mark.parametrize("window", [8, 64])
    def test_that_takes_equally_long_each_time(self, window):
        assert busy_share(2, 0.01, lambda index: 0.004, window=window) >= 0.98

    def test_that_takes_long_now_and_then(self):
        assert busy_share(2, 0.01, lambda index: 0.002 if index % 20 else 0.04, window=64) >= 0.98


def _takes_nothing_back(plan, now):
    plan._due = float("inf")
    return []


def cost(workers, count):
    """Processor time and memory of a loop of tasks that take no time to run, and how much of them was ever kept."""
    tracemalloc.start()
    try:
        _, crew = run(workers, Constant(100e-6), count, keep=False)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return peak, crew


class TestSize:
    def test_memory_does_not_grow_with_the_tasks(self):
        small, _ = cost(50, 20_000)
        large, _ = cost(50, 200_000)
        assert large <= 1.5 * small

    @pytest.mark.slow
    def test_ten_million_tasks_on_a_thousand_workers(self):
        """In the memory of a hundredth of them, and each at the same cost."""
        small, _ = cost(1000, 100_000)
        large, _ = cost(1000, 1_000_000)
        assert large <= 1.5 * small
        begun = time.process_time()
        run(1000, Constant(100e-6), 1_000_000, keep=False)
        million = time.process_time() - begun
        begun = time.process_time()
        run(1000, Constant(100e-6), 10_000_000, keep=False)
        ten_millions = time.process_time() - begun
        print(f"{million:.2f} s a million alone, {ten_millions / 10:.2f} s a million of ten")
        assert ten_millions <= 1.5 * 10 * million
