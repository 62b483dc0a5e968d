"""The zygote is started as this interpreter was."""

import subprocess
import sys

import pytest

from lightwork.errors import WorkerStartError
from lightwork.workers import launch


@pytest.mark.parametrize(
    "flags",
    [
        ["-O"],
        ["-OO"],
        ["-B"],
        ["-s"],
        ["-P"],
        ["-I"],
        ["-W", "error"],
        ["-X", "dev"],
        ["-X", "utf8=1"],
        ["-b"],
        [],
    ],
)
def test_flags_are_passed_on(flags):
    show = "import sys; print(sys.flags, sys.warnoptions, sorted(sys._xoptions.items()))"
    code = f"""
import subprocess, sys
from lightwork.workers.launch import interpreter_flags
{show}
sys.stdout.flush()
subprocess.run([sys.executable, *interpreter_flags(), "-c", {show!r}], check=True)
"""
    out = subprocess.run(
        [sys.executable, *flags, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    ours, theirs = out.splitlines()
    assert ours == theirs


def test_no_interpreter_is_said_plainly(monkeypatch):
    import socket

    monkeypatch.setattr(sys, "executable", "")
    left, right = socket.socketpair()
    with left, right, pytest.raises(WorkerStartError, match=r"sys\.executable is empty"):
        launch.start_zygote(left, right)


def test_an_interpreter_that_is_not_there_is_said_plainly(monkeypatch):
    import socket

    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    left, right = socket.socketpair()
    with left, right, pytest.raises(WorkerStartError, match="/nowhere/python"):
        launch.start_zygote(left, right)
