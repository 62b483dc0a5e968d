"""A bell wakes whoever waits for descriptors, from any thread, and does no harm when it is gone."""

import os
import select
import threading

from lightwork.workers.bell import Bell


def rings(bell, seconds=0):
    watch = select.poll()
    watch.register(bell.fileno(), select.POLLIN)
    return bool(watch.poll(seconds * 1000))


def test_is_heard_until_it_is_silenced():
    bell = Bell()
    assert not rings(bell)
    thread = threading.Thread(target=bell.ring)
    thread.start()
    assert rings(bell, 30)
    thread.join()
    bell.ring()
    bell.silence()
    assert not rings(bell)
    bell.silence()
    bell.close()


def test_may_ring_more_often_than_a_pipe_holds():
    bell = Bell()
    for _ in range(100_000):
        bell.ring()
    assert rings(bell)
    bell.close()


def test_rings_nobody_elses_descriptor_once_it_is_closed():
    bell = Bell()
    bell.close()
    bell.close()
    reader, writer = os.pipe()  # these take the numbers that the bell had
    os.set_blocking(reader, False)
    bell.ring()
    try:
        os.read(reader, 1)
    except BlockingIOError:
        pass
    else:
        raise AssertionError("it rang")
    finally:
        os.close(reader)
        os.close(writer)
