"""What is said while a call waits for somebody else's computation."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import subprocess
import sys
import threading

import pytest

from lightwork.memory import Memory, flight, waiting
from lightwork.memory.flight import Flight
from lightwork.memory.waiting import Wait, Waits, computing_process

_PATIENCE = 60


def test_a_wait_is_said_again_at_growing_intervals():
    waits = Waits()
    wait = Wait("f(1)", lambda: "somebody", now=100.0)
    waits.add(wait)
    said = [seconds for seconds in range(0, 4 * 3600, 5) if waits.due(100.0 + seconds)]
    assert said == [10, 60, 300, 1800, 5400, 9000, 12600]


def test_waits_are_independent_and_those_that_are_over_are_silent():
    waits = Waits()
    one, two = Wait("one", lambda: "a", now=0.0), Wait("two", lambda: "a", now=7.0)
    waits.add(one), waits.add(two)
    assert waits.next_due() == 10
    assert waits.due(10.0) == [one]
    waits.discard(one)
    assert waits.next_due() == 17
    assert waits.due(80.0) == [two]
    waits.discard(two), waits.discard(two)
    assert not waits
    assert waits.due(1e9) == []


def test_after_a_standstill_it_is_said_once():
    waits = Waits()
    waits.add(Wait("f", lambda: "a", now=0.0))
    assert len(waits.due(1e6)) == 1
    assert waits.due(1e6) == []


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(waiting, "_AGAIN", (0.01, 0.02))
    monkeypatch.setattr(waiting, "_LATER", 0.01)


_HOLDER = """
import sys
from lightwork import Memory

@Memory(sys.argv[1], verbose=0, track="none").cache(version="v", key=lambda x: x)
def f(x):
    print("computing", flush=True)
    sys.stdin.readline()
    return x
f(1)
"""


@pytest.mark.skipif(sys.platform not in waiting._FLOCK, reason="the form of its lock is not known")
def test_a_call_says_who_computes_what_it_waits_for(tmp_path, impatient, monkeypatch):
    """The line comes again while the other process computes, and tells its number."""
    program = tmp_path / "program.py"
    program.write_text(_HOLDER)
    command = [sys.executable, str(program), str(tmp_path / "cache")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "computing\n"
        held = waiting_byte(tmp_path / "cache")
        descriptor = os.open(tmp_path / "cache" / "lightwork" / "state", os.O_RDWR)
        assert computing_process(descriptor, held) == f"process {holder.pid}"
        assert computing_process(descriptor, held + 1) == "another process"
        os.close(descriptor)
        said, again = [], threading.Event()

        def tell(line):
            said.append(line)
            if len(said) == 4:
                again.set()
                holder.stdin.write("\n")
                holder.stdin.flush()

        monkeypatch.setattr(waiting, "tell", tell)
        with waiting_flight(tmp_path / "cache", held) as waited:
            assert waited.waited
            assert again.is_set()
    assert said[0] == f"[Memory] Waiting for f(1), which process {holder.pid} is computing"
    assert re.search(rf" after \d+\.\ds: process {holder.pid} is computing it$", said[1])
    assert all(line.startswith("[Memory] Still waiting for f(1) after") for line in said[1:])
    assert not waiting._speaker.waits


def waiting_byte(cache) -> int:
    """The byte that is locked in the state of a cache: found as the kernel tells it."""
    form, places = waiting._FLOCK[sys.platform]
    asked = [0] * 5
    for place, value in zip(places, (fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0), strict=True):
        asked[place] = value
    descriptor = os.open(cache / "lightwork" / "state", os.O_RDWR)
    try:
        found = struct.unpack(form, fcntl.fcntl(descriptor, fcntl.F_GETLK, struct.pack(form, *asked)))
    finally:
        os.close(descriptor)
    assert found[places[0]] != fcntl.F_UNLCK
    return found[places[2]]


def waiting_flight(cache, byte: int) -> Flight:
    return Flight(str(cache / "lightwork"), f"{byte:015x}" + "0" * 17, lambda: "f(1)")


def held_up(x, entered, leave):
    entered.set()
    leave.wait(_PATIENCE)
    return x


def test_a_thread_that_waits_says_so_again(tmp_path, impatient, monkeypatch):
    started, said, again = threading.Event(), [], threading.Event()

    def tell(line):
        said.append(line)
        if line.startswith("[Memory] Still"):
            again.set()

    monkeypatch.setattr(waiting, "tell", tell)

    f = Memory(tmp_path, verbose=1).cache(ignore=["entered", "leave"])(held_up)
    first = threading.Thread(target=f, args=(1, started, again))
    first.start()
    assert started.wait(_PATIENCE)
    assert f(1, started, again) == 1
    first.join()
    assert said[0].endswith("which another call in this process is computing")
    assert "Still waiting" in said[1]
    assert not waiting._speaker.waits


def test_who_is_silent_starts_no_thread(tmp_path):
    entered, leave = threading.Event(), threading.Event()

    f = Memory(tmp_path, verbose=0).cache(ignore=["entered", "leave"])(held_up)
    threads = [threading.Thread(target=f, args=(1, entered, leave)) for _ in range(2)]
    threads[0].start()
    assert entered.wait(_PATIENCE)
    threads[1].start()
    while not flight._table.waits:
        pass
    assert "lightwork-waiting" not in {thread.name for thread in threading.enumerate()}
    leave.set()
    for thread in threads:
        thread.join()


def test_a_closed_output_ends_the_reminders_and_not_the_call(tmp_path, impatient, monkeypatch):
    closed = threading.Event()

    def tell(line):
        if line.startswith("[Memory] Still"):
            closed.set()
            raise ValueError("I/O operation on closed file")

    monkeypatch.setattr(waiting, "tell", tell)
    wait = Wait("f", lambda: "a", now=0.0)
    waiting.begin(wait)
    thread = waiting._speaker.thread
    assert closed.wait(_PATIENCE)
    thread.join(_PATIENCE)
    assert not thread.is_alive()
    waiting.end(wait)
    assert waiting._speaker.thread is None


def test_a_forked_child_waits_for_nothing(impatient):
    wait = Wait("f", lambda: "a", now=0.0)
    waiting._speaker.waits.add(wait)
    try:
        child = os.fork()
        if not child:
            os._exit(bool(waiting._speaker.waits) or waiting._speaker.thread is not None)
        assert os.waitpid(child, 0)[1] == 0
    finally:
        waiting.end(wait)
