"""Many processes hit, miss, clear and die on one cache: never a wrong value, an error, or a warning."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

_KEYS, _PROCESSES = 200, 8

_PROGRAM = """
import asyncio, random, sys, time, warnings
warnings.simplefilter("error")
import numpy as np
from lightwork import Memory

memory = Memory("cache", verbose=0)

@memory.cache
def f(x):
    return {"x": x, "text": "abc" * x, "array": np.full(10_000 if x % 20 == 0 else 10, x)}

@memory.cache
def g(x):
    return f(x)["x"] + f((x * 7) % KEYS)["x"]

@memory.cache
def items(x):
    for i in range(x % 7):
        yield [i] * 100 if i % 2 else i

@memory.cache
async def later(x):
    await asyncio.sleep(0)
    return f(x)["text"]

async def all_of(x):
    return await asyncio.gather(*[later(x) for _ in range(3)])

seed, deadline = int(sys.argv[1]), time.monotonic() + float(sys.argv[2])
rng = random.Random(seed)
while time.monotonic() < deadline:
    x = rng.randrange(KEYS)
    what = rng.random()
    if what < 0.05:
        assert list(items(x)) == [[i] * 100 if i % 2 else i for i in range(x % 7)]
    elif what < 0.1:
        assert asyncio.run(all_of(x)) == ["abc" * x] * 3
    elif what < 0.6:
        found = f(x)
        assert found["x"] == x and found["text"] == "abc" * x and (found["array"] == x).all()
    elif what < 0.95:
        assert g(x) == x + (x * 7) % KEYS
    elif what < 0.97:
        f.forget(x)
    elif what < 0.98:
        (memory.clear if seed == 0 else f.clear)()
    elif what < 0.99:
        memory.reduce_size(items_limit=KEYS // 2)
    else:
        assert f.call_and_shelve(x) is not None
"""


def _hammer(tmp_path: Path, seconds: float) -> int:
    (tmp_path / "hammer.py").write_text(_PROGRAM.replace("KEYS", str(_KEYS)))
    rng = random.Random(seconds)
    numbers = iter(range(1_000_000))
    deadline = time.monotonic() + seconds

    def start() -> subprocess.Popen[str]:
        left = str(max(0.1, deadline - time.monotonic()))
        command = [sys.executable, "-B", "hammer.py", str(next(numbers)), left]
        return subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    running = [start() for _ in range(_PROCESSES)]
    killed = 0
    try:
        while time.monotonic() < deadline:
            victim = rng.randrange(1, _PROCESSES)  # the first one clears, and lives
            try:
                running[victim].wait(rng.uniform(0.2, 0.8))
            except subprocess.TimeoutExpired:
                running[victim].kill()
                killed += 1
            _check(running[victim])
            running[victim] = start()
        for process in running:
            _check(process)
    finally:
        for process in running:
            process.kill()
            process.communicate()
    return killed


def _check(process: subprocess.Popen[str]) -> None:
    said = process.communicate(timeout=60)[1]
    assert process.returncode in (0, -signal.SIGKILL), said


def test_a_hammered_cache_is_right(tmp_path):
    assert _hammer(tmp_path, 20) > 3
    left = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert len(left) < 5 * _KEYS


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_cache_that_is_hammered_for_long_is_right(tmp_path):
    assert _hammer(tmp_path, 600) > 100
