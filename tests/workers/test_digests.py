"""Digests of big buffers: any change is seen, also one between the digest of a leaf and its copy."""

import os
import threading

import pytest

from lightwork.workers import anonymous, digests
from lightwork.workers.digests import copy

LEAF = 4096
SIZES = [0, 1, LEAF - 1, LEAF, LEAF + 1, 2 * LEAF, 7 * LEAF + 5]


@pytest.fixture(autouse=True)
def small_leaves(monkeypatch):
    monkeypatch.setattr(digests, "_LEAF", LEAF)


@pytest.fixture(params=["threads", "no more threads"])
def threads(request, monkeypatch):
    monkeypatch.setattr(digests, "cores", lambda: 4)
    if request.param == "no more threads":

        def refuse(_):
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", refuse)


@pytest.fixture
def memory():
    descriptor = anonymous.create(0)
    yield descriptor
    os.close(descriptor)


def of(data):
    return digests.digests(memoryview(data))


@pytest.mark.parametrize("size", SIZES)
def test_equal_bytes_have_equal_digests_and_one_other_byte_makes_others(size, threads):
    data = bytearray(os.urandom(size))
    before = of(data)
    assert before == of(bytes(data))
    assert all(before)
    for place in {0, size // 2, size - 1} if size else ():
        data[place] ^= 1
        assert of(data) != before
        data[place] ^= 1
    assert of(data) == before


def test_leaves_that_changed_places_are_seen(threads):
    assert of(b"a" * LEAF + b"b" * LEAF) != of(b"b" * LEAF + b"a" * LEAF)


@pytest.mark.parametrize("size", SIZES)
def test_a_copy_is_whole_and_has_the_digests_of_what_was_copied(size, memory, threads):
    data = os.urandom(size)
    made = copy(memoryview(data), memory)
    assert os.pread(memory, size + 1, 0) == data
    assert made == (of(data) if size > LEAF else None)


@pytest.mark.parametrize("place", [0, LEAF, 5 * LEAF - 1])
def test_a_change_between_digest_and_copy_is_seen(place, memory, monkeypatch, threads):
    """What another thread of the program may do at any moment: the digests are those from before it."""
    data = bytearray(5 * LEAF)
    write = anonymous.write_all

    def change_and_write(descriptor, buffer, offset=0):
        if offset == place // LEAF * LEAF:
            data[place] = 1
        write(descriptor, buffer, offset)

    monkeypatch.setattr(anonymous, "write_all", change_and_write)
    made = copy(memoryview(data), memory)
    assert os.pread(memory, len(data), 0) == data
    assert made != of(data)


def test_a_copy_that_fails_leaves_no_thread_and_no_view_behind(memory, monkeypatch):
    def interrupt(descriptor, buffer, offset=0):
        raise KeyboardInterrupt

    monkeypatch.setattr(anonymous, "write_all", interrupt)
    before, data = threading.active_count(), bytearray(50 * LEAF)
    with memoryview(data) as view, pytest.raises(KeyboardInterrupt):
        copy(view, memory)
    assert threading.active_count() == before
    data.clear()  # a BufferError if somebody still looks at it
