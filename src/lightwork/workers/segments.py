"""Big buffers on their way to workers: laid out once, for many tasks.

The first task that brings a big buffer has it copied into anonymous memory; later tasks of the call that bring the
same one (same address, same size) refer to that copy. A worker maps it anew for each task, privately: the array is
writable, and what a task writes no other task sees. A segment lives as long as a task in flight needs it; idle ones
go when the next is made, and at the end of the call.
When a segment that several tasks shared goes, the user's buffer is digested once more: if it no longer holds
what was sent, some tasks saw other data than the loop meant, and the call raises instead of returning them.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Iterable, Sequence

from lightwork.errors import ArrayChangedError
from lightwork.workers import anonymous, filemaps
from lightwork.workers.digests import Digests, copy, digests

__all__ = ["Kept", "Segment", "Segments", "SharedSegments"]

Key = tuple[int, int]
"""Address and size of a buffer."""


class Segment:
    """One buffer in anonymous memory, and the buffer of the user's that it was copied from."""

    __slots__ = ("_digest", "descriptor", "in_flight", "key", "number", "source", "uses")

    def __init__(
        self, number: int, descriptor: int, source: memoryview, key: Key, digest: Digests | None = None
    ) -> None:
        self.number = number
        self.descriptor = descriptor
        self.source = source
        self.key = key
        self.in_flight = 0
        self.uses = 0
        self._digest = digest

    @property
    def size(self) -> int:
        """Bytes."""
        return self.key[1]

    def holds(self, source: memoryview) -> bool:
        """Whether a buffer of this size has the same content; what was copied never changes, so it is read once."""
        if self._digest is None:
            content = anonymous.private_map(self.descriptor, self.size, writable=False)
            with content, memoryview(content) as view:
                self._digest = digests(view)
        return self._digest == digests(source.cast("B"))

    @property
    def spoilt(self) -> bool:
        """Whether several tasks used it and its source no longer holds what they were sent."""
        return self.uses > 1 and not self.holds(self.source)

    def close(self) -> None:
        """Give the memory back."""
        os.close(self.descriptor)
        self.source.release()


class Segments:
    """The segments of one call, in the parent.

    Parameters
    ----------
    kept : Kept
        Where those of earlier calls are, and those of this one go.
    """

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self._by_key: dict[Key, Segment] = {}
        self._by_number: dict[int, Segment] = {}
        self._next = 0

    def place(self, source: memoryview) -> int:
        """The number of a segment that holds these bytes; made now unless the call has it already."""
        key = (_address(source), source.nbytes)
        segment = self._by_key.get(key)
        if segment is None:
            segment = self._kept.take(key, source) or _laid(source, key)
            segment.number = self._next
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
            changed += segment.spoilt
            self._forget(segment).close()
        if changed:
            raise _changed()
        return [segment.number for segment in idle]

    @property
    def count(self) -> int:
        """How many segments there are now."""
        return len(self._by_number)

    def check(self) -> None:
        """Raise as `drop_idle` does, without letting go of anything."""
        if any(segment.spoilt for segment in self._by_number.values()):
            raise _changed()

    def close(self) -> None:
        """The call is over: what the user still has is kept for the next, as far as there is room."""
        for segment in list(self._by_number.values()):
            self._kept.offer(self._forget(segment))

    def _forget(self, segment: Segment) -> Segment:
        del self._by_number[segment.number]
        if self._by_key.get(segment.key) is segment:
            del self._by_key[segment.key]
        return segment


