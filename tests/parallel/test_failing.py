"""Loops whose tasks fail, on every backend: run again, told, left out, raised."""

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context, resource_tracker
from pathlib import Path

import numpy as np
import pytest

import lightwork
from lightwork import Memory, Parallel, Retries, delayed
from lightwork.errors import (
    OptionError,
    OptionTypeError,
    PicklingFailedError,
    TaskError,
    TaskExited,
    WorkerDied,
)


@pytest.fixture(autouse=True, scope="module")
def _tracker():
    """The standard library starts a process of its own beside its first workers, and keeps it: not ours to end."""
    resource_tracker.ensure_running()


HOW = {
    "sequential": {"n_jobs": 1},
    "threads": {"n_jobs": 2, "backend": "threads"},
    "processes": {"n_jobs": 2},
}
everywhere = pytest.mark.parametrize("how", HOW.values(), ids=list(HOW))
each_kind = pytest.mark.parametrize("kind", ["list", "generator", "generator_unordered"])
sizes = pytest.mark.parametrize("batch_size", [1, 7, "auto"])


def attempts(folder, i):
    """Count the attempts of a task, by a file that grows."""
    with open(folder / str(i), "a") as file:
        file.write("x")
        return file.tell()


def fail_first(folder, times, i, kind=ValueError):
    if attempts(folder, i) <= times:
        raise kind(f"task {i}")
    return i


def fail_odd(i):
    if i % 2:
        raise ValueError(f"odd {i}")
    return i


def tried(folder):
    return {int(path.name): len(path.read_text()) for path in Path(folder).iterdir()}


