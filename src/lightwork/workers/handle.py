"""A worker as its parent sees it: both ends of what they share, and what the worker was last told."""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

from lightwork.workers import anonymous
from lightwork.workers.channel import Channel
from lightwork.workers.framing import Kind
from lightwork.workers.page import Page
from lightwork.workers.relay import Surroundings

__all__ = ["DEFAULT_MAKE", "Make", "Streams", "WorkerHandle", "stream_files"]

# The outboxes of a worker keep this much memory for the next results; more is given back when a call ends.
_KEPT = 128 << 20

Streams = tuple[tuple[int, int], ...]
"""Device and inode of the files behind the descriptors 1 and 2; empty where nobody has looked."""


class Make(NamedTuple):
    """How a worker was made; a call takes only idle workers that were made as it asks.

    Attributes
    ----------
    spawn : bool
        Whether it has an interpreter of its own, or was forked from the zygote.
    initializer : bytes or None
        The pickle of what it ran before its first task.
    memory_limit, most_tasks : int or None
        Bytes of data that it may have; tasks after which it leaves.
    definitions : bytes or None
        What the initializer needed of ``__main__``: a function that was defined anew, or that uses a value which has
        changed since, is another one.
    """

    spawn: bool = sys.platform == "darwin"
    initializer: bytes | None = None
    memory_limit: int | None = None
    most_tasks: int | None = None
    definitions: bytes | None = None


DEFAULT_MAKE = Make()


def stream_files() -> Streams:
    """Which files the descriptors 1 and 2 of this process are of.

    A program may have been started with some of the first three closed. They are opened first, to nowhere, as the
    runtimes of Go and Rust do: a socket or memory of ours that got such a number would be written to by whatever
    native code takes it for the output.
    """
    found: list[tuple[int, int]] = []
    for number in range(3):
        try:
            file = os.fstat(number)
        except OSError:
            if os.open(os.devnull, os.O_RDWR) == number:
                os.set_inheritable(number, True)
            file = os.fstat(number)
        found.append((file.st_dev, file.st_ino))
    return tuple(found[1:])


class WorkerHandle:
    """A worker as its parent sees it.

    Attributes
    ----------
    number : int
        Its number in the pool, never given twice.
    control : Channel
        The zygote that forked it, and that alone can kill it or tell of its end.
    environment, surroundings : dict or None
        The environment variables, warning filters and logging levels that it was last told.
    streams : tuple
        Which files its descriptors 1 and 2 are of.
    make : Make
        How it was made.
    fresh : bool
        Whether it has served no call yet.
    segments : set of int
        The segments of the call that it holds.
    spans : int
        How many spans were sent to it since it was made.
    """

    __slots__ = (
        "_outboxes",
        "channel",
        "control",
        "environment",
        "fresh",
        "make",
        "number",
        "outboxes",
        "page",
        "segments",
        "spans",
        "streams",
        "surroundings",
    )

    def __init__(
        self,
        number: int,
        control: Channel,
        channel: Channel,
        page: Page,
        outboxes: tuple[int, ...],
        streams: Streams,
        make: Make,
    ) -> None:
        self.number = number
        self.control = control
        self.channel = channel
        self.page = page
        self._outboxes = outboxes
        self.outboxes = [anonymous.SharedMap(descriptor) for descriptor in outboxes]
        self.environment: dict[str, str] | None = None
        self.surroundings: Surroundings | None = None
        self.streams = streams
        self.make = make
        self.fresh = True
        self.segments: set[int] = set()
        self.spans = 0

    def close(self) -> None:
        """Let go of everything that this process holds of the worker."""
        self.channel.close()
        self.page.close()
        for box, descriptor in zip(self.outboxes, self._outboxes, strict=True):
            box.close()
            os.close(descriptor)

    @property
    def kept(self) -> int:
        """The bytes that its outboxes hold."""
        return sum(os.fstat(descriptor).st_size for descriptor in self._outboxes)

    def shrink(self) -> None:
        """Have an idle worker give back what its outboxes hold if it is more than is worth keeping."""
        if self.kept > _KEPT:
            for box in self.outboxes:
                box.close()
            self.channel.post(Kind.SHRINK)
