"""One side of one case, in a process of its own: prepares, runs once, then takes a sample for each line read.

Started by `bench.harness.Side`. Answers go to what was standard output at the start; whatever the
libraries print goes to standard error, so the two never mix.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from pathlib import Path
from time import perf_counter

from bench.harness import Case, Figure, Work


def take(case: Case, work: Work) -> float:
    """One sample: the value of one call, its result checked after the clock has stopped."""
    gc.collect()
    calls = range(case.calls)
    result: object = None
    started = perf_counter()
    for _ in calls:
        result = work()
    seconds = (perf_counter() - started) / case.calls
    if isinstance(result, Figure):
        case.check(result.result)
        return result.value
    case.check(result)
    return seconds


def main(module: str, index: str, side: str, folder: str) -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    case: Case = importlib.import_module(module).CASES[int(index)]
    name, prepare = "lightwork", case.prepare
    if side == "peer":
        name, prepare = case.peer, case.prepare_peer or case.prepare
    work = prepare(importlib.import_module(name), Path(folder))
    if not case.fresh:
        result = work()
        case.check(result.result if isinstance(result, Figure) else result)
        del result
    print("ready", file=answers)
    for _ in sys.stdin:
        print(repr(take(case, work)), file=answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
