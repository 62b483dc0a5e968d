"""What a benchmark case is, how its two sides are measured, and what is said about them.

The law: both sides do the same work, on the same machine, in the same minutes. Each side of a case lives
in a process of its own (`bench.side`); samples are taken in turns, and the side that goes first
changes with each round, so that a noisy machine hurts both alike. Results are checked on both sides,
before and outside of the clock. Medians decide; minima are shown beside them.
Both sides run compiled modules, as installed packages do.

To add a case, append it to the ``CASES`` of an area, which is any module in this folder::

    from bench.harness import Case, faster

    def cache_hit(lib, folder):                 # lib: joblib or lightwork; folder: empty, removed afterwards
        remembered = lib.Memory(folder, verbose=0).cache(abs)
        return lambda: remembered(-3)           # what is timed, after one untimed run

    def is_three(result):                       # raises where a side's result is wrong
        assert result == 3

    CASES = [Case("cache hit, small", cache_hit, is_three, faster(8), calls=1000)]

- ``peer="numpy"`` names another module for the other side; ``prepare_peer=`` is what prepares it
  where the two do not share an interface. A peer that is not installed is told, and ours is measured alone;
  so it is with ``peer=""``, where nobody else has what is measured.
- ``calls`` is how often the work is done in one sample (choose it so that a sample takes 20 ms or more).
- ``fresh=True`` takes each sample in a new process, without a first untimed run.
- ``work=10_000, unit="tasks"`` shows a rate; ``unit="B"`` with the number of bytes shows MB/s or GB/s.
- What is timed may return a `Figure` in place of a result, where the wall clock is not what counts
  (peak memory, a difference of two times); ``unit="MB"`` then says what it is.
- The target is one of `at_most`, `at_least`, `faster`, or None for a case that is only shown.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import IO, Literal

ROOT = Path(__file__).resolve().parent.parent


def _environment(bytecode: Path) -> dict[str, str]:
    """That of a side: compiled modules of both lie in a folder of ours, whatever ours says of them."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONPYCACHEPREFIX": str(bytecode)}


Work = Callable[[], object]
Prepare = Callable[[ModuleType, Path], Work]
SideName = Literal["peer", "ours"]

# Chosen by guess: long enough for the slowest single sample of any peer, short enough to notice a hang.
_PATIENCE = 180.0


@dataclass(frozen=True)
class Figure:
    """A measured value that replaces the clock's, with the result that `Case.check` looks at."""

    value: float
    result: object = None


@dataclass(frozen=True)
class Target:
    """What a case is to reach: ``bound`` on seconds (or a `Figure`), on work a second, or on the ratio."""

    kind: Literal["at most", "at least", "faster"]
    bound: float


def at_most(value: float) -> Target:
    """Our median is at most this: seconds a call, or the unit of the case's `Figure`."""
    return Target("at most", value)


def at_least(rate: float) -> Target:
    """Our median does at least this much of the case's ``work`` a second."""
    return Target("at least", rate)


def faster(ratio: float) -> Target:
    """The peer's median is at least so many times ours."""
    return Target("faster", ratio)


@dataclass(frozen=True)
class Case:
    """One line of the table; the module's docstring says what the fields mean."""

    name: str
    prepare: Prepare
    check: Callable[[object], None]
    target: Target | None = None
    peer: str = "joblib"
    prepare_peer: Prepare | None = None
    work: float = 1
    unit: str = "s"
    calls: int = 1
    fresh: bool = False
    repeats: int = 7


@dataclass
class Outcome:
    """What was measured for a case: a value per call and sample, for each side; or why there is none."""

    case: Case
    peer: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)
    failure: str = ""
    absent: bool = False
    """Whether there is no peer here."""

    @property
    def ratio(self) -> float:
        if not self.peer:
            return float("nan")
        return median(self.peer) / median(self.ours) if median(self.ours) > 0 else float("inf")

    @property
    def verdict(self) -> Literal["met", "missed", "failed", "shown"]:
        if self.failure:
            return "failed"
        target = self.case.target
        if target is None or (self.absent and target.kind == "faster"):
            return "shown"
        reached = {
            "at most": lambda: median(self.ours) <= target.bound,
            "at least": lambda: self.case.work / median(self.ours) >= target.bound,
            "faster": lambda: self.ratio >= target.bound,
        }[target.kind]()
        return "met" if reached else "missed"

    def as_json(self) -> dict[str, object]:
        """The samples and the verdict, for ``--json``."""
        case = self.case
        measured = {
            side: {"median": median(samples), "min": min(samples), "samples": samples}
            for side, samples in (("peer", self.peer), ("ours", self.ours))
            if samples
        }
        return {
            "case": case.name,
            "peer": case.peer,
            "unit": case.unit,
            "work": case.work,
            "target": None if case.target is None else [case.target.kind, case.target.bound],
            "measured": measured,
            "ratio": None if self.failure or self.absent else self.ratio,
            "verdict": self.verdict,
            "failure": self.failure,
        }


# --- measuring --------------------------------------------------------------------------------------


class SideFailedError(Exception):
    """A side raised, gave a wrong result, or did not answer; the text is what it wrote last."""


