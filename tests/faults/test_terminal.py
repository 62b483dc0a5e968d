"""A program in a terminal: what Ctrl-C, Ctrl-Z, `fg` and closing the window do to a loop, by a real shell."""

import os
import re
import signal
import time

import pytest

from .programs import PATIENCE, alive, wait_until_gone
from .terminal import CTRL_C, CTRL_Z, PROMPT, Terminal

PROGRAM = """
import ctypes, hashlib, os, sys, time
import numpy as np
from lightwork import Parallel, delayed

def in_python(_):
    while True:
        pass

def asleep(_):
    time.sleep(600)

def holding_the_interpreter(_):
    ctypes.PyDLL(None).sleep(600)

def multiplying(_):
    a = np.ones((1500, 1500))
    while True:
        a @ a

def digesting(_):
    data = bytes(1 << 29)
    while True:
        hashlib.sha256(data)

def said(func, i):
    print("worker", os.getpid(), flush=True)
    func(i)

func = globals()[sys.argv[1]]
loop = Parallel(n_jobs=2)
try:
    loop(delayed(said)(func, i) for i in range(9))
except KeyboardInterrupt:
    if "once" not in sys.argv:
        raise
    print("caught")
    print("again", loop(delayed(abs)(-i) for i in range(4)), flush=True)
"""
TWO_WORKERS = r"worker (\d+)\s+worker (\d+)"


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


@pytest.fixture
def terminal():
    with Terminal() as terminal:
        yield terminal


def workers(terminal):
    return [int(pid) for pid in re.search(TWO_WORKERS, terminal.until(TWO_WORKERS)).groups()]


@pytest.mark.parametrize(
    "task", ["in_python", "asleep", "holding_the_interpreter", "multiplying", "digesting"]
)
def test_ctrl_c_brings_the_prompt_back(terminal, script, task):
    terminal.start(script, task)
    pids = workers(terminal)
    begun = time.monotonic()
    terminal.type(CTRL_C)
    shown = terminal.until(PROMPT)
    # 0.5 s is promised, and it is 0.05 s; the machine may be busy.
    assert time.monotonic() - begun < 2
    wait_until_gone(pids)
    assert shown.count("Traceback") == 1
    assert shown.rstrip().removesuffix("READY>").rstrip().endswith("KeyboardInterrupt")


def test_the_same_pool_works_after_ctrl_c(terminal, script):
    terminal.start(script, "asleep", "once")
    pids = workers(terminal)
    terminal.type(CTRL_C)
    shown = terminal.until(PROMPT)
    assert "caught\nagain [0, 1, 2, 3]\n" in shown
    assert "Traceback" not in shown
    wait_until_gone(pids)


def test_ctrl_c_again_and_again(terminal, script):
    terminal.start(script, "asleep")
    pids = workers(terminal)
    for _ in range(3):
        terminal.type(CTRL_C)
    terminal.until(PROMPT)
    wait_until_gone(pids)


def test_ctrl_c_while_workers_start(terminal, tmp_path):
    """With the modules that a zygote loads before it forks, so that it is busy when the interrupt comes."""
    path = tmp_path / "starting.py"
    path.write_text("""
import os, threading, time
import numpy as np
from lightwork import Parallel, delayed
from lightwork.workers import pool
def tasks():
    yield delayed(abs)(1)
    print("zygote", pool.lend_pool()._zygote, flush=True)  # `pool_info` would wait for the workers
    yield from [delayed(time.sleep)(600)] * 9
Parallel(n_jobs=2, pre_dispatch="all")(tasks())
""")
    terminal.start(path)
    zygote = int(re.search(r"zygote (\d+)", terminal.until(r"zygote \d+\s")).group(1))
    begun = time.monotonic()
    terminal.type(CTRL_C)
    shown = terminal.until(PROMPT)
    assert time.monotonic() - begun < 2
    assert shown.count("Traceback") == 1
    wait_until_gone([zygote])


def state(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


def wait_for_state(pids, wanted):
    deadline = time.monotonic() + PATIENCE
    while not all(state(pid) in wanted for pid in pids):
        assert time.monotonic() < deadline, [state(pid) for pid in pids]
        time.sleep(0.005)


def test_ctrl_z_stops_the_workers_too_and_fg_lets_all_go_on(terminal, script):
    terminal.start(script, "in_python", "once")
    pids = workers(terminal)
    terminal.type(CTRL_Z)
    terminal.until(PROMPT)
    wait_for_state(pids, "T")
    terminal.type("fg\n")
    wait_for_state(pids, "RS")
    terminal.type(CTRL_C)
    assert "again [0, 1, 2, 3]\n" in terminal.until(PROMPT)


def test_a_loop_that_was_stopped_has_all_its_results(terminal, tmp_path):
    path = tmp_path / "stopped.py"
    path.write_text("""
import os, sys, time
from lightwork import Parallel, delayed
def work(i):
    if i == 5:
        print("here", flush=True)
        while not os.path.exists(sys.argv[1]):
            time.sleep(0.001)
    return i * i
print(Parallel(n_jobs=2)(delayed(work)(i) for i in range(100)) == [i * i for i in range(100)])
""")
    terminal.start(path, str(tmp_path / "go"))
    terminal.until("here")
    terminal.type(CTRL_Z)
    terminal.until(PROMPT)
    terminal.type("jobs\n")
    assert "Stopped" in terminal.until(PROMPT)
    (tmp_path / "go").touch()
    terminal.type("bg\n")
    terminal.until("True")


def test_closing_the_window_ends_everything(terminal, script):
    terminal.start(script, "in_python")
    pids = workers(terminal)
    terminal.close()
    wait_until_gone(pids)


def ancestors(pid, count):
    found = [pid]
    for _ in range(count):
        with open(f"/proc/{found[-1]}/stat") as file:
            found.append(int(file.read().rpartition(")")[2].split()[1]))
    return found[1:]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_end_the_program_as_they_end_any(terminal, script, number):
    terminal.start(script, "asleep")
    pids = workers(terminal)
    zygote, guardian, program = ancestors(pids[0], 3)
    os.kill(program, number)
    terminal.until(PROMPT)
    terminal.type("echo status=$?\n")
    assert f"status={128 + number}" in terminal.until(r"status=\d+")
    wait_until_gone([*pids, zygote, guardian])
    assert not alive(program)


def test_a_task_that_asks_for_a_password_is_not_left_waiting(terminal, tmp_path):
    """Whoever reads from the terminal in the background is stopped, for ever; a worker has no terminal to read."""
    path = tmp_path / "asking.py"
    path.write_text("""
from lightwork import Parallel, delayed
def ask(_):
    try:
        return open("/dev/tty").readline()
    except OSError as error:
        return type(error).__name__
print(*Parallel(n_jobs=2)(delayed(ask)(i) for i in range(2)))
""")
    terminal.start(path)
    assert "OSError OSError" in terminal.until(PROMPT)


def test_output_of_native_code_appears_where_the_terminal_stops_those_in_the_background(terminal, tmp_path):
    path = tmp_path / "writing.py"
    path.write_text("""
import os
from lightwork import Parallel, delayed
Parallel(n_jobs=2)(delayed(os.write)(1, b"past Python\\n") for _ in range(2))
""")
    terminal.type("stty tostop\n")
    terminal.until(PROMPT)
    terminal.start(path)
    assert terminal.until(PROMPT).count("past Python") == 2
