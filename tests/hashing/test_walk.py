"""The canonical walk: what makes digests equal, what must not."""

from __future__ import annotations

import copy
import pickle
import random
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightwork.errors import HashError
from lightwork.hashing import digest, digest_small, hash
from lightwork.hashing.atoms import flat, quick
from lightwork.hashing.buffers import XXH3_128
from lightwork.hashing.containers import _added_up
from lightwork.hashing.walk import Walk

ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.complex_numbers()
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.text("ab", min_size=1020, max_size=1030)
    | st.just(...)
)
HASHABLE = st.recursive(
    ATOMS, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=4), max_leaves=5
)
VALUES = st.recursive(
    HASHABLE,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=2).map(tuple)
        | st.dictionaries(HASHABLE, inner, max_size=5)
        | st.dictionaries(st.text(max_size=3), inner, max_size=5)
        | st.sets(HASHABLE, max_size=4)
    ),
    max_leaves=20,
)


def shuffled(value, rng):
    """Build the same value anew: nothing shared, dicts and sets filled in another order."""
    kind = type(value)
    if kind is dict:
        items = [(shuffled(k, rng), shuffled(v, rng)) for k, v in value.items()]
        rng.shuffle(items)
        return dict(items)
    if kind in (list, tuple):
        return kind([shuffled(each, rng) for each in value])
    if kind in (set, frozenset):
        items = [shuffled(each, rng) for each in value]
        rng.shuffle(items)
        return kind(items)
    if kind is str:
        return "".join(list(value))
    return copy.copy(value)


@given(VALUES, st.randoms())
def test_equal_values_have_equal_digests(value, rng):
    assert digest(value) == digest(shuffled(value, rng))
    assert digest(value) == digest(pickle.loads(pickle.dumps(value)))


@given(VALUES)
def test_sharing_does_not_count(value):
    assert digest([value, value]) == digest([value, copy.deepcopy(value)])
    assert digest({"a": value, "b": (value, [value])}) == digest(
        copy.deepcopy({"a": value, "b": (value, [value])})
    )


@given(VALUES)
def test_the_quick_way_and_the_walk_agree(value):
    walked = Walk().digest(value)
    for depth in range(4):
        encoding = quick(value, XXH3_128, depth)
        assert encoding is None or XXH3_128.once(encoding) == walked


def signature(value):
    """What makes values the same, written with reprs: slow and obvious, to check digests against."""
    kind = type(value)
    if kind is dict:
        return ("dict", tuple(sorted((repr(signature(k)), repr(signature(v))) for k, v in value.items())))
    if kind in (set, frozenset):
        return (kind.__name__, tuple(sorted(repr(signature(each)) for each in value)))
    if kind in (list, tuple):
        return (kind.__name__, tuple(signature(each) for each in value))
    return (kind.__name__, repr(value))


@given(VALUES, VALUES)
def test_different_values_have_different_digests(one, other):
    assert (digest(one) == digest(other)) == (signature(one) == signature(other))


