"""Runs of tasks of which only the arguments are kept: no task may become another one by that."""

import os
import signal
from collections import namedtuple
from functools import partial
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwork import Parallel, delayed
from lightwork.errors import TaskError, WorkerDied
from lightwork.parallel.blocks import Block
from lightwork.parallel.runs import END, run, same
from lightwork.workers.functions import Found, Missing

from .test_pump import Loop, nothing_is_open, shapes


class Text(str):
    """Text of another type."""

    __slots__ = ()


class Number(int):
    """A number of another type."""


class Names(dict):
    """Arguments of another type."""


class Alike:
    """Equal to everything, and of no use as a key."""

    __hash__ = None

    def __init__(self, name):
        self.name = name

    def __eq__(self, other):
        return True

    def __call__(self, *args, **kwargs):
        return self.name, args, kwargs


class Counter:
    """Whose methods are new objects each time that they are asked for."""

    def __init__(self, start):
        self.start = start

    def plus(self, x):
        return self.start + x


class Known:
    """A function that knows the results for even numbers."""

    def __call__(self, x):
        return -x

    def __lightwork_lookup__(self, args, kwargs):
        return Found(-args[0]) if args[0] % 2 == 0 else Missing(abs, args, kwargs, lambda value: -value)


Pair = namedtuple("Pair", "a b")
Note = namedtuple("Note", "func args kwargs")


def shown(*args, **kwargs):
    """All that a function can tell of its arguments: values, types, the order of names."""
    return [(type(value).__name__, repr(value)) for value in args], [
        (type(name).__name__, name, type(value).__name__, repr(value)) for name, value in kwargs.items()
    ]


def other(*args, **kwargs):
    return "other", shown(*args, **kwargs)


def same_name(body):
    """A function that differs from others in nothing but what it does."""

    def made(*args):
        return body, args

    return made


alike, besides, known, counter = Alike("one"), Alike("two"), Known(), Counter(100)
halved, first_made, second_made = partial(shown, 0.5), same_name(1), same_name(2)

KINDS = {
    "number": lambda i: delayed(shown)(i),
    "zero, of three types": lambda i: delayed(shown)((0, False, 0.0)[i % 3]),
    "one, of three types": lambda i: delayed(shown)((1, True, 1.0)[i % 3]),
    "minus zero and none": lambda i: delayed(shown)((-0.0, None, 0.0)[i % 3]),
    "text and bytes": lambda i: delayed(shown)(("", b"", "a")[i % 3]),
    "nothing": lambda i: delayed(shown)(),
    "two": lambda i: delayed(shown)(i, -i),
    "one or two": lambda i: delayed(shown)(*range(i % 2 + 1)),
    "by name": lambda i: delayed(shown)(i, x=-i),
    "by name alone": lambda i: delayed(shown)(x=i),
    "two names": lambda i: delayed(shown)(i, x=1, y=i),
    "the same in another order": lambda i: delayed(shown)(i, y=i, x=1),
    "in turns": lambda i: delayed(shown)(i, **({"x": 1, "y": 2} if i % 2 else {"y": 2, "x": 1})),
    "another name": lambda i: delayed(shown)(i, **{f"x{i % 3}": 1}),
    "a name that is equal": lambda i: delayed(shown)(i, **{"".join("ab"): 1}),
    "a name of a subclass": lambda i: delayed(shown)(i, **{Text("x"): 1}),
    "a name that is no name": lambda i: delayed(shown)(i, **{"not a name": i, "": 1}),
    "list": lambda i: delayed(shown)([i]),
    "list by name": lambda i: delayed(shown)(1, x=[i]),
    "text of a subclass": lambda i: delayed(shown)(Text(i)),
    "number of a subclass": lambda i: delayed(shown)(1, x=Number(i)),
    "tuple": lambda i: delayed(shown)((i,)),
    "tuple of a subclass": lambda i: (shown, Pair(i, -i), {}),
    "task of a subclass": lambda i: Note(shown, (i,), {}),
    "task in a list": lambda i: [shown, [i, 3], {}],
    "names of a subclass": lambda i: (shown, (i,), Names(x=i)),
    "another function": lambda i: delayed(other)(i),
    "method": lambda i: delayed(counter.plus)(i),
    "equal functions": lambda i: delayed((alike, besides)[i % 2])(i),
    "partial": lambda i: delayed(halved)(i),
    "class": lambda i: delayed(complex)(i, 1),
    "known": lambda i: delayed(known)(i),
    "closures": lambda i: delayed((first_made, second_made)[i % 2])(i),
}


