"""The layout on its own: any sequence of chunks becomes one pickle whose every byte is accounted for."""

from __future__ import annotations

import io
import pickle
import sys
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh3_128

from lightwork.persist import layout

BIG = layout.HANDED_OVER


class Chunks:
    def __init__(self) -> None:
        self.pieces: list = []

    def write(self, piece: object) -> None:
        self.pieces.append(bytes(piece) if isinstance(piece, memoryview) else piece)


def chunks(value: object, pickler: type = pickle.Pickler) -> list:
    recorder = Chunks()
    pickler(recorder, 5).dump(value)
    return recorder.pieces


def assemble(pieces: list, user: bytes = b"") -> tuple[bytes, list[layout.Entry]]:
    """What the writer does, in memory."""
    plan = layout.Layout()
    runs = [run for piece in pieces for run in plan.feed(piece)]
    runs.append((plan.close(), None))
    stream, digests = xxh3_128(), []
    for piece, entry in runs:
        (stream if entry is None else (digests.append(xxh3_128()), digests[-1])[1]).update(piece)
    total = layout.sizes(plan.position, len(plan.entries), user)
    end = layout.footer(
        total, plan.entries, [digest.digest() for digest in digests], stream.digest(), b"", b"", user, 0
    )
    return layout.head(total) + b"".join(
        bytes(memoryview(piece).cast("B")) for piece, _ in runs
    ) + end, plan.entries


def reread(data: bytes) -> object:
    """What the reader does, in memory, with buffers from outside."""
    layout.check_head(data, len(data))
    found = layout.parse_footer(data[-layout.footer_size(data, len(data)) :], len(data))
    stream = layout.PROTO
    for span in layout.stream_spans(found):
        stream += data[span.begin : span.begin + span.kept] + span.opcodes
    buffers: list = []
    for entry in found.entries:
        part = data[entry.offset : entry.offset + entry.length]
        buffers.append(bytearray(part) if entry.kind in (layout.WRITABLE, layout.BYTEARRAY) else part)
    return pickle.loads(stream, buffers=buffers)


class Buffered:
    """Reduces to its bytes over a PickleBuffer, read-only or not."""

    def __init__(self, data: bytes, writable: bool) -> None:
        self.data = bytearray(data) if writable else data

    def __reduce_ex__(self, protocol: int) -> tuple:
        return type(self)._again, (pickle.PickleBuffer(self.data), isinstance(self.data, bytearray))

    @classmethod
    def _again(cls, buffer: object, writable: bool) -> Buffered:
        return cls(bytes(buffer), writable)

    def __eq__(self, other: object) -> bool:
        return type(other) is Buffered and (type(self.data), self.data) == (type(other.data), other.data)

    def __hash__(self) -> int:
        return 0


sized = st.sampled_from([0, 1, 3, BIG - 1, BIG, BIG + 1, BIG + 57, 2 * BIG + 5])
payloads = st.one_of(
    st.builds(lambda n: b"\x95" * n, sized),  # looks like a frame
    st.builds(lambda n: bytearray(b"B\x00\x00\x01\x00" * (n // 5 + 1)), sized),  # looks like an introduction
    st.builds(lambda n: "é" * n, sized),
    # At least one byte: Python's own _Pickler fails on an empty read-only buffer beside an empty bytes object.
    st.builds(lambda n, w: Buffered(b"." * (n + 1), w), sized, st.booleans()),
)
atoms = st.one_of(
    st.none(), st.integers(), st.floats(allow_nan=False), st.text(max_size=9), st.binary(max_size=9)
)
trees = st.recursive(
    st.one_of(atoms, payloads),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5), st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize("pickler", [pickle.Pickler, pickle._Pickler])
@settings(max_examples=60, deadline=None)
@given(value=trees, user=st.binary(max_size=50))
def test_any_object_any_pickler_and_any_unpickler(pickler: type, value: object, user: bytes) -> None:
    data, entries = assemble(chunks(value, pickler), user)
    assert pickle.loads(data) == value
    assert pickle._loads(data) == value
    assert reread(data) == value
    assert all(entry.offset % layout.ALIGNMENT == 0 for entry in entries)


@settings(max_examples=60, deadline=None)
@given(value=trees, cuts=st.lists(st.integers(0, 3 * BIG), max_size=12))
def test_a_pickle_in_arbitrary_pieces_stays_the_same_object(value: object, cuts: list[int]) -> None:
    whole = pickle.dumps(value, 5)
    edges = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    pieces = [whole[a:b] for a, b in pairwise(edges)]
    data, _ = assemble(pieces)
    assert pickle.loads(data) == value
    assert pickle._loads(data) == value


@given(value=trees.filter(lambda value: len(pickle.dumps(value, 5)) < BIG), user=st.binary(max_size=50))
@settings(max_examples=60, deadline=None)
def test_the_short_way_and_the_long_way_agree(value: object, user: bytes) -> None:
    pieces = chunks(value)
    assert len(pieces) == 1
    assert layout.whole(pieces[0], b"", b"", user, 0) == assemble(pieces, user)[0]
    whole = assemble(pieces, user)[0]
    found = layout.check_small(whole)
    assert found is not None
    assert (found[0], layout.metadata_at(whole, found[1])) == (b"", user)


def test_shared_buffers_stay_shared() -> None:
    shared = bytearray(BIG)
    data, entries = assemble(chunks([shared, shared]))
    first, second = reread(data)
    assert first is second
    assert len(entries) == 1


def test_every_size_of_gap_is_one_object_that_is_skipped() -> None:
    for offset in range(200):
        gap = layout.gap_before(offset)
        assert (offset + len(gap)) % layout.ALIGNMENT == 0
        assert pickle.loads(b"\x80\x05" + gap + b"N.") is None
        assert gap == b"" or (gap[:1], gap[-1:], gap[1]) == (b"C", b"0", len(gap) - 3)


def test_two_files_in_a_row_load_one_after_the_other() -> None:
    file = io.BytesIO(assemble(chunks("one"))[0] + assemble(chunks([bytearray(BIG)]))[0])
    assert pickle.load(file) == "one"
    assert pickle.load(file) == [bytearray(BIG)]


def test_the_state_of_a_buffer_is_no_bit_away_from_another() -> None:
    difference = int.from_bytes(layout.SEALED) ^ int.from_bytes(layout.MODIFIED)
    assert difference.bit_count() > 8


def test_a_footer_of_any_wrong_length_is_a_flaw_not_a_crash() -> None:
    data, _ = assemble(chunks([bytearray(BIG), 1]))
    for end in range(len(data) - 400, len(data)):
        with pytest.raises(layout.Flaw):
            layout.footer_size(data[:end], end)


def test_foreign_byte_order_is_the_other_one() -> None:
    assert {"little": layout.BIG, "big": layout.LITTLE}[sys.byteorder] == layout.FOREIGN


@pytest.mark.parametrize("size", [10, layout.HANDED_OVER - 1, layout.HANDED_OVER + 1])
def test_a_payload_of_another_size_than_was_announced_is_refused(size: int) -> None:
    plan = layout.Layout()
    announced = b"\x80\x05\x96" + layout.HANDED_OVER.to_bytes(8, "little")
    assert list(plan.feed(announced)) == []
    with pytest.raises(ValueError, match="changed its size"):
        list(plan.feed(bytearray(size)))


def test_what_is_no_pickle_of_protocol_5_is_refused() -> None:
    with pytest.raises(ValueError, match="protocol 5"):
        assemble([pickle.dumps(1, 2)])
    with pytest.raises(ValueError, match="STOP"):
        assemble([b"\x80\x05N"])