class Side:
    """A process of `bench.side` that takes samples of one side of a case when told to."""

    def __init__(self, module: str, index: int, side: SideName, bytecode: Path) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="lightwork-bench-"))
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.side", module, str(index), side, str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=ROOT,
            env=_environment(bytecode),
        )
        self._answer()  # "ready": prepared, warm, and its first result right

    def sample(self) -> float:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(b"go\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended: the empty answer says so, with its last words
        return float(self._answer())

    def close(self) -> None:
        try:
            self._process.communicate(timeout=_PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()
            self._errors.close()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _answer(self) -> str:
        from selectors import EVENT_READ, DefaultSelector

        stdout = self._process.stdout
        assert stdout is not None
        with DefaultSelector() as selector:
            selector.register(stdout, EVENT_READ)
            if not selector.select(_PATIENCE):
                self._process.kill()
                self.close()
                raise SideFailedError(f"no answer in {_PATIENCE:.0f} s")
        line = stdout.readline().decode().strip()
        if not line:
            self._process.wait()
            words = self._last_words()
            self.close()
            raise SideFailedError(words)
        return line

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return "\n".join(lines[-12:]) or f"ended with status {self._process.returncode} and said nothing"


def measure(module: str, index: int, case: Case, repeats: int | None = None) -> Outcome:
    """Measure both sides of ``module.CASES[index]`` in turns; a side that fails ends its case only.

    A peer that is not installed is left out.
    """
    with tempfile.TemporaryDirectory(prefix="lightwork-bench-") as bytecode:
        return _measure(module, index, case, repeats or case.repeats, Path(bytecode))


def _measure(module: str, index: int, case: Case, rounds: int, bytecode: Path) -> Outcome:
    outcome = Outcome(case, absent=not case.peer or find_spec(case.peer) is None)
    order: tuple[SideName, ...] = ("ours",) if outcome.absent else ("peer", "ours")
    speaker: SideName = "peer"
    open_sides: dict[SideName, Side] = {}
    try:
        # In turn -1 a fresh process compiles what it imports; that is not measured.
        for turn in range(-1 if case.fresh else 0, rounds):
            for speaker in order if turn % 2 == 0 else reversed(order):
                side = open_sides.pop(speaker, None) or Side(module, index, speaker, bytecode)
                open_sides[speaker] = side
                sample = side.sample()
                if turn >= 0:
                    getattr(outcome, speaker).append(sample)
                if case.fresh:
                    open_sides.pop(speaker).close()
    except SideFailedError as error:
        open_sides.pop(speaker, None)
        name = case.peer if speaker == "peer" else "lightwork"
        outcome.failure = f"{name} failed in {case.name!r}:\n{error}"
    finally:
        for side in open_sides.values():
            side.close()
    return outcome


# --- saying -----------------------------------------------------------------------------------------

_SCALES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def show_value(case: Case, value: float) -> str:
    """A median or minimum as people read it, in the unit of its case."""
    if case.unit == "s":
        scale, unit = next((pair for pair in _SCALES if abs(value) >= pair[0]), _SCALES[-1])
        return f"{value / scale:.3g} {unit}" if abs(value) < 1000 else f"{value:,.0f} s"
    if case.work == 1:
        return f"{value:,.3g} {case.unit}"
    return show_rate(case, case.work / value)


def show_rate(case: Case, rate: float) -> str:
    """So much of the case's work a second."""
    if case.unit == "B":
        return f"{rate / 1e9:.3g} GB/s" if rate >= 1e9 else f"{rate / 1e6:.3g} MB/s"
    return f"{rate:,.0f} {case.unit}/s"


def show_target(case: Case) -> str:
    """The target's text, such as ``≤ 100 ms``, ``≥ 40,000 tasks/s`` or ``≥ 8×``."""
    target = case.target
    if target is None:
        return "–"
    if target.kind == "at most":
        return f"≤ {show_value(case, target.bound)}"
    return f"≥ {show_rate(case, target.bound)}" if target.kind == "at least" else f"≥ {target.bound:g}×"


class Table:
    """An aligned Markdown table whose lines are printed as the cases end."""

    _WIDTHS = (24, 24, 6, 16, 7)

    def __init__(self, cases: Sequence[Case], peer: str) -> None:
        self._widths = (max([4, *(len(case.name) for case in cases)]), *self._WIDTHS)
        self.head = [
            self._line(["case", peer, "lightwork", "ratio", "target", "verdict"]),
            self._line(["-" * width for width in self._widths]),
        ]

    def row(self, outcome: Outcome) -> str:
        case = outcome.case
        rate_unit = f" {case.unit}/s"
        if outcome.failure:
            return self._line([case.name, "", "", "", show_target(case), "failed"])
        sides = [
            f"{show_value(case, median(samples))} ({show_value(case, min(samples)).removesuffix(rate_unit)})"
            if samples
            else "not installed"
            for samples in (outcome.peer, outcome.ours)
            if samples
        ]
        if outcome.absent:
            sides.insert(0, "not installed" if case.peer else "–")
        if case.peer not in ("joblib", ""):
            sides[0] = f"{case.peer}: {sides[0]}"
        ratio = "–" if outcome.absent else f"{outcome.ratio:.3g}×"
        return self._line([case.name, *sides, ratio, show_target(case), outcome.verdict])

    def _line(self, cells: Sequence[str]) -> str:
        padded = [cell.ljust(width) for cell, width in zip(cells, self._widths, strict=True)]
        return f"| {' | '.join(padded)} |"


def write_json(path: Path, setting: dict[str, object], outcomes: Sequence[Outcome]) -> None:
    """All samples with the setting they were taken in."""
    body = {"setting": setting, "outcomes": [outcome.as_json() for outcome in outcomes]}
    path.write_text(json.dumps(body, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
