"""Frames on a stream: how bytes on a socket become messages again. Pure: no socket is known here.

A frame is a head (body length, how many descriptors ride with it, kind) and a body. `FrameDecoder` is fed
whatever arrived, in pieces of any size, and gives back whole frames in order. Big bodies are collected in one
buffer of their final size, so that no byte is copied more than twice however the stream is cut.

Descriptors are not bytes: the kernel delivers them beside the stream. The head states how many belong to the
frame, so that a shortfall (the receiver ran out of descriptors) is noticed at the frame that it hit.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Final

__all__ = ["HEAD", "MOST_DESCRIPTORS", "Frame", "FrameDecoder", "Kind", "head"]

HEAD: Final = Struct("<QHH")
# The kernel's SCM_MAX_FD: more cannot ride with one message.
MOST_DESCRIPTORS: Final = 253


class Kind(IntEnum):
    """What a frame says."""

    # parent -> zygote
    FORK = 1
    KILL = 2
    # zygote -> parent
    FORKED = 3
    ENDED = 4
    # parent -> worker
    INIT = 9
    CALL = 10
    FUNCTION = 11
    DEFINE = 12
    SEGMENT = 13
    TASKS = 14
    FREED = 15
    FORGET = 16
    SHRINK = 17
    STOP = 18
    # worker -> parent
    REPLY = 20
    OUTPUT = 21
    WARNING = 22
    LOG = 23
    UNFIT = 24
    LEAVING = 25


Frame = tuple[int, int, "bytes | bytearray"]
"""kind, number of descriptors, body"""


def head(kind: int, size: int, descriptors: int = 0) -> bytes:
    """The head of a frame whose body has `size` bytes."""
    return HEAD.pack(size, descriptors, kind)


class FrameDecoder:
    """Turns the pieces of a stream into frames.

    Examples
    --------
    >>> decoder = FrameDecoder()
    >>> decoder.feed(head(Kind.TASKS, 2) + b"a")
    []
    >>> [(Kind(kind).name, bytes(body)) for kind, _, body in decoder.feed(b"b")]
    [('TASKS', b'ab')]
    """

    __slots__ = ("_body", "_filled", "_kind", "_rest", "_rides")

    def __init__(self) -> None:
        self._rest = b""
        self._body: bytearray | None = None
        self._filled = 0
        self._kind = 0
        self._rides = 0

    @property
    def idle(self) -> bool:
        """Whether the stream stands between two frames."""
        return self._body is None and not self._rest

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next piece of the stream; return the frames that it completes."""
        frames: list[Frame] = []
        if self._body is not None:
            data = self._fill(data, frames)
        if self._rest:
            data = self._rest + data
            self._rest = b""
        position, end = 0, len(data)
        size_of_head = HEAD.size
        while end - position >= size_of_head:
            size, rides, kind = HEAD.unpack_from(data, position)
            start = position + size_of_head
            if end - start >= size:
                position = start + size
                frames.append((kind, rides, data[start:position]))
                continue
            self._body = bytearray(size)
            self._kind, self._rides, self._filled = kind, rides, 0
            self._fill(data[start:], frames)
            return frames
        self._rest = data[position:]
        return frames

    def _fill(self, data: bytes, frames: list[Frame]) -> bytes:
        body = self._body
        assert body is not None
        missing = len(body) - self._filled
        piece = data[:missing]
        body[self._filled : self._filled + len(piece)] = piece
        self._filled += len(piece)
        if self._filled == len(body):
            frames.append((self._kind, self._rides, body))
            self._body = None
        return data[missing:]
