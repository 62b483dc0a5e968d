"""Loops that asyncio waits for: they hold up nothing, and end with the task that reads them."""

import asyncio
import contextvars
import gc
import itertools
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import aclosing

import numpy as np
import pytest

import lightwork
from lightwork import parallel_config, pool_info
from lightwork.errors import OptionTypeError, TaskFormatError, TaskTimeout, WorkerDied

backends = pytest.mark.parametrize("backend", ["processes", "threads", "sequential"])


def square(x):
    return x * x


def fail_at(bad, x):
    if x == bad:
        raise ValueError("bad", x)
    return x


def die_at(bad, x):
    if x == bad:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def pause(folder, x):
    (folder / str(x)).touch()
    time.sleep(600)


def total(array):
    return float(array.sum())


async def until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "lightwork-loop"]


def begun(folder, count):
    return lambda: len(os.listdir(folder)) >= count


class TestAmap:
    @backends
    @pytest.mark.parametrize("count", [0, 1, 3, 3000])
    def test_gives_what_map_gives(self, backend, count):
        found = asyncio.run(lightwork.amap(square, range(count), n_jobs=2, backend=backend))
        assert found == [x * x for x in range(count)]

    def test_takes_several_iterables_and_arrays(self):
        async def main():
            arrays = [np.full(200_000, float(i)) for i in range(4)]
            return await asyncio.gather(
                lightwork.amap(pow, range(50), itertools.repeat(2), n_jobs=2),
                lightwork.amap(total, arrays, n_jobs=2),
            )

        squares, totals = asyncio.run(main())
        assert squares == [x * x for x in range(50)]
        assert totals == [200_000.0 * i for i in range(4)]

    def test_the_event_loop_goes_on_meanwhile(self, tmp_path):
        async def main():
            work = asyncio.create_task(lightwork.amap(wait_for, [tmp_path / "a", tmp_path / "b"], n_jobs=2))
            for name in "ab":  # which nobody could touch if the event loop stood still
                await asyncio.sleep(0)
                (tmp_path / name).touch()
            return await work

        assert asyncio.run(main()) == ["a", "b"]

    def test_an_input_that_blocks_holds_up_nothing(self):
        async def main():
            more = threading.Event()

            def inputs():
                yield 1
                assert more.wait(30)
                yield 2

            work = asyncio.create_task(lightwork.amap(square, inputs(), n_jobs=2))
            await asyncio.sleep(0.01)
            assert not work.done()
            more.set()
            return await work

        assert asyncio.run(main()) == [1, 4]

    @backends
    def test_an_exception_is_raised_where_it_is_awaited(self, backend):
        async def main():
            with pytest.raises(ValueError, match="bad") as caught:
                await lightwork.amap(fail_at, itertools.repeat(5), range(50), n_jobs=2, backend=backend)
            return caught.value.args

        assert asyncio.run(main()) == ("bad", 5)

    def test_a_death_is_blamed_as_ever(self):
        with pytest.raises(WorkerDied, match="task 7"):
            asyncio.run(lightwork.amap(die_at, itertools.repeat(7), range(20), n_jobs=2, batch_size=1))

    def test_cancelling_stops_the_workers_before_it_returns(self, tmp_path):
        async def main():
            work = asyncio.create_task(lightwork.amap(pause, itertools.repeat(tmp_path), range(9), n_jobs=2))
            await until(begun(tmp_path, 2))
            assert sum(not worker.idle for worker in pool_info().workers) == 2
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work
            assert pool_info().workers == ()
            assert threads() == []
            return await lightwork.amap(square, [3], n_jobs=2)

        assert asyncio.run(main()) == [9]

    def test_a_timeout_of_asyncio_stops_it(self, tmp_path):
        async def main():
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await lightwork.amap(pause, itertools.repeat(tmp_path), range(9), n_jobs=2)
            assert threads() == []

        asyncio.run(main())

    def test_a_timeout_of_the_loop_is_its_own(self, tmp_path):
        with pytest.raises(TaskTimeout):
            asyncio.run(lightwork.amap(pause, itertools.repeat(tmp_path), range(9), n_jobs=2, timeout=0.2))

    def test_a_failure_in_a_task_group_cancels_it(self, tmp_path):
        async def fail():
            await until(begun(tmp_path, 2))
            raise ValueError("mine")

        async def main():
            with pytest.raises(ExceptionGroup) as caught:
                async with asyncio.TaskGroup() as group:
                    group.create_task(lightwork.amap(pause, itertools.repeat(tmp_path), range(9), n_jobs=2))
                    group.create_task(fail())
            assert [str(error) for error in caught.value.exceptions] == ["mine"]
            assert pool_info().workers == ()
            assert threads() == []

        asyncio.run(main())

    def test_cancelled_before_it_began(self):
        async def main():
            work = asyncio.create_task(lightwork.amap(square, itertools.count(), n_jobs=2))
            await asyncio.sleep(0)
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work
            await until(lambda: threads() == [])

        asyncio.run(main())

    def test_cancelling_a_plain_loop_ends_it_between_two_tasks(self):
        started, go, seen = threading.Event(), threading.Event(), []

        def work(x):
            seen.append(x)
            started.set()
            assert go.wait(30)

        async def main():
            task = asyncio.create_task(lightwork.amap(work, range(9), n_jobs=1))
            await until(started.is_set)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            go.set()
            await until(lambda: threads() == [])

        asyncio.run(main())
        assert seen == [0]

    def test_the_configuration_and_context_variables_are_the_tasks(self):
        variable = contextvars.ContextVar("variable", default="none")

        def seen(_):
            return variable.get()

        async def main():
            variable.set("mine")
            with parallel_config(backend="sequential"):
                return await lightwork.amap(seen, range(2))

        assert asyncio.run(main()) == ["mine", "mine"]

    def test_slips_are_named(self):
        async def coroutine(x):
            return x

        with pytest.raises(OptionTypeError, match=r"amap\(.*coroutine, \.\.\.\): its calls give coroutines"):
            asyncio.run(lightwork.amap(coroutine, [1]))
        with pytest.raises(OptionTypeError, match="cannot be called"):
            asyncio.run(lightwork.amap(3, [1]))
        with pytest.raises(OptionTypeError, match="imap"):
            asyncio.run(lightwork.amap(square, [1], return_as="list"))


