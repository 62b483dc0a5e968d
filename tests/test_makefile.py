"""`make` tells what it can do, and says so clearly where no Python suits."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FIND = ROOT / ".ci" / "find-python"


def make(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    # MAKEFLAGS: the tests themselves are run by make.
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(["make", *arguments], cwd=cwd, env=env, capture_output=True, text=True)


def interpreter(path: Path, prelude: str) -> str:
    """An interpreter that runs ``prelude`` before the code that it is given with ``-c``."""
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{prelude}\n$2"\n')
    path.chmod(0o755)
    return str(path)


def find(*names: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([FIND, *names], capture_output=True, text=True)


@pytest.fixture
def old_python(tmp_path: Path) -> str:
    return interpreter(tmp_path / "old-python", "import sys; sys.version_info = (3, 9, 18)")


def test_make_alone_lists_every_target_with_a_line() -> None:
    done = make()
    listed = re.findall(r"^  make (\S+) +\S.*$", done.stdout, re.MULTILINE)
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    assert done.returncode == 0
    assert sorted(listed) == sorted(phony[1].split())


def test_every_target_has_a_recipe_that_make_can_plan(tmp_path: Path) -> None:
    for name in re.findall(r"^  make (\S+)", make().stdout, re.MULTILINE):
        assert make("--dry-run", name).returncode == 0, name


def test_continuous_integration_runs_make_test() -> None:
    run = ROOT / ".ci" / "run"
    assert os.access(run, os.X_OK)
    assert run.read_text().rstrip().endswith("exec make test")


def test_a_python_that_must_be_here_fails_where_one_that_may_be_is_only_named() -> None:
    script = str(ROOT / ".ci" / "test-pythons")
    left_out = "Left out:\n  Python 3.99t: not found, NOTHING WAS TESTED WITH IT\n"
    done = subprocess.run([script, "--if-found", "3.99t"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, left_out)
    done = subprocess.run([script, "3.98", "--if-found", "3.99t"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(left_out)
    assert "Not all is well:\n  Python 3.98: not found, NOTHING WAS TESTED WITH IT" in done.stderr


def test_the_first_that_suits_is_taken(old_python: str) -> None:
    done = find("no-such-python", old_python, sys.executable, "never-asked")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{sys.executable}\n", "")


def test_too_old_a_python_is_named_with_its_version(old_python: str) -> None:
    done = find(old_python)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "lightwork needs Python 3.11 or later" in done.stderr
    assert f"{old_python} is Python 3.9.18, too old" in done.stderr
    assert "make PYTHON=" in done.stderr


def test_a_python_that_cannot_make_environments_says_what_to_install(tmp_path: Path) -> None:
    done = find(interpreter(tmp_path / "bare-python", "import sys; sys.modules['ensurepip'] = None"))
    assert done.returncode == 1
    assert "apt install python3-venv" in done.stderr


def test_make_stops_before_anything_is_made(tmp_path: Path, old_python: str) -> None:
    for name in ("Makefile", ".ci", "requirements-dev.txt", "pyproject.toml"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    done = make("demo", f"PYTHON={old_python}", cwd=tmp_path)
    assert done.returncode != 0
    assert "is Python 3.9.18, too old" in done.stderr
    assert not (tmp_path / ".venv").exists()
