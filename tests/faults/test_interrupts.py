"""Ctrl-C at any line of ours: the loop ends with `KeyboardInterrupt`, and what comes after it is whole.

A trace function counts the lines that run in lightwork and sends this process SIGINT at the one that was asked for, so
that each place is met by itself and not by luck.
"""

import pytest

from .programs import run

PROGRAM = """
import os, signal, sys
import lightwork
from lightwork import Parallel, delayed
from lightwork.workers import pool

OURS = os.path.dirname(lightwork.__file__)


class InterruptAt:
    def __init__(self, line):
        self.left, self.place = line, None

    def __call__(self, frame, event, arg):
        return self.count if frame.f_code.co_filename.startswith(OURS) else None

    def count(self, frame, event, arg):
        if event == "line" and self.place is None:
            self.left -= 1
            if not self.left:
                self.place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                signal.raise_signal(signal.SIGINT)
        return self.count


def work(i):
    return bytes(400_000) if i % 2 else i


def loop():
    results = Parallel(n_jobs=2, batch_size=1)(delayed(work)(i) for i in range(8))
    return [result if type(result) is int else len(result) for result in results]


EXPECTED = [400_000 if i % 2 else i for i in range(8)]
first, step, cold = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "cold"
interrupted = 0
assert loop() == EXPECTED
pool.shutdown()
descriptors = os.listdir("/proc/self/fd")
for line in range(first, 1_000_000, step):
    if cold:
        pool.shutdown()
    here = InterruptAt(line)
    sys.settrace(here)
    try:
        assert loop() == EXPECTED
    except KeyboardInterrupt:
        interrupted += 1
    finally:
        sys.settrace(None)
    if here.place is None:
        break
    for _ in range(2):
        assert loop() == EXPECTED, here.place
    workers = pool.pool_info().workers
    assert len(workers) == 2 and all(worker.idle for worker in workers), (here.place, workers)
    if cold:
        pool.shutdown()
        assert os.listdir("/proc/self/fd") == descriptors, here.place
pool.shutdown()
assert os.listdir("/proc/self/fd") == descriptors
print(interrupted)
"""


@pytest.mark.parametrize(("cold", "step"), [("cold", 351), ("warm", 83)])
def test_at_some_lines(cold, step):
    out, err, status = run(PROGRAM, "1", str(step), cold)
    assert (err, status) == ("", 0)
    assert int(out) >= 8


@pytest.mark.slow
@pytest.mark.parametrize("first", range(8))
@pytest.mark.parametrize("cold", ["cold", "warm"])
def test_at_many_lines(first, cold):
    out, err, status = run(PROGRAM, str(2 + 13 * first), "104", cold)
    assert (err, status) == ("", 0)
    assert int(out) >= 25
