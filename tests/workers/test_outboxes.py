"""Outboxes: what comes out is what went in, and stays so when the box is filled again."""

import os

import pytest

from lightwork.workers import anonymous
from lightwork.workers.outboxes import WAITED_FOR, Outbox, read_outbox


@pytest.fixture
def boxes():
    """Two memories as the worker has them, and as the parent reads them."""
    made = [anonymous.create(0), anonymous.create(0)]
    read = [anonymous.SharedMap(descriptor) for descriptor in made]
    yield made, read
    for descriptor, box in zip(made, read, strict=True):
        box.close()
        os.close(descriptor)


def test_buffers_come_out_of_an_outbox_as_they_went_in(boxes):
    made, read = boxes
    outbox = Outbox(made)
    first = outbox.lay([memoryview(b"abc"), memoryview(bytes(100_000))])
    second = outbox.lay([memoryview(b"second result of one reply")])
    assert outbox.close_reply() == first[0] == second[0]
    assert [bytes(buffer) for buffer in read_outbox(read, first)] == [b"abc", bytes(100_000)]
    assert [bytes(buffer) for buffer in read_outbox(read, second)] == [b"second result of one reply"]
    assert all(offset % 64 == 0 for offset in [*first[1::2], *second[1::2]])


def test_a_third_reply_waits_until_a_box_is_emptied(boxes):
    made, _ = boxes
    outbox = Outbox(made)
    used = []
    for _ in range(2):
        assert not outbox.must_wait
        outbox.lay([memoryview(b"x")])
        used.append(outbox.close_reply())
    assert sorted(used) == [0, 1]
    assert outbox.must_wait
    outbox.freed(used[0])
    assert not outbox.must_wait
    assert outbox.lay([memoryview(b"y")])[0] == used[0]


def test_medium_buffers_are_laid_only_while_that_keeps_nobody_waiting(boxes):
    made, _ = boxes
    outbox = Outbox(made)
    assert outbox.threshold < WAITED_FOR
    for _ in range(2):
        outbox.lay([memoryview(b"x")])
        assert outbox.threshold < WAITED_FOR  # the rest of this reply goes into the same box
        used = outbox.close_reply()
    assert outbox.threshold == WAITED_FOR
    outbox.freed(used)
    assert outbox.threshold < WAITED_FOR


def test_what_was_read_does_not_change_when_the_box_is_filled_again(boxes):
    made, read = boxes
    outbox = Outbox(made)
    places = outbox.lay([memoryview(b"first " * 50_000)])
    (kept,) = read_outbox(read, places)
    outbox.freed(outbox.close_reply())
    for _ in range(2):
        outbox.lay([memoryview(b"second" * 50_000)])
        outbox.freed(outbox.close_reply())
    assert bytes(kept) == b"first " * 50_000


def test_memory_that_was_given_back_serves_again(boxes):
    made, read = boxes
    outbox = Outbox(made)
    for size in (10, 9 << 20, 3):
        places = outbox.lay([memoryview(bytes([size % 251]) * size)])
        (buffer,) = read_outbox(read, places)
        assert bytes(buffer) == bytes([size % 251]) * size
        outbox.freed(outbox.close_reply())
        outbox.shrink()
        assert [os.fstat(descriptor).st_size for descriptor in made] == [0, 0]