class TestRetries:
    @everywhere
    @each_kind
    @sizes
    def test_each_task_until_it_succeeds(self, how, kind, batch_size, tmp_path):
        loop = Parallel(**how, return_as=kind, batch_size=batch_size, retries=2)
        results = list(loop(delayed(fail_first)(tmp_path, i % 3, i) for i in range(40)))
        assert (sorted(results) if kind == "generator_unordered" else results) == list(range(40))
        assert tried(tmp_path) == {i: i % 3 + 1 for i in range(40)}

    @everywhere
    def test_none_unless_said(self, how, tmp_path):
        with pytest.raises(ValueError, match="task 0") as caught:
            Parallel(**how, batch_size=1)([delayed(fail_first)(tmp_path, 1, 0)])
        assert tried(tmp_path) == {0: 1}
        assert not any("attempt" in note for note in getattr(caught.value, "__notes__", ()))

    @everywhere
    def test_the_last_error_is_raised_with_the_number_of_attempts(self, how, tmp_path):
        with pytest.raises(ValueError, match="task 3") as caught:
            Parallel(**how, retries=2)([delayed(fail_first)(tmp_path, 99, 3)])
        assert tried(tmp_path) == {3: 3}
        assert "attempt 3 of task 0; those before failed too" in caught.value.__notes__

    @everywhere
    def test_only_errors_that_the_policy_names(self, how, tmp_path):
        policy = Retries(3, on=OSError)
        assert Parallel(**how, retries=policy)([delayed(fail_first)(tmp_path, 2, 0, ConnectionError)]) == [0]
        with pytest.raises(ValueError, match="task 1"):
            Parallel(**how, retries=policy)([delayed(fail_first)(tmp_path, 2, 1)])
        assert tried(tmp_path) == {0: 3, 1: 1}

    @pytest.mark.parametrize("how", [HOW["threads"], HOW["processes"]], ids=["threads", "processes"])
    def test_others_run_while_one_waits(self, how, tmp_path):
        """The first task succeeds only after all others have run, which its wait must let them."""
        loop = Parallel(**how, batch_size=1, retries=Retries(30, backoff=0.05, backoff_max=0.05))
        assert loop(delayed(after_others)(tmp_path, i, 20) for i in range(21)) == list(range(21))
        assert tried(tmp_path)[0] > 1

    @everywhere
    def test_the_wait_is_kept(self, how, tmp_path):
        begun = time.monotonic()
        policy = Retries(2, backoff=0.1, jitter=0)
        assert Parallel(**how, retries=policy)([delayed(fail_first)(tmp_path, 2, 0)]) == [0]
        assert time.monotonic() - begun >= 0.3

    def test_a_task_is_sent_again_as_it_was_taken(self, tmp_path):
        buffer = np.zeros(1000)

        def tasks():
            for i in range(6):
                buffer[:] = i
                yield delayed(first_of)(tmp_path, buffer, i)

        loop = Parallel(n_jobs=2, batch_size=2, retries=1)
        assert loop(tasks()) == list(range(6))

    def test_a_death_is_a_failure_like_others(self, tmp_path):
        loop = Parallel(n_jobs=2, batch_size=5, retries=2)
        assert loop(delayed(die_first)(tmp_path, 2 if i in (3, 4, 11) else 0, i) for i in range(20)) == list(
            range(20)
        )

    def test_big_arrays_are_there_again_after_a_death(self, tmp_path):
        arrays = [np.full(300_000, float(i)) for i in range(6)]
        loop = Parallel(n_jobs=2, batch_size=3, retries=1)
        assert loop(delayed(die_at_first)(tmp_path, array, i) for i, array in enumerate(arrays)) == list(
            range(6)
        )

    def test_deaths_can_be_left_out(self, tmp_path):
        with pytest.raises(WorkerDied, match="task 0"):
            Parallel(n_jobs=2, retries=Retries(5, death=False))([delayed(die_first)(tmp_path, 2, 0)])
        assert tried(tmp_path) == {0: 1}

    def test_what_waits_ends_with_the_loop(self, tmp_path):
        policy = Retries(1, on=ValueError, backoff=600, backoff_max=600)
        begun = time.monotonic()
        with pytest.raises(KeyError):
            Parallel(**HOW["threads"], batch_size=1, retries=policy)(
                delayed(fail_first)(tmp_path, 1, i, KeyError if i == 3 else ValueError) for i in range(4)
            )
        assert time.monotonic() - begun < 60

    @everywhere
    def test_a_remembered_function_stores_no_failure(self, how, tmp_path):
        for name in ("cache", "tries"):
            (tmp_path / name).mkdir()
        memory = Memory(tmp_path / "cache", verbose=0)
        func = memory.cache(fail_first)
        folder = tmp_path / "tries"
        for _ in range(2):  # from the cache, the second time
            loop = Parallel(**how, retries=1)
            assert loop(delayed(func)(folder, 1, i) for i in range(4)) == list(range(4))
        assert tried(folder) == dict.fromkeys(range(4), 2)

    def test_one_that_cannot_travel_is_not_tried_again(self):
        with pytest.raises(PicklingFailedError, match="task 1"):
            Parallel(n_jobs=2, retries=5)([delayed(abs)(1), delayed(abs)(threading.Lock())])

    @everywhere
    def test_a_seeded_task_draws_the_same_again(self, how, tmp_path):
        tasks = [delayed(draw)(tmp_path, i) for i in range(4)]
        first = Parallel(**how, seed=1, retries=1)(tasks)
        assert first == Parallel(n_jobs=1, seed=1)(tasks)
        assert tried(tmp_path) == dict.fromkeys(range(4), 3)


def after_others(folder, i, others):
    if (attempts(folder, i) == 1 and i == 0) or len(os.listdir(folder)) <= others * (i == 0):
        raise ValueError("not yet")
    return i


def first_of(folder, array, i):
    if attempts(folder, i) == 1:
        raise ValueError
    return int(array[-1])


def die_first(folder, times, i):
    if attempts(folder, i) <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return i


def die_at_first(folder, array, i):
    if attempts(folder, i) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return int(array[-1])


def draw(folder, i):
    number = float(lightwork.rng().random())
    if attempts(folder, i) == 1:
        raise ValueError
    return number


