"""Programs for tests that end, interrupt or starve one: started as users start theirs, in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterable

__all__ = ["alive", "run", "start", "wait_until_gone"]

# So much is waited for what takes milliseconds; a busy machine gets some room.
PATIENCE = 30.0


def start(code: str, *arguments: str, before: Iterable[str] = (), **options: object) -> subprocess.Popen[str]:
    """Start a program that says things on its standard output."""
    command = [*before, sys.executable, "-B", "-c", textwrap.dedent(code), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def run(code: str, *arguments: str, **options: object) -> tuple[str, str, int]:
    """Run a program to its end; returns its output, its errors and its exit code."""
    with start(code, *arguments, **options) as program:
        try:
            out, err = program.communicate(timeout=100)  # less than a test may take
        finally:
            program.kill()
    return out, err, program.returncode


def alive(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_until_gone(pids: Iterable[int], seconds: float = PATIENCE) -> None:
    """Wait for the end of processes that are nobody's here; there is no event for that."""
    pids = list(pids)
    deadline = time.monotonic() + seconds
    while left := [pid for pid in pids if alive(pid)]:
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.005)


def environment(**more: str) -> dict[str, str]:
    """This process's environment and some more."""
    return {**os.environ, **more}
