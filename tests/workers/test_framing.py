"""Frames survive any cut of the stream."""

from hypothesis import given
from hypothesis import strategies as st

from lightwork.workers.framing import HEAD, FrameDecoder, Kind, head

frames = st.lists(
    st.tuples(st.sampled_from(list(Kind)), st.integers(0, 253), st.binary(max_size=300)), max_size=8
)


@given(frames, st.lists(st.integers(1, 400), max_size=40))
def test_frames_come_out_whole_and_in_order_however_the_stream_is_cut(sent, cuts):
    stream = b"".join(head(kind, len(body), rides) + body for kind, rides, body in sent)
    decoder = FrameDecoder()
    got, position = [], 0
    for cut in [*cuts, len(stream)]:
        got += decoder.feed(stream[position : position + cut])
        position += cut
    assert [(kind, rides, bytes(body)) for kind, rides, body in got] == sent
    assert decoder.idle


def test_a_body_beyond_four_gigabytes_can_be_announced():
    assert HEAD.unpack(head(Kind.TASKS, 5 << 32))[0] == 5 << 32


def test_a_begun_frame_is_not_idle():
    decoder = FrameDecoder()
    assert decoder.feed(head(Kind.TASKS, 3)[:4]) == []
    assert not decoder.idle
