"""Tasks that may not take longer than a time: who is stopped, who is blamed, and what goes on."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import lightwork
from lightwork import Parallel, Retries, delayed, parallel_config
from lightwork.errors import OptionError, OptionTypeError, TaskError, TaskTimeout
from lightwork.workers.page import Page, clocked

each_kind = pytest.mark.parametrize("kind", ["list", "generator", "generator_unordered"])
sizes = pytest.mark.parametrize("batch_size", [1, 10, "auto"])

LIMIT = 0.5
LONG = 600


def sleeps(when, i):
    if i in when:
        time.sleep(LONG)
    return i


class TestStopped:
    @sizes
    @pytest.mark.parametrize("n_jobs", [1, 2])
    def test_exactly_the_tasks_that_take_too_long(self, batch_size, n_jobs):
        loop = Parallel(n_jobs=n_jobs, batch_size=batch_size, task_timeout=LIMIT, on_error="return")
        results = loop(delayed(sleeps)((3, 15), i) for i in range(30))
        told = {each.index: each.error for each in results if isinstance(each, TaskError)}
        assert told.keys() == {3, 15}
        assert [i for i in results if not isinstance(i, TaskError)] == [i for i in range(30) if i not in told]
        for index, error in told.items():
            assert isinstance(error, TaskTimeout)
            assert error.index == index
            assert f"task {index}, sleeps((3, 15), {index}), ran for more than task_timeout=0.5 s" in str(
                error
            )

    @each_kind
    def test_it_ends_the_loop_unless_said_otherwise(self, kind):
        begun = time.monotonic()
        with pytest.raises(TaskTimeout, match="task 1, ") as caught:
            list(
                Parallel(n_jobs=2, return_as=kind, task_timeout=LIMIT)(
                    delayed(sleeps)((1,), i) for i in range(4)
                )
            )
        assert isinstance(caught.value, TimeoutError)
        assert LIMIT <= time.monotonic() - begun < LONG / 2

    def test_a_long_batch_of_brief_tasks_is_not_one(self):
        loop = Parallel(n_jobs=2, batch_size=40, task_timeout=1)  # a batch takes 1.2 s
        assert loop(delayed(time.sleep)(0.03) for _ in range(80)) == [None] * 80

    def test_waiting_in_a_queue_is_not_running(self):
        loop = Parallel(
            n_jobs=2, batch_size=1, pre_dispatch="all", task_timeout=1
        )  # the last begins after 1.1 s
        assert loop(delayed(time.sleep)(0.1) for _ in range(24)) == [None] * 24

    def test_what_it_started_ends_with_it(self, tmp_path):
        def start():
            child = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({LONG})"])
            (tmp_path / "pid").write_text(str(child.pid))
            child.wait()

        with pytest.raises(TaskTimeout):
            Parallel(n_jobs=2, task_timeout=2)([delayed(start)(), delayed(abs)(1)])
        pid = (tmp_path / "pid").read_text()
        deadline = time.monotonic() + 30
        while Path(f"/proc/{pid}").exists():
            assert time.monotonic() < deadline

    def test_it_can_be_tried_again(self, tmp_path):
        def slow_first(i):
            if i == 2 and not (tmp_path / "seen").exists():
                (tmp_path / "seen").touch()
                time.sleep(LONG)
            return i

        loop = Parallel(n_jobs=2, task_timeout=LIMIT, retries=Retries(1, on=TimeoutError, death=False))
        assert loop(delayed(slow_first)(i) for i in range(6)) == list(range(6))

    def test_big_arguments_and_results_of_the_others_are_whole(self):
        array = np.arange(400_000.0)

        def work(a, i):
            if i == 5:
                time.sleep(LONG)
            return a * i

        loop = Parallel(n_jobs=2, batch_size=4, task_timeout=1, on_error="skip")
        results = loop(delayed(work)(array, i) for i in range(12))
        expected = [i for i in range(12) if i != 5]
        assert all(np.array_equal(result, array * i) for result, i in zip(results, expected, strict=True))

    def test_a_result_that_waits_for_its_reader_is_not_running(self):
        """Both outboxes are full and the reader is away for longer than a task may run."""
        loop = Parallel(n_jobs=2, batch_size=1, return_as="generator", pre_dispatch="all", task_timeout=LIMIT)
        generator = loop(delayed(np.full)(200_000, float(i)) for i in range(12))
        first = next(generator)
        time.sleep(3 * LIMIT)
        assert [result[-1] for result in (first, *generator)] == list(range(12))

    @pytest.mark.parametrize("method", ["spawn", "fork"])
    def test_however_workers_start(self, method):
        loop = Parallel(n_jobs=2, start_method=method, task_timeout=LIMIT, on_error="skip")
        assert loop(delayed(sleeps)((1,), i) for i in range(5)) == [0, 2, 3, 4]

    def test_the_next_call_has_no_limit(self):
        Parallel(n_jobs=2, task_timeout=LIMIT)(delayed(os.getpid)() for _ in range(4))
        assert Parallel(n_jobs=2)(delayed(time.sleep)(2 * LIMIT) for _ in range(2)) == [None] * 2

    def test_seeded_tasks(self):
        def draw(i):
            if i == 1:
                time.sleep(LONG)
            return float(lightwork.rng().random())

        free = Parallel(n_jobs=1, seed=3)(delayed(draw)(i) for i in (0, 2, 2, 3))
        # The first task of each worker imports `numpy.random`: 20 ms, and many times that on a busy machine.
        timed = Parallel(n_jobs=2, seed=3, task_timeout=4 * LIMIT, on_error="skip")(
            delayed(draw)(i) for i in range(4)
        )
        assert timed == [free[0], free[2], free[3]]


class TestOptions:
    @pytest.mark.parametrize("backend", ["threads", "sequential", "executor"])
    def test_where_nothing_can_be_stopped_it_is_refused(self, backend):
        with ThreadPoolExecutor(1) as executor:
            where = executor if backend == "executor" else backend
            with pytest.raises(OptionError, match="nothing can stop a task there"):
                Parallel(backend=where, task_timeout=1)
            with parallel_config(backend=where), pytest.raises(OptionError, match="task_timeout=1 needs"):
                Parallel(task_timeout=1)

    @pytest.mark.parametrize("wrong", [0, -1, float("nan")])
    def test_no_time_at_all(self, wrong):
        with pytest.raises(OptionError, match="task_timeout="):
            Parallel(n_jobs=2, task_timeout=wrong)
        with pytest.raises(OptionTypeError, match="task_timeout must be"):
            Parallel(n_jobs=2, task_timeout="1")

    def test_debugging_has_no_limit(self, monkeypatch):
        monkeypatch.setenv("LIGHTWORK_SEQUENTIAL", "1")
        assert Parallel(n_jobs=2, task_timeout=0.01)([delayed(time.sleep)(0.05), delayed(os.getpid)()]) == [
            None,
            os.getpid(),
        ]

    def test_nor_has_a_loop_in_a_task(self):
        def outer():
            return Parallel(n_jobs=2, task_timeout=0.01)([delayed(time.sleep)(0.05), delayed(os.getpid)()])[1]

        assert os.getpid() not in Parallel(n_jobs=2)(delayed(outer)() for _ in range(2))

    def test_an_endless_limit(self):
        assert Parallel(n_jobs=2, task_timeout=float("inf"))([delayed(abs)(-1)]) == [1]


class TestPage:
    def test_a_stamp_belongs_to_its_claim(self):
        descriptor = Page.create()
        page = Page(descriptor)
        os.close(descriptor)
        try:
            assert page.running is None
            look = clocked(lambda: page.running, page)
            for index in (0, 1, 65_534, 65_535, 65_536, 10**12):
                page.words[Page.CLAIMED] = index + 1
                before = time.monotonic_ns()
                found, since = look()
                assert found == index
                assert before - 70_000 <= since <= time.monotonic_ns() + 70_000
                assert page.running is None
                stamp = time.monotonic_ns() & ~0xFFFF | (index + 1) & 0xFFFF
                page.words[Page.STARTED] = stamp
                assert page.running == (index, stamp | 0xFFFF)
                page.words[Page.CLAIMED] = index + 2  # the next is claimed, and has not begun
                assert page.running is None
            page.words[Page.STARTED] = 0
            assert page.running is None
        finally:
            page.close()
