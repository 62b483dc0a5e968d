from itertools import pairwise
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwork.errors import OptionError, OptionTypeError
from lightwork.parallel.batching import (
    MOST_QUEUED,
    MOST_TASKS,
    QUEUED,
    TARGET,
    Pace,
    share,
    understand,
    window,
)


class TestSize:
    def test_fixed_stays(self):
        pace = Pace(10)
        pace.ran(10, 100.0)
        pace.ran(10, 1e-9)
        assert pace.size == 10

    def test_starts_with_one_and_at_most_doubles(self):
        pace, sizes = Pace(), []
        for _ in range(30):
            sizes.append(pace.size)
            pace.ran(pace.size, pace.size * 1e-6)
        assert sizes[0] == 1
        assert all(after <= 2 * before for before, after in pairwise(sizes))
        assert sizes[-1] == pytest.approx(TARGET / 1e-6, rel=0.01)

    def test_slow_tasks_travel_alone(self):
        pace = Pace()
        for _ in range(10):
            pace.ran(pace.size, 1.0 * pace.size)
        assert pace.size == 1

    def test_one_slow_message_ends_big_ones(self):
        pace = Pace()
        for _ in range(30):
            pace.ran(pace.size, pace.size * 1e-6)
        pace.ran(pace.size, pace.size * 1e-2)
        assert pace.size == 1

    def test_a_slow_input_counts(self):
        pace = Pace()
        for _ in range(30):
            pace.sent(pace.size, pace.size * 1e-3)
            pace.ran(pace.size, pace.size * 1e-9)
        assert pace.size == pytest.approx(2, abs=1)

    @given(st.lists(st.tuples(st.integers(1, 10**6), st.floats(0, 1e6)), max_size=50))
    def test_always_between_one_and_most(self, measured):
        pace = Pace()
        for count, seconds in measured:
            pace.sent(count, seconds)
            pace.ran(count, seconds)
            assert 1 <= pace.size <= MOST_TASKS


class TestDepth:
    def test_an_idle_worker_always_gets_something(self):
        assert Pace().allows(0, 0)

    def test_nothing_is_queued_behind_a_task_that_may_take_an_hour(self):
        assert not Pace().allows(1, 1)

    def test_by_time(self):
        pace = Pace()
        pace.ran(1, 1e-3)
        assert pace.allows(4, 4)
        assert not pace.allows(6, 6)
        assert not pace.allows(1, int(QUEUED / 1e-3) + 1)

    def test_by_messages(self):
        pace = Pace()
        pace.ran(1, 1e-9)
        assert pace.allows(MOST_QUEUED - 1, 7)
        assert not pace.allows(MOST_QUEUED, 8)

    def test_one_more_where_it_can_be_taken_back(self):
        pace = Pace()
        pace.ran(1, 0.01)
        assert not pace.allows(1, 1)
        pace.gives_back = True
        assert pace.allows(1, 1)
        assert not pace.allows(2, 2)
        pace.ran(1, 1.0)
        assert not pace.allows(1, 1)

    def test_long_tasks_are_never_queued(self):
        pace = Pace()
        pace.ran(1, 1.0)
        assert not pace.allows(1, 1)

    def test_a_reader_that_stays_away_leaves_work_behind(self):
        pace = Pace(ahead=True)
        assert pace.allows(1, 1)  # the caller of a generator may go away at once
        pace.ran(1, 0.01)
        pace.away(0.004)
        assert pace.allows(1, 1)
        assert not pace.allows(2, 2)
        pace.away(0.1)
        assert pace.allows(15, 15)
        assert not pace.allows(22, 22)

    def test_and_is_expected_to_do_so_again_for_a_while(self):
        pace = Pace(ahead=True)
        pace.ran(1, 0.01)
        pace.away(0.1)
        for _ in range(10):
            pace.away(0.001)
        assert pace.allows(10, 10)
        for _ in range(200):
            pace.away(0.001)
        assert not pace.allows(2, 2)

    def test_a_reader_that_only_collects_is_not_away(self):
        pace = Pace(ahead=True)
        pace.ran(1, 0.01)
        pace.away(1e-6)
        assert not pace.allows(1, 1)


class TestWindow:
    @pytest.mark.parametrize(
        ("said", "workers", "number"),
        [
            ("2 * n_jobs", 4, 8),
            ("1.5*n_jobs", 3, 4),
            ("n_jobs", 3, 3),
            (" ( n_jobs + 1 ) // 2 ", 4, 2),
            ("10 % 7", 1, 3),
            ("--3", 1, 3),
            ("all", 4, inf),
            (7, 4, 7),
            ("7", 4, 7),
        ],
    )
    def test_arithmetic(self, said, workers, number):
        assert window(said, workers) == number
        understand(said)

    @pytest.mark.parametrize(
        "said",
        [
            "",
            "all + 1",
            "2 ** n_jobs",
            "n_jobs()",
            "__import__('os').getcwd()",
            "n_jobs.real",
            "'a' * n_jobs",
            "n_jobs if n_jobs else 1",
            "True",
            "n_jobs / 0",
            "(" * 150,
            "1+" * 150 + "1",
            "n_jobs; 1",
            "0",
            "-1",
            "1e999",
            0,
            -3,
        ],
    )
    def test_nothing_else(self, said):
        with pytest.raises(OptionError, match="pre_dispatch"):
            window(said, 2)
        with pytest.raises(OptionError, match="pre_dispatch"):
            understand(said)

    @pytest.mark.parametrize("said", [1.5, None, True])
    def test_other_types(self, said):
        with pytest.raises(OptionTypeError, match="pre_dispatch"):
            window(said, 2)

    def test_nothing_left_for_so_few_workers(self):
        understand("n_jobs - 2")
        with pytest.raises(OptionError, match="comes to 0"):
            window("n_jobs - 2", 2)


def test_share_leaves_everybody_something():
    assert share(4, 2) == 2
    assert share(5, 2) == 3
    assert share(1, 8) == 1
    assert share(inf, 8) == MOST_TASKS
