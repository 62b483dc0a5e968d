from decimal import Decimal

import numpy as np
import pytest

from lightwork.errors import OptionError, OptionTypeError, TaskFormatError
from lightwork.parallel.options import CHOICES, chosen, seconds, tasks_of, whole, whole_batch
from lightwork.parallel.tasks import delayed


@pytest.mark.parametrize("option", CHOICES)
def test_each_choice_is_one_and_others_are_told_what_there_is(option):
    for choice in CHOICES[option]:
        assert chosen(option, choice) is choice
    with pytest.raises(OptionError) as caught:
        chosen(option, "other")
    assert all(repr(choice) in str(caught.value) for choice in CHOICES[option])


def test_zero_and_one_are_no_booleans():
    for number in (0, 1):
        with pytest.raises(OptionError):
            chosen("progress", number)


@pytest.mark.parametrize("said", [2, 2.0, np.float32(2), Decimal(2)])
def test_seconds_of_many_kinds(said):
    result = seconds("timeout", said)
    assert (type(result), result) == (float, 2.0)


@pytest.mark.parametrize("said", [0, -1, float("nan"), -0.0])
def test_no_time_to_wait(said):
    with pytest.raises(OptionError, match="timeout="):
        seconds("timeout", said)


@pytest.mark.parametrize("said", ["2", True, [2], 2j])
def test_no_time_at_all(said):
    with pytest.raises(OptionTypeError, match="timeout must be"):
        seconds("timeout", said)


@pytest.mark.parametrize(("said", "number"), [(True, 1), (0, 0), (-1, -1), (5.0, 5), (np.int64(7), 7)])
def test_whole_numbers(said, number):
    assert whole("verbose", said) == number


def test_numbers_that_are_not():
    with pytest.raises(OptionError, match="total=-1 must be 0 or more"):
        whole("total", -1, 0)
    for wrong in ("3", 1.5, None, [1], float("nan")):
        with pytest.raises(OptionTypeError, match="verbose must be a whole number"):
            whole("verbose", wrong)


def test_batches():
    assert whole_batch("auto") == "auto"
    assert whole_batch(np.int64(3)) == 3
    for wrong in (0, -1, 1.5, True, "many", None):
        with pytest.raises(OptionError, match="batch_size="):
            whole_batch(wrong)


def test_the_input():
    task = delayed(abs)(1)
    assert list(tasks_of([task])) == [task]
    assert list(tasks_of((task, task, task))) == [task] * 3
    with pytest.raises(TaskFormatError, match=r"write Parallel\(...\)\(\[delayed"):
        tasks_of(task)
    with pytest.raises(TaskFormatError, match="got 5, not an iterable"):
        tasks_of(5)
