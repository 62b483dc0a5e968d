"""Whatever the tasks, and however they are run, a loop gives what the plain loop gives.

The plain loop is written out here, with a copy of the arguments for each task; the loops are `Parallel`'s, on each
backend, with options drawn by hypothesis. Tasks come in runs, since those of one function are put together.
"""

from __future__ import annotations

import copy
import decimal
import enum
import functools
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightwork import Memory, Parallel, delayed
from lightwork.errors import TaskError

BACKENDS = ["processes", "threads", "sequential"]


class Level(enum.IntEnum):
    LOW = 1


class Text(str):
    __slots__ = ()


class Point:
    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return type(self) is type(other) and alike(self.x, other.x)

    __hash__ = None

    def moved(self, *args, **kwargs):
        """Changes the object that it belongs to."""
        self.x = (self.x, args, tuple(kwargs.items()))
        return self.x


def give(*args, **kwargs):
    return args, tuple(kwargs.items())


def give_back(*args, **kwargs):
    return tuple(kwargs.items()), args


def spoil(*args, **kwargs):
    """Changes its arguments in place."""
    for value in (*args, *kwargs.values()):
        if type(value) is list:
            value.append(len(value))
        elif type(value) is dict:
            value["spoilt"] = len(value)
        elif isinstance(value, np.ndarray) and value.size:
            value[...] = 7
    return args, tuple(kwargs.items())


def recall(*args, **kwargs):
    """Remembered in the loops, and computed in the plain one."""
    return sorted(kwargs.items()), list(args)


def fail_on_odd(*args, **kwargs):
    if args and isinstance(args[0], int) and args[0] % 2:
        raise ValueError(args[0])
    return len(args), tuple(kwargs)


