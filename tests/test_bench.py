"""The benchmark harness measures what it says, notices wrong results, and judges by the medians."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("bench.harness")


CASES = """
import time
from bench.harness import Case, Figure, at_most, faster

def turns(lib, folder):
    done = folder / "turns"
    def work():
        with open(done, "a") as file:
            file.write("x")
        return done.stat().st_size
    return work

def is_first(result):
    assert result == 1, result

def fails(lib, folder):
    def work():
        return 1 / (lib.__name__ != "lightwork")
    return work

def figure(lib, folder):
    return lambda: Figure(12.5 if lib.__name__ == "json" else 2.5, "result")

def is_result(result):
    assert result == "result"

def nothing(result):
    pass

CASES = [
    Case("warm", turns, lambda result: None, repeats=3, peer="json"),
    Case("fresh", turns, is_first, repeats=2, peer="json", fresh=True),
    Case("fails", fails, nothing, faster(2), peer="json"),
    Case("wrong", turns, lambda result: 1 / 0, peer="json"),
    Case("figure", figure, is_result, faster(5), peer="json", unit="MB", repeats=2),
    Case("dies", lambda lib, folder: lambda: __import__("os")._exit(3), nothing, peer="json"),
    Case("absent", turns, nothing, faster(2), peer="no_such_module", repeats=2),
    Case("alone", turns, nothing, at_most(60), peer="", repeats=2),
    Case("prints", lambda lib, folder: lambda: print("to standard output"), nothing, peer="json", repeats=1),
    Case("no peer", turns, nothing, faster(2), peer="nothing_of_this_name", repeats=3),
]
"""


@pytest.fixture
def measure(harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "throwaway_cases.py").write_text(CASES)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delitem(sys.modules, "throwaway_cases", raising=False)
    cases = {case.name: (i, case) for i, case in enumerate(importlib.import_module("throwaway_cases").CASES)}
    yield lambda name: harness.measure("throwaway_cases", *cases[name])
    del sys.modules["throwaway_cases"]


def test_both_sides_are_sampled_as_often_as_asked(measure) -> None:
    outcome = measure("warm")
    assert len(outcome.peer) == len(outcome.ours) == 3
    assert all(0 < seconds < 1 for seconds in outcome.peer + outcome.ours)
    assert outcome.verdict == "shown"


def test_a_fresh_case_runs_once_in_each_process(measure) -> None:
    outcome = measure("fresh")
    assert outcome.failure == ""
    assert len(outcome.peer) == len(outcome.ours) == 2


@pytest.mark.parametrize(
    ("name", "said"),
    [("fails", "lightwork failed in 'fails'"), ("wrong", "ZeroDivisionError"), ("dies", "status 3")],
)
def test_a_side_that_fails_fails_its_case_and_says_why(measure, name: str, said: str) -> None:
    outcome = measure(name)
    assert outcome.verdict == "failed"
    assert said in outcome.failure
    json.dumps(outcome.as_json())


def test_a_figure_replaces_the_clock(measure) -> None:
    outcome = measure("figure")
    assert (outcome.peer, outcome.ours, outcome.ratio) == ([12.5, 12.5], [2.5, 2.5], 5.0)
    assert outcome.verdict == "met"


def test_a_peer_that_is_not_installed_is_left_out(harness, measure) -> None:
    outcome = measure("absent")
    assert (outcome.failure, outcome.peer, len(outcome.ours), outcome.verdict) == ("", [], 2, "shown")
    assert "no_such_module: not installed" in harness.Table([outcome.case], peer="joblib").row(outcome)
    json.dumps(outcome.as_json())


def test_a_case_without_a_peer_is_judged_alone(harness, measure) -> None:
    outcome = measure("alone")
    assert (outcome.failure, outcome.peer, len(outcome.ours), outcome.verdict) == ("", [], 2, "met")
    assert "not installed" not in harness.Table([outcome.case], peer="joblib").row(outcome)
    json.dumps(outcome.as_json())


def test_what_a_side_prints_does_not_disturb(measure) -> None:
    assert measure("prints").failure == ""


@pytest.mark.parametrize(
    ("target", "ours", "verdict"),
    [
        (("at most", 0.5), [0.4, 0.5, 9.0], "met"),
        (("at most", 0.5), [0.1, 0.6, 0.6], "missed"),
        (("at least", 200.0), [0.5, 0.5, 0.6], "met"),  # 100 units of work in half a second
        (("at least", 201.0), [0.5, 0.5, 0.6], "missed"),
        (("faster", 4.0), [0.5], "met"),
        (("faster", 4.1), [0.5], "missed"),
        (None, [0.5], "shown"),
    ],
)
def test_medians_decide(harness, target, ours: list[float], verdict: str) -> None:
    goal = target and harness.Target(*target)
    case = harness.Case("case", lambda lib, folder: lambda: None, lambda result: None, goal, work=100)
    outcome = harness.Outcome(case, peer=[2.0, 1.0, 30.0], ours=ours)
    assert outcome.verdict == verdict


@pytest.mark.parametrize(
    ("unit", "work", "value", "shown"),
    [
        ("s", 1, 0.0123, "12.3 ms"),
        ("s", 1, 7.6e-6, "7.6 µs"),
        ("s", 1, 1.25, "1.25 s"),
        ("tasks", 10_000, 0.2, "50,000 tasks/s"),
        ("B", 4_000_000_000, 2.0, "2 GB/s"),
        ("B", 4_000_000, 2.0, "2 MB/s"),
        ("MB", 1, 39.84, "39.8 MB"),
    ],
)
def test_values_are_shown_in_their_unit(harness, unit: str, work: float, value: float, shown: str) -> None:
    case = harness.Case("case", lambda lib, folder: lambda: None, lambda result: None, work=work, unit=unit)
    assert harness.show_value(case, value) == shown


def test_every_area_holds_cases_with_names_of_their_own(harness) -> None:
    command = importlib.import_module("bench.__main__")
    assert command.areas()[0] == "foundation"
    for area in command.areas():
        names = [case.name for _, case in command.cases_of(area, "")]
        assert names
        assert len(names) == len(set(names)), area


def test_the_check_fails_where_a_target_is_missed(harness, measure, monkeypatch, capsys, tmp_path) -> None:
    command = importlib.import_module("bench.__main__")
    cases = importlib.import_module("throwaway_cases").CASES
    monkeypatch.setattr(command, "areas", lambda: ["throwaway"])
    monkeypatch.setattr(command, "cases_of", lambda area, words: [(4, cases[4])])

    def run(ours: float) -> int:
        outcome = harness.Outcome(cases[4], peer=[10.0], ours=[ours])
        monkeypatch.setattr(command, "measure", lambda *_: outcome)
        return command.main(["--check", "--json", str(tmp_path / "figures.json")])

    assert run(ours=2.0) == 0
    assert run(ours=3.0) == 1
    assert "1 of 1 not reached: figure" in capsys.readouterr().out
    assert json.loads((tmp_path / "figures.json").read_text())["outcomes"][0]["verdict"] == "missed"


def test_a_peer_that_is_not_installed_is_told_and_ours_measured_alone(harness, measure) -> None:
    outcome = measure("no peer")
    assert (outcome.peer, len(outcome.ours), outcome.verdict) == ([], 3, "shown")
    assert "not installed" in harness.Table([outcome.case], "joblib").row(outcome)
    assert outcome.as_json()["ratio"] is None
