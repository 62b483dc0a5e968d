"""Nothing that tasks started outlives them when they are ended by force, not even what left their process group."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from .programs import alive, run, start, wait_until_gone

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to find processes")

# A child, a grandchild, both in sessions of their own; and an orphan, whose parent has ended.
PROLOGUE = """
import os, signal, subprocess, sys, time
from lightwork import Parallel, delayed

FAMILY = r'''
setsid sh -c 'echo $$; setsid sh -c "echo \\$\\$; exec sleep 600" & wait' &
sh -c 'setsid sh -c "echo \\$\\$; exec sleep 600" &'
wait
'''

def start_family(*_):
    family = subprocess.Popen(["sh", "-c", FAMILY], stdout=subprocess.PIPE, text=True, start_new_session=True)
    return [family.pid, *(int(family.stdout.readline()) for _ in range(3))]

def tell(*pids):
    os.write(1, (" ".join(map(str, pids)) + "\\n").encode())  # also while the program is not waiting for us

def told(*_):
    tell(*start_family(), os.getpid())
    time.sleep(600)
"""
FIVE = r"(\d+) (\d+) (\d+) (\d+) (\d+)"


def family(text):
    return [int(pid) for pid in re.search(FIVE, text).groups()]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_of_a_program_that_is_killed(how):
    with start(PROLOGUE + "Parallel(n_jobs=2)(delayed(told)(i) for i in range(2))") as program:
        pids = family(program.stdout.readline()) + family(program.stdout.readline())
        assert all(map(alive, pids))
        program.send_signal(how)
    wait_until_gone(pids)


@pytest.mark.parametrize("method", ["zygote", "spawn", "fork"])
def test_of_a_loop_that_is_interrupted(method):
    code = f"""
    loop = Parallel(n_jobs=2, return_as="generator", batch_size=1, start_method={method!r})
    results = loop(delayed(told if i else int)() for i in range(2))
    next(results)
    sys.stdin.readline()
    results.close()
    print(*loop(delayed(abs)(i) for i in range(3)))
    """
    with start(PROLOGUE + code.replace("\n    ", "\n"), stdin=subprocess.PIPE) as program:
        pids = family(program.stdout.readline())
        program.stdin.write("\n")
        program.stdin.flush()
        assert program.stdout.readline() == "0 1 2\n"
        wait_until_gone(pids)
        program.stdin.close()
        assert program.stderr.read() == ""


def test_of_a_task_that_kills_its_worker():
    code = """
def crash(i):
    if i == 3:
        tell(*start_family(), os.getpid())
        os.kill(os.getpid(), signal.SIGKILL)
    return i
try:
    Parallel(n_jobs=2, batch_size=1)(delayed(crash)(i) for i in range(6))
except Exception as error:
    print(error.index)
"""
    out, err, status = run(PROLOGUE + code)
    assert (out.splitlines()[1], err, status) == ("3", "", 0)
    wait_until_gone(family(out))


IDLE = """
import threading
def child_of(pid):
    (child,) = open(f"/proc/{pid}/task/{pid}/children").read().split()
    return int(child)
guardian = lambda: child_of(os.getpid())
zygote = lambda: child_of(guardian())
loop = Parallel(n_jobs=2, return_as="generator", batch_size=1, start_method=METHOD)
results = loop(delayed(told if i else int)() for i in range(3))
next(results)  # the second task runs; the program does something else
sys.stdin.readline()
VICTIMS
sys.stdin.readline()
try:
    print(list(results))
except Exception as error:
    print(type(error).__name__)
print(list(loop(delayed(abs)(i) for i in range(3))))
"""
each_start = pytest.mark.parametrize("method", ["zygote", "spawn", "fork"])


@each_start
@pytest.mark.parametrize(
    "kill",
    [
        "os.kill(zygote(), signal.SIGKILL)",
        "os.killpg(zygote(), signal.SIGKILL)",
        "os.kill(zygote(), signal.SIGTERM)",
        "os.kill(guardian(), signal.SIGKILL)",
        "os.killpg(guardian(), signal.SIGKILL)",
    ],
)
def test_of_a_zygote_that_is_killed(kill, method):
    """Also while its program is elsewhere, and sees nothing."""
    code = PROLOGUE + IDLE.replace("METHOD", repr(method)).replace("VICTIMS", kill)
    with start(code, stdin=subprocess.PIPE) as program:
        pids = family(program.stdout.readline()) + family(program.stdout.readline())
        assert all(map(alive, pids))
        program.stdin.write("\n")
        program.stdin.flush()
        wait_until_gone(pids)
        program.stdin.write("\n")
        program.stdin.flush()
        assert program.stdout.read() == "WorkerDied\n[0, 1, 2]\n"
        assert program.stderr.read() == ""


def test_of_a_zygote_that_is_killed_during_a_loop():
    code = """
import threading
def kill_when_told():
    sys.stdin.readline()
    os.kill(zygote(), signal.SIGKILL)
def zygote():
    pid = os.getpid()
    for _ in range(2):
        (pid,) = open(f"/proc/{pid}/task/{pid}/children").read().split()
    return int(pid)
threading.Thread(target=kill_when_told).start()
try:
    Parallel(n_jobs=2)(delayed(told)(i) for i in range(2))
