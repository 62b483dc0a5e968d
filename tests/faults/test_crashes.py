"""Tasks that overflow their stack: in C the worker dies and says of what, in Python it is an ordinary error.

And definitions that no worker can make, which used to end it.
"""

import os

import pytest

from lightwork import Parallel, delayed
from lightwork.errors import PicklingFailedError, WorkerDied

from .programs import run


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


def test_definitions_that_no_worker_can_make_fail_the_tasks_that_need_them():
    code = """
    from lightwork import Parallel, delayed
    class Handle:
        def __reduce__(self): return open_handle, ()
    def open_handle(): raise RuntimeError("not here")
    handle = Handle()
    class Reader:
        source = handle
    def uses(i): return handle
    def plain(i): return i
    loop = Parallel(n_jobs=2)
    def show(*tasks, **options):
        try:
            print(Parallel(n_jobs=2, **options)(tasks))
        except Exception as error:
            print(type(error).__name__, error, *getattr(error, "__notes__", ()), sep=": ")
    show(delayed(uses)(0))
    show(delayed(plain)(0), delayed(uses)(1), delayed(plain)(2), on_error="skip")
    show(delayed(plain)(Reader()))
    show(delayed(plain)(0), initializer=uses, initargs=(1,))
    show(*[delayed(plain)(i) for i in range(4)])
    """
    out, err, status = run(code)
    first, skipped, argument, initializer, last = out.splitlines()
    why = "RuntimeError: not here: raised in a worker, which could not make what tasks use of __main__ from its pickle"
    assert first == why + ": raised by task 0 of the loop: uses(0)"
    assert skipped == "[0, 2]"
    assert argument.startswith(why + ": raised by task 0 of the loop: plain(<__main__.Reader")
    assert initializer.endswith("initializer 'uses' raised RuntimeError in a worker process: not here")
    assert (last, err, status) == ("[0, 1, 2, 3]", "", 0)