class TestReturned:
    @everywhere
    @each_kind
    @sizes
    def test_in_the_place_of_the_result(self, how, kind, batch_size):
        loop = Parallel(**how, return_as=kind, batch_size=batch_size, on_error="return")
        results = list(loop(delayed(fail_odd)(i) for i in range(30)))
        assert len(results) == 30
        told = [result for result in results if isinstance(result, TaskError)]
        assert sorted(result for result in results if not isinstance(result, TaskError)) == list(
            range(0, 30, 2)
        )
        assert sorted(each.index for each in told) == list(range(1, 30, 2))
        if kind != "generator_unordered":
            assert results[0::2] == list(range(0, 30, 2))
        for each in told:
            assert each.call == f"fail_odd({each.index})"
            assert isinstance(each.error, ValueError)
            assert each.error.args == (f"odd {each.index}",)
            assert each.attempt == 1
            assert "in fail_odd" in each.traceback
            assert 'raise ValueError(f"odd {i}")' in each.traceback

    @everywhere
    def test_after_all_attempts(self, how, tmp_path):
        loop = Parallel(**how, on_error="return", retries=1)
        results = loop(delayed(fail_first)(tmp_path, i, i) for i in range(4))
        assert results[:2] == [0, 1]
        assert [(each.index, each.attempt) for each in results[2:]] == [(2, 2), (3, 2)]
        assert "at attempt 2: ValueError: task 3" in str(results[3])

    def test_deaths_too(self, tmp_path):
        results = Parallel(n_jobs=2, batch_size=4, on_error="return")(
            delayed(die_first)(tmp_path, 1 if i == 5 else 0, i) for i in range(12)
        )
        told = results.pop(5)
        assert results == [i for i in range(12) if i != 5]
        assert isinstance(told.error, WorkerDied)
        assert (told.index, told.error.index, told.error.signal) == (5, 5, signal.SIGKILL)

    def test_one_that_cannot_travel(self):
        first, second = Parallel(n_jobs=2, on_error="return")(
            [delayed(abs)(-1), delayed(abs)(threading.Lock())]
        )
        assert first == 1
        assert isinstance(second.error, PicklingFailedError)
        assert second.call.startswith("abs(<")

    def test_a_result_that_cannot_travel(self):
        results = Parallel(n_jobs=2, on_error="return")(delayed(threading.Lock)() for _ in range(3))
        assert all(isinstance(each.error, PicklingFailedError) for each in results)

    def test_it_can_be_raised_and_stored(self):
        (told,) = Parallel(n_jobs=2, on_error="return")([delayed(fail_odd)(1)])
        with pytest.raises(TaskError, match=r"task 0, fail_odd\(1\), failed: ValueError: odd 1") as caught:
            raise told
        assert isinstance(caught.value.__cause__, ValueError)
        again = pickle.loads(pickle.dumps(told))
        assert (again.index, again.call, again.error.args, again.traceback) == (
            0,
            "fail_odd(1)",
            ("odd 1",),
            told.traceback,
        )
        assert str(again) == str(told)

    @everywhere
    def test_no_count_is_lost(self, how):
        loop = Parallel(**how, on_error="return", verbose=0)
        loop(delayed(fail_odd)(i) for i in range(11))
        if how != HOW["sequential"]:
            assert (loop.n_completed_tasks, loop.n_dispatched_tasks) == (11, 11)


class TestSkipped:
    @everywhere
    @each_kind
    @sizes
    def test_left_out(self, how, kind, batch_size):
        loop = Parallel(**how, return_as=kind, batch_size=batch_size, on_error="skip")
        results = list(loop(delayed(fail_odd)(i) for i in range(50)))
        assert (sorted(results) if kind == "generator_unordered" else results) == list(range(0, 50, 2))

    @everywhere
    @each_kind
    def test_all_of_them(self, how, kind):
        loop = Parallel(**how, return_as=kind, on_error="skip", batch_size=1)
        assert list(loop(delayed(fail_odd)(1) for _ in range(40))) == []

    @everywhere
    def test_none_stays_none(self, how):
        assert Parallel(**how, on_error="skip")(delayed(print)(end="") for _ in range(3)) == [None] * 3

    def test_through_map(self):
        assert lightwork.map(fail_odd, range(7), n_jobs=2, on_error="skip") == [0, 2, 4, 6]
        assert list(lightwork.imap(fail_odd, range(7), backend="threads", n_jobs=2, on_error="skip")) == [
            0,
            2,
            4,
            6,
        ]


