"""The pool owns its processes: they end with it, however it ends."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from lightwork.errors import WorkerStartError
from lightwork.workers import launch, pool
from lightwork.workers.framing import Kind

PROLOGUE = """
import os, signal, sys, time
from lightwork.parallel.backends.base import CrewOptions
from lightwork.parallel.backends.processes import lend
def send(crew, index, worker, func, *args):
    crew.send(worker, index, [crew.encode(index, (func, args, {}))])
def pids(crew):
    for index, worker in enumerate(crew.workers):
        send(crew, index, worker, os.getpid)
    found = []
    while len(found) < len(crew.workers):
        found += [event.results[0] for event in crew.wait(30)]
    return found
"""


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def wait_until_gone(found, seconds=30.0):
    deadline = time.monotonic() + seconds
    while any(alive(pid) for pid in found):
        assert time.monotonic() < deadline, f"still there: {[pid for pid in found if alive(pid)]}"
        time.sleep(0.01)  # there is no event for the end of somebody else's child


def run_script(code, *, wait=True):
    program = subprocess.Popen([sys.executable, "-c", PROLOGUE + code], stdout=subprocess.PIPE, text=True)
    if wait:
        out, _ = program.communicate(timeout=60)
        assert program.returncode == 0
        return out
    return program


BUSY = """
crew = lend(2, CrewOptions())
found = pids(crew)
parents = {int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1]) for pid in found}
for index, worker in enumerate(crew.workers):
    send(crew, index, worker, time.sleep, 60)
print(*found, *parents, flush=True)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_workers_and_zygote_end_when_their_parent_is_killed(how):
    program = run_script(BUSY + "time.sleep(60)", wait=False)
    found = [int(word) for word in program.stdout.readline().split()]
    assert len(found) == 3
    assert all(alive(pid) for pid in found)
    program.send_signal(how)
    program.wait(30)
    program.stdout.close()
    wait_until_gone(found)


def test_workers_end_when_the_zygote_is_killed_and_others_follow():
    out = run_script(
        BUSY
        + textwrap.dedent("""
    zygote, = parents
    os.kill(zygote, signal.SIGKILL)
    events = []
    while len(events) < 4:
        events += crew.wait(30)
    print(*sorted(type(event).__name__ for event in events))
    print(all(event.claimed in (event.worker, None) for event in events if type(event).__name__ == "Died"))
    print(len(set(pids(crew)) - set(found)))
    crew.release()
    """)
    ).splitlines()
    assert out[1:] == ["Died Died Up Up", "True", "2"]
    wait_until_gone(map(int, out[0].split()))


def test_everything_ends_with_the_program_and_idle_workers_leave_by_the_front_door(tmp_path):
    out = run_script(
        textwrap.dedent(f"""
    def register(path):
        import atexit
        atexit.register(lambda: open(path, "a").write("left\\n"))
    crew = lend(2, CrewOptions())
    found = pids(crew)
    for index, worker in enumerate(crew.workers):
        send(crew, index, worker, register, {str(tmp_path / "log")!r})
    done = 0
    while done < 2:
        done += len(crew.wait(30))
    crew.release()
    print(*found)
    """)
    )
    wait_until_gone(map(int, out.split()))
    assert (tmp_path / "log").read_text() == "left\n" * 2


def test_a_forked_child_has_a_pool_of_its_own():
    out = run_script(
        textwrap.dedent("""
    crew = lend(1, CrewOptions())
    ours = pids(crew)
    child = os.fork()
    if child == 0:
        other = lend(1, CrewOptions())
        theirs = pids(other)
        other.release()
        print(len(set(theirs) & set(ours)), flush=True)
        sys.exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert pids(crew) == ours
    crew.release()
    print("still mine")
    """)
    )
    assert out.split("\n")[:2] == ["0", "still mine"]