def wait_for(path):
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.001)
    return path.name


class TestAimap:
    @backends
    @pytest.mark.parametrize("count", [0, 1, 3, 3000])
    def test_gives_what_imap_gives(self, backend, count):
        async def main():
            return [x async for x in lightwork.aimap(square, range(count), n_jobs=2, backend=backend)]

        assert asyncio.run(main()) == [x * x for x in range(count)]

    @backends
    @pytest.mark.parametrize("bad", [0, 1, 700])
    def test_an_exception_comes_at_its_place(self, backend, bad):
        async def main():
            seen = []
            results = lightwork.aimap(fail_at, itertools.repeat(bad), range(1000), n_jobs=2, backend=backend)
            with pytest.raises(ValueError, match="bad"):
                while True:
                    seen.append(await anext(results))
            assert [x async for x in results] == []
            return seen

        assert asyncio.run(main()) == list(range(bad))

    def test_the_input_is_never_taken_far_ahead(self):
        async def main():
            taken = itertools.count()
            results = lightwork.aimap(square, taken, n_jobs=2, pre_dispatch=6, batch_size=2)
            async with aclosing(results):
                for read in range(1, 30):
                    assert await anext(results) == (read - 1) ** 2
                    await asyncio.sleep(0.001)
                    taken, ahead = itertools.tee(taken)
            return next(ahead)

        # 29 were read; `itertools.count` was at most so far
        assert asyncio.run(main()) <= 29 + 6

    def test_work_begins_at_the_call(self, tmp_path):
        async def main():
            results = lightwork.aimap(pause, itertools.repeat(tmp_path), range(9), n_jobs=2)
            await until(begun(tmp_path, 2))
            await results.aclose()
            assert pool_info().workers == ()
            assert threads() == []
            assert [x async for x in results] == []

        asyncio.run(main())

    def test_closing_it_in_the_middle_stops_it(self):
        async def main():
            async with aclosing(lightwork.aimap(square, itertools.count(), n_jobs=2)) as results:
                async for x in results:
                    if x > 10_000:
                        break
            assert threads() == []
            assert all(worker.idle for worker in pool_info().workers)

        asyncio.run(main())

    def test_leaving_it_stops_it(self):
        async def main():
            async for x in lightwork.aimap(square, itertools.count(), n_jobs=2):
                if x > 10_000:
                    break
            gc.collect()
            await until(lambda: threads() == [])
            assert all(worker.idle for worker in pool_info().workers)

        asyncio.run(main())

    def test_cancelling_the_reader_stops_it_before_it_returns(self, tmp_path):
        async def read():
            async for _ in lightwork.aimap(pause, itertools.repeat(tmp_path), range(9), n_jobs=2):
                pass

        async def main():
            reader = asyncio.create_task(read())
            await until(begun(tmp_path, 2))
            reader.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reader
            assert pool_info().workers == ()
            assert threads() == []

        asyncio.run(main())

    def test_several_at_once_and_several_readers_of_one(self):
        async def read(results, into):
            async for x in results:
                into.append(x)

        async def main():
            found, shared = [[] for _ in range(3)], []
            results = lightwork.aimap(square, range(500), n_jobs=2)
            async with asyncio.TaskGroup() as group:
                for k, into in enumerate(found):
                    numbers = range(k * 1000, k * 1000 + 300)
                    group.create_task(read(lightwork.aimap(square, numbers, n_jobs=2), into))
                for _ in range(4):
                    group.create_task(read(results, shared))
            return found, shared

        found, shared = asyncio.run(main())
        assert found == [[x * x for x in range(k * 1000, k * 1000 + 300)] for k in range(3)]
        assert sorted(shared) == [x * x for x in range(500)]

    def test_an_input_that_raises_does_so_at_the_reader(self):
        def inputs():
            yield from range(10)
            raise KeyError("mine")

        async def main():
            with pytest.raises(KeyError, match="mine"):
                async for _ in lightwork.aimap(square, inputs(), n_jobs=2):
                    pass
            await until(lambda: threads() == [])

        asyncio.run(main())

    def test_what_cannot_begin_says_so_at_the_reader(self):
        async def main():
            results = lightwork.aimap(square, range(3), n_jobs=2, start_method="spawn", memory_limit=1)
            await results.aclose()
            with pytest.raises(TaskFormatError):
                async for _ in lightwork.aimap(square, [1], n_jobs=2, backend=Broken()):
                    pass
            await until(lambda: threads() == [])

        asyncio.run(main())

    def test_needs_a_running_event_loop(self):
        with pytest.raises(RuntimeError, match="no running event loop"):
            lightwork.aimap(square, [1])


