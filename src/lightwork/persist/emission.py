"""The bytes of a file in their order, with digests of exactly these: what `writer` writes, wherever it writes to.

Where anybody else could change an array meanwhile (another thread, or a process that shares its memory), what is
digested is a private copy of the very bytes that are written: the array is stored as it was read, and never looks
like damage later. Where nobody can, large arrays are digested in a thread beside the write; blocks of strided and
shuffled arrays are made in a thread ahead of it.
"""

from __future__ import annotations

import json
import platform
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pickle import PickleBuffer
from queue import SimpleQueue
from typing import Final, NamedTuple

from xxhash import xxh3_128

from lightwork._version import __version__
from lightwork.persist import arrays, codecs, layout, sealed, versions
from lightwork.persist.pickling import Pickled

BLOCK: Final = 256 * 1024  # bytes copied, digested and written at a time: they stay in the second-level cache
_LARGE: Final = 1 << 20  # bytes written at a time where nothing is copied
# From here on a digest is taken in a thread beside the write (200 MB: 44 -> 41 ms, np.save 41), and space is reserved.
BESIDE: Final = 16 << 20


class Emission(NamedTuple):
    """All bytes of a file in order, each block valid until the next one; and how many, where that is known."""

    blocks: Callable[[], Generator[bytes | memoryview]]
    size: int | None = None


_ABOUT: Final = json.dumps(
    {"lightwork": __version__, "python": platform.python_version(), "byteorder": sys.byteorder},
    separators=(",", ":"),
)[:-1]


def _about(made: Pickled) -> bytes:
    pickler = "cloudpickle" if made.by_value else "pickle"
    return f'{_ABOUT},"pickler":"{pickler}","created":{time.time():.3f}}}'.encode()


def plain_pickle(made: Pickled) -> Emission:
    """A pickle as it is."""
    return Emission(lambda: (memoryview(piece).cast("B") for piece in made.pieces))


def sealed_pickle(made: Pickled, user: bytes) -> Emission:
    """A pickle in our layout, with the user's metadata in its footer."""
    about, noted, flags = _about(made), versions.of(made.reducers), made.reducers.orders
    if len(made.pieces) == 1:
        whole = layout.whole(made.pieces[0], about, noted, user, flags)  # type: ignore[arg-type]
        if whole is not None:
            return Emission(lambda: (block for block in (whole,)))
    plan = layout.Layout()
    runs: list[layout.Run] = [run for piece in made.pieces for run in plan.feed(piece)]
    runs.append((plan.close(), None))
    total = layout.sizes(plan.position, len(plan.entries), about, noted, user)

    def emit() -> Generator[bytes | memoryview]:
        stream, digests = xxh3_128(), []
        yield layout.head(total)
        for piece, entry in runs:
            if entry is None:
                stream.update(piece)
                yield memoryview(piece)
                continue
            digest = xxh3_128()
            yield from _digested(piece, made.reducers, digest)
            digests.append(digest.digest())
        yield layout.footer(total, plan.entries, digests, stream.digest(), about, noted, user, flags)

    return Emission(emit, total)


def _digested(piece: layout.Piece, reducers: arrays.Reducers, digest: xxh3_128) -> Iterator[memoryview]:
    """The bytes of a buffer, in blocks, and the digest of exactly these."""
    source = reducers.sources.get(id(piece))
    if source is not None:
        blocks = _digesting(source(), digest)
        yield from _ahead(blocks) if memoryview(piece).nbytes >= BESIDE else blocks
        return
    with memoryview(piece) as whole, _flat(whole) as view:
        if not _settled(whole):
            yield from _copied(view, digest)
            return
        beside = len(view) >= BESIDE
        thread = threading.Thread(target=digest.update, args=(view,), name="lightwork-digest")
        if beside:
            thread.start()
        try:
            for start in range(0, len(view), _LARGE):
                with view[start : start + _LARGE] as block:
                    if not beside:
                        digest.update(block)
                    yield block
        finally:
            if beside:
                thread.join()


def _digesting(blocks: Iterator[memoryview], digest: xxh3_128) -> Iterator[memoryview]:
    for block in blocks:
        digest.update(block)
        yield block


def _ahead(blocks: Iterator[memoryview]) -> Generator[memoryview]:
    """The same blocks, made in a thread while the ones before are written."""
    ready: SimpleQueue[memoryview | BaseException | None] = SimpleQueue()
    room = threading.Semaphore(arrays.AHEAD)
    stopped = threading.Event()

    def make() -> None:
        try:
            for block in blocks:
                room.acquire()
                if stopped.is_set():
                    return
                ready.put(block)
            ready.put(None)
        except BaseException as error:  # raised again where the blocks are used
            ready.put(error)

    thread = threading.Thread(target=make, name="lightwork-blocks")
    thread.start()
    try:
        while (block := ready.get()) is not None:
            if isinstance(block, BaseException):
                raise block
            yield block
            room.release()
    finally:
        stopped.set()
        room.release()
        thread.join()


def _copied(view: memoryview, digest: xxh3_128) -> Iterator[memoryview]:
    private = memoryview(bytearray(min(BLOCK, len(view))))
    for start in range(0, len(view), BLOCK):
        size = min(BLOCK, len(view) - start)
        private[:size] = view[start : start + size]
        digest.update(private[:size])
        yield private[:size]


def _settled(view: memoryview) -> bool:
    """Whether nobody else can change these bytes, by another thread or through shared memory."""
    whose = arrays.owner(view)
    if isinstance(whose, bytes):
        return True
    if threading.active_count() > 1:
        return False
    if isinstance(whose, bytearray | sealed.Room):
        return True
    flags = getattr(whose, "flags", None)
    return bool(getattr(flags, "owndata", False))


def _flat(view: memoryview) -> memoryview:
    if view.c_contiguous:
        return view.cast("B")
    return PickleBuffer(view).raw()  # Fortran order


def compressed(emission: Emission, compression: codecs.Compression, cache_size: float | None) -> Emission:
    """The same bytes, compressed."""

    def emit() -> Generator[bytes | memoryview]:
        stream = codecs.compressor(compression, cache_size)
        with closing(stream), closing(emission.blocks()) as blocks:
            for block in blocks:
                packed = stream.compress(block)
                if packed:
                    yield packed
            yield stream.flush()

    return Emission(emit)