def fail_at(bad, i):
    if i == bad:
        raise ValueError(f"task {i}")
    return i * 10


# One worker process (for the sake of the limit): nobody takes work from it, so who lies with whom is known.
ONE = {"n_jobs": 1, "task_timeout": 60, "batch_size": 6, "pre_dispatch": "all"}


class TestLost:
    """Tasks that had run when their worker died, and whose results had not arrived."""

    def test_are_run_again(self, tmp_path):
        loop = Parallel(**ONE, retries=1)
        assert loop(delayed(die_first)(tmp_path, i == 9, i) for i in range(18)) == list(range(18))
        assert tried(tmp_path) == {i: 2 if 6 <= i <= 9 else 1 for i in range(18)}

    @pytest.mark.parametrize("retries", [0, 1])
    def test_unless_that_is_forbidden(self, tmp_path, retries):
        loop = Parallel(**ONE, rerun_lost=False, on_error="return", retries=retries)
        results = loop(delayed(die_first)(tmp_path, i == 9, i) for i in range(18))
        told = {each.index: each.error for each in results if isinstance(each, TaskError)}
        assert told.keys() == ({6, 7, 8} if retries else {6, 7, 8, 9})
        assert [i for i in results if not isinstance(i, TaskError)] == [i for i in range(18) if i not in told]
        for index in (6, 7, 8):
            assert isinstance(told[index], WorkerDied)
            assert (told[index].index, told[index].signal) == (index, signal.SIGKILL)
            assert str(told[index]).startswith(f"task {index}, die_first(")
            assert "had run, but its worker ended before the result arrived" in str(told[index])
        assert tried(tmp_path) == {i: 1 + (i == 9) * retries for i in range(18)}

    def test_end_the_loop_by_the_first_of_them(self, tmp_path):
        with pytest.raises(WorkerDied, match=r"task 6, .* had run") as caught:
            Parallel(**ONE, rerun_lost=False)(delayed(die_first)(tmp_path, i == 9, i) for i in range(18))
        assert caught.value.partial_results == {i: i for i in range(6)}

    def test_those_that_had_not_begun_are_no_errors(self, tmp_path):
        """The worker dies in the first task of its batch: nothing else of it has run."""
        loop = Parallel(**ONE, rerun_lost=False, retries=1)
        assert loop(delayed(die_first)(tmp_path, i == 6, i) for i in range(18)) == list(range(18))
        assert tried(tmp_path) == {i: 1 + (i == 6) for i in range(18)}


class TestPartialResults:
    @everywhere
    @pytest.mark.parametrize("verbose", [0, 100])
    def test_of_a_list(self, how, verbose, capfd):
        with pytest.raises(ValueError, match="task 30") as caught:
            Parallel(**how, batch_size=1, verbose=verbose)(delayed(fail_at)(30, i) for i in range(60))
        found = caught.value.partial_results
        assert 30 not in found
        assert len(found) >= 26  # of 30 that were begun, no more than `pre_dispatch` were not finished
        assert all(result == index * 10 for index, result in found.items())

    @pytest.mark.parametrize("how", [HOW["threads"], ONE], ids=["threads", "processes"])
    def test_of_a_generator_those_not_read(self, how):
        loop = Parallel(**{**how, "batch_size": 5, "pre_dispatch": "all"}, return_as="generator")
        generator = loop(delayed(fail_at)(12, i) for i in range(20))
        assert [next(generator) for _ in range(12)] == [i * 10 for i in range(12)]
        with pytest.raises(ValueError, match="task 12") as caught:
            next(generator)
        found = caught.value.partial_results
        assert found.keys() >= {13, 14}
        assert found.keys() <= set(range(13, 20))
        assert all(result == index * 10 for index, result in found.items())

    @everywhere
    def test_when_the_input_fails(self, how):
        def tasks():
            for i in range(5):
                yield delayed(fail_at)(-1, i)
            raise LookupError("the input's own")

        with pytest.raises(LookupError) as caught:
            Parallel(**how, batch_size=1)(tasks())
        assert caught.value.partial_results.items() <= {i: i * 10 for i in range(5)}.items()
        if how == HOW["sequential"]:
            assert len(caught.value.partial_results) == 5

    def test_those_of_a_loop_in_a_task_do_not_travel(self):
        def inner():
            lightwork.map(fail_at, [5] * 9, range(9), n_jobs=1)

        with pytest.raises(ValueError, match="task 5") as caught:
            Parallel(n_jobs=2)([delayed(inner)()])
        assert caught.value.partial_results == {}


