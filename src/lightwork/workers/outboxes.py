"""Big buffers on their way back from workers: copied into an outbox, and out of it.

A worker has two outboxes; it copies the big buffers of one reply into one of them, and may fill the other while the
parent copies the first into ordinary memory. So no mapping outlives a message, results are plain memory, and a
worker never runs more than two replies ahead with large data. Medium buffers go there too while a box is free, and
else inside the reply: nobody waits for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from lightwork.workers import anonymous

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["WAITED_FOR", "Outbox", "read_outbox"]

WAITED_FOR: Final = 1 << 18
"""Bytes from which on the buffer of a result is always laid in an outbox; a worker waits until it has one."""

# Those from here on only while a box is free. In a message the bytes of a buffer are copied seven times, by an outbox
# twice: of 2,000 results of 100 KB each takes the parent 64 µs of its processor in messages, 30 by outboxes; of 32 KB,
# 23 and 18, or 38 and 37 where each result has a message of its own.
_IF_FREE: Final = 1 << 15

# NumPy aligns large arrays to 64 bytes at best (a cache line, an AVX-512 register); so do we.
_ALIGNMENT = 64


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

    @property
    def threshold(self) -> int:
        """Bytes from which on a buffer is to be laid now."""
        return WAITED_FOR if self.must_wait else _IF_FREE

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
        with boxes[places[0]].view(start + size) as box, box[start : start + size] as source:
            buffers.append(anonymous.copied(source))
    return buffers
