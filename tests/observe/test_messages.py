import datetime
import pathlib
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwork.observe.messages import (
    LoopLines,
    call_text,
    memory_line,
    parallel_line,
    say,
    short_format_time,
    shorten,
)


class Loud:
    def __repr__(self):
        raise AssertionError("its repr may cost anything and must not be asked")


class Hostile:
    @property
    def shape(self):
        raise RuntimeError("no")


@dataclass
class Point:
    x: int
    rest: list


class TestShorten:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (1, "1"),
            ("a", "'a'"),
            ([], "[]"),
            ((1,), "(1,)"),
            ({}, "{}"),
            ({"a": [1, 2]}, "{'a': [1, 2]}"),
            (list(range(8)), "[0, 1, 2, 3, 4, 5, ... 2 more]"),
            (np.zeros((3, 4)), "<ndarray (3, 4) float64>"),
            (Loud(), "<Loud>"),
            (Hostile(), "<Hostile>"),
            (Point(1, [2]), "Point(x=1, rest=[2])"),
            (int, "int"),
            (len, "len"),
            (1 << 1000, "<int of 1001 bits>"),
            (pathlib.PurePosixPath("/a"), "PurePosixPath('/a')"),
            (datetime.date(2020, 1, 2), "datetime.date(2020, 1, 2)"),
        ],
    )
    def test_forms(self, value, text):
        assert shorten(value) == text

    def test_members_that_are_not_shown_are_not_looked_at(self):
        assert "Loud" not in shorten([0] * 6 + [Loud()])

    def test_a_list_in_itself(self):
        loop = []
        loop.append(loop)
        assert shorten(loop) == "[[[[... 1]]]]"

    values = st.recursive(
        st.none() | st.integers() | st.text() | st.binary() | st.floats(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
        max_leaves=60,
    )

    @given(values)
    def test_bounded(self, value):
        assert len(shorten(value)) < 100_000
        assert len(call_text("f", (value,) * 50, {})) <= 410


def test_call_text():
    assert call_text("fit", (3,), {"kernel": "rbf"}) == "fit(3, kernel='rbf')"


def test_times_have_joblibs_widths():
    assert short_format_time(0) == "   0.0s"
    assert short_format_time(59.94) == "  59.9s"
    assert short_format_time(66) == "  1.1min"


def test_memory_lines():
    assert memory_line("computing", "m.f(1)") == "[Memory] Calling m.f(1)..."
    assert memory_line("computed", "m.f", 1.25) == "[Memory] m.f computed in 1.2s"
    assert memory_line("loaded", "m.f") == "[Memory] m.f loaded"


def test_say_chooses_the_stream(capsys):
    say("a", output=True)
    say("b", output=False)
    assert capsys.readouterr() == ("a\n", "b\n")


def test_say_without_streams(monkeypatch):
    monkeypatch.setattr("sys.stderr", None)
    say("nobody hears", output=False)


class TestLoopLines:
    def lines(self, capsys, verbose, counts, total=None):
        now = iter(range(1000))
        loop = LoopLines(2, verbose, clock=lambda: next(now))
        for count in counts:
            loop.progress(count, total)
        out, err = capsys.readouterr()
        return out, err.splitlines()

    def test_the_line_of_an_unknown_total(self, capsys):
        _, err = self.lines(capsys, 11, [4])
        assert err == [parallel_line(2, "Done   4 tasks      | elapsed:    1.0s")]

    def test_the_line_of_a_known_total(self, capsys):
        _, err = self.lines(capsys, 11, [4], total=6)
        assert err == ["[Parallel(n_jobs=2)]: Done   4 out of   6 | elapsed:    1.0s remaining:    0.5s"]

    def test_above_fifty_to_standard_output(self, capsys):
        out, err = self.lines(capsys, 51, [4])
        assert out.startswith("[Parallel(n_jobs=2)]: Done   4 tasks")
        assert err == []

    def test_more_verbose_is_more_often_and_rarer_with_time(self, capsys):
        lengths = [len(self.lines(capsys, verbose, range(1, 501))[1]) for verbose in (1, 5, 9, 11)]
        assert lengths == sorted(lengths)
        assert lengths[-1] == 500
        assert 1 <= lengths[0] <= 5

    def test_a_count_that_stands_still_says_nothing(self, capsys):
        assert len(self.lines(capsys, 60, [3, 3, 3])[0].splitlines()) == 1

    def test_beginning_and_end(self, capsys):
        loop = LoopLines(-1, 1, clock=lambda: 0.0)
        loop.started("threads", 4)
        loop.finished(6)
        assert capsys.readouterr().err.splitlines() == [
            "[Parallel(n_jobs=-1)]: Using backend threads with 4 concurrent workers.",
            "[Parallel(n_jobs=-1)]: Done   6 out of   6 | elapsed:    0.0s finished",
        ]
