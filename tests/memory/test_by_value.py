"""Remembered functions of ``__main__``, which travel by value: one key in the program, in its workers, in its cells."""

from __future__ import annotations

import pytest

_BODY = """
import dataclasses, functools, os
from lightwork import Memory, Parallel, delayed

memory = Memory("cache", verbose=0)
SCALES = {"a": 2}
COUNT = 0

class Base:
    factor = 3

    def of(self, x):
        return self.factor * x

@dataclasses.dataclass
class Point(Base):
    x: int = 1

def twice(func):
    @functools.wraps(func)
    def inner(*args):
        return 2 * func(*args)
    return inner

def helper(x):
    return SCALES["a"] * x

@memory.cache
def bare(x):
    return x

@memory.cache(ignore=["quiet"], verbose=0)
def with_options(x, quiet=True):
    return helper(x)

@memory.cache
@twice
def wrapped(x: int) -> int:
    return helper(x)

@memory.cache
def outer(x):
    return bare(x) + with_options(x)

@memory.cache
def with_class(x):
    return Point(x).of(x)

@memory.cache
def with_state(x):
    global COUNT
    COUNT += 1
    return x

@memory.cache
def recursive(n):
    return n and recursive(n - 1)

def factory(k):
    @memory.cache
    def local(x):
        return k * x
    return local

short = memory.cache(lambda x: x + 1)
REMEMBERED = [bare, with_options, wrapped, outer, with_class, with_state, recursive, factory(3), short]

def ask(func, x):
    found = func.check_call_in_cache(x)
    return found, func(x), os.getpid()
"""

_LOOP = """
inside = Parallel(n_jobs=2, backend="processes")(delayed(ask)(func, 5) for func in REMEMBERED)
here = [ask(func, 5) for func in REMEMBERED]
print("elsewhere:", all(pid != os.getpid() for *_, pid in inside))
print("once more here:", *[func.__qualname__ for func, asked in zip(REMEMBERED, here) if not asked[0]])
print("equal:", [asked[1] for asked in inside] == [asked[1] for asked in here])
"""

# A cell's source is known to the program that runs it, and to no other.
_CELLS = """
import linecache, sys, types
for number, cell in enumerate(CELLS):
    name = f"<ipython-input-{number}>"
    linecache.cache[name] = len(cell), None, cell.splitlines(True), name
    exec(compile(cell, name, "exec"), vars(sys.modules["__main__"]))
"""


@pytest.mark.parametrize("notebook", [False, True], ids=["script", "notebook"])
def test_what_a_task_computed_is_there_for_the_program(run, notebook):
    source = f"CELLS = {[_BODY, _LOOP]!r}\n{_CELLS}" if notebook else _BODY + _LOOP
    assert run(source) == "elsewhere: True\nonce more here:\nequal: True\n"


def test_another_run_finds_what_a_task_computed(run):
    run(_BODY + "Parallel(n_jobs=2, backend='processes')(delayed(ask)(func, 5) for func in REMEMBERED)")
    assert (
        run(_BODY + "print(*[func.check_call_in_cache(5) for func in REMEMBERED])")
        == " ".join(["True"] * 9) + "\n"
    )


def test_options_of_a_decorator_that_is_not_ours_still_count(run):
    program = """
    from lightwork import Memory, Parallel, delayed

    memory = Memory("cache", verbose=0)

    def noted(name):
        return lambda func: func

    @memory.cache
    @noted({name!r})
    def f(x):
        print("computing")
        return x

    def ask(x):
        return f(x)

    print(Parallel(n_jobs=2, backend="processes")(delayed(ask)(x) for x in [1, 1]), f(1))
    """
    one, two = program.replace("{name!r}", "'one'"), program.replace("{name!r}", "'two'")
    assert [run(each) for each in (one, two, one)] == [
        "computing\n[1, 1] 1\n",
        "computing\n[1, 1] 1\n",
        "[1, 1] 1\n",
    ]
