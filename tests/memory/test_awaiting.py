"""Coroutines that need the same result: one computes, the others wait, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import textwrap
import threading

import pytest

from lightwork.memory import Memory, flight

calls: list[object] = []


@pytest.fixture
def memory(tmp_path):
    calls.clear()
    return Memory(tmp_path, verbose=0)


@pytest.fixture(autouse=True)
def nothing_held():
    yield
    table = flight._table
    assert table.running == table.held == table.waits == table.files == {}
    assert table.polled == set()


async def until(condition):
    """Let others run until something is so."""
    while not condition():
        await asyncio.sleep(0.001)


class Slow:
    """A remembered coroutine function that ends when it is told to."""

    def __init__(self, memory):
        self.begun = self.ended = 0
        self.go = asyncio.Event()
        self._compute = memory.cache(_compute, ignore=["slow"])

    def function(self, x):
        return self._compute(x, self)

    def shelve(self, x):
        return self._compute.call_and_shelve(x, self)


async def _compute(x, slow):
    slow.begun += 1
    await slow.go.wait()
    slow.ended += 1
    return {"x": x}


def test_tasks_of_one_loop_compute_once(memory):
    async def main():
        slow = Slow(memory)
        tasks = [asyncio.create_task(slow.function(1)) for _ in range(8)]
        await until(lambda: len(flight._table.waits) == 7)
        slow.go.set()
        found = await asyncio.gather(*tasks)
        assert found == [{"x": 1}] * 8
        assert len({id(each) for each in found}) == 8  # nobody sees what another does to the result
        assert (slow.begun, slow.ended) == (1, 1)
        assert await slow.function(1) == {"x": 1}
        assert slow.begun == 1

    asyncio.run(main())


def test_other_keys_do_not_wait(memory):
    async def main():
        slow = Slow(memory)
        tasks = [asyncio.create_task(slow.function(x)) for x in range(5)]
        await until(lambda: slow.begun == 5)
        slow.go.set()
        assert await asyncio.gather(*tasks) == [{"x": x} for x in range(5)]

    asyncio.run(main())


def test_when_the_one_that_computes_is_cancelled_another_goes_on(memory):
    async def main():
        slow = Slow(memory)
        first = asyncio.create_task(slow.function(1))
        await until(lambda: slow.begun == 1)
        others = [asyncio.create_task(slow.function(1)) for _ in range(3)]
        await until(lambda: len(flight._table.waits) == 3)
        first.cancel()
        await until(lambda: slow.begun == 2)
        slow.go.set()
        assert await asyncio.gather(*others) == [{"x": 1}] * 3
        assert (slow.begun, slow.ended) == (2, 1)
        with pytest.raises(asyncio.CancelledError):
            await first

    asyncio.run(main())


def test_those_who_wait_can_be_cancelled(memory):
    async def main():
        slow = Slow(memory)
        first = asyncio.create_task(slow.function(1))
        await until(lambda: slow.begun == 1)
        other = asyncio.create_task(slow.function(1))
        await until(lambda: flight._table.waits)
        other.cancel()
        with pytest.raises(asyncio.CancelledError):
            await other
        assert not flight._table.waits
        slow.go.set()
        assert await first == {"x": 1}

    asyncio.run(main())


def test_an_error_lets_the_next_try(memory):
    async def main():
        go = asyncio.Event()

        @memory.cache(ignore=["number", "go"])
        async def fail(number, go):
            calls.append(number)
            await go.wait()
            if len(calls) < 3:
                raise KeyError(number)
            return "done"

        tasks = [asyncio.create_task(fail(number, go)) for number in range(4)]
        await until(lambda: len(flight._table.waits) == 3)
        go.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(each) for each in found] == [KeyError, KeyError, str, str]
        assert calls == [0, 1, 2]

    asyncio.run(main())


def test_loops_of_several_threads_compute_once(memory):
    go = threading.Event()

    @memory.cache(ignore=["go"])
    async def slow(x, go):
        calls.append(x)
        while not go.is_set():
            await asyncio.sleep(0.001)
        return x

    found = []
    threads = [threading.Thread(target=lambda: found.append(asyncio.run(slow(1, go)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    asyncio.run(until(lambda: len(flight._table.waits) == 3))
    go.set()
    for thread in threads:
        thread.join()
    assert found == [1] * 4
    assert calls == [1]


def test_a_key_that_needs_itself_is_computed(memory):
    depth = []

    @memory.cache(key=lambda how: 0)
    async def nested(how):
        depth.append(how)
        if len(depth) == 3:
            return "done"
        if how == "await":
            return await nested(how)
        return (
            await asyncio.create_task(nested(how))
            if how == "task"
            else (await asyncio.gather(nested(how)))[0]
        )

    for how in ("await", "task", "gather"):
        depth.clear()
        assert asyncio.run(asyncio.wait_for(nested(how), 10)) == "done"
        assert len(depth) == 3
        nested.clear()


class Meeting:
    """Where two coroutines, each holding its key, meet before each asks for the other's."""

    def __init__(self):
        self.here = 0
        self.all = asyncio.Event()

    async def wait(self):
        self.here += 1
        if self.here == 2:
            self.all.set()
        await self.all.wait()


