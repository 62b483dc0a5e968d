"""Loops in the cells of a notebook, by a real kernel."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .programs import wait_until_gone

pytest.importorskip("ipykernel", reason="needs a notebook kernel")
pytest.importorskip("jupyter_client", reason="needs a notebook kernel")

IMPORTS = """
import os, time
from lightwork import Parallel, delayed
from lightwork.workers import pool
"""


def run(*cells):
    """What each cell printed, and its value or the name of its error."""
    described = [{"code": cell} if isinstance(cell, str) else cell for cell in (IMPORTS, *cells)]
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("kernel.py")), *map(json.dumps, described)],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)[1:]


PRINTING = """
def task(i):
    print("task", i)
    os.write(1, b"past Python\\n")
    os.system("echo from a child")
    return i
Parallel(n_jobs=2)(delayed(task)(i) for i in range(3))
"""

DEFINING = """
class Point:
    VERSION = {}
    def __init__(self, x): self.x = x
def make(x): return Point(x), Point.VERSION
made = Parallel(n_jobs=2)(delayed(make)(i) for i in range(4))
all(type(point) is Point for point, _ in made), {{version for _, version in made}}
"""

WAITING = """
def wait(i):
    print(os.getpid())
    time.sleep(600)
Parallel(n_jobs=2)(delayed(wait)(i) for i in range(9))
"""


def test_cells_show_what_tasks_print_and_hold_the_newest_definitions():
    (printed, value), first, second = run(
        {"code": PRINTING, "lines": 9}, DEFINING.format(1), DEFINING.format(2)
    )
    assert value == "[0, 1, 2]"
    assert sorted(printed.splitlines()) == [
        *["from a child"] * 3,
        *["past Python"] * 3,
        *(f"task {i}" for i in range(3)),
    ]
    assert first == ["", "(True, {1})"]
    assert second == ["", "(True, {2})"]


def test_an_interrupt_ends_the_loop_and_the_kernel_goes_on_until_it_is_killed():
    (printed, error), again, (_, left) = run(
        {"code": WAITING, "interrupt": 2},
        "Parallel(n_jobs=2)(delayed(abs)(-i) for i in range(4))",
        "[worker.pid for worker in pool.pool_info().workers] + [pool.pool_info().zygote]",
    )
    assert error == "KeyboardInterrupt"
    wait_until_gone(map(int, printed.split()))
    assert again == ["", "[0, 1, 2, 3]"]
    wait_until_gone(json.loads(left))
