"""The ways that take thousands of parts at once write what the slow way would, and miss nothing.

Each case is a big container of a kind that has a short cut: records, rows, tuple keys. It is changed at one place,
in all the ways that could slip through a check of types or sizes.
"""

from __future__ import annotations

import copy
import math
import random
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightwork.hashing import digest, hash


class Text(str):
    pass


SIZES = [2, 17, 40, 1024, 1025, 3000]
CELLS = [
    1,
    2,
    True,
    1.0,
    0.0,
    -0.0,
    "1",
    b"1",
    None,
    math.nan,
    1j,
    "x" * 1024,
    "x" * 1025,
    1 << 5000,
    Text("1"),
    np.int64(1),
    np.float64(1),
    np.arange(2),
    [1],
    (1,),
    {"a": 1},
]


def records(n):
    return [{"a": i, "b": str(i), "c": i / 2} for i in range(n)]


def rows(n):
    return [(i, str(i), i / 2) for i in range(n)]


def lists(n):
    return [[i, str(i)] for i in range(n)]


@pytest.mark.parametrize("size", SIZES)
def test_one_cell_of_records(size):
    seen = {}
    for name, cell in enumerate(CELLS):
        for place in {0, size // 2, size - 1}:
            made = records(size)
            made[place]["b"] = cell
            seen[name, place] = digest(made)
            assert digest(copy.deepcopy(made)) == seen[name, place]
    assert len(set(seen.values())) == len(seen)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("make", [rows, lists])
def test_one_cell_of_rows(size, make):
    seen = {}
    for name, cell in enumerate(CELLS):
        for place in {0, size // 2, size - 1}:
            made = make(size)
            made[place] = type(made[place])((0, cell, 1))
            seen[name, place] = digest(made)
            assert digest(copy.deepcopy(made)) == seen[name, place]
    assert len(set(seen.values())) == len(seen)


@pytest.mark.parametrize("size", SIZES)
def test_shapes_of_records(size):
    def changed(change):
        made = records(size)
        change(made)
        return digest(made)

    def shuffle(made):
        for each in made:
            items = list(each.items())
            random.shuffle(items)
            each.clear()
            each.update(items)

    plain = digest(records(size))
    assert changed(shuffle) == plain
    others = [
        changed(lambda m: m[1].update(d=1)),
        changed(lambda m: m[1].pop("a")),
        changed(lambda m: m[1].update(x=m[1].pop("a"))),
        changed(lambda m: m[1].update({Text("a"): m[1].pop("a")})),
        changed(lambda m: m[1].update({b"a": m[1].pop("a")})),
        changed(lambda m: m.reverse()),
        changed(lambda m: m.append(m[0])),
        changed(lambda m: m.pop()),
        changed(lambda m: [each.update({Text("a"): each.pop("a")}) for each in m]),
        digest(tuple(records(size))),
        digest([tuple(each.items()) for each in records(size)]),
        digest([list(each.values()) for each in records(size)]),
        digest(dict(enumerate(records(size)))),
        digest({"a": [e["a"] for e in records(size)], "b": [e["b"] for e in records(size)]}),
    ]
    assert len({plain, *others}) == len(others) + 1


def test_records_with_columns_of_anything():
    def made(last):
        return [
            {"a": [i], "b": np.arange(i % 3), "c": {"d": (i, [last if i == 99 else 0])}} for i in range(100)
        ]

    assert digest(made(0)) == digest(made(0))
    assert digest(made(0)) != digest(made(1))


def test_a_record_in_a_list_of_itself():
    record: dict = {"a": 1}
    record["self"] = record
    value = [record, record, {"a": 2, "self": None}]
    assert digest(value) == digest(copy.deepcopy(value))
    assert digest(value) != digest([record, record, {"a": 3, "self": None}])


@pytest.mark.parametrize("size", SIZES)
def test_tuple_keys(size):
    def made(change=None):
        items = [((i, str(i)), i / 2) for i in range(size)]
        if change:
            items[-1] = change
        random.shuffle(items)
        return dict(items)

    plain = digest(made())
    assert digest(made()) == plain
    swapped = made()
    swapped[0, "0"], swapped[1, "1"] = swapped[1, "1"], swapped[0, "0"]
    changes = [
        ((0.5, "x"), 1),
        ((0.5, "y"), 1),
        ((0.5, "x"), 1.0),
        ((0.5, "x"), math.nan),
        ((0.5, "x"), [1]),
        (("x", 0.5), 1),
        ((0.5, Text("x")), 1),
    ]
    changes += [
        ((math.nan, "x"), 1),
        ((0.5, "x" * 2000), 1),
        ((0.5, ("x",)), 1),
        (("x",), 1),
        ((1j, "x"), 1),
        ((True, "x"), 1),
        ((0.0, "x"), 1),
        ((-0.0, "x"), 1),
    ]
    changes += [
        ("x", 1),
        (frozenset({1}), 1),
        (tuple(range(17)), 1),
        (Pair(0.5), 1),
        ((0.5, "x"), np.float64(1)),
        ((0.5, "x"), "z" * 2000),
    ]
    others = [digest(made(change)) for change in changes]
    assert others == [digest(made(change)) for change in changes]
    assert len({plain, digest(swapped), *others}) == len(others) + 2
    for name in ("sha256", "xxh3_64"):
        assert hash(made(), name) == hash(made(), name) != hash(swapped, name)


@pytest.mark.parametrize(
    "odd",
    [
        [(math.inf, "a"), (-math.inf, "b")],
        [("q" * 1000, "a"), (1, "b")],
        [("é" * 800, "a"), (1, "b")],
        [(1 << 4200, "a"), (2, "b")],
        [(1 << 4200, "a"), ("2", "b")],
        [(b"x" * 1020, 1), ("x", 1)],
    ],
    ids=["inf", "long", "wide", "big", "mixed", "bytes"],
)
@pytest.mark.parametrize("texts", [0, 1500])
def test_the_order_of_insertion_does_not_count_for_odd_keys(odd, texts):
    """What the checks of a slice find odd may lie in one slice in one order and in two in another."""
    one, other = odd
    others = [(f"{i}", "") for i in range(texts)] + [(float(i), str(i)) for i in range(2000)]
    together = [one, other, *others]
    apart = [one, *others, other]
    values = dict.fromkeys(together, 1)
    for key, value in zip(odd, (math.inf, -math.inf), strict=True):
        values[key] = value
    assert digest(set(together)) == digest(set(apart))
    assert digest(dict.fromkeys(together)) == digest(dict.fromkeys(apart))
    assert digest({key: values[key] for key in together}) == digest({key: values[key] for key in apart})
    swapped = {**values, one: values[other], other: values[one]}
    assert digest(swapped) != digest(values)


class Pair(tuple):
    def __new__(cls, *items):
        return super().__new__(cls, items)


@pytest.mark.parametrize("size", SIZES)
def test_sets_of_tuples(size):
    def made(change=None):
        items = [(i, str(i)) for i in range(size)]
        if change is not None:
            items[-1] = change
        random.shuffle(items)
        return set(items)

    changes = [
        (0, "x"),
        (0, "y"),
        (0.5, "x"),
        (0, Text("x")),
        Pair(0, "x"),
        (0, ("x",)),
        ("x",),
        (),
        "x",
        (0, "x" * 2000),
        (math.nan, "x"),
    ]
    others = [digest(made(change)) for change in changes]
    assert others == [digest(made(change)) for change in changes]
    assert len({digest(made()), *others}) == len(others) + 1
    assert digest(made()) != digest(frozenset(made())) != digest(sorted(made()))
    assert digest(made()) != digest(dict(made()))


def test_a_text_subclass_is_not_taken_for_the_text_that_was_seen_before():
    first = digest({"alpha": 1, "beta": 2})
    assert digest({Text("alpha"): 1, "beta": 2}) != first
    assert digest({"alpha": 1, Text("beta"): 2}) != first
    assert digest([{"alpha": 1, "beta": 2}, {Text("alpha"): 1, "beta": 2}]) != digest(
        [{"alpha": 1, "beta": 2}] * 2
    )
    assert digest((0, {Text("alpha"): [1], "beta": 2})) != digest((0, {"alpha": [1], "beta": 2}))
    assert digest({np.str_("alpha"): 1, "beta": 2}) != first


@pytest.mark.parametrize(
    "make",
    [
        lambda: {(place, str(place)): place / 2 for place in range(50_000)},
        lambda: {(place, str(place)) for place in range(50_000)},
        lambda: records(50_000),
        lambda: rows(50_000),
        lambda: [str(place) for place in range(50_000)],
        lambda: ["x" * 50_000] * 2000,
    ],
    ids=["keys", "set", "records", "rows", "texts", "one long text"],
)
def test_what_is_hashed_slice_by_slice_takes_no_memory(make):
    value = make()
    digest(value)
    tracemalloc.start()
    digest(value)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text("ab", max_size=2)


@settings(max_examples=50)
@given(st.lists(st.fixed_dictionaries({"a": SCALARS, "b": SCALARS}), max_size=40), st.data())
def test_records_differ_where_their_items_do(made, data):
    other = copy.deepcopy(made)
    assert digest(other) == digest(made)
    if made:
        place = data.draw(st.integers(0, len(made) - 1))
        cell = data.draw(SCALARS)
        other[place]["a"] = cell
        same = type(cell) is type(made[place]["a"]) and repr(cell) == repr(made[place]["a"])
        assert (digest(other) == digest(made)) == same
