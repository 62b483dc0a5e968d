"""Bytes into digests: where they lie and how they arrive does not count."""

from __future__ import annotations

import hashlib
import threading
import tracemalloc

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from lightwork.errors import OptionError
from lightwork.hashing import buffers, hash
from lightwork.hashing.buffers import (
    BLOCK,
    LEAF,
    XXH3_128,
    Algorithm,
    Pieces,
    algorithm,
    digest_array,
    digest_bytes,
    digest_text,
)

SIZES = [0, 1, 17, LEAF - 1, LEAF, LEAF + 1, 2 * LEAF, 2 * LEAF + 5]


def noise(size):
    return np.random.default_rng(size).integers(0, 256, size, dtype="u1").tobytes()


@pytest.mark.parametrize("size", SIZES)
def test_a_run_in_pieces_has_the_digest_of_the_whole(size):
    data = noise(size)
    whole = digest_bytes(data, XXH3_128)
    for step in (size or 1, LEAF // 3 + 1, LEAF, 1 << 19):
        pieces = Pieces(XXH3_128)
        for start in range(0, size, step):
            pieces.add(data[start : start + step])
        assert pieces.digest() == whole


def test_up_to_a_leaf_it_is_the_hash_and_above_a_tree():
    assert digest_bytes(noise(LEAF), XXH3_128) == xxhash.xxh3_128_digest(noise(LEAF))
    data = noise(LEAF + 1)
    leaves = xxhash.xxh3_128_digest(data[:LEAF]) + xxhash.xxh3_128_digest(data[LEAF:])
    root = xxhash.xxh3_128_digest(b"lightwork tree " + len(data).to_bytes(8, "little") + leaves)
    assert digest_bytes(data, XXH3_128) == root


def test_a_tree_is_not_the_bytes_that_it_hashes():
    data = noise(LEAF + 1)
    leaves = xxhash.xxh3_128_digest(data[:LEAF]) + xxhash.xxh3_128_digest(data[LEAF:])
    assert hash(data) != hash(b"lightwork tree " + len(data).to_bytes(8, "little") + leaves)


@pytest.mark.parametrize("place", [0, LEAF - 1, LEAF, LEAF + 2])
def test_each_byte_counts(place):
    data = bytearray(noise(LEAF + 3))
    before = digest_bytes(data, XXH3_128)
    data[place] ^= 1
    assert digest_bytes(data, XXH3_128) != before


@given(st.text(max_size=20), st.integers(0, 3))
def test_text(text, times):
    long = text * 10**times
    assert digest_text(long, XXH3_128) == digest_bytes(long.encode("utf-8", "surrogatepass"), XXH3_128)


def test_long_text_in_many_slices():
    text = "é" * (LEAF + 7) + "\ud800"
    assert digest_text(text, XXH3_128) == digest_bytes(text.encode("utf-8", "surrogatepass"), XXH3_128)


# --- arrays -------------------------------------------------------------------------------------------

VIEWS = {
    "step": lambda a: a[::2],
    "reversed": lambda a: a[::-1],
    "columns": lambda a: a[:, ::2],
    "some columns": lambda a: a[:, 1:5],
    "rows": lambda a: a[3:9],
    "plane": lambda a: a[..., 0],
    "transposed": lambda a: a.transpose(1, 0, *range(2, a.ndim)),
    "broadcast": lambda a: np.broadcast_to(a[:1], a.shape),
    "empty": lambda a: a[:0],
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("shape", [(10, 12), (600, 700), (40, 50, 60), (12, 200_000), (3, 4, 5, 6)])
@pytest.mark.parametrize("dtype", ["f8", "i2", "M8[s]", "U3", "c16"])
def test_a_view_is_its_copy(view, shape, dtype):
    base = np.arange(np.prod(shape)).reshape(shape)
    array = VIEWS[view](base.astype(dtype) if dtype != "M8[s]" else base.astype("i8").view(dtype))
    copy = np.array(array, order="C" if not array.flags.fnc else "F")
    assert digest_array(array, XXH3_128) == digest_array(copy, XXH3_128)
    assert hash(array) == hash(copy)


@given(st.data())
def test_any_strides_are_their_copy(data):
    shape = tuple(data.draw(st.lists(st.integers(0, 7), min_size=1, max_size=4)))
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    array = array.transpose(data.draw(st.permutations(range(array.ndim))))
    cut = tuple(slice(None, None, data.draw(st.sampled_from([1, -1, 2, -2, 3]))) for _ in array.shape)
    view = array[cut]
    assert hash(view) == hash(np.array(view, order="F" if view.flags.fnc else "C"))


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[:, ::2],
        lambda a: a[::-1],
        lambda a: a[:, 1:-1],
        lambda a: a.T[::3],
        lambda a: a.reshape(31, -1, 10)[:, :, :7],
        lambda a: a.reshape(-1)[::3],
        lambda a: a.reshape(2, -1)[:, 5:],  # rows longer than a leaf
        lambda a: np.broadcast_to(a[0], (10_000, a.shape[1])),
    ],
)
@pytest.mark.parametrize("dtype", ["f8", "f4", "V12"])
def test_leaves_of_views_begin_anywhere_in_a_row(view, dtype):
    size = 4_340_000
    array = view(np.arange(size * (np.dtype(dtype).itemsize // 4), dtype="u4").view(dtype).reshape(4340, -1))
    assert array.nbytes > LEAF
    assert not array.flags.forc
    assert digest_array(array, XXH3_128) == digest_array(array.copy("C"), XXH3_128)


@pytest.fixture
def crew(monkeypatch):
    """Take four cores for given, and one leaf for enough work; return how many threads were started."""
    started = []

    class Counted(threading.Thread):
        def start(self):
            started.append(self)
            super().start()

    monkeypatch.setattr(buffers, "_cores", lambda: 4)
    monkeypatch.setattr(buffers, "_SHARE", 1)
    monkeypatch.setattr(threading, "Thread", Counted)
    return started


def test_threads_make_the_same_digest(crew, monkeypatch):
    data = noise(9 * LEAF + 5)
    view = np.frombuffer(data, "u1")[: 9 * LEAF].view("i4").reshape(-1, 64)[:, ::2]
    both = digest_bytes(data, XXH3_128), digest_array(view, XXH3_128)
    assert len(crew) == 6
    assert not any(thread.is_alive() for thread in crew)
    monkeypatch.setattr(buffers, "_cores", lambda: 1)
    assert both == (digest_bytes(data, XXH3_128), digest_array(view, XXH3_128))
    assert len(crew) == 6


def test_without_more_threads_the_first_does_all(crew, monkeypatch):
    data = noise(5 * LEAF)
    before = digest_bytes(data, XXH3_128)

    def start(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    assert digest_bytes(data, XXH3_128) == before


def test_an_error_in_a_thread_is_raised_and_all_have_ended(crew):
    main = threading.get_ident()
    reached = threading.Event()

    def once(data):
        if threading.get_ident() == main:
            assert reached.wait(10)
            return b"\0" * 16
        reached.set()
        raise MemoryError("no room")

    with pytest.raises(MemoryError, match="no room"):
        digest_bytes(noise(6 * LEAF), Algorithm("failing", XXH3_128.new, once))
    assert not any(thread.is_alive() for thread in crew)


def test_fortran_order_counts_and_both_at_once_is_c():
    array = np.arange(6.0).reshape(2, 3)
    assert hash(array) != hash(np.asfortranarray(array)) != hash(array.T.copy())
    row = np.arange(6.0).reshape(1, 6)
    assert row.flags.c_contiguous
    assert row.flags.f_contiguous
    assert hash(row) == hash(np.asfortranarray(row)) == hash(row[:, :].copy("F"))


def test_hashing_copies_nothing_large():
    array = np.zeros(4_000_000).reshape(2000, 2000)
    views = [array, array.T, array[:, ::2], array[::-1], array.reshape(20, 100, 2000).transpose(1, 0, 2)]
    hash(views)
    tracemalloc.start()
    for view in views:
        hash(view)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * BLOCK


# --- hash functions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "digits"),
    [
        ("xxh3_128", 32),
        ("xxh3_64", 16),
        ("md5", 32),
        ("sha1", 40),
        ("sha256", 64),
        ("sha512", 128),
        ("blake2b", 128),
        ("sha3_256", 64),
    ],
)
def test_hash_functions_by_name(name, digits):
    values = [1, "a" * 5000, [1, [2, {"a": (3,)}]], np.arange(600_000), {1, "a"}]
    digests = {hash(value, name) for value in values}
    assert len(digests) == len(values)
    assert {len(each) for each in digests} == {digits}
    assert {hash(value, name) for value in values} == digests


def test_the_default_is_xxh3_128():
    assert hash([1]) == hash([1], "xxh3_128") == xxhash.xxh3_128_hexdigest(b"[\1\0\0\0i\1\0\0\0")
    assert hash([1], "sha256") == hashlib.sha256(b"[\1\0\0\0i\1\0\0\0").hexdigest()


def test_blake3():
    blake3 = pytest.importorskip("blake3")
    assert hash([1], "blake3") == blake3.blake3(b"[\1\0\0\0i\1\0\0\0").hexdigest()
    assert hash(np.arange(600_000), "blake3") != hash(np.arange(1, 600_001), "blake3")


@pytest.mark.parametrize("name", ["sha257", "", None, 3, ["md5"], "shake_128", "SHA256"])
def test_an_unknown_hash_function_is_named_with_those_that_are_known(name):
    with pytest.raises(OptionError, match="hash_name"):
        hash(1, name)


def test_the_message_lists_the_names():
    with pytest.raises(ValueError, match=r"'crc32' is not .* xxh3_128.*blake3.*md5.*sha256"):
        algorithm("crc32")
