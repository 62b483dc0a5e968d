"""Raw bytes into a digest, wherever they lie.

The law of this module: the digest of a run of bytes depends on the bytes alone, never on how they arrived.
Up to one leaf (4 MiB) it is the hash of the bytes. Above, it is a tree: the run is cut into leaves of 4 MiB
at fixed places, each is hashed by itself, and the root is the hash of all leaf digests and the length. The
tree does not depend on the number of threads that made it.

What lives here: contiguous buffers, hashed in place; pieces that arrive one by one (`Pieces`); and arrays
that are not contiguous, which are copied a block at a time, small enough to stay in the processor's cache.
What does not: what the bytes mean. Type, shape and order are the business of `rules`.
"""

from __future__ import annotations

import importlib
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

import xxhash

from lightwork.errors import OptionError

if TYPE_CHECKING:
    import numpy as np

    from lightwork.hashing.arrays import Layout

LEAF = 4 << 20
BLOCK = (
    256 << 10
)  # bytes copied at a time out of a strided array: fits the second-level cache of today's cores
# One thread reads 200 MB at 18 GB/s here, two at 29; that more than four help somewhere, nobody has measured.
_CREW = 4
_SHARE = 4  # leaves for each thread, at least: 1 ms of reading, to 0.1 ms for starting it
_ROOT = b"lightwork tree "
_EXPORTED = frozenset("?bBhHiIlLqQefdFD")  # NumPy's types that any hash function takes as a buffer


class Hasher(Protocol):
    """What the standard library's, xxhash's and blake3's hash objects have in common."""

    def update(self, data: Any, /) -> Any:
        """Take more bytes in."""

    def digest(self) -> bytes:
        """Give the digest of all bytes so far."""


class Algorithm:
    """One hash function: at once (`once`), or piece by piece (`new`)."""

    __slots__ = ("name", "new", "once")

    def __init__(
        self, name: str, new: Callable[[], Hasher], once: Callable[[Any], bytes] | None = None
    ) -> None:
        self.name = name
        self.new = new
        self.once = once or self._once

    def _once(self, data: Any) -> bytes:
        hasher = self.new()
        hasher.update(data)
        return hasher.digest()


XXH3_128 = Algorithm("xxh3_128", xxhash.xxh3_128, xxhash.xxh3_128_digest)

_HASHLIB = (
    "blake2b",
    "blake2s",
    "md5",
    "sha1",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "sha3_224",
    "sha3_256",
    "sha3_384",
    "sha3_512",
)
_known: dict[str, Algorithm] = {
    "xxh3_128": XXH3_128,
    "xxh3_64": Algorithm("xxh3_64", xxhash.xxh3_64, xxhash.xxh3_64_digest),
}


def algorithm(name: str) -> Algorithm:
    """Return the hash function of that name."""
    try:
        return _known[name]
    except (KeyError, TypeError):
        pass
    if name == "blake3":
        try:
            blake3 = importlib.import_module("blake3").blake3
        except ImportError:
            raise OptionError("hash_name='blake3' needs the package blake3: pip install blake3") from None
        made = Algorithm(name, blake3)
    elif name in _HASHLIB:
        import hashlib

        # Nothing here is a secret: machines in FIPS mode still allow md5 for that.
        def new() -> Hasher:
            return hashlib.new(name, usedforsecurity=False)

        made = Algorithm(name, new)
    else:
        names = ", ".join([*_known.keys() - set(_HASHLIB) - {"blake3"}, "blake3", *_HASHLIB])
        raise OptionError(f"hash_name={name!r} is not a hash function that lightwork knows; it knows {names}")
    _known[name] = made
    return made


class Pieces:
    """Bytes that arrive piece by piece; the digest is that of the whole run."""

    def __init__(self, algo: Algorithm) -> None:
        self._algo = algo
        self._leaves: list[bytes] = []
        self._hasher = algo.new()
        self._filled = 0
        self._length = 0

    def add(self, piece: Any) -> None:
        """Take the next bytes of the run: any contiguous buffer."""
        view = memoryview(piece).cast("B")
        self._length += len(view)
        while len(view):
            if self._filled == LEAF:
                self._leaves.append(self._hasher.digest())
                self._hasher = self._algo.new()
                self._filled = 0
            part = view[: LEAF - self._filled]
            self._hasher.update(part)
            self._filled += len(part)
            view = view[len(part) :]

    def digest(self) -> bytes:
        """End the run and give its digest."""
        if not self._leaves:
            return self._hasher.digest()
        return _root(self._algo, [*self._leaves, self._hasher.digest()], self._length)


def digest_bytes(data: Any, algo: Algorithm) -> bytes:
    """Digest a contiguous buffer where it lies."""
    view = memoryview(data)
    length = view.nbytes
    if length <= LEAF:
        return algo.once(view)
    flat = view.cast("B")
    return _root(algo, _leaves(lambda start: algo.once(flat[start : start + LEAF]), length), length)


