"""Channels: whole frames, descriptors with the right one, and never a dead-lock."""

import os
import select
import threading

import pytest

from lightwork.workers.channel import Channel, DescriptorShortfall, pair
from lightwork.workers.framing import Kind


@pytest.fixture
def ends():
    left, right = (Channel(sock, takes_descriptors=True) for sock in pair())
    yield left, right
    left.close()
    right.close()


def _pump(channel, want, got):
    """Receive until `want` frames are there, sending meanwhile: what both a parent and a worker do."""
    watch = select.poll()
    while len(got) < want or channel.pending:
        watch.register(channel.fileno(), select.POLLIN | (select.POLLOUT if channel.pending else 0))
        watch.poll(1000)
        channel.flush()
        got += channel.receive()


def test_large_messages_that_cross_never_dead_lock(ends):
    body = os.urandom(10 << 20)
    got = [], []
    for end in ends:
        end.post(Kind.TASKS, body)
        end.post(Kind.REPLY, b"after")
    threads = [
        threading.Thread(target=_pump, args=(end, 2, mine)) for end, mine in zip(ends, got, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [[bytes(body) for _, _, body in mine] for mine in got] == [[body, b"after"]] * 2


def test_post_returns_at_once_when_nobody_reads(ends):
    left, right = ends
    for _ in range(50):
        left.post(Kind.TASKS, bytes(1 << 20))
    assert left.pending
    assert not left.flush()
    got = []
    thread = threading.Thread(target=_pump, args=(right, 50, got))
    thread.start()
    _pump(left, 0, [])
    thread.join(60)
    assert len(got) == 50


def test_descriptors_arrive_with_their_frame(ends):
    left, right = ends
    read, write = os.pipe()
    left.post(Kind.TASKS, b"plain")
    left.post(Kind.SEGMENT, b"with one", [write])
    left.post(Kind.TASKS, b"plain again")
    left.post(Kind.SEGMENT, b"with two", [read, write])
    os.close(write)
    os.close(read)
    got = []
    _pump(right, 4, got)
    assert [rides for _, rides, _ in got] == [0, 1, 0, 2]
    (first,) = right.take_descriptors(1)
    second = right.take_descriptors(2)
    os.write(first, b"x")
    assert os.read(second[0], 1) == b"x"
    for descriptor in (first, *second):
        os.close(descriptor)


def test_descriptors_that_must_wait_are_sent_though_their_owner_closed_them(ends):
    left, right = ends
    left.post(Kind.TASKS, bytes(4 << 20))
    read, write = os.pipe()
    left.post(Kind.SEGMENT, b"", [write])
    os.close(write)
    got = []
    thread = threading.Thread(target=_pump, args=(right, 2, got))
    thread.start()
    _pump(left, 0, [])
    thread.join(60)
    (arrived,) = right.take_descriptors(1)
    os.write(arrived, b"y")
    assert os.read(read, 1) == b"y"
    os.close(arrived)
    os.close(read)


def test_descriptors_that_were_announced_and_did_not_come_are_missed(ends):
    with pytest.raises(DescriptorShortfall, match="1 descriptors were announced and 0 arrived"):
        ends[1].take_descriptors(1)


def test_the_end_of_the_other_side_is_told_after_its_last_frame(ends):
    left, right = ends
    left.post(Kind.REPLY, b"last")
    left.close()
    assert [bytes(body) for _, _, body in right.receive()] == [b"last"]
    assert right.receive() == []
    assert right.ended


def test_posting_to_a_closed_end_is_silent(ends):
    left, right = ends
    right.close()
    left.post(Kind.TASKS, b"lost")
    left.post(Kind.TASKS, bytes(1 << 20))
    assert not left.pending
    left.receive()
    assert left.ended
