"""Segments hold one copy for many tasks and notice when that copy is no longer true; outboxes take turns."""

import gc
import os
import subprocess
import sys

import numpy as np
import pytest

from lightwork.errors import ArrayChangedError
from lightwork.workers.segments import Kept, Segments, SharedSegments


@pytest.fixture
def kept():
    made = Kept(1 << 20)
    yield made
    made.clear()


@pytest.fixture
def segments(kept):
    made = Segments(kept)
    yield made
    made.close()


def _view(array):
    return memoryview(array).cast("B")


def test_the_same_memory_is_laid_once_also_through_new_views(segments):
    array = np.arange(1000.0)
    assert segments.place(_view(array)) == segments.place(_view(array[:]))
    assert segments.place(_view(array[1:])) != segments.place(_view(array))
    assert segments.count == 2


def test_equal_arrays_at_different_places_are_two(segments):
    assert segments.place(_view(np.zeros(1000))) != segments.place(_view(np.zeros(1000)))


def test_a_segment_lives_as_long_as_a_task_in_flight_needs_it(segments):
    number = segments.place(_view(np.ones(1000)))
    first, second = segments.take([number]), segments.take([number])
    segments.give_back(first)
    assert segments.drop_idle() == []
    segments.give_back(second)
    assert segments.drop_idle() == [number]
    assert segments.count == 0


def test_an_array_that_changed_while_tasks_shared_it_is_noticed(segments):
    array = np.ones(1000)
    number = segments.place(_view(array))
    for _ in range(2):
        segments.give_back(segments.take([number]))
    array[500] = 2
    with pytest.raises(ArrayChangedError, match="give each task an array of its own"):
        segments.drop_idle()
    assert segments.count == 0


def test_an_array_of_one_task_may_change_after_it_was_sent(segments):
    array = np.ones(1000)
    segments.give_back(segments.take([segments.place(_view(array))]))
    array[500] = 2
    assert len(segments.drop_idle()) == 1


def test_without_numpy_the_exporting_object_stands_for_its_memory():
    code = """
import sys
from lightwork.workers.segments import Kept, Segments
assert "numpy" not in sys.modules
segments = Segments(Kept())
data, other = bytearray(1000), bytearray(1000)
assert segments.place(memoryview(data)) == segments.place(memoryview(data))
assert segments.place(memoryview(data)) != segments.place(memoryview(other))
segments.close()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def _call(kept, array):
    """One call that sends an array; returns the inode of the memory that it lay in, which tells one from another."""
    segments = Segments(kept)
    (segment,) = segments.take([segments.place(_view(array))])
    inode, content = os.fstat(segment.descriptor).st_ino, os.pread(segment.descriptor, array.nbytes, 0)
    assert content == array.tobytes()
    segments.close()
    return inode


def test_the_same_array_is_not_copied_again_in_the_next_call(kept):
    array = np.arange(1000.0)
    first = _call(kept, array)
    assert _call(kept, array) == first
    assert _call(kept, array[:]) == first
    assert kept.size == array.nbytes


def test_an_array_that_changed_between_two_calls_is_copied_anew(kept):
    array = np.arange(1000.0)
    first = _call(kept, array)
    array[3] = -1
    assert _call(kept, array) != first
    assert kept.size == array.nbytes


def test_what_was_kept_goes_with_the_users_array(kept):
    array = np.arange(1000.0)
    _call(kept, array[10:])
    del array
    gc.collect()
    assert kept.size == 0


def test_what_is_kept_is_bounded_and_the_oldest_goes_first(kept):
    arrays = [np.full(40_000, float(i)) for i in range(6)]
    inodes = [_call(kept, array) for array in arrays]
    assert kept.size == 3 * arrays[0].nbytes
    assert _call(kept, arrays[5]) == inodes[5]
    assert _call(kept, arrays[0]) != inodes[0]
    _call(kept, np.zeros(200_000))
    assert kept.size <= 1 << 20


def test_memory_whose_end_nobody_tells_is_not_kept(kept):
    segments = Segments(kept)
    segments.place(memoryview(bytes(2000)))
    segments.close()
    assert kept.size == 0


def test_the_check_at_the_end_of_a_call_lets_go_of_nothing(segments):
    array = np.ones(1000)
    number = segments.place(_view(array))
    for _ in range(2):
        segments.give_back(segments.take([number]))
    segments.check()
    assert segments.count == 1
    array[0] = 5
    with pytest.raises(ArrayChangedError):
        segments.check()


class TestSharedSegments:
    @pytest.fixture
    def shared(self, kept):
        made = SharedSegments(kept)
        yield made
        made.close()

    def test_a_buffer_is_laid_once_as_long_as_it_holds_the_same(self, shared):
        array, in_flight = np.zeros(1000), []
        numbers = []
        for value in (0, 0, 1, 0):
            array[3] = value
            (number,), taken, _ = shared.lay([_view(array)])
            numbers.append(number)
            in_flight += taken
        assert numbers[0] == numbers[1] != numbers[2]
        assert numbers[3] not in numbers[1:3]
        array[3] = 9
        shared.check()  # that the array has changed is no error
        shared.give_back(in_flight)

    def test_what_no_task_needs_goes_when_the_next_is_laid(self, shared):
        arrays = [np.full(1000, float(i)) for i in range(3)]
        (a,), taken_a, gone = shared.lay([_view(arrays[0])])
        assert gone == []
        _, taken_b, gone = shared.lay([_view(arrays[1])])
        assert gone == []
        shared.give_back(taken_a)
        _, taken_c, gone = shared.lay([_view(arrays[2])])
        assert gone == [a]
        for taken in (taken_b, taken_c):
            shared.give_back(taken)

    def test_closing_keeps_what_tasks_still_need(self, shared, kept):
        array, other = np.zeros(1000), np.ones(1000)
        _, taken, _ = shared.lay([_view(array)])
        _, more, _ = shared.lay([_view(other)])
        shared.give_back(more)
        shared.close()
        assert (shared.count, kept.size) == (1, other.nbytes)
        shared.give_back(taken)