def _leaves(leaf: Callable[[int], bytes], length: int) -> list[bytes]:
    """Digest each leaf of a long run, by where it starts; of a very long one, on several threads."""
    starts = range(0, length, LEAF)
    crew = min(_CREW, _cores(), len(starts) // _SHARE)
    return list(map(leaf, starts)) if crew < 2 else _by_threads(leaf, starts, crew)


def _by_threads(leaf: Callable[[int], bytes], starts: range, crew: int) -> list[bytes]:
    import threading

    digests = [b""] * len(starts)
    left = list(enumerate(starts))[
        ::-1
    ]  # the first at the end, where they are taken: files like to be read forward
    errors: list[BaseException] = []

    def work() -> None:
        try:
            while left:
                with suppress(IndexError):  # another was quicker
                    place, start = left.pop()
                    digests[place] = leaf(start)
        except BaseException as error:
            left.clear()
            errors.append(error)

    threads = []
    try:
        with suppress(
            RuntimeError
        ):  # no more threads, or the interpreter is ending: then those that there are
            for _ in range(crew - 1):
                thread = threading.Thread(target=work, name="lightwork-hash", daemon=True)
                thread.start()
                threads.append(thread)
        work()
    finally:
        left.clear()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
    return digests


def _cores() -> int:
    from lightwork.settings import cores

    # What bounds native threads bounds these: in workers of a loop it is each one's share of the cores.
    said = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores(), int(said)) if said.isdecimal() and int(said) else cores()


def _root(algo: Algorithm, leaves: list[bytes], length: int) -> bytes:
    return algo.once(_ROOT + struct.pack("<Q", length) + b"".join(leaves))


def digest_text(text: str, algo: Algorithm) -> bytes:
    """Digest the UTF-8 form of a long text without encoding it as a whole."""
    pieces = Pieces(algo)
    for start in range(0, len(text), LEAF // 4):
        pieces.add(text[start : start + LEAF // 4].encode("utf-8", "surrogatepass"))
    return pieces.digest()


def digest_array(array: np.ndarray[Any, Any], algo: Algorithm) -> bytes:
    """Digest the elements of an array of plain data: in Fortran order where it is laid out so, else in C order."""
    flags = array.flags
    if flags.c_contiguous:
        if array.dtype.char in _EXPORTED and array.nbytes <= LEAF:
            return algo.once(array)
        return digest_bytes(_bytes_of(array), algo)
    if flags.f_contiguous:
        return digest_bytes(_bytes_of(array.T), algo)
    if array.nbytes > LEAF and LEAF % array.itemsize == 0:
        count = LEAF // array.itemsize

        def leaf(start: int) -> bytes:
            first, hasher = start // array.itemsize, algo.new()
            for block in _blocks(array, first, min(first + count, array.size)):
                hasher.update(_bytes_of(block))
            return hasher.digest()

        return _root(algo, _leaves(leaf, array.nbytes), array.nbytes)
    pieces = Pieces(algo)
    for block in _blocks(array, 0, array.size):
        pieces.add(_bytes_of(block))
    return pieces.digest()


def digest_packed(array: np.ndarray[Any, Any], algo: Algorithm, layout: Layout) -> bytes:
    """Digest an array of elements of which some bytes do not count, packed block by block."""
    import numpy as np

    if array.flags.fnc:
        array = array.T
    array = array.view(layout.raw)  # bytes are all that it is from here on
    if array.nbytes <= BLOCK and array.flags.c_contiguous:
        return algo.once(_pack(array, layout, np.zeros((array.size, layout.size), np.uint8)))
    room = np.zeros((min(max(BLOCK // array.itemsize, 1), array.size), layout.size), np.uint8)
    pieces = Pieces(algo)
    for block in _blocks(array, 0, array.size):
        pieces.add(_pack(block, layout, room).reshape(-1).data)
    return pieces.digest()


def _pack(block: Any, layout: Layout, room: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    data = block.reshape(-1).view("u1").reshape(-1, layout.raw.itemsize)
    packed = room[: len(data)]
    for source, target, length in layout.runs:
        packed[:, target : target + length] = data[:, source : source + length]
    return packed


def _bytes_of(array: np.ndarray[Any, Any]) -> Any:
    """View a C-contiguous array as bytes: `memoryview` refuses dates and extension types."""
    import numpy as np

    return array.reshape(-1).view(np.uint8).data if array.nbytes else b""


def _blocks(
    array: np.ndarray[Any, Any], start: int, stop: int, room: Any = None
) -> Iterator[np.ndarray[Any, Any]]:
    """Yield copies of elements, counted in C order: each contiguous, and overwritten by the next."""
    import numpy as np

    if array.ndim == 0:
        array = array.reshape(1)
    row = array.size // len(array) if array.size else 1  # elements in one step along the first axis
    if room is None:
        room = np.empty(min(max(BLOCK // (array.itemsize or 1), 1), stop - start), array.dtype)
    while start < stop:
        place, within = divmod(start, row)
        whole = min(len(room), stop - start) // row
        if within or not whole:
            end = min(stop, start - within + row)
            yield from _blocks(array[place], within, within + end - start, room)
            start = end
            continue
        part = array[place : place + whole]
        block = room[: part.size].reshape(part.shape)
        np.copyto(block, part)
        yield block
        start += part.size
