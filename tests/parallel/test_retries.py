"""Which failures are repeated, and when: the policy alone, and a loop's account of its failures."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwork import Retries
from lightwork.errors import OptionError, OptionTypeError, TaskError, TaskExited, WorkerDied
from lightwork.parallel.outcomes import Chunk
from lightwork.parallel.recourse import SKIPPED, Recourse, keep_partial
from lightwork.parallel.retries import retries_of


class TestPolicy:
    def test_a_number_stands_for_any_exception_and_for_deaths(self):
        policy = retries_of(2)
        assert [policy.admits(ValueError(), attempt) for attempt in (1, 2, 3)] == [True, True, False]
        assert policy.admits(WorkerDied("..."), 1)
        assert not policy.admits(KeyboardInterrupt(), 1)

    def test_it_shows_what_it_is(self):
        shown = "Retries(2, on=(OSError, KeyError), death=True, backoff=0.5, backoff_max=120.0, jitter=0.5)"
        assert repr(Retries(2, on=(OSError, KeyError), backoff=0.5)) == shown

    def test_none_at_all(self):
        assert retries_of(0) is None
        assert retries_of(Retries(0)) is None

    @pytest.mark.parametrize(
        ("policy", "error", "admits"),
        [
            (Retries(1, on=OSError), ConnectionError(), True),
            (Retries(1, on=OSError), ValueError(), False),
            (Retries(1, on=(OSError, KeyError)), KeyError(), True),
            (Retries(1, on=()), KeyError(), False),
            (Retries(1, on=()), WorkerDied("..."), True),
            (Retries(1, death=False), WorkerDied("..."), False),
            (Retries(1, death=False), TaskExited("..."), False),
            (Retries(1, on=KeyboardInterrupt), KeyboardInterrupt(), True),
        ],
    )
    def test_only_what_it_names(self, policy, error, admits):
        assert policy.admits(error, 1) is admits

    def test_waits_double_up_to_a_limit_and_never_overflow(self):
        policy = Retries(9, backoff=1, backoff_max=50)
        assert [policy.wait(attempt, lambda: 0.0) for attempt in (1, 2, 5, 6, 7, 10**6)] == [
            1,
            2,
            16,
            32,
            50,
            50,
        ]

    @given(
        st.floats(0, 1e3), st.floats(0, 1e3), st.floats(0, 1), st.integers(1, 10**9), st.floats(0, 0.999999)
    )
    def test_chance_takes_off_no_more_than_its_part(self, backoff, most, jitter, attempt, chance):
        policy = Retries(1, backoff=backoff, backoff_max=most, jitter=jitter)
        full = policy.wait(attempt, lambda: 0.0)
        assert full <= most or not backoff
        assert full * (1 - jitter) - 1e-9 <= policy.wait(attempt, lambda: chance) <= full

    @pytest.mark.parametrize(
        "wrong",
        [
            lambda: Retries(-1),
            lambda: Retries(1, backoff=-1),
            lambda: Retries(1, backoff=float("nan")),
            lambda: Retries(1, jitter=1.5),
            lambda: Retries(1, backoff_max=-0.1),
        ],
    )
    def test_numbers_that_cannot_be(self, wrong):
        with pytest.raises(OptionError, match=r"retries=-1 must be 0|Retries\(\w+="):
            wrong()

    @pytest.mark.parametrize(
        "wrong",
        [
            lambda: retries_of("2"),
            lambda: retries_of(None),
            lambda: retries_of(True),
            lambda: Retries(1.5),
            lambda: Retries(1, on="OSError"),
            lambda: Retries(1, on=(OSError, 3)),
            lambda: Retries(1, on=OSError()),
            lambda: Retries(1, backoff="1"),
            lambda: Retries(1, jitter=True),
        ],
    )
    def test_what_is_no_policy(self, wrong):
        with pytest.raises(OptionTypeError, match=r"retries must be|Retries\(\w+=\.\.\.\) must"):
            wrong()


def task(i):
    return (abs, (i,), {})


def settle(recourse, first, results, failures, now=0.0, **more):
    return recourse.settle(
        first, results, failures, [task(first + k) for k in range(len(results))], now, **more
    )


class TestRecourse:
    def test_without_any_errors_are_left_as_they_are(self):
        error = KeyError("the very object")
        chunks = settle(Recourse(), 4, [1, None, 3], {5: error})
        assert chunks == [Chunk(4, [1, None, 3], {5: error})]
        assert not hasattr(error, "__notes__")

    def test_what_is_run_again_is_cut_out_until_it_is_due(self):
        recourse = Recourse(Retries(1, on=ValueError, backoff=2, jitter=0))
        other = KeyError()
        failures = {10: ValueError(), 13: ValueError(), 14: other}
        chunks = settle(recourse, 10, [None, 1, 2, None, None, 5], failures, now=100)
        assert chunks == [Chunk(11, [1, 2], None), Chunk(14, [None, 5], {14: other})]
        assert recourse.until == 102
        assert recourse.due(101.9) == []
        assert recourse.due(102) == [(10, task(10)), (13, task(13))]
        assert recourse.until == inf

    def test_attempts_are_counted_for_each_task_and_told_at_the_end(self):
        recourse = Recourse(Retries(2))
        for attempt in (1, 2):
            assert settle(recourse, 7, [None], {7: ValueError()}) == []
            assert recourse.attempts == {7: attempt}
            recourse.due(0)
        (chunk,) = settle(recourse, 7, [None], {7: (last := ValueError())})
        assert chunk.failures == {7: last}
        assert last.__notes__ == ["attempt 3 of task 7; those before failed too"]
        assert recourse.attempts == {}

    def test_the_order_of_due_tasks_is_that_of_their_times(self):
        recourse = Recourse(Retries(1, backoff=1, jitter=0))
        for index, now in ((0, 5), (1, 3), (2, 4)):
            settle(recourse, index, [None], {index: ValueError()}, now=now)
        assert recourse.until == 4
        assert [index for index, _ in recourse.due(5.5)] == [1, 2]
        assert recourse.until == 6

    def test_one_that_cannot_change_is_final(self):
        recourse = Recourse(Retries(5))
        (chunk,) = settle(recourse, 0, [None], {0: (error := ValueError())}, final=True)
        assert chunk.failures == {0: error}
        assert recourse.until == inf

    def test_an_error_in_the_place_of_a_result(self):
        error = ValueError("bad")
        (chunk,) = settle(Recourse(on_error="return"), 3, ["a", None], {4: error})
        assert chunk.failures is None
        told = chunk.results[1]
        assert isinstance(told, TaskError)
        assert (told.index, told.call, told.error, told.attempt) == (4, "abs(4)", error, 1)
        assert told.__cause__ is error
        assert str(told) == "task 4, abs(4), failed: ValueError: bad"
        assert told.traceback == "ValueError: bad"

    def test_left_out(self):
        (chunk,) = settle(Recourse(on_error="skip"), 3, ["a", None], {4: ValueError()})
        assert chunk == Chunk(3, ["a", SKIPPED], None)

    @pytest.mark.parametrize("how", ["return", "skip"])
    def test_what_is_no_exception_is_raised_all_the_same(self, how):
        error = KeyboardInterrupt()
        (chunk,) = settle(Recourse(on_error=how), 0, [None], {0: error})
        assert chunk.failures == {0: error}

    def test_frames_are_let_go(self):
        try:
            raise ValueError("bad")
        except ValueError as error:
            caught = error
        settle(Recourse(on_error="return"), 0, results := [None], {0: caught})
        assert "test_retries.py" in results[0].traceback
        assert caught.__traceback__ is None

    def test_a_ring_of_causes_is_no_endless_walk(self):
        first, second = ValueError(1), ValueError(2)
        first.__cause__, second.__cause__ = second, first
        settle(Recourse(on_error="return"), 0, results := [None], {0: first})
        assert results[0].traceback

    @given(st.integers(0, 50), st.integers(1, 8), st.data())
    def test_every_task_is_in_one_place(self, first, count, data):
        indexes = range(first, first + count)
        failed = data.draw(st.sets(st.sampled_from(indexes)))
        hopeless = data.draw(st.sets(st.sampled_from(sorted(failed)))) if failed else set()
        recourse = Recourse(Retries(1, on=ValueError))
        failures = {index: (KeyError if index in hopeless else ValueError)() for index in failed}
        results = [None if index in failed else str(index) for index in indexes]
        chunks = settle(recourse, first, results, failures)
        again = [index for index, _ in recourse.due(0)]
        assert sorted(again) == sorted(failed - hopeless)
        told = {}
        for begin, part, errors in chunks:
            assert set(errors or ()) <= set(range(begin, begin + len(part)))
            told |= {index: (result, index in (errors or ())) for index, result in enumerate(part, begin)}
        assert sorted([*told, *again]) == list(indexes)
        assert all(told[index] == (None, True) for index in hopeless)
        assert all(told[index] == (str(index), False) for index in set(indexes) - failed)


def test_what_was_finished_stays_with_the_exception():
    class Frozen(Exception):
        def __setattr__(self, name, value):
            raise AttributeError(name)

    error = Frozen()
    keep_partial(error, [Chunk(0, [1, SKIPPED, 3], None), Chunk(7, ["x", None], {8: ValueError()})])
    assert error.partial_results == {0: 1, 2: 3, 7: "x"}
