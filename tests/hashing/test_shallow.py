"""The walk by recursion returns what the careful walk returns, or leaves the value to it."""

from __future__ import annotations

import collections
import dataclasses
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwork.errors import HashError
from lightwork.hashing import shallow
from lightwork.hashing.buffers import XXH3_128
from lightwork.hashing.walk import Walk

sys.path.insert(0, __file__.rpartition("/")[0])
import hashed_values as values

sys.path.pop(0)


def by_recursion(value, walk=None):
    """Return the digest, and fail where the careful walk was needed."""
    walk = walk or Walk()
    return walk.digest_of(shallow._term(value, walk, set()))


class Plain:
    def __init__(self, **state):
        self.__dict__.update(state)


class Stated(Plain):
    def __getstate__(self):
        return {**self.__dict__, "version": 1}


class Reduced(Plain):
    def __reduce__(self):
        return Reduced, (), self.__dict__


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a, b):
        self.a, self.b = a, b


@dataclasses.dataclass
class Point:
    x: object
    y: object


class Bag(dict):
    pass


Pair = collections.namedtuple("Pair", "left right")

ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.complex_numbers()
    | st.text(max_size=3)
    | st.sampled_from(["x" * 1024, "x" * 1025, b"y" * 1025, 1 << 9000, ...])
)
NAMES = st.sampled_from(["a", "b", "long" * 300, "é"])
VALUES = st.recursive(
    ATOMS | st.builds(np.arange, st.integers(0, 3)) | st.builds(np.float32, st.integers(0, 3)),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.lists(inner, min_size=30, max_size=40)
        | st.dictionaries(NAMES | ATOMS, inner, max_size=4)
        | st.lists(st.fixed_dictionaries({"a": inner, "b": inner}), max_size=3)
        | st.dictionaries(NAMES, st.fixed_dictionaries({"a": inner}), max_size=3)
        | st.dictionaries(NAMES, inner, max_size=4).flatmap(
            lambda state: st.sampled_from([Plain, Stated, Reduced, Bag]).map(lambda kind: kind(**state))
        )
        | st.builds(Point, inner, inner)
        | st.builds(Slotted, inner, inner)
        | st.builds(Pair, inner, inner)
    ),
    max_leaves=12,
)


@given(VALUES)
def test_both_walks_agree(value):
    assert by_recursion(value) == Walk().digest(value)


@pytest.mark.parametrize(
    "name", [name for name in values.EXPRESSIONS if "cyclic" not in name and "twice" not in name]
)
def test_both_walks_agree_on_the_table(name):
    assert by_recursion(values.TABLE[name]()) == Walk().digest(values.TABLE[name]())


@pytest.mark.parametrize("size", [1, 2, 8, 9, 16, 17, 31, 32, 33, 34, 70])
@pytest.mark.parametrize(
    "odd", [1, "x" * 1025, float("nan"), 1j, [1], {"a": 1}, (1, "b"), np.arange(2), Point(1, [2])]
)
def test_sizes_at_which_forms_change(size, odd):
    for filler in (0, "a", 2.5, None, (1, 2), {"a": 1}, {"b": []}):
        items = [odd, *[filler] * (size - 1)]
        names = {f"k{place}": each for place, each in enumerate(items)}
        for value in (
            items,
            items[::-1],
            tuple(items),
            names,
            Plain(**names),
            Stated(**names),
            [names, names],
        ):
            assert by_recursion(value) == Walk().digest(value)


def nested(depth, inner):
    for _ in range(depth):
        inner = [inner, {"a": inner}]
    return inner


def test_what_is_deep_is_left_to_the_careful_walk():
    with pytest.raises(shallow._UnfitError):
        by_recursion(nested(shallow.DEPTH + 1, 1))
    for depth in (1, shallow.DEPTH - 3, shallow.DEPTH, shallow.DEPTH + 1, 2000):
        assert shallow.digest(nested(depth, 1), Walk()) == Walk().digest(nested(depth, 1))


def test_what_refers_to_itself_is_left_to_the_careful_walk():
    def ring():
        first, second, shared = Point(1, None), {"a": None}, [{"k": (1, [2])}]
        first.y, second["a"] = [second, shared], (first, shared)
        return [shared, {"x": first}, second, nested(3, first)]

    with pytest.raises(shallow._UnfitError):
        by_recursion(ring())
    assert shallow.digest(ring(), Walk()) == Walk().digest(ring())


def looped():
    """Make data that holds a function that holds the data."""
    data: list = [1]

    def use():
        return data

    data.append({"use": use, "shared": [use, (2, [3])]})
    return data


def test_the_users_code_is_left_to_the_careful_walk():
    for value in (looped(), [looped()[1]], [Point], {"a": Point(Plain, [1])}, [by_recursion, {"a": nested}]):
        with pytest.raises(shallow._UnfitError):
            by_recursion(value)
        assert shallow.digest(value, Walk()) == Walk().digest(value)
        assert shallow.digest([1, [value]], Walk()) == Walk().digest([1, [value]])


def test_classes_of_libraries_are_names():
    value = [int, {"a": np.float64, "b": collections.OrderedDict}, collections.defaultdict(list, a=[1])]
    assert by_recursion(value) == Walk().digest(value)


def test_near_the_end_of_the_stack_it_is_left_to_the_careful_walk():
    value = nested(20, 1)
    expected = Walk().digest(value)

    def down(room):
        try:
            return down(room + 1)
        except RecursionError:
            if room % 7:  # go back a little, from frame to frame, until the careful walk has room
                raise
            return shallow.digest(value, Walk())

    assert down(0) == expected


class Stops:
    def __reduce__(self):
        raise StopIteration(b"not a term")


def test_errors_are_those_of_the_careful_walk():
    for bad in (threading.Lock(), Stops()):
        with pytest.raises(HashError, match=r"value\[0\]\['a'\]\.x "):
            shallow.digest([{"a": Point(bad, 1)}, 1], Walk())


def test_each_shared_container_is_walked_once():
    seen = []

    class Counted:
        def __reduce__(self):
            seen.append(self)
            return Counted, ([1, [2]],)

    counted = Counted()
    by_recursion(nested(10, [counted]))
    assert len(seen) == 1


def test_a_memo_of_both_walks():
    """What the first walk finished before it gave up serves the second."""
    shared = Point([1, [2]], {"a": np.arange(5000)})
    loop: list = [shared]
    loop.append(loop)
    walk = Walk()
    assert shallow.digest([shared, loop], walk) == Walk(XXH3_128).digest([shared, loop])
    assert id(shared) in walk.memo
