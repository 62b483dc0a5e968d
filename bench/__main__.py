"""The command: measure the areas that were asked for, print the table, judge the targets."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

from bench.harness import Case, Outcome, Table, measure, write_json

_NOT_AREAS = {"__init__", "__main__", "harness", "side"}


def areas() -> list[str]:
    """The modules of this folder that hold cases, the foundation first."""
    names = {path.stem for path in Path(__file__).parent.glob("*.py")} - _NOT_AREAS
    return sorted(names, key=lambda name: (name != "foundation", name))


def cases_of(area: str, words: str) -> list[tuple[int, Case]]:
    """The cases of an area whose names hold all the words, each with its index."""
    cases: list[Case] = importlib.import_module(f"bench.{area}").CASES
    return [(i, case) for i, case in enumerate(cases) if all(word in case.name for word in words.split())]


def setting() -> dict[str, object]:
    """What the figures depend on, to be printed beside them."""
    packages = ("lightwork", "joblib", "numpy", "cloudpickle", "xxhash")
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        **{name: version(name) for name in packages},
    }


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--area", choices=areas(), action="append", help="only this area (may be repeated)")
    parser.add_argument("--case", default="", help="only cases whose names hold these words")
    parser.add_argument("--repeats", type=int, help="samples of each side, in place of the case's own number")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all samples to FILE")
    options = parser.parse_args(arguments)

    print(", ".join(f"{name} {value}" for name, value in setting().items()))
    print("Each cell: median (best) of samples taken in turns.\n")
    chosen = {area: cases_of(area, options.case) for area in options.area or areas()}
    table = Table([case for cases in chosen.values() for _, case in cases], peer="joblib")
    print(*table.head, sep="\n", flush=True)
    outcomes: list[Outcome] = []
    for area, cases in chosen.items():
        for index, case in cases:
            outcome = measure(f"bench.{area}", index, case, options.repeats)
            outcomes.append(outcome)
            print(table.row(outcome), flush=True)

    for outcome in outcomes:
        if outcome.failure:
            print(f"\n{outcome.failure}", file=sys.stderr)
    short = [outcome.case.name for outcome in outcomes if outcome.verdict in ("missed", "failed")]
    if short:
        print(f"\n{len(short)} of {len(outcomes)} not reached: {'; '.join(short)}")
    if options.json:
        write_json(options.json, setting(), outcomes)
    return 1 if short and options.check else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
