"""Tasks of a loop that are the same call are sent once, whatever becomes of the one that is."""

from collections import Counter
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwork.parallel.doubles import Double, Doubles
from lightwork.parallel.tasks import delayed
from lightwork.workers.functions import Found, Missing

from .fakes import Killed
from .test_pump import Loop, shapes


class Memo:
    """A remembered function that keeps the results of what is not among `lost`."""

    def __init__(self, lost=(), failing=(), deadly=(), unreadable=()):
        self.results, self.computed = {}, Counter()
        self.lost, self.failing, self.deadly, self.unreadable = lost, failing, list(deadly), unreadable

    def __call__(self, x):
        raise AssertionError("workers get what the lookup says")

    def __lightwork_lookup__(self, args, kwargs):
        (x,) = args
        if x in self.results:
            return Found(list(self.results[x]))
        return Missing(self.compute, ([x],), {}, None, same=x, again=lambda: self.again(x))

    def compute(self, argument):
        (x,) = argument
        self.computed[x] += 1
        if x in self.deadly:
            self.deadly.remove(x)
            raise Killed(False)
        if x in self.failing:
            raise ValueError(x)
        if x not in self.lost:
            self.results[x] = [x]
        return [x]

    def again(self, x):
        if x in self.unreadable:
            raise OSError(x)
        return Found(list(self.results[x])) if x in self.results else None


keys = st.lists(st.integers(0, 4), max_size=40)


@given(shapes(), keys, st.sampled_from(["list", "generator", "unordered"]), st.booleans())
def test_each_key_is_computed_once(shape, numbers, how, eager):
    memo = Memo()
    loop = Loop(
        (delayed(memo)(x) for x in numbers),
        ordered=how != "unordered",
        ahead=how != "list",
        eager=eager,
        **shape,
    )
    found = loop.pump.collect() if how == "list" else list(loop.pump.stream())
    assert (sorted(found) if how == "unordered" else found) == [
        [x] for x in (sorted(numbers) if how == "unordered" else numbers)
    ]
    assert len({id(each) for each in found}) == len(found)  # to each its own
    assert memo.computed == Counter(set(numbers))
    assert loop.recorder.endings == [(len(numbers), True)]
    assert not loop.pump._intake.doubles
    assert not loop.pump._in_flight._out
    assert loop.plan._open == loop.plan._batches == 0


@given(shapes(), keys, st.booleans())
def test_what_is_not_kept_is_computed_by_each(shape, numbers, ahead):
    memo = Memo(lost=(0, 1))
    loop = Loop((delayed(memo)(x) for x in numbers), ahead=ahead, **shape)
    assert (list(loop.pump.stream()) if ahead else loop.pump.collect()) == [[x] for x in numbers]
    assert memo.computed == Counter({x: numbers.count(x) if x < 2 else 1 for x in numbers})


@given(shapes(), keys, st.booleans())
def test_the_one_that_was_sent_may_die(shape, numbers, ahead):
    memo = Memo(deadly=[2])
    loop = Loop((delayed(memo)(x) for x in numbers), ahead=ahead, **shape)
    assert (list(loop.pump.stream()) if ahead else loop.pump.collect()) == [[x] for x in numbers]


@given(shapes(), keys)
def test_its_error_is_raised_at_its_place(shape, numbers):
    memo = Memo(failing=(3,))
    loop = Loop((delayed(memo)(x) for x in numbers), ahead=True, **shape)
    before = numbers[: numbers.index(3)] if 3 in numbers else numbers
    found = []
    generator = loop.pump.stream()

    def read():
        while True:
            try:
                found.append(next(generator))
            except StopIteration:
                return

    if len(before) < len(numbers):
        with pytest.raises(ValueError, match="3"):
            read()
    else:
        read()
    assert found == [[x] for x in before]


def test_a_result_that_cannot_be_read_fails_those_that_wait_for_it():
    memo = Memo(unreadable=(1,))
    loop = Loop([delayed(memo)(x) for x in (0, 1, 0, 1)], workers=1, window=inf)
    with pytest.raises(OSError, match="1"):
        loop.pump.collect()


def test_those_that_wait_keep_no_worker_of_a_list_idle():
    memo = Memo()
    order = [0] * 20 + [1] * 20
    loop = Loop((delayed(memo)(x) for x in order), workers=2, window=2, size=1)
    loop.pump._in_flight.collecting = True
    loop.pump._fill()
    assert len(loop.crew.sent) == 2  # both keys are under way at once
    assert loop.pump.collect() == [[x] for x in order]


def test_the_lead_over_a_reader_counts_them():
    memo = Memo()
    loop = Loop((delayed(memo)(0) for _ in range(100)), workers=2, window=3, size=1, ahead=True)
    generator = loop.pump.stream()
    assert loop.taken <= 4
    assert list(generator) == [[0]] * 100


def test_a_leader_that_ended_leads_no_more():
    doubles = Doubles()
    assert not doubles.follows(0, "a")
    assert doubles.ended(0) == []
    assert not doubles.wait(Double(1, "a", None, lambda: None))
    assert not doubles
    assert doubles.ended(1) == []