def alike(one, other):
    """Equal in value and type all the way down, NaN included; 1, 1.0 and True are three things."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and contents(one) == contents(other)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, dict):
        return alike(list(one.items()), list(other.items()))
    if isinstance(one, (float, decimal.Decimal)):
        return repr(one) == repr(other)
    return one == other


def contents(array):
    return array.tolist() if array.dtype.hasobject else array.tobytes()


ATOMS = st.one_of(
    st.integers(-3, 3),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.complex_numbers(max_magnitude=3),
)
ARRAYS = st.builds(
    lambda count, kind, start: (np.arange(count) + start).astype(kind),
    st.sampled_from([0, 1, 7, 200, 600]),
    st.sampled_from(["i8", "f4", "u1", "M8[s]", "O"]),
    st.integers(0, 5),
)
OTHERS = st.one_of(
    st.lists(ATOMS, max_size=3),
    st.tuples(ATOMS, ATOMS),
    st.dictionaries(st.text(max_size=2), ATOMS, max_size=2),
    st.frozensets(st.integers(0, 5), max_size=3),
    ARRAYS,
    st.builds(Point, ATOMS),
    st.builds(Text, st.text(max_size=3)),
    st.decimals(),
    st.just(Level.LOW),
    st.builds(bytearray, st.binary(max_size=3)),
)
VALUES = st.one_of(ATOMS, ATOMS, OTHERS)


@st.composite
def functions(draw):
    kind = draw(st.integers(0, 8))
    if kind < 5:
        return [give, give_back, spoil, fail_on_odd, recall][kind]
    value = draw(VALUES)
    return [
        functools.partial(give, value),
        Point(value).moved,
        lambda *args, **kwargs: (value, args, tuple(kwargs.items())),
        max if value is None else functools.partial(spoil, value, extra=value),
    ][kind - 5]


@st.composite
def runs(draw):
    """Some tasks in a row that call one function, mostly with arguments of one shape."""
    function = draw(functions())
    names = draw(st.lists(st.sampled_from(["a", "b", "key"]), unique=True, max_size=2))
    width = draw(st.integers(0, 2))
    values = draw(st.sampled_from([st.integers(0, 9), ATOMS, VALUES]))
    tasks = []
    for _ in range(draw(st.integers(1, 12))):
        args = draw(st.lists(values, min_size=width, max_size=width))
        kwargs = {name: draw(values) for name in names}
        if draw(st.integers(0, 9)) == 0:
            kwargs = dict(reversed(kwargs.items()))
        tasks.append((function, args, kwargs))
    return tasks


@st.composite
def loops(draw):
    tasks = [task for run in draw(st.lists(runs(), min_size=1, max_size=4)) for task in run]
    if draw(st.booleans()):  # the same objects once more: no task may see what another did to them
        tasks += tasks[: draw(st.integers(1, 5))]
    return tasks


OPTIONS = st.fixed_dictionaries(
    {
        "batch_size": st.sampled_from(["auto", "auto", 1, 3, 20]),
        "pre_dispatch": st.sampled_from(["2 * n_jobs", "all", 1, 5]),
        "return_as": st.sampled_from(["list", "generator", "generator_unordered"]),
        "max_nbytes": st.sampled_from(["1M", "1K", None]),
        "on_error": st.sampled_from(["raise", "return", "skip"]),
        "retries": st.sampled_from([0, 0, 1]),
    }
)


class Failed:
    """What stands for a task that failed."""

    def __init__(self, index, error):
        self.index, self.kind, self.args = index, type(error), error.args

    def __eq__(self, other):
        return vars(self) == vars(other)

    def __repr__(self):
        return f"Failed({vars(self)})"

    __hash__ = None


def plain(tasks, times):
    """What the plain loop gives: each task with its arguments as they were at the beginning."""
    results = []
    for index, task in enumerate(tasks):
        for _ in range(times):
            function, args, kwargs = copy.deepcopy(task)
            try:
                results.append(function(*args, **kwargs))
                break
            except Exception as error:
                failed = Failed(index, error)
        else:
            results.append(failed)
    return results


def check(backend, tasks, options, folder):
    shares = backend != "processes"
    expected = plain(tasks, 1 if shares else options["retries"] + 1)
    failures = [value for value in expected if isinstance(value, Failed)]
    if options["on_error"] == "skip":
        expected = [value for value in expected if not isinstance(value, Failed)]
    before = copy.deepcopy(tasks)
    source = (copy.deepcopy(task) for task in tasks) if shares else iter(tasks)
    remembered = Memory(folder, verbose=0).cache(recall)
    calls = (
        delayed(remembered if function is recall else function)(*args, **kwargs)
        for function, args, kwargs in source
    )
    found, raised = [], None
    try:
        found += Parallel(n_jobs=1 if backend == "sequential" else 2, backend=backend, **options)(calls)
    except Exception as error:
        raised = error
    if options["on_error"] == "raise" and failures:
        assert any((type(raised), raised.args) == (failed.kind, failed.args) for failed in failures)
    else:
        assert raised is None
        found = [
            Failed(value.index, value.error) if isinstance(value, TaskError) else value for value in found
        ]
        agree(found, expected, ordered=options["return_as"] != "generator_unordered")
    if not shares:
        assert alike([task[1:] for task in tasks], [task[1:] for task in before])


def agree(found, expected, ordered):
    if not ordered:
        assert Counter(map(shown, found)) == Counter(map(shown, expected))
        return
    assert len(found) == len(expected)
    for index, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert alike(one, other), f"task {index}: {shown(one)} is not {shown(other)}"


def shown(value):
    if isinstance(value, Point):
        return f"Point({shown(value.x)})"
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape} {contents(value)!r}"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__}({', '.join(map(shown, value))})"
    if isinstance(value, dict):
        return f"dict({shown(list(value.items()))})"
    return f"{type(value).__name__} {value!r}"


QUICK = settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
LONG = settings(QUICK, max_examples=1500)


@pytest.mark.parametrize("backend", BACKENDS)
class TestTheSameAsThePlainLoop:
    @QUICK
    @given(tasks=loops(), options=OPTIONS)
    def test_of_any_tasks(self, backend, tasks, options, tmp_path):
        check(backend, tasks, options, tmp_path)

    @pytest.mark.slow
    @LONG
    @given(tasks=loops(), options=OPTIONS)
    def test_of_very_many(self, backend, tasks, options, tmp_path):
        check(backend, tasks, options, tmp_path)
