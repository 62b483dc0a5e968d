"""The bytes of a file in their order, with digests of exactly these: what `writer` writes, wherever it writes to.

Where anybody else could change an array meanwhile (another thread, or a process that shares its memory), what is
digested is a private copy of the very bytes that are written: the array is stored as it was read, and never looks
like damage later. Where nobody can, they are digested in a thread beside the write, if they are large together;
blocks of strided and shuffled arrays are made in a thread ahead of it.

Blocks of buffers end at multiples of their size in the file: writes that do not share a page with the one before
are faster (200 MB on ext4: 1 MiB 41 -> 39 ms, 256 KiB 46 -> 40).
"""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pickle import PickleBuffer
from typing import Final, NamedTuple

from xxhash import xxh3_128

from lightwork._version import __version__
from lightwork.persist import arrays, codecs, layout, sealed, versions
from lightwork.persist.pickling import Pickled
from lightwork.settings import cores

BLOCK: Final = 256 * 1024  # bytes copied, digested and written at a time: they stay in the second-level cache
_LARGE: Final = 1 << 20  # bytes written at a time where nothing is copied
# From here on digests are taken in a thread beside the write (200 MB: 44 -> 41 ms, np.save 41).
_BESIDE: Final = 16 << 20


class Emission(NamedTuple):
    """All bytes of a file in order, each block valid until the next one.

    And how many, where that is known; and all in one, where that is what there is.
    """

    blocks: Callable[[], Generator[bytes | memoryview]]
    size: int | None = None
    whole: bytes | None = None


_ABOUT: Final = json.dumps(
    {"lightwork": __version__, "python": sys.version.split()[0], "byteorder": sys.byteorder},
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
            return Emission(lambda: (block for block in (whole,)), whole=whole)
    plan = layout.Layout(made.reducers.as_bytes)
    runs: list[layout.Run] = [run for piece in made.pieces for run in plan.feed(piece)]
    runs.append((plan.close(), None))
    total = layout.sizes(plan.position, len(plan.entries), about, noted, user)

    def emit() -> Generator[bytes | memoryview]:
        stream, digests = xxh3_128(), [xxh3_128() for _ in plan.entries]
        with _Beside(runs, digests, made.reducers) as beside:
            yield layout.head(total)
            numbers = itertools.count()
            for piece, entry in runs:
                if entry is None:
                    stream.update(piece)
                    yield piece if type(piece) is bytes else memoryview(piece)
                else:
                    number = next(numbers)
                    digest = None if number in beside.numbers else digests[number]
                    yield from _blocks(piece, entry.offset, made.reducers, digest)
        taken = [digest.digest() for digest in digests]
        yield layout.footer(total, plan.entries, taken, stream.digest(), about, noted, user, flags)

    return Emission(emit, total)


class _Beside:
    """Digests all buffers that nobody can change in a thread, from when it is entered until it is left."""

    def __init__(self, runs: list[layout.Run], digests: list[xxh3_128], reducers: arrays.Reducers) -> None:
        entries = [(piece, entry.length) for piece, entry in runs if entry is not None]
        self._jobs: list[tuple[layout.Piece, xxh3_128]] = []
        self.numbers: set[int] = set()
        if sum([length for _, length in entries]) >= _BESIDE and cores() > 1:
            for number, (piece, _) in enumerate(entries):
                if id(piece) not in reducers.sources and _settled(piece):
                    self._jobs.append((piece, digests[number]))
                    self.numbers.add(number)
        self._stopped = False
        self._thread = threading.Thread(target=self._digest, name="lightwork-digest")

    def __enter__(self) -> _Beside:
        if self._jobs:
            self._thread.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._stopped = kind is not None
        if self._jobs:
            self._thread.join()

    def _digest(self) -> None:
        for piece, digest in self._jobs:
            with _flat(piece) as view:
                for start in range(0, len(view), _BESIDE):
                    if self._stopped:
                        return
                    with view[start : start + _BESIDE] as part:
                        digest.update(part)


def _blocks(
    piece: layout.Piece, offset: int, reducers: arrays.Reducers, digest: xxh3_128 | None
) -> Iterator[memoryview]:
    """The bytes of a buffer that lies at this offset in the file, in blocks that go into the digest as they are."""
    source = reducers.sources.get(id(piece))
    if source is not None:
        made = _digesting(source(), digest)
        yield from _ahead(made) if memoryview(piece).nbytes >= _BESIDE else made
        return
    with _flat(piece) as view:
        if digest is None or _settled(piece):
            yield from _digesting(_cut(view, offset, _LARGE), digest)
        else:
            private = memoryview(bytearray(min(BLOCK, len(view))))
            for block in _cut(view, offset, BLOCK):
                copy = private[: len(block)]
                copy[:] = block
                if digest is not None:
                    digest.update(copy)
                yield copy


def _cut(view: memoryview, offset: int, size: int) -> Iterator[memoryview]:
    start, end = 0, size - offset % size
    while start < len(view):
        with view[start:end] as block:
            yield block
        start, end = end, end + size


def _digesting(blocks: Iterator[memoryview], digest: xxh3_128 | None) -> Iterator[memoryview]:
    for block in blocks:
        if digest is not None:
            digest.update(block)
        yield block


def _ahead(blocks: Iterator[memoryview]) -> Generator[memoryview]:
    """The same blocks, made in a thread while the ones before are written."""
    from queue import SimpleQueue  # here, because few values are that large

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


def _settled(piece: layout.Piece) -> bool:
    """Whether nobody else can change these bytes, by another thread or through shared memory."""
    with memoryview(piece) as view:
        whose = arrays.owner(view)
    if isinstance(whose, bytes):
        return True
    if threading.active_count() > 1:
        return False
    if isinstance(whose, bytearray | sealed.Room):
        return True
    flags = getattr(whose, "flags", None)
    return bool(getattr(flags, "owndata", False))


def _flat(piece: layout.Piece) -> memoryview:
    return piece.raw() if isinstance(piece, PickleBuffer) else memoryview(piece)


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