class Broken:
    """An executor that takes nothing."""

    def submit(self, *_):
        raise TaskFormatError("no")

    def shutdown(self):
        pass


class TestDebugging:
    def test_both_are_plain_loops_in_the_thread_of_the_event_loop(self, monkeypatch):
        monkeypatch.setenv("LIGHTWORK_SEQUENTIAL", "1")
        seen = []

        def note(x):
            seen.append((x, threading.current_thread()))
            return x

        async def main():
            async with aclosing(lightwork.aimap(note, range(3), n_jobs=2)) as results:
                found = [x async for x in results]
            return found, await lightwork.amap(note, range(3), n_jobs=2)

        assert asyncio.run(main()) == ([0, 1, 2], [0, 1, 2])
        assert seen == [(x, threading.current_thread()) for x in (0, 1, 2)] * 2
        assert pool_info().zygote is None

    def test_random_numbers_are_those_of_the_loop(self, monkeypatch):
        expected = asyncio.run(lightwork.amap(draw, range(20), n_jobs=2, seed=3))
        monkeypatch.setenv("LIGHTWORK_SEQUENTIAL", "1")
        assert asyncio.run(lightwork.amap(draw, range(20), n_jobs=2, seed=3)) == expected
        assert len(set(expected)) == 20


def draw(x):
    return float(lightwork.rng().random())


@pytest.mark.parametrize("form", ["amap(work, range(9), n_jobs=2)", "read()"])
def test_ctrl_c_returns_the_prompt(form, tmp_path):
    code = f"""
        import asyncio, signal, time, lightwork
        signal.signal(signal.SIGINT, signal.default_int_handler)
        from lightwork import *
        def work(i):
            open({str(tmp_path)!r} + "/" + str(i), "w").close()
            time.sleep(600)
        async def read():
            async for _ in aimap(work, range(9), n_jobs=2):
                pass
        async def main():
            await {form}
        asyncio.run(main())
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 30
    while len(os.listdir(tmp_path)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert process.returncode == -signal.SIGINT


@backends
def test_failures_that_are_left_out_hold_up_nothing(backend):
    async def main():
        results = lightwork.aimap(
            fail_at, itertools.repeat(5), range(3000), n_jobs=2, backend=backend, on_error="skip"
        )
        return [x async for x in results]

    assert asyncio.run(main()) == [x for x in range(3000) if x != 5]
