"""The promise of `conftest.nothing_left`, tried on tests that break it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py")

# name of the test -> (what it does, what the message must say; None where it must pass)
BREAKERS = {
    "nothing": ("pass", None),
    "process": ("subprocess.Popen(['sleep', '600'], stdin=subprocess.DEVNULL).returncode = 0", "process"),
    "orphan": ("subprocess.run(['sh', '-c', 'setsid sleep 600 & exit'])", "process"),
    "zombie": ("zombie()", "never waited for"),
    "thread": ("threading.Thread(target=gate.wait, name='idler', daemon=True).start()", "thread 'idler'"),
    "descriptor": ("kept.append(os.pipe())", "file descriptor"),
    "temporary_folder": ("tempfile.mkdtemp(prefix='stray')", "temporary file stray"),
    "cycle": ("x = [open(os.devnull)]; x.append(x); x[0].close()", None),
    "ends_soon": ("subprocess.run(['sh', '-c', 'setsid sleep 0.1 & exit'])", None),
    "closed": ("os.close(os.open(os.devnull, os.O_RDONLY))", None),
    "shared_memory": ("shared(f'other_{os.getpid()}_part')", "/dev/shm/other_"),
    "of_another_program": ("shared(f'other_1{os.getpid()}_part')", None),
    "cache": ("os.makedirs(os.environ['LIGHTWORK_CACHE_DIR'])", None),
}

HEAD = """
import atexit, os, pathlib, subprocess, tempfile, threading
gate, kept = threading.Event(), []

def shared(name):
    (pathlib.Path("/dev/shm") / name).touch()
    atexit.register((pathlib.Path("/dev/shm") / name).unlink)

def zombie():
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("leaks")
    # Each leak is waited for as long as something may take to end: all together longer than a test may take.
    head, grace, rest = CONFTEST.read_text().partition("_GRACE = 30.0\n")
    assert grace
    (folder / "conftest.py").write_text(f"{head}_GRACE = 4.0\n{rest}")
    tests = [f"def test_{name}():\n    {code}\n" for name, (code, _) in BREAKERS.items()]
    failing = "def test_failing():\n    kept.append(os.pipe())\n    tempfile.mkdtemp()\n    assert 0\n"
    (folder / "test_breakers.py").write_text("\n".join([textwrap.dedent(HEAD), *tests, failing]))
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "-p", "no:xdist", "."]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True).stdout


@pytest.mark.parametrize("name", BREAKERS)
def test_each_breaker_is_named(report: str, name: str) -> None:
    said = BREAKERS[name][1]
    if said is None:
        assert f"ERROR test_breakers.py::test_{name} " not in report
        assert f"PASSED test_breakers.py::test_{name}\n" in report
    else:
        part = re.search(rf"ERROR at teardown of test_{name} _.*?(?=\n_{{5,}}|\n=)", report, re.DOTALL)
        assert part is not None, report
        assert "the test left behind" in part[0]
        assert said in part[0]


def test_only_the_leak_is_named(report: str) -> None:
    # The summary repeats the messages whole where pytest sees that it runs under CI.
    shown, _, _ = report.partition("short test summary info")
    assert shown.count("the test left behind:\n  ") == sum(said is not None for _, said in BREAKERS.values())


def test_a_failing_test_is_not_asked_for_leaks(report: str) -> None:
    assert "FAILED test_breakers.py::test_failing" in report
    assert "ERROR test_breakers.py::test_failing" not in report


def test_each_test_has_a_cache_folder_of_its_own() -> None:
    assert "lwtest-" in os.environ["LIGHTWORK_CACHE_DIR"]
    assert not Path(os.environ["LIGHTWORK_CACHE_DIR"]).exists()
