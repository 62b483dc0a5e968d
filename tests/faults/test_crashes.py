"""Tasks that overflow their stack: in C the worker dies and says of what, in Python it is an ordinary error."""

import os

import pytest

from lightwork import Parallel, delayed
from lightwork.errors import PicklingFailedError, WorkerDied


def overflow_the_stack_in_c(when, i):
    if i == when:
        import faulthandler

        # A call of itself at C's level, with no check of depth: what a recursive native library does.
        faulthandler._stack_overflow()
    return i


def recurse(i):
    return recurse(i + 1)


class Endless:
    def __getattr__(self, name):
        return getattr(self, name + "x")


def test_a_stack_overflow_in_c_is_blamed_on_its_task():
    loop = Parallel(n_jobs=2, batch_size=1)
    with pytest.raises(WorkerDied, match="a stack that overflowed") as caught:
        loop(delayed(overflow_the_stack_in_c)(3, i) for i in range(6))
    assert caught.value.index == 3
    assert loop(delayed(overflow_the_stack_in_c)(-1, i) for i in range(6)) == list(range(6))


@pytest.mark.parametrize(
    "task", [delayed(recurse)(0), delayed(getattr)(Endless(), "a")], ids=["code", "attributes"]
)
def test_a_recursion_without_end_is_an_ordinary_error(task):
    loop = Parallel(n_jobs=2, batch_size=1)
    before = {worker.pid for worker in workers_of(loop)}
    with pytest.raises(RecursionError):
        loop([delayed(abs)(-1), task])
    assert loop(delayed(abs)(-i) for i in range(4)) == [0, 1, 2, 3]
    assert before & {worker.pid for worker in workers_of(loop)}


def workers_of(loop):
    from lightwork import pool_info

    loop(delayed(os.getpid)() for _ in range(4))
    return pool_info().workers


def test_an_argument_too_deep_to_be_pickled_names_its_task():
    nested = []
    for _ in range(100_000):
        nested = [nested]
    try:
        with pytest.raises(PicklingFailedError, match=r"task 1, type\(.*argument 0 .*recursion"):
            Parallel(n_jobs=2)([delayed(abs)(-1), delayed(type)(nested)])
    finally:
        while nested:  # taken apart by hand: where it is collected as a whole, that recurses too
            nested = nested[0]