class SharedSegments(Segments):
    """Segments for tasks that come from any thread, each with what its buffers hold when it comes.

    A loop's tasks are taken one after the other and at once, so a buffer that changes meanwhile is a mistake. Those
    of an executor are submitted over hours, and a buffer may well hold something else each time: so its content
    is compared with what was laid, and where it differs, it is laid again.
    """

    def __init__(self, kept: Kept) -> None:
        super().__init__(kept)
        self._lock = threading.Lock()

    def lay(self, sources: Sequence[memoryview]) -> tuple[list[int], list[Segment], list[int]]:
        """Segments for the buffers of a task, which has taken them: their numbers, they, and numbers that are gone."""
        with self._lock:
            before = self.count
            numbers = [self._place_anew(source) for source in sources]
            taken = self.take(numbers)
            for segment in taken:
                segment.uses = 0  # a source that changes later is none of our business
            gone = super().drop_idle() if self.count > before else []
        return numbers, taken, gone

    def _place_anew(self, source: memoryview) -> int:
        segment = self._by_key.get((_address(source), source.nbytes))
        if segment is not None and not segment.holds(source):
            del self._by_key[segment.key]  # tasks in flight have it by its number
        return self.place(source)

    def give_back(self, segments: Iterable[Segment]) -> None:
        """A task that used these is done."""
        with self._lock:
            super().give_back(segments)

    def close(self) -> None:
        """Nothing needs them now: what the user still has is kept for others, as far as there is room."""
        with self._lock:
            for segment in [segment for segment in self._by_number.values() if not segment.in_flight]:
                self._kept.offer(self._forget(segment))


def _laid(source: memoryview, key: Key) -> Segment:
    descriptor = anonymous.create(source.nbytes)
    try:
        digest = copy(source.cast("B"), descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return Segment(-1, descriptor, source, key, digest)


def _changed() -> ArrayChangedError:
    return ArrayChangedError(
        "an array that several tasks share was changed while they were being sent, so some of them saw other"
        " data than others; give each task an array of its own (`x.copy()`), or change it after the loop"
    )


class Kept:
    """Segments of calls that are over, for the next call that brings the same buffer.

    One is used again only for a buffer at the same address, of the same size, whose content has the same digest:
    reading 400 MB takes 15 to 30 ms, copying them 85 to 190 (measured; see DESIGN, "Arguments"). It is kept as long as
    the object lives whose memory it copies, and as long as all of them together stay within `limit`.

    Parameters
    ----------
    limit : int
        Bytes; by default an eighth of the machine's memory.
    """

    def __init__(self, limit: int | None = None) -> None:
        if limit is None:
            limit = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 8
        self._limit = limit
        self._segments: dict[Key, tuple[Segment, weakref.finalize[[Key], object]]] = {}

    @property
    def size(self) -> int:
        """Bytes that are kept now."""
        return sum(size for _, size in list(self._segments))

    def offer(self, segment: Segment) -> None:
        """Keep a segment, or close it."""
        owner = _owner(segment.source)
        self._drop(segment.key)
        if owner is None or segment.size > self._limit:
            segment.close()
            return
        while self._segments and self.size + segment.size > self._limit:
            self._drop(next(iter(self._segments)))
        segment.source.release()
        segment.in_flight = segment.uses = 0
        farewell = weakref.finalize(owner, self._drop, segment.key)
        farewell.atexit = False
        self._segments[segment.key] = segment, farewell

    def take(self, key: Key, source: memoryview) -> Segment | None:
        """The segment that holds this buffer as it is now; it is the caller's from now on."""
        found = self._segments.pop(key, None)
        if found is None:
            return None
        segment, farewell = found
        farewell.detach()
        segment.source = source
        if segment.holds(source):
            return segment
        os.close(segment.descriptor)
        return None

    def clear(self) -> None:
        """Close all."""
        for key in list(self._segments):
            self._drop(key)

    def _drop(self, key: Key) -> None:
        # The owner's end may come in any thread and between any two steps; `pop` gives the segment to one of us.
        found = self._segments.pop(key, None)
        if found is not None:
            found[1].detach()
            os.close(found[0].descriptor)


def _owner(buffer: memoryview) -> object | None:
    """The object whose memory this is, if its end can be noticed."""
    owner: object = buffer.obj
    while (base := getattr(owner, "base", None)) is not None:
        owner = base
    try:
        weakref.ref(owner)
    except TypeError:
        return None  # bytes, say; they are laid anew in each call
    return owner


def _address(buffer: memoryview) -> int:
    """Where a buffer lies; views made anew over the same memory have the same address.

    `ctypes` cannot tell it for read-only buffers, NumPy can; without NumPy the object that exports the buffer
    stands for its memory (the segment keeps it alive, so its identity is not given to another).
    """
    if "numpy" not in sys.modules:
        return id(buffer.obj)
    return filemaps.address(buffer)
