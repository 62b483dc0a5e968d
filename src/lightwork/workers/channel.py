"""One end of a private socket pair: frames out without ever waiting, frames in as they arrive.

Two processes that both write a large message and only then read would wait for each other for ever. So no end
ever blocks in a send: what the socket does not take now is queued here and goes out when it can be written to
(`flush`), and reading goes on meanwhile. Descriptors ride with the first byte of their frame (SCM_RIGHTS);
the kernel never lets one read run past a message that carries some, so those that a read delivers belong to
the last frame begun in it.
"""

from __future__ import annotations

import array
import os
import socket
from collections import deque
from collections.abc import Sequence

from lightwork.workers.framing import HEAD, MOST_DESCRIPTORS, Frame, FrameDecoder

__all__ = ["Channel", "DescriptorShortfall", "pair"]

# Bytes in one read. A read makes an object of this size and cuts it to what came: from 128 KB on that is a map of its
# own, made, cut and unmapped each time (three system calls), so a read is large only behind one that was filled.
_SMALL_READ, _LARGE_READ = 1 << 14, 1 << 18
_ANCILLARY = socket.CMSG_SPACE(MOST_DESCRIPTORS * 4)
_CLOSED_ON_EXEC: int = getattr(socket, "MSG_CMSG_CLOEXEC", 0)  # not on macOS
# Below this a head is joined to its body: one small copy costs less than a second buffer in the call.
_JOINED = 1 << 14
# Pieces in one call; the kernel takes at most 1,024 (IOV_MAX).
_PIECES = 64


class DescriptorShortfall(OSError):  # noqa: N818 - what happened
    """Descriptors that a frame announced did not arrive: this process has no room for more of them."""


def pair() -> tuple[socket.socket, socket.socket]:
    """A connected pair of stream sockets without names."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)


class Channel:
    """Frames over one socket.

    Parameters
    ----------
    sock : socket.socket
        A connected stream socket; the channel owns it from now on and makes it non-blocking.
    takes_descriptors : bool
        Whether the other end sends descriptors; reading them costs a little more for each read.
    """

    __slots__ = ("_arrived", "_decoder", "_queue", "_size", "_sock", "_takes_descriptors", "ended")

    def __init__(self, sock: socket.socket, *, takes_descriptors: bool = False) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._queue: deque[tuple[bytes | memoryview, tuple[int, ...]]] = deque()
        self._decoder = FrameDecoder()
        self._size = _SMALL_READ
        self._takes_descriptors = takes_descriptors
        self._arrived: deque[int] = deque()
        self.ended = False
        """Whether the other end has closed; nothing more will arrive."""

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._sock.fileno()

    @property
    def pending(self) -> bool:
        """Whether frames wait here for the socket to take them."""
        return bool(self._queue)

    @property
    def backlog(self) -> int:
        """How many bytes wait here for the socket to take them."""
        return sum(len(data) for data, _ in self._queue)

    def queue(
        self, kind: int, body: bytes | bytearray | memoryview = b"", descriptors: Sequence[int] = ()
    ) -> None:
        """Put a frame in line; `flush` sends it, together with others that wait.

        Descriptors are duplicated, so the caller may close its own at once.
        """
        top = HEAD.pack(len(body), len(descriptors), kind)
        if descriptors:
            self._queue.append((top, tuple(os.dup(descriptor) for descriptor in descriptors)))
        elif len(body) <= _JOINED:
            self._queue.append((top + body, ()))
            return
        else:
            self._queue.append((top, ()))
        if len(body):
            self._queue.append((memoryview(body).cast("B"), ()))

    def post(
        self, kind: int, body: bytes | bytearray | memoryview = b"", descriptors: Sequence[int] = ()
    ) -> None:
        """Queue a frame and send what the socket takes now."""
        self.queue(kind, body, descriptors)
        self.flush()

    def flush(self) -> bool:
        """Send what is queued as far as the socket takes it; returns whether all went.

        After the other end has closed, nothing is sent and nothing kept; `receive` tells of it.
        """
        queue = self._queue
        while queue:
            data, descriptors = queue[0]
            try:
                if descriptors:
                    rights = array.array("i", descriptors).tobytes()
                    sent = self._sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
                elif len(queue) == 1:
                    sent = self._sock.send(data)
                else:
                    sent = self._sock.sendmsg(self._run())
            except BlockingIOError:
                return False
            except (BrokenPipeError, ConnectionResetError):
                self._drop_queue()
                return True
            _close_all(descriptors)
            while queue and sent >= len(queue[0][0]):
                sent -= len(queue.popleft()[0])
            if sent:  # a part of a frame went; its descriptors went with the first byte
                queue[0] = (memoryview(queue[0][0])[sent:], ())
        return True

    def _run(self) -> list[bytes | memoryview]:
        """The pieces at the head of the queue that can go in one call: none of them carries descriptors."""
        run: list[bytes | memoryview] = []
        for data, descriptors in self._queue:
            if descriptors or len(run) == _PIECES:
                break
            run.append(data)
        return run

    def receive(self) -> list[Frame]:
        """All frames that have arrived whole; sets `ended` once the other end has closed."""
        frames: list[Frame] = []
        while not self.ended:
            try:
                data = self._read()
            except BlockingIOError:
                break
            except ConnectionResetError:
                data = b""
            if not data:
                self.ended = True
                break
            frames += self._decoder.feed(data)
            if len(data) == self._size:
                self._size = _LARGE_READ
                continue
            self._size = _SMALL_READ
            if frames:
                break
        return frames

    def _read(self) -> bytes:
        if not self._takes_descriptors:
            return self._sock.recv(self._size)
        data, ancillary, flags, _ = self._sock.recvmsg(self._size, _ANCILLARY, _CLOSED_ON_EXEC)
        for level, kind, rights in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                numbers = array.array("i")
                numbers.frombytes(rights[: len(rights) - len(rights) % numbers.itemsize])
                if not _CLOSED_ON_EXEC:
                    for number in numbers:
                        os.set_inheritable(number, False)
                self._arrived.extend(numbers)
        if flags & socket.MSG_CTRUNC:
            raise DescriptorShortfall("a frame's descriptors did not arrive; raise the limit (ulimit -n)")
        return data

    def take_descriptors(self, count: int) -> tuple[int, ...]:
        """The descriptors of the frame that was received first among those whose descriptors were not yet taken."""
        if len(self._arrived) < count:
            raise DescriptorShortfall(f"{count} descriptors were announced and {len(self._arrived)} arrived")
        return tuple(self._arrived.popleft() for _ in range(count))

    def close(self) -> None:
        """Close the socket and whatever descriptors wait at this end."""
        self._drop_queue()
        _close_all(tuple(self._arrived))
        self._arrived.clear()
        self._sock.close()

    def _drop_queue(self) -> None:
        for _, descriptors in self._queue:
            _close_all(descriptors)
        self._queue.clear()


def _close_all(descriptors: tuple[int, ...]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
