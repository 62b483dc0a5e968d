import io
import threading

import pytest

from lightwork.observe import progress
from lightwork.observe.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def no_rich(monkeypatch):
    monkeypatch.setattr(progress, "find_spec", lambda name: None)


def run(bar, clock, steps, pause):
    bar.start()
    for _ in range(steps):
        clock.now += pause
        bar.advance(1)
    bar.close()
    bar.close()


def test_silent_where_nobody_looks(clock):
    stream = io.StringIO()
    run(Progress(10, "fits", stream=stream, clock=clock), clock, 10, 20)
    assert stream.getvalue() == ""


def test_always_writes_whole_lines_now_and_then(clock):
    stream = io.StringIO()
    run(Progress(10, "fits", always=True, stream=stream, clock=clock), clock, 10, 3)
    lines = stream.getvalue().splitlines()
    assert lines == [
        "fits: 4/10, 12.0s, 18.0s left",
        "fits: 8/10, 24.0s, 6.0s left",
        "fits: 10/10, 30.0s, 0.0s left",
    ]


def test_without_a_total(clock):
    stream = io.StringIO()
    run(Progress(None, "fits", always=True, stream=stream, clock=clock), clock, 2, 1)
    assert stream.getvalue() == "fits: 2 done, 2.0s\n"


@pytest.mark.usefixtures("no_rich")
def test_plain_line_is_written_over(clock):
    stream = Terminal()
    run(Progress(4, "fits", stream=stream, clock=clock), clock, 4, 1)
    states = stream.getvalue().split("\r")
    assert states[1].startswith("[######..................] fits: 1/4, 1.0s, 3.0s left")
    assert states[-1].startswith("[########################] fits: 4/4")
    assert stream.getvalue().endswith("\n")


@pytest.mark.usefixtures("no_rich")
def test_drawing_is_bounded_by_time_not_by_steps(clock):
    stream = Terminal()
    run(Progress(None, "x", stream=stream, clock=clock), clock, 10_000, 1e-4)
    assert stream.getvalue().count("\r") <= 12


def test_rich_where_there_is_rich_and_no_thread_for_it(clock):
    pytest.importorskip("rich")
    stream = Terminal()
    before = threading.active_count()
    bar = Progress(4, "fits", stream=stream, clock=clock)
    bar.start()
    assert threading.active_count() == before
    bar.advance(4)
    bar.close()
    assert "fits" in stream.getvalue()
    assert "4/4" in stream.getvalue()


def test_advancing_a_bar_that_was_never_started(clock):
    bar = Progress(1, "x", always=True, stream=io.StringIO(), clock=clock)
    bar.advance(1)
    bar.close()


def test_a_total_that_becomes_known_is_shown(clock):
    stream = io.StringIO()
    bar = Progress(None, "fits", always=True, stream=stream, clock=clock)
    bar.start()
    bar.advance(3)
    bar.expect(3)
    bar.close()
    assert stream.getvalue().splitlines()[-1].startswith("fits: 3/3")