@given(VALUES, ATOMS, ATOMS)
def test_near_misses_are_told_apart(value, one, other):
    same = signature(one) == signature(other)
    for wrap in (
        lambda x: [value, x],
        lambda x: {"k": (x, value)},
        lambda x: [[value], {1: x}],
        lambda x: {x: value},
    ):
        assert (digest(wrap(one)) == digest(wrap(other))) == same


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 1023, 1024, 1025, 2049])
@pytest.mark.parametrize(
    "odd",
    [1, 1.0, "a", float("nan"), 1j, [1], "x" * 2000, 1 << 20000, True],
    ids=["int", "float", "str", "nan", "complex", "list", "long", "big", "bool"],
)
def test_one_odd_element_never_changes_the_bytes_of_the_others(length, odd):
    """The bulk call into marshal and one call for each element write the same bytes."""
    for filler in (1, 2.5, None):
        items = [filler] * length
        bulk = flat(items)
        assert bulk == b"".join(Walk().term(each) for each in items)
        for place in {0, length // 2, length}:
            mixed = [*items[:place], odd, *items[place:]]
            pieces = b"".join(Walk().term(each) for each in mixed)
            assert Walk().digest(mixed) == Walk().algo.once(b"[" + len(mixed).to_bytes(4, "little") + pieces)


@pytest.mark.parametrize("length", [0, 1, 32, 33, 1023, 1024, 1025])
def test_texts(length):
    """Many texts are written together; where one ends and the next begins still counts, and so does each type."""

    def made(*odd):
        return ["ab"] * length + list(odd)

    odd = [
        ("a", "b"),
        ("ab", ""),
        ("", "ab"),
        ("a\0b",),
        ("a", "\0b"),
        ("a\0", "b"),
        ("\0",),
        ("\0", ""),
        ("", "\0"),
        ("\0\0",),
        ("\ud800", "b"),
        ("é",),
        ("x" * 1024,),
        ("x" * 1025,),
        (b"ab",),
    ]
    odd += [(Text("ab"),), (np.str_("ab"),), ("ab",), ("x" * 300_000,), ("y" * 300_000,), (1,), ()]
    digests = [digest(made(*each)) for each in odd]
    assert len(set(digests)) == len(digests)
    assert digests == [digest(copy.deepcopy(made(*each))) for each in odd]


@given(st.lists(st.text("a\0é", max_size=3), min_size=33, max_size=36), st.data())
def test_where_texts_end_counts(items, data):
    """A list of texts, and the same characters cut elsewhere."""
    joined = "".join(items)
    cuts = sorted(
        data.draw(st.lists(st.integers(0, len(joined)), min_size=len(items) - 1, max_size=len(items) - 1))
    )
    other = [joined[start:end] for start, end in zip([0, *cuts], [*cuts, len(joined)], strict=True)]
    assert (digest(items) == digest(other)) == (items == other)
    assert (digest([*items, [1]]) == digest([*other, [1]])) == (items == other)


class Text(str):
    pass


def test_nan_is_one_value_and_zeros_are_two():
    from struct import pack, unpack

    payload = unpack("<d", pack("<Q", 0x7FF8000000000123))[0]
    negative = unpack("<d", pack("<Q", 0xFFF8000000000000))[0]
    plain = float("nan")
    for wrap in (
        lambda x: x,
        lambda x: [x, 1],
        lambda x: [x] * 50,
        lambda x: {"a": x},
        lambda x: {"a": [x, "b"]},
        lambda x: complex(x, 1),
        lambda x: (x, 1),
    ):
        assert digest(wrap(plain)) == digest(wrap(payload)) == digest(wrap(negative))
        assert digest(wrap(0.0)) != digest(wrap(-0.0))


@given(st.lists(ATOMS, max_size=40).map(tuple))
def test_a_tuple_is_digested_quickly_as_it_is_slowly(value):
    reference = Walk().digest(value)
    for _ in range(2):  # types that were met before go a shorter way
        assert digest_small(value) in (None, reference)


def test_the_quick_way_tells_what_only_looks_like_its_types():
    class Loud(int):
        pass

    nan = float("nan")
    for value in (
        (1, 2.0),
        (1, nan),
        (-1, 0.5),
        ("a", "x" * 2000),
        (1, 1j),
        (True, Loud(1)),
        (1 << 5000, "a"),
    ):
        for _ in range(2):
            assert digest_small(value) in (None, Walk().digest(value))
    assert digest_small((1, 2.0)) is not None
    assert digest_small((1, Loud(1))) is None


def test_an_array_never_hashes_like_its_bytes():
    array = np.arange(12, dtype="i4").reshape(3, 4)
    likes = [
        array,
        array.tobytes(),
        bytearray(array.tobytes()),
        memoryview(array.tobytes()),
        array.tolist(),
        tuple(array.tolist()),
        array.ravel(),
        array.astype("u4"),
        array.view("f4"),
        array.T,
        array.T.copy(),
        np.asfortranarray(array),
        [array],
        list(array),
    ]
    assert len({digest(each) for each in likes}) == len(likes)
    assert len({digest([each, 1]) for each in likes}) == len(likes)
    assert len({digest({"a": each}) for each in likes}) == len(likes)


def test_numbers_of_different_types_differ():
    ones = [
        1,
        1.0,
        True,
        1 + 0j,
        "1",
        b"1",
        np.int64(1),
        np.int32(1),
        np.float64(1),
        np.float32(1),
        np.bool_(True),
        np.array(1),
        np.array([1]),
    ]
    ones += [np.array([1]).view("f8"), np.float64(5e-324), None, ..., np.str_("1"), np.bytes_(b"1")]
    for wrap in (lambda x: x, lambda x: [x], lambda x: {"a": x}, lambda x: (x, [x])):
        assert len({digest(wrap(each)) for each in ones}) == len(ones)


@given(st.lists(st.integers(0, (1 << 128) - 1), max_size=40))
def test_digests_are_added_up_modulo(numbers):
    joined = b"".join(each.to_bytes(16, "little") for each in numbers)
    assert _added_up(joined) == sum(numbers) % ((1 << 128) - 1)


# --- hostile and recursive ------------------------------------------------------------------------------


def test_a_list_that_holds_itself_twice_ends():
    value: list = []
    value += [value, value]
    once: list = []
    once.append(once)
    assert digest(value) == digest(copy.deepcopy(value)) == digest(pickle.loads(pickle.dumps(value)))
    assert digest(value) != digest(once)


@pytest.mark.parametrize(
    "make",
    [
        lambda t: (t, t),
        lambda t: [t, t],
        lambda t: {"a": t, "b": t},
        lambda t: frozenset([t, (t,)]),
    ],
)
def test_a_tree_of_shared_nodes_takes_linear_time(make):
    value = ()
    for _ in range(60):
        value = make(value)
    started = time.process_time()
    digest(value)
    assert time.process_time() - started < 2  # 2**60 steps would take a thousand years


def test_deep_nesting_is_no_limit():
    value: object = 1
    other: object = 2
    for _ in range(50_000):
        value, other = [value], [other]
    assert digest(value) != digest(other)
    while isinstance(value, list):
        value = value.pop()
    while isinstance(other, list):
        other = other.pop()


def test_one_big_string_shared_a_million_times():
    big = "x" * 1_000_000
    started = time.process_time()
    assert digest([big] * 100_000) != digest(["y" + big[1:]] * 100_000)
    assert time.process_time() - started < 10


class Node:
    def __init__(self, name, parent=None):
        self.name, self.parent, self.children = name, parent, []
        if parent is not None:
            parent.children.append(self)


def family(size, last="leaf"):
    root = Node("root")
    nodes = [root]
    for place in range(size):
        nodes.append(Node(place, nodes[place // 3]))
    nodes[-1].name = last
    return nodes


def test_cycles_through_objects():
    one, other, changed = family(200), family(200), family(200, "other")
    assert digest(one[0]) == digest(other[0]) == digest(copy.deepcopy(one[0]))
    assert digest(one[0]) != digest(changed[0])
    assert digest(one) == digest(other)
    assert digest(one[5]) != digest(one[6])


def test_a_list_of_nodes_of_one_graph_takes_linear_time():
    nodes = family(20_000)
    started = time.process_time()
    digest(nodes)
    assert time.process_time() - started < 10


def test_cycles_through_sets_have_an_order_too():
    class Peer:
        def __init__(self, name):
            self.name, self.peers = name, set()

    def ring(names):
        peers = [Peer(name) for name in names]
        for peer in peers:
            peer.peers.update(peers)
        return peers[0]

    digests = {digest(ring("abc")) for _ in range(20)}
    assert len(digests) == 1
    assert digest(ring("abc")) != digest(ring("abd"))


def test_a_digest_does_not_depend_on_the_context_of_cycles():
    loop: list = [1]
    loop.append(loop)
    pieces = Walk().term(0) + Walk().term(loop) + Walk().term(2)
    assert Walk().digest([0, loop, 2]) == XXH3_128.once(b"[\3\0\0\0" + pieces)
    assert digest([loop, [loop]]) == digest([loop, [copy.deepcopy(loop)]])


def test_keys_that_are_the_same_value():
    """Two NaN keys, or two keys of the same look, leave the order to the values."""
    one, two = float("nan"), float("nan")
    assert digest({one: 1, two: 2}) == digest({one: 2, two: 1})
    assert digest({one: 1, two: 2}) != digest({one: 1, two: 1})


# --- refusals -------------------------------------------------------------------------------------------


class Model:
    def __init__(self):
        self._lock = threading.Lock()


class Holder:
    def __init__(self, model):
        self.model = model


def test_a_refusal_names_the_path():
    with pytest.raises(HashError, match=r"value\[0\]\.model\._lock \(_thread\.lock\): a lock"):
        digest([Holder(Model())])
    with pytest.raises(HashError, match=r"value\['args'\]\[1\]\['k'\] \(generator\): a generator"):
        digest({"args": [0, {"k": (i for i in "a")}]})


def test_a_refusal_is_a_pickling_error_and_a_type_error(tmp_path):
    with open(tmp_path / "f", "w") as file:
        for kind in (pickle.PicklingError, TypeError):
            with pytest.raises(kind, match="an open file"):
                hash(file)


def test_a_walk_goes_on_after_a_refused_part():
    walk = Walk()
    before = walk.term([1, [2]])
    with pytest.raises(HashError):
        walk.part([1, {"a": [threading.Lock()]}])
    assert walk.term([1, [2]]) == before
    assert walk.path() == ""


# --- other processes ------------------------------------------------------------------------------------

_PROGRAM = """
import sys
sys.path.insert(0, {folder!r})
from lightwork.hashing import digest
import hashed_values as values
for name, make in values.TABLE.items():
    print(digest(make()).hex())
"""


def _digests_elsewhere(folder, seed, python=sys.executable):
    import os
    import subprocess

    env = dict(os.environ, PYTHONHASHSEED=str(seed), PYTHONPATH=os.pathsep.join(sys.path))
    done = subprocess.run(
        [python, "-c", _PROGRAM.format(folder=str(folder))],
        env=env,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_equal_in_other_processes():
    from pathlib import Path

    folder = Path(__file__).parent
    assert _digests_elsewhere(folder, random.randrange(1, 10_000)) == _digests_elsewhere(folder, 0)


@settings(max_examples=20)
@given(VALUES)
def test_other_hash_functions_agree_on_what_is_the_same(value):
    for name in ("sha256", "md5", "xxh3_64", "blake2b"):
        assert hash(value, name) == hash(copy.deepcopy(value), name)
        assert hash([value, 1], name) != hash([value, 2], name)