async def half(x, meeting, spawn):
    calls.append(x)
    if meeting.all.is_set():
        return [x]
    await meeting.wait()
    other = meeting.half(1 - x, meeting, spawn)
    return [x, (await asyncio.gather(other))[0] if spawn else await other]


@pytest.mark.parametrize("spawn", [False, True])
def test_tasks_that_need_each_others_keys_finish(memory, spawn):
    """Each holds its key and needs the other's, itself or through a task that it waits for."""

    async def main():
        meeting = Meeting()
        meeting.half = memory.cache(half, ignore=["meeting", "spawn"])
        both = [meeting.half(x, meeting, spawn) for x in (0, 1)]
        return await asyncio.wait_for(asyncio.gather(*both), 10)

    zero, one = asyncio.run(main())
    assert (zero[0], one[0]) == (0, 1)
    # One of them found that the other waits for it, and computed what it needed.
    assert calls[:2] == [0, 1]
    assert len(calls) == 3
    assert sorted([len(zero[1]), len(one[1])]) == [1, 2]


def test_a_coroutine_that_is_thrown_away_frees_its_key(memory):
    slow = memory.cache(key=lambda x: x)(_forever)

    async def main():
        coroutine = slow(1)
        coroutine.send(None)
        assert flight._table.running
        coroutine.close()

    asyncio.run(main())
    gc.collect()


async def _forever(x):
    await asyncio.get_running_loop().create_future()


def test_without_an_event_loop_everybody_computes(memory):
    @memory.cache
    async def plain(x):
        calls.append(x)
        return x

    coroutine = plain(1)
    with pytest.raises(StopIteration) as end:
        coroutine.send(None)
    assert end.value.value == 1
    assert plain.check_call_in_cache(1)


def test_a_wait_is_said(tmp_path, capfd):
    async def main():
        slow = Slow(Memory(tmp_path, verbose=1))
        tasks = [asyncio.create_task(slow.function(1)) for _ in range(2)]
        await until(lambda: flight._table.waits)
        slow.go.set()
        await asyncio.gather(*tasks)

    asyncio.run(main())
    said = capfd.readouterr().out.splitlines()
    assert sum("Waiting for" in line for line in said) == 1
    assert sum("Calling" in line for line in said) == 1


def test_shelving_computes_once_too(memory):
    async def main():
        slow = Slow(memory)
        tasks = [asyncio.create_task(slow.shelve(1)) for _ in range(3)]
        await until(lambda: len(flight._table.waits) == 2)
        slow.go.set()
        assert [each.get() for each in await asyncio.gather(*tasks)] == [{"x": 1}] * 3
        assert slow.begun == 1

    asyncio.run(main())


# --- several processes ----------------------------------------------------------------------------