def test_a_pool_started_in_a_thread_that_ended_goes_on(monkeypatch):
    lent = []
    thread = threading.Thread(target=lambda: lent.extend(pool.lend_pool().lend(1)))
    thread.start()
    thread.join()
    (worker,) = lent
    time.sleep(0.05)  # PR_SET_PDEATHSIG would strike here, were it tied to the thread that started the zygote
    worker.channel.receive()
    assert not worker.channel.ended
    pool.lend_pool().give_back(lent)


def test_a_zygote_that_cannot_start_is_told(monkeypatch, capfd):
    monkeypatch.setattr(launch, "interpreter_flags", lambda: ["-c", "raise SystemExit(5)"])
    mine = pool.Pool()
    (worker,) = mine.lend(1)
    assert mine.info().workers == ()
    assert mine.ending(worker) is None
    with pytest.raises(WorkerStartError, match="exit code 5"):
        mine.has_crashed()
    worker.close()
    mine.shutdown()


def test_the_zygote_leaves_no_zombie_and_shutdown_can_be_repeated():
    mine = pool.Pool()
    mine.give_back(mine.lend(2))
    zygote = mine._zygote
    mine.shutdown()
    mine.shutdown()
    with pytest.raises(ChildProcessError):
        os.waitpid(zygote, os.WNOHANG)


def test_a_worker_that_comes_back_after_the_end_is_let_go_of():
    mine = pool.Pool()
    lent = mine.lend(1)
    mine.shutdown()
    mine.give_back(lent)
    assert lent[0].channel.fileno() == -1
    (other,) = mine.lend(1)
    mine.give_back([other])
    mine.shutdown()


def test_a_worker_that_left_by_itself_is_replaced():
    mine = pool.Pool()
    (worker,) = mine.lend(1)
    worker.channel.post(Kind.STOP)
    assert mine.ending(worker) is not None
    mine.give_back([worker])
    (other,) = mine.lend(1)
    assert other is not worker
    mine.give_back([other])
    mine.shutdown()


def test_memory_of_large_results_is_given_back():
    mine = pool.Pool()
    (worker,) = mine.lend(1)
    mine_too = [os.dup(descriptor) for descriptor in worker._outboxes]
    for descriptor, size in zip(mine_too, (200 << 20, 1 << 20), strict=True):
        os.ftruncate(descriptor, size)
    mine.give_back([worker])
    mine.shutdown()  # by then the worker has done what it was told before
    assert [os.fstat(descriptor).st_size for descriptor in mine_too] == [0, 0]
    for descriptor in mine_too:
        os.close(descriptor)


def test_a_worker_of_a_zygote_that_has_gone_is_not_waited_for():
    mine = pool.Pool()
    (old,) = mine.lend(1)
    os.kill(mine._zygote, signal.SIGKILL)
    assert mine.ending(old) is None
    (new,) = mine.lend(1)
    assert new.control is not old.control
    mine.kill([old])
    mine.give_back([new])
    mine.shutdown()


def hang_at_exit():
    import atexit

    atexit.register(time.sleep, 3600)


def test_a_worker_that_does_not_leave_by_itself_is_killed(monkeypatch):
    monkeypatch.setattr(pool, "_FAREWELL", 0.2)
    from lightwork import Parallel, delayed

    Parallel(n_jobs=2)(delayed(hang_at_exit)() for _ in range(2))
    found = [worker.pid for worker in pool.pool_info().workers]
    pool.shutdown()
    wait_until_gone(found)


def test_what_there_is_can_be_looked_at():
    assert pool.Pool().info() == (None, (), 0)
    mine = pool.Pool()
    workers = mine.lend(2)
    mine.give_back(workers[:1])
    info = mine.info()  # also of workers whose zygote has just been told to start
    assert info.zygote == mine._zygote
    assert sorted(worker.idle for worker in info.workers) == [False, True]
    assert all(worker.memory > 1 << 20 and worker.kept == 0 for worker in info.workers)
    mine.kill(workers)
    mine._idle.clear()
    assert mine.info().workers == ()
    mine.shutdown()
