"""`map` and its relatives: what Python's own would give, on workers."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import lightwork
from lightwork import Memory, Parallel, parallel_config
from lightwork.errors import OptionError, OptionTypeError, PicklingFailedError, TaskTimeout, WorkerDied
from lightwork.parallel.loops import LoopOptions
from lightwork.settings import WorkerOptions
from lightwork.workers import pool

backends = pytest.mark.parametrize("backend", ["processes", "threads", "sequential"])
forms = pytest.mark.parametrize("form", [lightwork.map, lightwork.imap, lightwork.imap_unordered])


def square(x):
    return x * x


def join(*args):
    return "-".join(map(str, args))


def fail_at(bad, x):
    if x == bad:
        raise ValueError("bad", x)
    return x


def die_at(bad, x):
    if x == bad:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def append_to(values, x):
    values.append(x)
    return values


def total(array):
    return float(array.sum())


class TestResults:
    @backends
    @forms
    @pytest.mark.parametrize("count", [0, 1, 2, 3, 5000])
    def test_are_those_of_the_built_in(self, form, backend, count):
        results = list(form(square, range(count), n_jobs=2, backend=backend))
        assert (sorted(results) if form is lightwork.imap_unordered else results) == [
            x * x for x in range(count)
        ]

    @backends
    @pytest.mark.parametrize("several", range(1, 8))
    def test_of_as_many_iterables_as_there_are(self, backend, several):
        iterables = [range(i, 400 + i) for i in range(several)]
        expected = list(map(join, *iterables))
        assert lightwork.map(join, *iterables, n_jobs=2, backend=backend) == expected
        rows = list(zip(*iterables, strict=True))
        assert lightwork.starmap(join, rows, n_jobs=2, backend=backend) == expected

    @pytest.mark.parametrize("batch_size", ["auto", 1, 7])
    def test_where_some_arguments_must_be_written_down(self, batch_size):
        values = [*range(2000), [1], *range(2000), (2,), "text", np.int64(3), None, *range(500)]
        assert lightwork.map(join, values, n_jobs=2, batch_size=batch_size) == list(map(join, values))

    def test_of_arrays_and_of_functions_without_a_name(self):
        arrays = [np.full(300_000, float(i)) for i in range(6)]
        assert lightwork.map(total, arrays, n_jobs=2) == [300_000.0 * i for i in range(6)]
        offset = 5
        assert lightwork.map(lambda x: x + offset, range(1000), n_jobs=2) == list(range(5, 1005))

    def test_a_buffer_that_is_used_again_is_written_down_each_time(self):
        buffer = np.zeros(10)

        def inputs():
            for i in range(50):
                buffer[:] = i
                yield buffer

        assert lightwork.map(total, inputs(), n_jobs=2) == [10.0 * i for i in range(50)]

    def test_no_call_sees_what_another_did_to_its_argument(self):
        shared = []
        results = lightwork.map(append_to, itertools.repeat(shared), range(200), n_jobs=2)
        assert results == [[x] for x in range(200)]
        assert shared == []

    def test_a_remembered_function_is_answered_without_a_worker(self, tmp_path):
        remembered = Memory(tmp_path, verbose=0).cache(square)
        assert lightwork.map(remembered, range(20), n_jobs=2) == [x * x for x in range(20)]
        pool.shutdown()
        assert lightwork.map(remembered, range(20), n_jobs=2) == [x * x for x in range(20)]
        assert lightwork.pool_info().zygote is None
        assert lightwork.map(remembered, range(40), n_jobs=2) == [x * x for x in range(40)]

    def test_a_long_loop_is_whole(self):
        assert lightwork.map(abs, range(300_000), n_jobs=2) == list(range(300_000))


class TestInputs:
    @forms
    def test_that_raise_do_so_in_the_loop(self, form):
        def inputs():
            yield from range(100)
            raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            list(form(square, inputs(), n_jobs=2))

    def test_are_never_taken_far_ahead_of_the_reader(self):
        taken = itertools.count()
        results = lightwork.imap(square, taken, n_jobs=2, pre_dispatch=6, batch_size=2)
        assert [next(results) for _ in range(10)] == [x * x for x in range(10)]
        # `pre_dispatch` tasks and the one that was just read
        assert next(taken) <= 10 + 6
        results.close()

    def test_may_be_endless(self):
        results = lightwork.imap(square, itertools.count(), n_jobs=2)
        assert list(itertools.islice(results, 5000)) == [x * x for x in range(5000)]
        results.close()

    def test_may_all_be_taken_at_once(self):
        assert lightwork.map(square, iter(range(3000)), n_jobs=2, pre_dispatch="all") == [
            x * x for x in range(3000)
        ]


class TestErrors:
    @backends
    @pytest.mark.parametrize("bad", [0, 1, 2999])
    def test_appear_at_their_place(self, backend, bad):
        results = lightwork.imap(fail_at, itertools.repeat(bad), range(3000), n_jobs=2, backend=backend)
        read = []
        with pytest.raises(ValueError, match="bad") as caught:
            read.extend(results)  # what came before the error is there
        assert caught.value.args == ("bad", bad)
        with pytest.raises(ValueError, match="bad"):
            lightwork.map(fail_at, itertools.repeat(bad), range(3000), n_jobs=2, backend=backend)

    def test_name_the_task_inside_a_block(self):
        with pytest.raises(ValueError, match="bad") as caught:
            lightwork.map(abs_or_fail, range(-4000, 1), n_jobs=2)
        assert caught.value.__notes__ == ["raised by task 4000 of the loop: abs_or_fail(0)"]

    def test_a_death_inside_a_block_is_blamed_on_its_task(self):
        with pytest.raises(WorkerDied, match=r"task 2500: die_at\(2500, 2500\)") as caught:
            lightwork.map(die_at, itertools.repeat(2500), range(5000), n_jobs=2)
        assert caught.value.index == 2500

    def test_what_was_lost_with_a_worker_is_run_again(self):
        results = lightwork.imap_unordered(die_at, itertools.repeat(10), range(100), n_jobs=2, batch_size=50)
        seen = []
        with pytest.raises(WorkerDied):
            seen.extend(results)
        assert 10 not in seen
        assert len(seen) == len(set(seen))

    def test_an_argument_that_cannot_travel_is_named(self):
        with pytest.raises(PicklingFailedError, match=r"task 1500, .* argument 0"):
            lightwork.map(join, [*range(1500), threading.Lock()], n_jobs=2)

    def test_a_timeout_ends_it(self):
        with pytest.raises(TaskTimeout):
            lightwork.map(time.sleep, [600, 600], n_jobs=2, timeout=0.05)

    @pytest.mark.parametrize(
        ("call", "error", "said"),
        [
            (lambda: lightwork.map(3, [1]), OptionTypeError, "cannot be called"),
            (lambda: lightwork.map(abs), OptionTypeError, "go over"),
            (lambda: lightwork.map(abs, 3), OptionTypeError, "not iterable"),
            (lambda: lightwork.map(abs, [1], n_jobs=0), OptionError, "n_jobs"),
            (lambda: lightwork.map(abs, [1], n_job=2), OptionTypeError, "n_jobs"),
            (lambda: lightwork.map(abs, [1], return_as="generator"), OptionTypeError, "imap"),
            (lambda: lightwork.starmap(abs, [1]), TypeError, "starmap"),
        ],
    )
    def test_slips_are_named(self, call, error, said):
        with pytest.raises(error, match=said):
            call()


def abs_or_fail(x):
    if x == 0:
        raise ValueError("bad")
    return abs(x)


def outer(x):
    return sum(lightwork.map(square, range(x), n_jobs=2)), os.getpid()


class TestPlaces:
    def test_all_cores_are_used_unless_something_else_is_said(self, monkeypatch):
        seen = []
        monkeypatch.setattr(Parallel, "_place", lambda self: seen.append(self.n_jobs) or (_sequential(), 1))
        lightwork.map(abs, [1])
        lightwork.map(abs, [1], n_jobs=None)
        lightwork.map(abs, [1], n_jobs=3)
        with parallel_config(n_jobs=5):
            lightwork.map(abs, [1])
            lightwork.map(abs, [1], n_jobs=2)
        assert seen == [-1, -1, 3, 5, 2]

    def test_inside_a_task_it_is_a_plain_loop(self):
        results = lightwork.map(outer, [10, 20], n_jobs=2)
        assert [value for value, _ in results] == [sum(map(square, range(n))) for n in (10, 20)]
        assert os.getpid() not in {pid for _, pid in results}

    @backends
    @pytest.mark.parametrize("form", [lightwork.map, lightwork.imap])
    def test_the_debugging_mode_is_a_plain_loop_in_this_thread(self, form, backend, monkeypatch):
        monkeypatch.setenv("LIGHTWORK_SEQUENTIAL", "1")
        seen = []

        def note(x):
            seen.append((x, threading.current_thread()))
            return x

        assert list(form(note, range(5), n_jobs=2, backend=backend)) == list(range(5))
        assert seen == [(x, threading.current_thread()) for x in range(5)]
        assert lightwork.pool_info().zygote is None

    def test_in_a_daemonic_process(self):
        script = (
            "import multiprocessing, lightwork\n"
            "def work(pipe): pipe.send(lightwork.map(abs, range(-50, 0), n_jobs=2))\n"
            "ours, theirs = multiprocessing.Pipe()\n"
            "process = multiprocessing.get_context('fork').Process(target=work, args=(theirs,), daemon=True)\n"
            "process.start(); print(sum(ours.recv())); process.join(30); print(process.exitcode)\n"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
        assert (done.stdout.split(), done.stderr) == (["1275", "0"], "")

    def test_functions_of_a_script_travel(self, tmp_path):
        script = tmp_path / "script.py"
        script.write_text(
            "import lightwork\n"
            "class Pair:\n    def __init__(self, x): self.x = x\n"
            "def make(x): return Pair(x)\n"
            "def read(pair): return pair.x\n"
            "pairs = lightwork.map(make, range(100), n_jobs=2)\n"
            "assert all(type(pair) is Pair for pair in pairs)\n"
            "print(sum(lightwork.map(read, pairs, n_jobs=2)))\n"
        )
        done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
        assert (done.stdout.split(), done.stderr) == (["4950"], "")


def _sequential():
    from lightwork.parallel.backends import BACKENDS

    return BACKENDS["sequential"]


def test_every_option_of_parallel_is_one_of_map():
    import inspect

    own = set(inspect.signature(Parallel.__init__).parameters) - {
        "self",
        "return_as",
        "temp_folder",
        "worker_options",
    }
    assert {*LoopOptions.__annotations__, "on_error"} == own | set(WorkerOptions.__annotations__)


def draw(x):
    return x, float(lightwork.rng().random())


def test_each_call_has_its_own_random_numbers_under_a_seed():
    expected = lightwork.map(draw, range(500), n_jobs=1, seed=3)
    assert lightwork.map(draw, range(500), n_jobs=2, seed=3) == expected
    assert lightwork.map(draw, range(500), n_jobs=2, seed=3, backend="threads") == expected
    assert len(dict(expected)) == len({number for _, number in expected}) == 500


def fail_once(folder, x):
    marker = os.path.join(folder, str(x))
    if x % 700 == 699 and not os.path.exists(marker):
        open(marker, "w").close()
        raise ValueError("bad", x)
    return x


@backends
def test_calls_of_a_block_are_repeated_one_by_one(backend, tmp_path):
    found = lightwork.map(
        fail_once, itertools.repeat(str(tmp_path)), range(3000), n_jobs=2, backend=backend, retries=1
    )
    assert found == list(range(3000))
    assert len(os.listdir(tmp_path)) == 4


@backends
def test_failures_of_a_block_are_left_out_or_returned(backend):
    options = {"n_jobs": 2, "backend": backend}
    assert lightwork.map(fail_at, itertools.repeat(5), range(3000), on_error="skip", **options) == [
        x for x in range(3000) if x != 5
    ]
    found = list(lightwork.imap(fail_at, itertools.repeat(1500), range(3000), on_error="return", **options))
    assert type(found[1500]).__name__ == "TaskError"
    assert found[:1500] + found[1501:] == [x for x in range(3000) if x != 1500]


def last_of(x, _=None):
    return x if isinstance(x, int) else x[-1]


@pytest.mark.parametrize("several", [False, True])
def test_a_buffer_that_is_used_again_after_numbers_is_written_down_each_time(several):
    buffer = [0]

    def inputs():
        yield from range(4000)
        for i in range(300):
            buffer[0] = i
            yield buffer
        yield from range(4000)

    iterables = (inputs(), itertools.repeat(0)) if several else (inputs(),)
    found = lightwork.map(last_of, *iterables, n_jobs=2)
    assert found == [*range(4000), *range(300), *range(4000)]
