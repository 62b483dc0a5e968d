"""One computation of a key at a time, among threads and among processes, however they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lightwork.memory import Memory, flight
from lightwork.memory.flight import Flight

_PATIENCE = 30


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path / "cache", verbose=0)


def together(*works: Callable[[], object]) -> list[object]:
    """Run functions in threads; returns what they returned, or what they raised."""
    results: list[object] = [None] * len(works)

    def run(place: int) -> None:
        try:
            results[place] = works[place]()
        except BaseException as error:
            results[place] = error

    threads = [threading.Thread(target=run, args=(place,), daemon=True) for place in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_PATIENCE)
        assert not thread.is_alive(), "a thread waits for ever"
    return results


# --- threads ----------------------------------------------------------------------------------------


class Gate:
    """Lets functions wait for each other; equal to all others of its kind, so that it makes no difference to keys."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.barrier = threading.Barrier(2, timeout=_PATIENCE)
        self.calls: list[object] = []

    def __lightwork_hash__(self) -> object:
        return None


def test_threads_compute_a_key_once(memory):
    gate = Gate()

    @memory.cache
    def f(x, gate):
        gate.calls.append(x)
        gate.event.wait(_PATIENCE)
        return 2 * x

    works = [lambda x=x: f(x, gate) for x in (1, 2) for _ in range(4)]

    def release() -> None:
        while len(flight._table.waits) < 6:
            pass
        gate.event.set()

    assert together(*works, release) == [2] * 4 + [4] * 4 + [None]
    assert sorted(gate.calls) == [1, 2]
    assert flight._table.running == flight._table.held == flight._table.waits == flight._table.files == {}


def test_a_failing_computation_lets_the_next_try(memory):
    gate = Gate()

    @memory.cache
    def f(gate):
        gate.calls.append(1)
        gate.event.wait(_PATIENCE)
        if len(gate.calls) == 1:
            raise KeyError("first")
        return "second"

    def release() -> None:
        while not flight._table.waits:
            pass
        gate.event.set()

    results = together(lambda: f(gate), lambda: f(gate), release)
    assert {type(result) for result in results} == {KeyError, str, type(None)}
    assert len(gate.calls) == 2


def test_threads_that_need_each_others_keys_finish(memory):
    gate = Gate()

    @memory.cache(ignore=["deep"])
    def f(name, gate, deep=True):
        gate.calls.append(name)
        if deep:
            gate.barrier.wait()
            return name + f({"a": "b", "b": "a"}[name], gate, False)
        return name

    assert [result[0] for result in together(lambda: f("a", gate), lambda: f("b", gate))] == ["a", "b"]
    assert len(gate.calls) in (2, 3)


def test_a_key_that_needs_itself_is_computed(memory):
    @memory.cache(ignore=["depth"])
    def f(x, depth):
        return depth if depth == 0 else 1 + f(x, depth - 1)

    assert f(1, 5) == 5


def test_more_keys_than_are_locked_can_be_held(memory):
    @memory.cache
    def down(n):
        return 0 if n == 0 else 1 + down(n - 1)

    assert down(150) == 150
    assert flight._table.files == {}


def test_a_thread_that_waits_says_so(tmp_path, capfd):
    gate = Gate()

    @Memory(tmp_path, verbose=1).cache
    def f(x, gate):
        gate.event.wait(_PATIENCE)
        return x

    def release() -> None:
        while not flight._table.waits:
            pass
        gate.event.set()

    together(lambda: f(1, gate), lambda: f(1, gate), release)
    lines = capfd.readouterr().out.splitlines()
    assert sum("Waiting for" in line for line in lines) == 1
    assert sum("Calling" in line for line in lines) == 1


def test_where_there_can_be_no_file_there_is_no_lock(tmp_path):
    (tmp_path / "file").write_text("")
    with Flight(str(tmp_path / "file"), "ab" * 16, lambda: None) as alone:
        assert not alone.waited
        assert flight._table.files == {}
    assert flight._table.running == {}


def test_an_interrupt_while_waiting_for_the_lock_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(flight.fcntl, "lockf", interrupted)
    with pytest.raises(KeyboardInterrupt), Flight(str(tmp_path), "ab" * 16, lambda: None):
        pytest.fail("not reached")
    monkeypatch.undo()
    assert flight._table.running == flight._table.held == flight._table.files == {}


# --- processes --------------------------------------------------------------------------------------