def mixtures():
    """Runs of a few kinds, as loops are made of, with others in between."""
    run_of = st.tuples(st.sampled_from(sorted(KINDS)), st.integers(1, 9)).map(lambda one: [one[0]] * one[1])
    return st.lists(run_of, max_size=10).map(lambda runs: list(chain.from_iterable(runs)))


def tasks_of(kinds):
    return [KINDS[kind](i) for i, kind in enumerate(kinds)]


def plain(tasks):
    return [func(*args, **kwargs) for func, args, kwargs in tasks]


def exact(task):
    """A task as text in which everything shows that may not change."""
    func, args, kwargs = task
    return id(func), type(args), type(kwargs), shown(*args, **kwargs)


class TestRun:
    @given(mixtures())
    def test_the_tasks_in_blocks_and_between_them_are_those_of_the_input(self, kinds):
        tasks = tasks_of(kinds)
        rest, seen = iter(tasks), []
        while len(seen) < len(tasks):
            begin = len(seen)
            block, odd = run(rest, tasks[begin][0])
            seen += block
            if odd is not END:
                assert odd is tasks[len(seen)]
                seen.append(odd)
        assert list(map(exact, seen)) == list(map(exact, tasks))

    @given(mixtures(), st.integers(0, 50), st.integers(0, 50))
    def test_a_part_of_a_block_is_that_part_of_the_tasks(self, kinds, begin, end):
        tasks = tasks_of(kinds)
        block, _ = run(iter(tasks), shown)
        mine = tasks[: len(block)]
        assert list(map(exact, block[begin:end])) == list(map(exact, mine[begin:end]))
        assert [exact(block[place]) for place in range(len(block))] == list(map(exact, mine))

    def test_it_ends_with_the_input(self):
        assert run(iter([]), abs)[1] is END
        block, odd = run(iter([(abs, (1,), {}), (abs, (2,), {})]), abs)
        assert odd is END
        assert (block.arguments, block.single) == ([1, 2], True)

    @pytest.mark.parametrize(
        "tail", [3, "abc", None, (abs,), (abs, 1, {}), (abs, (1,), []), (abs, (1,), None)]
    )
    def test_what_is_no_task_ends_it(self, tail):
        rest = iter([(abs, (1,), {}), tail, (abs, (2,), {})])
        block, odd = run(rest, abs)
        assert (block.arguments, odd is tail, len(list(rest))) == ([1], True, 1)

    def test_nothing_behind_the_one_that_ends_it_is_read(self):
        rest = iter([(abs, (1,), {}), (abs, ([],), {}), (abs, (2,), {}), (abs, (3,), {})])
        run(rest, abs)
        assert len(list(rest)) == 2

    def test_names_in_another_order_are_others(self):
        tasks = [(shown, (), {"x": 1, "y": 2}), (shown, (), {"y": 2, "x": 1})]
        block, odd = run(iter(tasks), shown)
        assert (len(block), block.names) == (1, ("x", "y"))
        assert odd is tasks[1]

    def test_a_dictionary_that_many_tasks_share_may_change_behind_each(self):
        names = {"x": 0}

        def tasks():
            for i in range(4):
                names["x"] = i
                yield shown, (i,), names

        block, _ = run(tasks(), shown)
        assert [kwargs for _, _, kwargs in block] == [{"x": i} for i in range(4)]

    def test_each_task_of_a_block_has_names_of_its_own(self):
        block = Block(shown, [(1, 2), (3, 4)], single=False, names=("x",))
        block[0][2]["x"] = 7
        assert block[0] == (shown, (1,), {"x": 2})
        assert [kwargs for _, _, kwargs in block] == [{"x": 2}, {"x": 4}]


