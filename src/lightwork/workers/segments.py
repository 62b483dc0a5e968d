"""Big buffers between processes: arguments laid out once for many tasks, results copied out of an outbox.

**Segments** carry arguments. The first task that brings a big buffer has it copied into anonymous memory;
later tasks of the call that bring the same one (same address, same size) refer to that copy. A worker maps it
anew for each task, privately: the array is writable, and what a task writes no other task sees. A segment
lives as long as a task in flight needs it; idle ones go when the next is made, and at the end of the call.
When a segment that several tasks shared goes, the user's buffer is digested once more: if it no longer holds
what was sent, some tasks saw other data than the loop meant, and the call raises instead of returning them.

**Outboxes** carry results. A worker has two; it copies the big buffers of one reply into one of them, and may
fill the other while the parent copies the first into ordinary memory. So no mapping outlives a message,
results are plain memory, and a worker never runs more than two replies ahead with large data.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import xxhash

from lightwork.errors import ArrayChangedError
from lightwork.workers import anonymous

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Outbox", "Segment", "Segments", "read_outbox"]

# NumPy aligns large arrays to 64 bytes at best (a cache line, an AVX-512 register); so do we.
_ALIGNMENT = 64


class Segment:
    """One buffer in anonymous memory, and the buffer of the user's that it was copied from."""

    __slots__ = ("descriptor", "in_flight", "key", "number", "source", "uses")

    def __init__(self, number: int, descriptor: int, source: memoryview, key: tuple[int, int]) -> None:
        self.number = number
        self.descriptor = descriptor
        self.source = source
        self.key = key
        self.in_flight = 0
        self.uses = 0


class Segments:
    """The segments of one call, in the parent."""

    def __init__(self) -> None:
        self._by_key: dict[tuple[int, int], Segment] = {}
        self._by_number: dict[int, Segment] = {}
        self._next = 0

    def place(self, source: memoryview) -> int:
        """The number of a segment that holds these bytes; made now unless the call has it already."""
        key = (_address(source), source.nbytes)
        segment = self._by_key.get(key)
        if segment is None:
            descriptor = anonymous.create(source.nbytes)
            try:
                anonymous.write_all(descriptor, source.cast("B"))
            except BaseException:
                os.close(descriptor)
                raise
            segment = Segment(self._next, descriptor, source, key)
            self._next += 1
            self._by_key[key] = self._by_number[segment.number] = segment
        return segment.number

    def take(self, numbers: Iterable[int]) -> list[Segment]:
        """The segments of a task that is being sent; they stay until `give_back`."""
        segments = [self._by_number[number] for number in numbers]
        for segment in segments:
            segment.in_flight += 1
            segment.uses += 1
        return segments

    def give_back(self, segments: Iterable[Segment]) -> None:
        """A task that used these is done."""
        for segment in segments:
            segment.in_flight -= 1

    def drop_idle(self) -> list[int]:
        """Let go of the segments that no task in flight needs; returns their numbers.

        Raises
        ------
        ArrayChangedError
            If the source of one that several tasks shared has changed since it was copied.
        """
        idle = [segment for segment in self._by_number.values() if not segment.in_flight]
        changed = 0
        for segment in idle:
            changed += segment.uses > 1 and _differs(segment)
            self._forget(segment)
        if changed:
            raise ArrayChangedError(
                "an array that several tasks share was changed while they were being sent, so some of them saw other"
                " data than others; give each task an array of its own (`x.copy()`), or change it after the loop"
            )
        return [segment.number for segment in idle]

    @property
    def count(self) -> int:
        """How many segments there are now."""
        return len(self._by_number)

    def close(self) -> None:
        """Let go of all segments without a look at their sources."""
        for segment in list(self._by_number.values()):
            self._forget(segment)

    def _forget(self, segment: Segment) -> None:
        del self._by_number[segment.number]
        del self._by_key[segment.key]
        os.close(segment.descriptor)
        segment.source.release()


def _differs(segment: Segment) -> bool:
    with anonymous.private_map(segment.descriptor, segment.source.nbytes, writable=False) as sent:
        return xxhash.xxh3_128_digest(sent) != xxhash.xxh3_128_digest(segment.source)


def _address(buffer: memoryview) -> int:
    """Where a buffer lies; views made anew over the same memory have the same address.

    `ctypes` cannot tell it for read-only buffers, NumPy can; without NumPy the object that exports the buffer
    stands for its memory (the segment keeps it alive, so its identity is not given to another).
    """
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return id(buffer.obj)
    address: int = numpy.frombuffer(buffer, dtype="uint8").__array_interface__["data"][0]
    return address


class Outbox:
    """A worker's end of its outboxes: big buffers of one reply go into a free one.

    Parameters
    ----------
    descriptors : sequence of int
        The anonymous memories shared with the parent.
    """

    def __init__(self, descriptors: Sequence[int]) -> None:
        self._maps = [anonymous.SharedMap(descriptor) for descriptor in descriptors]
        self._free = list(range(len(descriptors)))
        self._current: int | None = None
        self._end = 0

    @property
    def must_wait(self) -> bool:
        """Whether a reply that is to lay its first buffer has to wait until the parent has emptied a box."""
        return self._current is None and not self._free

    def lay(self, buffers: Sequence[memoryview]) -> list[int]:
        """Copy buffers into the box of this reply; returns the box, then offset and size of each."""
        if self._current is None:
            self._current = self._free.pop()
            self._end = 0
        places = [self._current]
        for buffer in buffers:
            size, start = buffer.nbytes, self._end
            with self._maps[self._current].view(start + size, grow=True) as memory:
                memory[start : start + size] = buffer.cast("B")
            places += (start, size)
            self._end += -(-size // _ALIGNMENT) * _ALIGNMENT
        return places

    def close_reply(self) -> int | None:
        """The reply is complete; returns the box that it used, which stays taken until `freed`."""
        used, self._current = self._current, None
        return used

    def freed(self, box: int) -> None:
        """The parent has copied everything out of this box."""
        self._free.append(box)

    def shrink(self) -> None:
        """Give back the memory of all boxes; none is in use."""
        for box in self._maps:
            box.shrink()


def read_outbox(boxes: Sequence[anonymous.SharedMap], places: Sequence[int]) -> list[Buffer]:
    """Copy the buffers of a result out of the box that `Outbox.lay` named, into memory of this process."""
    buffers: list[Buffer] = []
    for start, size in zip(places[1::2], places[2::2], strict=True):
        memory = anonymous.fresh(size)
        with boxes[places[0]].view(start + size) as source, memoryview(memory) as target:
            target[:] = source[start : start + size]
        buffers.append(memory)
    return buffers