_PROGRAM = """
import asyncio, os, sys, threading
from lightwork import Memory

memory = Memory("cache", verbose=0)

def note(what):
    with open("log", "a") as log:
        log.write(f"{what}\\n")

async def told(word):
    while not os.path.exists(word):
        await asyncio.sleep(0.005)

def say(word):
    open(word, "w").close()
"""


@pytest.fixture
def start(tmp_path):
    running = []
    (tmp_path / "shared.py").write_text(_PROGRAM)

    def begin(source, *arguments):
        path = tmp_path / f"program{len(running)}.py"
        path.write_text("from shared import *\n" + textwrap.dedent(source))
        command = [sys.executable, "-B", str(path), *arguments]
        process = subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate()


_MANY = """
async def compute(x):
    note(x)
    await asyncio.sleep(0.02)
    return {"x": x}
compute.__module__ = "shared"
compute = memory.cache(compute, track="none")

async def main():
    for base in range(0, 20, 5):
        found = await asyncio.gather(*[compute(x) for x in range(base, base + 5) for _ in range(3)])
        assert [each["x"] for each in found] == [x for x in range(base, base + 5) for _ in range(3)]

asyncio.run(main())
"""


def test_processes_compute_once(start, tmp_path):
    for process in [start(_MANY) for _ in range(4)]:
        said = process.communicate(timeout=60)[1]
        assert process.returncode == 0, said
    assert sorted(map(int, (tmp_path / "log").read_text().split())) == list(range(20))


_HOLDER = """
from functools import partial
__name__ = "shared"

@partial(memory.cache, track="none")
async def compute(x):
    say(sys.argv[1])
    if sys.argv[1] == "first":
        await told("never")
    return x

print(asyncio.run(compute(1)))
"""


def test_a_killed_holder_frees_those_who_wait(start, tmp_path):
    first = start(_HOLDER, "first")
    asyncio.run(asyncio.wait_for(until((tmp_path / "first").exists), 30))
    second = start(_HOLDER, "second")
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(0.5)
    assert not (tmp_path / "second").exists()
    first.kill()
    out, said = second.communicate(timeout=30)
    assert out == "1\n", said


_RING = """
from functools import partial
__name__ = "shared"

@partial(memory.cache, track="none", key=lambda x: x)
async def half(x):
    note(x)
    if x in (0, 1) and not os.path.exists(f"met{x}"):
        say(f"met{x}")
        await told(f"met{1 - x}")
        return await half(1 - x)
    return x

asyncio.run(asyncio.wait_for(half(int(sys.argv[1])), 20))
"""


def test_processes_that_need_each_others_keys_finish(start):
    for process in [start(_RING, "0"), start(_RING, "1")]:
        said = process.communicate(timeout=60)[1]
        assert process.returncode == 0, said


_MIXED = """
from functools import partial
__name__ = "shared"

@partial(memory.cache, track="none", key=lambda x: x)
async def wanted(x):
    "A key that the other process holds, and for which a coroutine of ours polls."
    say(f"{sys.argv[1]} computes wanted")
    if sys.argv[1] == "other":
        await told("ours waits")
        return await asyncio.to_thread(held, 1)
    return x

@partial(memory.cache, track="none", key=lambda x: x)
def held(x):
    say(f"{sys.argv[1]} computes held")
    if sys.argv[1] == "ours":
        while not flight._table.polled:
            threading.Event().wait(0.001)
        say("ours waits")
        return asyncio.run(wanted(1))
    return x

from lightwork.memory import flight

def poll():
    asyncio.run(told("other computes wanted"))
    asyncio.run(wanted(1))

if sys.argv[1] == "other":
    asyncio.run(told("ours computes held"))
    asyncio.run(wanted(1))
else:
    threads = [threading.Thread(target=poll), threading.Thread(target=held, args=(1,))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


def test_a_thread_does_not_wait_for_a_coroutine_that_polls(start):
    """Ours: a thread holds `held` and needs `wanted`, for which a coroutine polls; the other process: the reverse."""
    for process in [start(_MIXED, "ours"), start(_MIXED, "other")]:
        said = process.communicate(timeout=60)[1]
        assert process.returncode == 0, said