class TestSame:
    @given(mixtures())
    def test_tasks_of_one_function_are_kept_as_they_are(self, kinds):
        tasks, kept = tasks_of(kinds), []
        rest = iter(tasks)
        odd = same(rest, shown, kept.append)
        assert all(task is kept[place] for place, task in enumerate(tasks[: len(kept)]))
        assert odd is (tasks[len(kept)] if len(kept) < len(tasks) else END)
        assert len(list(rest)) == max(0, len(tasks) - len(kept) - 1)


@given(shapes(), mixtures(), st.booleans(), st.booleans())
def test_any_mixture_through_the_pump(shape, kinds, ahead, eager):
    tasks = tasks_of(kinds)
    loop = Loop(tasks, ahead=ahead, eager=eager, **shape)
    got = list(loop.pump.stream()) if ahead else loop.pump.collect()
    assert repr(got) == repr(plain(tasks))
    assert nothing_is_open(loop)


EVERYTHING = [kind for kind in sorted(KINDS) for _ in range(7)] + sorted(KINDS) * 3


@pytest.mark.parametrize("backend", ["processes", "threads"])
@pytest.mark.parametrize(
    "options", [{}, {"batch_size": 1}, {"batch_size": 13}, {"pre_dispatch": "all"}], ids=str
)
def test_any_mixture_on_workers(backend, options):
    tasks = tasks_of(EVERYTHING)
    assert repr(Parallel(2, backend=backend, **options)(iter(tasks))) == repr(plain(tasks))


def test_one_buffer_between_numbers_is_written_down_each_time():
    buffer, names = [0], {"x": 0}

    def tasks():
        for i in range(3000):
            buffer[0] = names["x"] = i
            yield (shown, (i,), names) if i % 300 < 250 else delayed(shown)(buffer, i)

    expected = [func(*args, **kwargs) for func, args, kwargs in tasks()]
    assert Parallel(2)(tasks()) == expected


# --- what is told of single tasks of a block ---------------------------------------------------------


def fail_at(bad, *, x):
    if x == bad:
        raise ValueError("bad", x)
    return x


def die_at(bad, *, x):
    if x == bad:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def fail_once(folder, *, x):
    marker = os.path.join(folder, str(x))
    if x % 700 == 699 and not os.path.exists(marker):
        open(marker, "w").close()
        raise ValueError("bad", x)
    return x


def test_an_error_names_its_task():
    with pytest.raises(ValueError, match="bad") as caught:
        Parallel(2)(delayed(fail_at)(2500, x=i) for i in range(4000))
    assert caught.value.__notes__ == ["raised by task 2500 of the loop: fail_at(2500, x=2500)"]


def test_a_death_is_blamed_on_its_task():
    with pytest.raises(WorkerDied, match=r"task 2500: die_at\(2500, x=2500\)") as caught:
        Parallel(2)(delayed(die_at)(2500, x=i) for i in range(4000))
    assert caught.value.index == 2500


def test_those_that_lay_with_a_worker_that_died_are_run_again_as_they_were():
    found = Parallel(2, on_error="skip", batch_size=50)(delayed(die_at)(777, x=i) for i in range(1500))
    assert found == [i for i in range(1500) if i != 777]


def test_a_failure_that_is_returned_shows_its_arguments():
    found = Parallel(2, on_error="return")(delayed(fail_at)(1500, x=i) for i in range(3000))
    failure = found[1500]
    assert isinstance(failure, TaskError)
    assert (failure.index, failure.call) == (1500, "fail_at(1500, x=1500)")
    assert found[:1500] + found[1501:] == [i for i in range(3000) if i != 1500]


def test_retries_repeat_the_task_that_failed(tmp_path):
    found = Parallel(2, retries=1)(delayed(fail_once)(str(tmp_path), x=i) for i in range(3000))
    assert found == list(range(3000))
    assert sorted(map(int, os.listdir(tmp_path))) == [699, 1399, 2099, 2799]


def test_seeded_tasks_have_their_own_numbers():
    loop = Parallel(2, seed=3)(delayed(shown)(i, x=i) for i in range(3000))
    assert loop == [shown(i, x=i) for i in range(3000)]
