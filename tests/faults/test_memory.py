"""A worker that the system kills for want of memory, in a control group that has little."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .programs import PATIENCE

GROUPS = Path("/sys/fs/cgroup/memory")


@pytest.fixture
def group():
    """A control group (version 1) of 300 MB; its processes end with the test."""
    path = GROUPS / f"lightwork-test-{os.getpid()}"
    try:
        path.mkdir()
        (path / "memory.limit_in_bytes").write_text("300M")
    except OSError as error:
        pytest.skip(f"needs to make a control group for memory: {error}")
    yield path
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return path.rmdir()
        except OSError:  # the last of its processes have not quite gone
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_the_error_names_the_task_and_that_memory_ran_out(group):
    code = f"""
import os
open("{group}/cgroup.procs", "w").write(str(os.getpid()))
from lightwork import Parallel, delayed
from lightwork.workers import pool
def eat(size):
    return len(b"x" * size)
loop = Parallel(n_jobs=2, batch_size=1)
try:
    loop(delayed(eat)(size) for size in (10, 20, 1 << 30))
except Exception as error:
    print(type(error).__name__, error)
print(loop(delayed(eat)(size) for size in (10, 20)))
pool.shutdown()
"""
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    said, after = out.splitlines()
    assert said.startswith(
        "WorkerDied a worker process ended while it ran task 2: eat(1073741824): signal 9 (SIGKILL)"
    )
    assert "out-of-memory killer, most probably" in said
    assert after == "[10, 20]"