def leave(code):
    sys.exit(code)


class TestExit:
    """`sys.exit` in a task neither ends the program nor is lost."""

    @pytest.mark.parametrize("how", [HOW["threads"], HOW["processes"]], ids=["threads", "processes"])
    @each_kind
    @pytest.mark.parametrize("code", [None, 0, 3, "a last word"])
    def test_is_an_error_that_names_the_task(self, how, kind, code):
        said = "" if code is None else repr(code)
        with pytest.raises(TaskExited) as caught:
            list(Parallel(**how, return_as=kind)([delayed(abs)(1), delayed(leave)(code)]))
        error = caught.value
        assert f"task 1, leave({code!r}), called sys.exit({said})" in str(error)
        assert (error.index, error.code, error.signal) == (1, code, None)
        assert isinstance(error, WorkerDied)
        assert isinstance(error.__cause__, SystemExit)

    @pytest.mark.parametrize("make", [ThreadPoolExecutor, ProcessPoolExecutor])
    def test_in_an_executor(self, make):
        more = {"mp_context": get_context("spawn")} if make is ProcessPoolExecutor else {}
        with (
            make(2, **more) as executor,
            pytest.raises(TaskExited, match=r"leave\(3\), called sys\.exit\(3\)"),
        ):
            Parallel(backend=executor)([delayed(leave)(3)])

    def test_a_plain_loop_is_one(self):
        with pytest.raises(SystemExit) as caught:
            Parallel(n_jobs=1)([delayed(leave)(3)])
        assert caught.value.code == 3

    @everywhere
    def test_it_can_be_returned(self, how):
        first, second = Parallel(**how, on_error="return")([delayed(leave)(3), delayed(abs)(-2)])
        assert second == 2
        assert isinstance(first.error, TaskExited)
        assert first.error.code == 3

    def test_the_worker_goes_on(self):
        loop = Parallel(**ONE, on_error="return")
        before, told, after = loop([delayed(os.getpid)(), delayed(leave)(1), delayed(os.getpid)()])
        assert before == after != os.getpid()
        assert isinstance(told.error, TaskExited)

    def test_the_program_is_told(self, tmp_path):
        (tmp_path / "script.py").write_text(
            textwrap.dedent("""
            import sys
            from lightwork import Parallel, delayed
            def leave(): sys.exit(0)
            Parallel(n_jobs=2)([delayed(leave)()])
            """)
        )
        done = subprocess.run(
            [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 1
        assert "TaskExited: task 0, leave(), called sys.exit(0)" in done.stderr


class TestOptions:
    def test_are_looked_at_before_any_worker_starts(self):
        for wrong in ("ignore", None, True):
            with pytest.raises(OptionError, match="'raise', 'return', 'skip'"):
                Parallel(n_jobs=2, on_error=wrong)
        for wrong in (0, None, "no"):
            with pytest.raises(OptionError, match=r"rerun_lost=.*; it can be True, False"):
                Parallel(n_jobs=2, rerun_lost=wrong)
        with pytest.raises(OptionError, match="retries=-1 must be 0 or more"):
            Parallel(n_jobs=2, retries=-1)
        assert lightwork.pool_info().workers == ()

    @pytest.mark.parametrize(("slip", "meant"), [("retry", "retries"), ("on_errors", "on_error")])
    def test_the_nearest_name_is_suggested(self, slip, meant):
        with pytest.raises(OptionTypeError, match=f"did you mean '{meant}'"):
            Parallel(**{slip: 1})