@pytest.fixture
def start(tmp_path):
    """Start programs in the test's folder; those that still run at its end are killed."""
    running: list[subprocess.Popen[str]] = []

    def program(source: str, *arguments: str) -> subprocess.Popen[str]:
        path = tmp_path / "program.py"
        path.write_text(textwrap.dedent(source))
        process = subprocess.Popen(
            [sys.executable, "-B", str(path), *arguments],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        running.append(process)
        return process

    yield program
    for process in running:
        process.kill()
        process.communicate()


SHARED = """
import os, sys
from lightwork import Memory
memory = Memory("cache", verbose=1)

def note(line):
    with open("log", "a") as log:
        log.write(line + "\\n")

@memory.cache
def f(x):
    note(str(x))
    return [x] * 1000

for x in range(40):
    x = (x + 5 * int(sys.argv[1])) % 40
    assert f(x) == [x] * 1000
"""


def test_processes_compute_each_key_once(tmp_path, start):
    running = [start(SHARED, str(i)) for i in range(4)]
    for process in running:
        said, _ = process.communicate(timeout=_PATIENCE)
        assert process.returncode == 0, said
    computed = (tmp_path / "log").read_text().split()
    assert sorted(map(int, computed)) == list(range(40))


HOLDER = """
import os, sys, time
from lightwork import Memory

@Memory("cache", verbose=1).cache(ignore=["hang"])
def f(x, hang=False):
    print("computing", flush=True)
    while hang:
        time.sleep(60)
    return x

print(f(1, "hang" in sys.argv), flush=True)
"""


def line_with(process: subprocess.Popen[str], text: str) -> None:
    """Read what a process says until a line holds this text."""
    for line in process.stdout:
        if text in line:
            return
    pytest.fail(f"the process never said {text!r}")


def test_a_killed_holder_frees_those_who_wait(start):
    holder = start(HOLDER, "hang")
    line_with(holder, "computing")
    waiter = start(HOLDER)
    line_with(waiter, "Waiting")
    holder.send_signal(signal.SIGKILL)
    said, _ = waiter.communicate(timeout=_PATIENCE)
    assert said.startswith("[Memory] Calling __main__.f(1")
    assert said.endswith("1\n")


def test_ctrl_c_ends_a_wait(start):
    holder = start(HOLDER, "hang")
    line_with(holder, "computing")
    waiter = start(HOLDER)
    line_with(waiter, "Waiting")
    waiter.send_signal(signal.SIGINT)
    said, _ = waiter.communicate(timeout=_PATIENCE)
    assert waiter.returncode != 0
    assert said.rstrip().endswith("KeyboardInterrupt")


OPPOSITE = """
import sys, time
from pathlib import Path
from lightwork import Memory

@Memory("cache", verbose=0).cache(ignore=["deep"])
def f(name, deep=True):
    if not deep:
        return name
    other = {"a": "b", "b": "a"}[name]
    Path("holds-" + name).touch()
    while not Path("holds-" + other).exists():
        time.sleep(0.001)
    return name + f(other, False)[0]

print(f(sys.argv[1]))
"""


def test_processes_that_need_each_others_keys_finish(start):
    running = [start(OPPOSITE, name) for name in "ab"]
    said = [process.communicate(timeout=_PATIENCE)[0] for process in running]
    assert [text[0] for text in said] == ["a", "b"]
    assert [process.returncode for process in running] == [0, 0]


FORKED = """
import os, threading, warnings
warnings.simplefilter("ignore")  # the function uses events, which are not followed
from lightwork import Memory

held, done = threading.Event(), threading.Event()

@Memory("cache", verbose=0).cache(ignore=["wait"])
def f(x, wait=False):
    if wait:
        held.set()
        done.wait()
    return x

thread = threading.Thread(target=f, args=(1, True))
thread.start()
held.wait()
child = os.fork()
if child == 0:
    # The parent's thread holds the key; here is no such thread, and the key's byte is the parent's.
    print(f(2), flush=True)
    os._exit(0)
_, status = os.waitpid(child, 0)
done.set()
thread.join()
print(status, f(1), f(2))
"""


def test_a_forked_child_begins_anew(start):
    process = start(FORKED)
    said, _ = process.communicate(timeout=_PATIENCE)
    assert said == "2\n0 1 2\n"


def test_other_users_of_the_file_do_no_harm(memory):
    """Closing another descriptor of the file drops our locks: that costs work done twice, no more."""

    @memory.cache
    def f(x):
        os.close(os.open(f"{memory.store_backend.folder}/state", os.O_RDONLY))
        return x

    assert f(1) == 1
    assert f(2) == 2
