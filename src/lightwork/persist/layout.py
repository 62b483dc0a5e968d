"""Where each byte of a file goes: chunks of a pickler in, one aligned and sealed pickle out. No IO here.

A file is one pickle of protocol 5, in which three kinds of pushed-and-popped bytes objects lie, that every
unpickler skips::

    PROTO 5 | head | opcodes ... | gap | opcode + length | buffer | opcodes ... | footer | STOP

1. The *head* names the format and the length of the whole. A file that starts with it and does not end with
   a sound footer is damaged, and nothing in it is executed.
2. The C pickler hands payloads of 64 KiB and more to ``write()`` on their own, right after the chunk whose
   last bytes are the opcode and the length that introduce them. A *gap* before that opcode moves the payload
   to a multiple of 64 bytes. The gap is one object: runs of one-byte no-ops would slow ``pickle.load`` down.
3. The *footer* holds the index of the buffers (what, where, how long), digests, and metadata.

Every byte is covered: the head and the last bytes are compared literally; the stream (all that is neither head,
buffer nor footer), each buffer and the footer have an xxh3_128 each. The *record* of a buffer (its state and
digest) lies outside the footer's checksum and checks itself, since mapping a file for writing changes the one and
resealing it the other. Offsets count from the first byte of the head. Numbers are little-endian.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Collection, Iterator, Sequence
from pickle import PickleBuffer
from typing import Final, NamedTuple

from xxhash import xxh3_64_digest, xxh3_128_digest

ALIGNMENT: Final = 64
HANDED_OVER: Final = (
    64 * 1024
)  # the pickler's FRAME_SIZE_TARGET (PEP 3154): what is smaller lies inside a frame

PROTO: Final = b"\x80\x05"
_FRAME: Final = 0x95
_FRAME_SIZE: Final = 9
_STOP: Final = b"."
_NEXT_BUFFER: Final = b"\x97"
_READONLY_BUFFER: Final = b"\x98"

# SHORT_BINBYTES of 26 bytes (16 of name, 2 of version, 8 of length) and POP.
HEAD_START: Final = PROTO + b"C\x1alightwork pickle\x01\x00"
HEAD_SIZE: Final = len(HEAD_START) + 9
_LENGTH: Final = struct.Struct("<Q")
_HEAD: Final = struct.Struct(f"<{len(HEAD_START)}sQc")

# What introduces a payload: opcode -> (bytes of length, whether it makes a writable object, whether it is text).
_INTRODUCTIONS: Final = {
    b"B": (4, False, False),
    b"X": (4, False, True),
    b"\x8d": (8, False, True),
    b"\x8e": (8, False, False),
    b"\x96": (8, True, False),
}

# The kinds of buffers. The first two came as PickleBuffer: any buffer may stand for them when they are read.
WRITABLE: Final = 0
READONLY: Final = 1
BYTES: Final = 2
BYTEARRAY: Final = 3

# Words of eight bytes that no flipped bit turns into each other.
SEALED: Final = b"sealed\x0f\xf0"
MODIFIED: Final = b"MODIFY\xf0\x0f"

# Flags of the footer.
LITTLE: Final = 1  # holds arrays of little-endian numbers
BIG: Final = 2  # holds arrays of big-endian numbers
FOREIGN: Final = BIG if sys.byteorder == "little" else LITTLE

_ENTRY: Final = struct.Struct("<QQQQ")  # start of the gap, offset, length, kind
_RECORD: Final = struct.Struct("<8s16s8s")  # state, digest, check of the digest
# digest of the stream, buffers, bytes of: about, versions, user's metadata; flags, length of the whole
_SUMMARY: Final = struct.Struct("<16sIIIIIQ")
_MAGIC: Final = b"lwfooter"
_END: Final = struct.Struct("<16s8s2s")  # checksum of the footer, magic, POP and STOP
_CLOSING: Final = _MAGIC + b"0" + _STOP
_FIXED: Final = _SUMMARY.size + _END.size
_TAIL: Final = struct.Struct(_SUMMARY.format + "16s10s")  # both, read at once
_COPIED: Final = 4096  # up to here a copy of bytes is made faster than a view of them
_PUSH: Final = struct.Struct("<cI")  # BINBYTES and length
FOOTER_MINIMUM: Final = _PUSH.size + _FIXED


class Flaw(Exception):  # noqa: N818 - not for users: the reader turns it into DamagedFileError
    """What is wrong with the bytes of a file, and where."""

    def __init__(self, part: str, offset: int, what: str) -> None:
        super().__init__(f"{what} (in the {part}, at byte {offset})")


class Entry(NamedTuple):
    """One buffer of a file: where its gap starts, where it lies, how long it is, and what it was."""

    start: int
    offset: int
    length: int
    kind: int


class Footer(NamedTuple):
    """What the end of a file says about the whole."""

    total: int
    start: int  # where the footer's own opcode lies
    entries: tuple[Entry, ...]
    states: tuple[bytes, ...]
    digests: tuple[bytes, ...]
    stream: bytes
    about: bytes
    versions: bytes
    user: bytes
    flags: int


# --- writing --------------------------------------------------------------------------------------

Piece = bytes | bytearray | PickleBuffer
Run = tuple[Piece, Entry | None]  # bytes of the stream, or a buffer with its entry


class Layout:
    """Chunks of a pickler in, in its order; out come runs of bytes to be written one after the other.

    A chunk is held back until the next one shows whether it introduces a payload, and until it is certain
    that its frame is not the last one, whose length has to be lowered by the STOP that `close` takes away.
    Buffers in `as_bytes` (by id) stand for `bytes`, and nothing else may stand for them when they are read.
    """

    def __init__(self, as_bytes: Collection[int] = ()) -> None:
        self._as_bytes = as_bytes
        self.entries: list[Entry] = []
        self.position = HEAD_SIZE
        self._held = b""
        self._framed = 0  # how many bytes of the held ones belong to a frame with its header
        self._started = False

    def feed(self, piece: Piece) -> Iterator[Run]:
        """Take what the pickler wrote; yield what can be written by now."""
        size = memoryview(piece).nbytes
        introduction = self._introduction(size) if size >= HANDED_OVER else None
        if introduction is not None:
            yield from self._payload(piece, size, *introduction)
            return
        if type(piece) is not bytes:
            raise ValueError(
                "a buffer changed its size while it was pickled; write it when nobody else uses it"
            )
        if len(self._held) >= self._framed:  # at an opcode, outside of any frame
            yield from self._flush()
        self._held = self._held + bytes(piece) if self._held else bytes(piece)
        if not self._started and len(self._held) >= len(PROTO):
            if not self._held.startswith(PROTO):
                raise ValueError(f"a pickle of protocol 5 starts with {PROTO!r}, not {self._held[:2]!r}")
            self._held = self._held[2:]
            self._started = True
        if not self._framed and len(self._held) >= _FRAME_SIZE and self._held[0] == _FRAME:
            self._framed = _FRAME_SIZE + _LENGTH.unpack_from(self._held, 1)[0]

    def close(self) -> bytes:
        """Return the last bytes of the stream: without STOP, and its frame shorter by one."""
        if self._held[-1:] != _STOP:
            raise ValueError("the pickle does not end with STOP")
        last = bytearray(self._held[:-1])
        if self._framed == len(last) + 1:
            _LENGTH.pack_into(last, 1, self._framed - _FRAME_SIZE - 1)
        self.position += len(last)
        return bytes(last)

    def _flush(self) -> Iterator[Run]:
        if self._held and self._started:
            out, self._held, self._framed = self._held, b"", 0
            self.position += len(out)
            yield out, None

    def _introduction(self, size: int) -> tuple[int, bool, bool] | None:
        """Whether the held bytes end, outside of their frame, by announcing a payload of this size."""
        for digits in (4, 8):
            at = len(self._held) - digits - 1
            if at < self._framed or not self._started:
                continue
            found = _INTRODUCTIONS.get(self._held[at : at + 1])
            if found and found[0] == digits and int.from_bytes(self._held[at + 1 :], "little") == size:
                return found
        return None

    def _payload(self, piece: Piece, size: int, digits: int, writable: bool, text: bool) -> Iterator[Run]:
        held, self._held, self._framed = self._held, b"", 0
        opcode = len(held) - digits - 1
        if text:
            self.position += len(held) + size
            yield held, None
            yield piece, None
            return
        start = self.position + opcode
        gap = gap_before(start + digits + 1)
        offset = start + len(gap) + digits + 1
        buffer = isinstance(piece, PickleBuffer) and id(piece) not in self._as_bytes
        kind = int(not writable) if buffer else BYTES + writable
        entry = Entry(start, offset, size, kind)
        self.entries.append(entry)
        self.position = offset + size
        yield held[:opcode] + gap + held[opcode:], None
        yield piece, entry


def whole(chunk: bytes, about: bytes, versions: bytes, user: bytes, flags: int) -> bytes | None:
    """A complete file from a pickle that came in one chunk of one frame, or of none; None where it did not.

    The short way for small objects, with the same result as `Layout`.
    """
    if chunk[2:3] != b"\x95":
        if len(chunk) >= HANDED_OVER:
            return None
        body = chunk[2:-1]
    elif _LENGTH.unpack_from(chunk, 3)[0] == len(chunk) - 11:
        body = b"\x95" + _LENGTH.pack(len(chunk) - 12) + chunk[11:-1]
    else:
        return None
    total = sizes(HEAD_SIZE + len(body), 0, about, versions, user)
    end = footer(total, (), (), xxh3_128_digest(body), about, versions, user, flags)
    return b"".join((head(total), body, end))


def gap_before(offset: int) -> bytes:
    """Opcodes that do nothing and move what would lie at `offset` to a multiple of the alignment."""
    missing = -offset % ALIGNMENT
    if missing == 0:
        return b""
    if missing < 3:  # SHORT_BINBYTES, its length, and POP
        missing += ALIGNMENT
    return b"C%c" % (missing - 3) + bytes(missing - 3) + b"0"


def head(total: int) -> bytes:
    """The first bytes of a file of this length."""
    return HEAD_START + _LENGTH.pack(total) + b"0"


def sizes(position: int, entries: int, *texts: bytes) -> int:
    """The length of the whole file, if its footer starts at `position`."""
    return position + FOOTER_MINIMUM + entries * (_RECORD.size + _ENTRY.size) + sum(map(len, texts))


def record(state: bytes, digest: bytes) -> bytes:
    """What the footer says about the content of one buffer."""
    return _RECORD.pack(state, digest, xxh3_64_digest(digest))


def footer(
    total: int,
    entries: Sequence[Entry],
    digests: Sequence[bytes],
    stream: bytes,
    about: bytes,
    versions: bytes,
    user: bytes,
    flags: int,
) -> bytes:
    """The last bytes of a file, STOP included."""
    summary = _SUMMARY.pack(stream, len(entries), len(about), len(versions), len(user), flags, total)
    sealed = b"".join([_ENTRY.pack(*entry) for entry in entries]) + about + versions + user + summary
    records = b"".join([record(SEALED, digest) for digest in digests])
    push = _PUSH.pack(b"B", len(records) + len(sealed) + _END.size - 2)
    return b"".join((push, records, sealed, xxh3_128_digest(sealed), _CLOSING))


# --- reading --------------------------------------------------------------------------------------


def looks_ours(start: bytes, end: bytes) -> bool:
    """Whether a file that starts and ends like this was written in this layout, or once was."""
    beginning = start[: len(HEAD_START)]
    if beginning == HEAD_START or end.endswith(_CLOSING):
        return True
    # A head that was hit by damage, or cut off; an ordinary pickle agrees in two or three bytes.
    agreeing = sum(map(int.__eq__, beginning, HEAD_START))
    return len(beginning) > 2 and agreeing >= len(beginning) * 3 // 4


def check_head(start: bytes, total: int) -> None:
    """Raise `Flaw` if these are not the first bytes of a file of this length."""
    if len(start) < HEAD_SIZE:
        raise Flaw("head", len(start), "the file was cut off")
    if not start.startswith(HEAD_START) or start[HEAD_SIZE - 1 : HEAD_SIZE] != b"0":
        raise Flaw("head", 0, "the first bytes were overwritten")
    promised = total_of(start)
    if promised != total:
        raise Flaw(
            "head",
            len(HEAD_START),
            f"the file was cut off: it has {total} bytes of {promised}"
            if total < promised
            else "its length is wrong",
        )


def total_of(start: bytes) -> int:
    """The length of the whole as the head states it."""
    return int(_LENGTH.unpack_from(start, len(HEAD_START))[0])


def footer_size(end: bytes, total: int) -> int:
    """The length of the footer of a file of `total` bytes that ends like this."""
    if len(end) < FOOTER_MINIMUM or not end.endswith(_CLOSING):
        raise Flaw("footer", total, "the file does not end with a footer: it was cut off or overwritten")
    count, about, versions, user, promised = _lengths(end)
    size = sizes(0, count) + about + versions + user
    if promised != total or size > total - HEAD_SIZE:
        raise Flaw("footer", total - _FIXED, f"the footer speaks of {promised} bytes, the file has {total}")
    return size


def _lengths(end: bytes) -> tuple[int, int, int, int, int]:
    _, count, about, versions, user, _, promised = _SUMMARY.unpack_from(end, len(end) - _FIXED)
    return count, about, versions, user, promised


def parse_footer(raw: bytes, total: int) -> Footer:
    """What the footer `raw` of a file of `total` bytes says; raises `Flaw` where it is not sound."""
    start = total - len(raw)
    stream, count, about, versions, user, flags, promised = _SUMMARY.unpack_from(raw, len(raw) - _FIXED)
    push = _PUSH.unpack_from(raw)
    if promised != total or push != (b"B", len(raw) - _PUSH.size - 2):
        raise Flaw("footer", start, "the footer's lengths do not agree")
    sealed = _PUSH.size + count * _RECORD.size
    if xxh3_128_digest(memoryview(raw)[sealed : -_END.size]) != raw[-_END.size : -_END.size + 16]:
        raise Flaw("footer", start, "the checksum does not match")
    records = list(_RECORD.iter_unpack(memoryview(raw)[_PUSH.size : sealed]))
    for number, (state, digest, check) in enumerate(records):
        if state not in (SEALED, MODIFIED) or (state == SEALED and check != xxh3_64_digest(digest)):
            raise Flaw("footer", record_offset(start, number), f"the record of buffer {number} is not sound")
    texts = sealed + count * _ENTRY.size
    entries = tuple([Entry._make(entry) for entry in _ENTRY.iter_unpack(memoryview(raw)[sealed:texts])])
    _check_entries(entries, start)
    return Footer(
        total,
        start,
        entries,
        tuple([state for state, _, _ in records]),
        tuple([digest for _, digest, _ in records]),
        stream,
        raw[texts : texts + about],
        raw[texts + about : texts + about + versions],
        raw[texts + about + versions : texts + about + versions + user],
        flags,
    )


def _check_entries(entries: Sequence[Entry], end: int) -> None:
    position = HEAD_SIZE
    for number, (start, offset, length, kind) in enumerate(entries):
        if not (position <= start < offset <= offset + length <= end and kind <= BYTEARRAY):
            raise Flaw("footer", end, f"buffer {number} does not lie where a buffer can lie")
        position = offset + length


def record_offset(start: int, number: int) -> int:
    """Where the record of a buffer lies in a file whose footer starts at `start`."""
    return start + _PUSH.size + number * _RECORD.size


def check_small(data: bytes) -> tuple[bytes, int] | None:
    """The versions in a whole file without buffers, verified, and where the user's metadata lies (`metadata_at`).

    All checks of `check_head`, `parse_footer` and of the stream in one pass, since this is the way of a cache hit; each
    line was timed. None if this needs a closer look.
    """
    total = len(data)
    if total < HEAD_SIZE + FOOTER_MINIMUM:
        return None
    stream, count, about, versions, user, flags, promised, seal, closing = _TAIL.unpack_from(
        data, total - _FIXED
    )
    if count or flags & FOREIGN or promised != total or closing != _CLOSING:
        return None
    start = total - FOOTER_MINIMUM - about - versions - user
    if start < HEAD_SIZE or _HEAD.unpack_from(data) != (HEAD_START, total, b"0"):
        return None
    sealed = start + _PUSH.size
    some = data if total < _COPIED else memoryview(data)
    if (
        xxh3_128_digest(some[HEAD_SIZE:start]) != stream
        or xxh3_128_digest(some[sealed : -_END.size]) != seal
        or _PUSH.unpack_from(data, start) != (b"B", total - sealed - 2)
    ):
        return None
    texts = sealed + about
    return data[texts : texts + versions], texts + versions


def metadata_at(data: bytes, place: int) -> bytes:
    """The user's metadata in a whole file of which `check_small` told the place."""
    return data[place:-_FIXED]


def metadata_in(user: bytes) -> dict[str, object]:
    """The user's metadata as they were given; `json` is not imported where there are none."""
    if not user:
        return {}
    import json

    found: dict[str, object] = json.loads(user)
    return found


class Span(NamedTuple):
    """A stretch of the stream in a file, and what of it is pickled when its buffer comes from outside.

    Of the bytes from `begin` to `end` the first `kept` count; what follows is a gap and the introduction of a
    buffer, in whose place `opcodes` stand.
    """

    begin: int
    end: int
    kept: int
    opcodes: bytes


def stream_spans(found: Footer) -> Iterator[Span]:
    """All stretches of the stream; put together after PROTO they are a pickle with buffers from outside."""
    begin = HEAD_SIZE
    for entry in found.entries:
        opcodes = _NEXT_BUFFER + _READONLY_BUFFER if entry.kind == READONLY else _NEXT_BUFFER
        yield Span(begin, entry.offset, entry.start - begin, opcodes)
        begin = entry.offset + entry.length
    yield Span(begin, found.start, found.start - begin, _STOP)