except Exception as error:
    print(error)
print(Parallel(n_jobs=2, retries=9)(delayed(abs)(i) for i in range(3)))
"""
    with start(PROLOGUE + code, stdin=subprocess.PIPE) as program:
        pids = family(program.stdout.readline()) + family(program.stdout.readline())
        program.stdin.write("\n")
        program.stdin.close()
        said, results = program.stdout.read().splitlines()
        assert "with the zygote that had forked it" in said
        assert (results, program.stderr.read()) == ("[0, 1, 2]", "")
        assert not any(map(alive, pids))  # others were started only then


ZYGOTE = """
import os, pathlib, signal, time
from lightwork import Parallel, delayed
from lightwork.errors import WorkerDied, WorkerStartError
def child_of(pid):
    return int(open(f"/proc/{pid}/task/{pid}/children").read())
"""


@each_start
def test_a_zygote_that_is_killed_takes_the_running_tasks_alone(method, tmp_path):
    code = """
def one(i, path):
    if i == 3 and not path.exists():
        path.touch()
        time.sleep(600)
    return i
def kill(path):
    while not path.exists():
        time.sleep(0.005)
    os.kill(child_of(child_of(os.getpid())), signal.SIGKILL)
path = pathlib.Path("running")
loop = Parallel(n_jobs=3, on_error="return", batch_size=1, start_method=METHOD, return_as="generator")
results = loop([*(delayed(one)(i, path) for i in range(40))])
found = [next(results) for _ in range(3)]
kill(path)
for result in results:
    found.append(result if isinstance(result, int) else type(result.error).__name__)
print(sum(isinstance(result, str) for result in found) in (1, 2, 3), found[3])
print([i for i, result in enumerate(found) if result not in (i, "WorkerDied")], len(found))
"""
    out, err, status = run(ZYGOTE + code.replace("METHOD", repr(method)), cwd=tmp_path)
    assert (out, err, status) == ("True WorkerDied\n[] 40\n", "", 0)


def test_an_idle_pool_whose_zygote_was_killed_serves_the_next_loop_at_once():
    """Whatever of its end is seen by then; a task may have begun on one of its workers."""
    code = """
loop = Parallel(n_jobs=2, retries=9)
for delay in range(20):
    assert loop(delayed(abs)(i) for i in range(3)) == [0, 1, 2]
    guardian = child_of(os.getpid())
    os.kill(child_of(guardian) if delay % 2 else guardian, signal.SIGKILL)
    time.sleep(delay / 4000)
    assert loop(delayed(abs)(i) for i in range(3)) == [0, 1, 2]
    while os.path.exists(f"/proc/{guardian}"):  # until its end was seen
        loop(delayed(abs)(i) for i in range(3))
print("done")
"""
    assert run(ZYGOTE + code) == ("done\n", "", 0)


def test_a_zygote_that_is_killed_again_and_again_ends_the_loop():
    code = """
def end_all():
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)
try:
    Parallel(n_jobs=16, initializer=end_all)(delayed(abs)(i) for i in range(3))
except (WorkerStartError, WorkerDied) as error:  # by the count of workers, or of what one task lost
    print(error)
print(Parallel(n_jobs=2, retries=9)(delayed(abs)(i) for i in range(3)))
"""
    out, err, status = run(ZYGOTE + code)
    assert "a worker process ended while it ran no task: with the zygote that had forked it" in out
    assert (out.splitlines()[-1], err, status) == ("[0, 1, 2]", "", 0)


def test_of_a_zygote_and_its_guardian_killed_at_once():
    """All but those that have left their session, whom nobody can find then."""
    code = """
from lightwork import pool_info
def told_of_one(i):
    child = subprocess.Popen(["sleep", "600"])
    tell(child.pid, os.getpid())
    time.sleep(600)
def kill_all():
    sys.stdin.readline()
    guardian = pool_info().zygote
    zygote = int(open(f"/proc/{guardian}/task/{guardian}/children").read())
    for pid in guardian, zygote:
        os.kill(pid, signal.SIGSTOP)
    for pid in guardian, zygote:
        os.kill(pid, signal.SIGKILL)
import threading
threading.Thread(target=kill_all).start()
try:
    Parallel(n_jobs=2)(delayed(told_of_one)(i) for i in range(2))
except Exception as error:
    print(type(error).__name__)
"""
    with start(PROLOGUE + code, stdin=subprocess.PIPE) as program:
        pids = [int(word) for _ in range(2) for word in program.stdout.readline().split()]
        program.stdin.write("\n")
        program.stdin.close()
        assert (program.stdout.read(), program.stderr.read()) == ("WorkerDied\n", "")
    wait_until_gone(pids)


def test_what_a_task_started_to_stay_stays_where_all_ends_well():
    code = """
def daemon(i):
    nowhere = dict.fromkeys(["stdin", "stdout", "stderr"], subprocess.DEVNULL)
    return subprocess.Popen(["sleep", "600"], start_new_session=True, **nowhere).pid
print(*Parallel(n_jobs=2, batch_size=1)(delayed(daemon)(i) for i in range(2)))
"""
    out, err, status = run(PROLOGUE + code)
    pids = [int(word) for word in out.split()]
    try:
        assert (err, status) == ("", 0)
        assert all(map(alive, pids))
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
