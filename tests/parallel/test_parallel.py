"""What people write: every option, every way to read a loop, on the backends that need no process."""

import gc
import threading
import time
from collections.abc import Generator
from functools import partial
from math import sqrt

import pytest

from lightwork import Parallel, delayed, parallel_config
from lightwork.errors import OptionError, OptionTypeError, TaskFormatError, TaskTimeout

SEQUENTIAL = {"n_jobs": 1}
THREADS = {"n_jobs": 2, "backend": "threads"}
both = pytest.mark.parametrize("how", [SEQUENTIAL, THREADS], ids=["sequential", "threads"])
each_kind = pytest.mark.parametrize("kind", ["list", "generator", "generator_unordered"])


@pytest.fixture
def no_collection():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def fail_at(bad, i):
    if i == bad:
        raise ValueError(f"task {i}")
    return i


class TestResults:
    @both
    @each_kind
    @pytest.mark.parametrize("count", [0, 1, 2, 500])
    @pytest.mark.parametrize("batch_size", ["auto", 1, 7])
    def test_all_of_them(self, how, kind, count, batch_size):
        results = Parallel(**how, return_as=kind, batch_size=batch_size)(
            delayed(sqrt)(i**2) for i in range(count)
        )
        assert isinstance(results, list if kind == "list" else Generator)
        results = list(results)
        assert (sorted(results) if kind == "generator_unordered" else results) == list(range(count))

    @both
    def test_any_iterable_of_triples(self, how):
        parallel = Parallel(**how)
        assert parallel([[abs, [-1], {}], (int, ("11",), {"base": 2})]) == [1, 3]
        assert parallel(map(delayed(abs), range(-3, 0))) == [3, 2, 1]
        assert parallel({"a": delayed(abs)(-1)}.values()) == [1]

    @both
    def test_many_functions_of_many_kinds(self, how):
        class Adder:
            def __call__(self, x):
                return x + 1

        functions = [abs, Adder(), partial(pow, 2), lambda x: -x, int, [1, 2, 3].__getitem__]
        assert Parallel(**how)(delayed(f)(2) for f in functions) == [2, 3, 4, -2, 2, 3]

    @both
    def test_none_and_exceptions_as_results(self, how):
        error = ValueError("a value like any other")
        assert Parallel(**how)(delayed(lambda x: x)(x) for x in (None, error)) == [None, error]

    @both
    def test_reused_and_as_context(self, how):
        with Parallel(**how) as parallel:
            for _ in range(5):
                assert parallel(delayed(abs)(-i) for i in range(20)) == list(range(20))
        assert parallel([delayed(abs)(-1)]) == [1]

    def test_two_threads_calling_at_once(self):
        parallel = Parallel(**THREADS)
        results = {}

        def call(offset):
            results[offset] = parallel(delayed(sum)((offset, i)) for i in range(2000))

        threads = [threading.Thread(target=call, args=(offset,)) for offset in (0, 10_000)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == {offset: [offset + i for i in range(2000)] for offset in (0, 10_000)}

    def test_arguments_are_the_callers_own(self):
        found = []
        Parallel(**THREADS, require="sharedmem")(delayed(found.append)(i) for i in range(100))
        assert sorted(found) == list(range(100))


class TestErrors:
    @both
    @each_kind
    def test_are_the_tasks_own(self, how, kind):
        error = KeyError("the very object")

        def fail():
            raise error

        with pytest.raises(KeyError) as caught:
            list(Parallel(**how, return_as=kind)([delayed(abs)(1), delayed(fail)()]))
        assert caught.value is error
        assert caught.traceback[-1].name == "fail"

    @both
    def test_appear_at_their_place_in_a_generator(self, how):
        generator = Parallel(**how, return_as="generator")(delayed(fail_at)(3, i) for i in range(50))
        assert [next(generator) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(ValueError, match="task 3"):
            next(generator)
        assert list(generator) == []

    @both
    def test_a_failed_call_leaves_nothing_for_the_next(self, how):
        parallel = Parallel(**how)
        with pytest.raises(ValueError, match="task 3"):
            parallel(delayed(fail_at)(3, i) for i in range(50))
        assert parallel(delayed(fail_at)(-1, i) for i in range(50)) == list(range(50))

    @both
    @pytest.mark.parametrize("kind", [KeyboardInterrupt, GeneratorExit])
    def test_of_every_kind(self, how, kind):
        def fail():
            raise kind("from a task")

        with pytest.raises(kind):
            Parallel(**how)([delayed(fail)()])

    @both
    def test_a_type_error_of_the_task_is_not_taken_for_a_wrong_task(self, how):
        with pytest.raises(TypeError, match="unsupported operand") as caught:
            Parallel(**how)([delayed(lambda: 1 + "a")()])
        assert not isinstance(caught.value, TaskFormatError)
        with pytest.raises(TypeError, match="takes exactly one argument") as caught:
            Parallel(**how)([delayed(abs)(1, 2)])
        assert not isinstance(caught.value, TaskFormatError)

    @both
    @each_kind
    def test_of_the_input(self, how, kind):
        def tasks():
            yield delayed(abs)(1)
            raise LookupError("the input's own")

        with pytest.raises(LookupError, match="own"):
            list(Parallel(**how, return_as=kind)(tasks()))

    def test_no_result_in_time(self):
        gate = threading.Event()
        try:
            with pytest.raises(TaskTimeout, match=r"timeout=0\.01") as caught:
                Parallel(**THREADS, timeout=0.01)(delayed(gate.wait)() for _ in range(3))
            assert isinstance(caught.value, TimeoutError)
        finally:
            gate.set()


class TestBadTasks:
    @both
    @pytest.mark.parametrize(
        ("tasks", "said"),
        [
            ([3], "got 3 at position 0: did you forget `delayed`"),
            ([delayed(abs)(1), "abc"], "got 'abc' at position 1: did you forget `delayed`"),
            ([delayed(abs)(1)] * 7 + [3], "got 3 at position 7: did you forget `delayed`"),
            ([delayed(abs)(1), (3, (), {})], "the task at position 1 calls 3, of type int"),
            ([delayed(abs)(1), abs], "got abs at position 1"),
            (delayed(abs)(1), "got one task, not an iterable of tasks"),
            (3, "got 3, not an iterable of tasks"),
        ],
    )
    @each_kind
    def test_are_named(self, how, tasks, said, kind):
        with pytest.raises(TaskFormatError) as caught:
            list(Parallel(**how, return_as=kind)(tasks))
        assert said in str(caught.value)


class TestGenerators:
    def test_work_begins_at_the_call(self):
        begun = threading.Event()
        generator = Parallel(**THREADS, return_as="generator")(delayed(begun.set)() for _ in range(3))
        assert begun.wait(30)
        assert list(generator) == [None] * 3

    @pytest.mark.parametrize("end", ["close", "drop"])
    @pytest.mark.parametrize("read", [0, 1])
    def test_ending_one_early_does_not_wait_for_what_runs(self, end, read):
        gate, ran = threading.Event(), []

        def task(i):
            ran.append(i)
            if i >= read:
                gate.wait(60)

        try:
            generator = Parallel(**THREADS, return_as="generator", batch_size=1)(
                delayed(task)(i) for i in range(100)
            )
            for _ in range(read):
                next(generator)
            begun = time.monotonic()
            if end == "close":
                generator.close()
            del generator
            gc.collect()
            # 0.2 s is promised; more is a wait for the gate. A busy machine gets some room.
            assert time.monotonic() - begun < 2
        finally:
            gate.set()
        assert len(ran) <= 5

    def test_several_at_once_on_one_object(self):
        parallel = Parallel(**THREADS, return_as="generator")

        def tasks(k):
            return (delayed(sum)((k, i)) for i in range(100))

        generators = [parallel(tasks(k)) for k in (0, 1000, 2000)]
        for i in range(100):
            assert [next(generator) for generator in generators] == [i, 1000 + i, 2000 + i]

    @both
    @pytest.mark.parametrize("kind", ["generator", "generator_unordered"])
    @pytest.mark.parametrize(("window", "batch_size"), [(1, 1), (3, 1), (10, 4)])
    def test_the_input_is_taken_no_further_than_allowed(self, how, kind, window, batch_size):
        """Not even while a result is on its way to the reader."""
        read, leads = 0, []

        def tasks():
            for taken in range(1, 101):
                leads.append(taken - read)
                yield delayed(abs)(taken)

        options = {"return_as": kind, "batch_size": batch_size, "pre_dispatch": window}
        for _ in Parallel(**how, **options)(tasks()):
            read += 1
        assert read == 100
        assert max(leads) == (1 if how == SEQUENTIAL else window)

    @both
    def test_an_input_may_be_made_of_the_results(self, how):
        found = [0]

        def tasks():
            while found[-1] < 50:
                yield delayed(sum)((found[-1], 1))

        for result in Parallel(**how, return_as="generator", batch_size=1, pre_dispatch=1)(tasks()):
            found += [result]
        assert found == list(range(51))

    def test_read_in_another_thread(self):
        generator = Parallel(**THREADS, return_as="generator")(delayed(abs)(i) for i in range(100))
        results = []
        thread = threading.Thread(target=lambda: results.extend(generator))
        thread.start()
        thread.join()
        assert results == list(range(100))

    def test_sequential_runs_a_task_when_its_result_is_asked_for(self):
        ran = []
        generator = Parallel(n_jobs=1, return_as="generator")(delayed(ran.append)(i) for i in range(3))
        next(generator)
        assert ran == [0]


class TestInput:
    """A loop that ends lets go of its input at once: a generator that holds a file open closes it."""

    def tasks(self, ended, failing=50):
        try:
            for i in range(1000):
                yield delayed(fail_at)(failing, i)
        finally:
            ended.append(True)

    @both
    def test_is_closed_with_the_generator(self, how, no_collection):
        ended = []
        # One at a time and without a failure: else the loop may be through with its input before it is closed.
        generator = Parallel(**how, return_as="generator", batch_size=1)(self.tasks(ended, failing=-1))
        next(generator)
        assert not ended
        generator.close()
        assert ended

    @both
    def test_is_closed_with_the_last_reference_to_the_generator(self, how, no_collection):
        ended = []
        # One at a time and without a failure: else the loop may be through with its input before it is closed.
        generator = Parallel(**how, return_as="generator", batch_size=1)(self.tasks(ended, failing=-1))
        next(generator)
        del generator
        assert ended

    @both
    @each_kind
    def test_is_closed_when_a_task_fails(self, how, kind, no_collection):
        ended = []
        try:
            list(Parallel(**how, return_as=kind)(self.tasks(ended)))
        except ValueError as error:
            error.__traceback__ = None
        assert ended


class TestDispatch:
    def taken_with(self, pre_dispatch, **more):
        """How many tasks are taken while the workers are held up in the first ones."""
        gate, taken = threading.Event(), []

        def tasks():
            for i in range(40):
                taken.append(i)
                yield delayed(gate.wait)()

        generator = Parallel(**THREADS, return_as="generator", pre_dispatch=pre_dispatch, **more)(tasks())
        count = len(taken)
        gate.set()
        assert list(generator) == [True] * 40
        return count

    def test_all_is_all(self):
        assert self.taken_with("all") == 40

    @pytest.mark.parametrize(("said", "count"), [("n_jobs", 2), ("3*n_jobs", 6), (5, 5)])
    def test_never_more_than_said(self, said, count):
        assert 2 <= self.taken_with(said, batch_size=1) <= count

    def test_a_window_smaller_than_a_batch_still_feeds_all_workers(self):
        barrier = threading.Barrier(2)
        tasks = (delayed(barrier.wait)(30) for _ in range(8))
        results = Parallel(**THREADS, batch_size=100, pre_dispatch=2)(tasks)
        assert sorted(results) == [0] * 4 + [1] * 4

    def test_text_is_never_evaluated(self, capsys):
        with pytest.raises(OptionError, match="pre_dispatch"):
            Parallel(n_jobs=2, pre_dispatch="print(1)")
        assert capsys.readouterr().out == ""


class TestPlace:
    def backend_and_workers(self, *args, **options):
        backend, workers = Parallel(*args, **options)._place()
        return backend.name, workers

    def test_default_is_a_plain_loop(self):
        assert self.backend_and_workers() == ("sequential", 1)
        assert self.backend_and_workers(1, backend="threads") == ("sequential", 1)
        assert self.backend_and_workers(4, backend="sequential") == ("sequential", 1)

    def test_a_plain_loop_runs_in_this_thread_and_touches_nothing(self):
        argument = object()
        assert Parallel(n_jobs=1)([delayed(lambda x: (x, threading.get_ident()))(argument)]) == [
            (argument, threading.get_ident())
        ]

    def test_configuration(self):
        with parallel_config(backend="threading", n_jobs=3):
            assert self.backend_and_workers() == ("threads", 3)
            assert self.backend_and_workers(n_jobs=None) == ("threads", 3)
            assert self.backend_and_workers(n_jobs=2) == ("threads", 2)
            assert self.backend_and_workers(backend="loky") == ("processes", 3)
            assert self.backend_and_workers(prefer="processes") == ("threads", 3)
            with parallel_config(backend="processes"):
                assert self.backend_and_workers() == ("processes", 3)
                assert self.backend_and_workers(require="sharedmem") == ("threads", 3)

    def test_the_number_of_workers_can_be_reckoned_with(self):
        assert (Parallel().n_jobs, Parallel(None, backend="threads").n_jobs) == (1, 1)
        with parallel_config(n_jobs=3):
            assert Parallel(n_jobs=None).n_jobs == 3
            with parallel_config(n_jobs=None):
                assert Parallel().n_jobs == 1

    def test_configuration_is_taken_when_made(self):
        with parallel_config(n_jobs=3, verbose=7, max_nbytes="2K", mmap_mode="r", temp_folder="/t"):
            parallel = Parallel()
        assert (parallel.n_jobs, parallel.verbose, parallel.max_nbytes) == (3, 7, 2048)
        assert (parallel.mmap_mode, parallel.temp_folder) == ("r", "/t")
        assert repr(parallel) == "Parallel(n_jobs=3)"

    def test_debugging_switch(self, monkeypatch):
        monkeypatch.setenv("LIGHTWORK_SEQUENTIAL", "1")
        assert self.backend_and_workers(4) == ("sequential", 1)
        monkeypatch.setenv("LIGHTWORK_SEQUENTIAL", "0")
        assert self.backend_and_workers(4) == ("processes", 4)

    def test_all_cores(self, monkeypatch):
        monkeypatch.setenv("LIGHTWORK_MAX_CPU_COUNT", "2")
        assert Parallel(-1)._effective_n_jobs() == Parallel(-1, backend="threads")._place()[1]

    @pytest.mark.parametrize("inner", ["threads", "processes", None])
    def test_inside_a_thread_loops_are_plain(self, inner):
        def task():
            ident = threading.get_ident()
            idents = Parallel(n_jobs=2, backend=inner)(delayed(threading.get_ident)() for _ in range(4))
            return set(idents) == {ident}

        assert Parallel(**THREADS)(delayed(task)() for _ in range(4)) == [True] * 4

    def test_no_thread_is_left(self):
        before = set(threading.enumerate())
        Parallel(**THREADS)(delayed(abs)(i) for i in range(10))
        assert set(threading.enumerate()) == before


class Scikit(Parallel):
    """As scikit-learn does: each task gets another function around the given one."""

    def __call__(self, iterable):
        return super().__call__((Around(func), args, kwargs) for func, args, kwargs in iterable)


class Around:
    def __init__(self, func):
        self.func = func

    def __call__(self, *args, **kwargs):
        return ["around", self.func(*args, **kwargs)]


class TestSubclasses:
    @both
    def test_tasks_may_be_mapped(self, how):
        assert Scikit(**how)(delayed(abs)(-i) for i in range(20)) == [["around", i] for i in range(20)]

    @both
    def test_print_progress_may_be_replaced(self, how):
        class Counting(Parallel):
            def print_progress(self):
                seen.append(
                    (self.n_completed_tasks, self.n_dispatched_tasks, self._original_iterator is None)
                )

        seen = []
        Counting(**how)(delayed(abs)(i) for i in range(50))
        counts = [done for done, _, _ in seen]
        assert counts == sorted(set(counts))
        assert seen[-1][0] == 50
        assert all(done <= dispatched for done, dispatched, _ in seen)

    @both
    @each_kind
    def test_counts_after_the_loop(self, how, kind):
        parallel = Parallel(**how, return_as=kind)
        list(parallel(delayed(abs)(i) for i in range(50)))
        assert (parallel.n_completed_tasks, parallel.n_dispatched_tasks) == (50, 50)
        assert parallel._original_iterator is None


class TestShown:
    def test_silent(self, capsys):
        Parallel(**THREADS)(delayed(abs)(i) for i in range(50))
        Parallel(**THREADS, progress=True)(delayed(abs)(i) for i in range(50))
        assert capsys.readouterr() == ("", "")

    @both
    @each_kind
    def test_lines(self, how, kind, capsys):
        list(Parallel(**how, verbose=11, batch_size=1, return_as=kind)(delayed(abs)(i) for i in range(6)))
        out, err = capsys.readouterr()
        head = f"[Parallel(n_jobs={how['n_jobs']})]: "
        lines = err.splitlines()
        assert out == ""
        assert all(line.startswith(head) for line in lines)
        assert lines[-1].startswith(f"{head}Done   6 out of   6 | elapsed:    0.")
        assert lines[-1].endswith("s finished")
        if how is THREADS:
            assert lines[0] == f"{head}Using backend threads with 2 concurrent workers."

    def test_no_finish_after_a_failure(self, capsys):
        with pytest.raises(ValueError, match="task 3"):
            Parallel(**THREADS, verbose=11)(delayed(fail_at)(3, i) for i in range(6))
        assert "finished" not in capsys.readouterr().err

    def test_loud_to_standard_output(self, capsys):
        Parallel(**THREADS, verbose=60)(delayed(abs)(i) for i in range(6))
        out, err = capsys.readouterr()
        assert (out.count("finished"), err) == (1, "")

    @both
    def test_progress_where_asked_for(self, how, capsys):
        Parallel(**how, progress="always")([delayed(abs)(i) for i in range(6)])
        assert capsys.readouterr().err.startswith("tasks: 6/6, ")

    @both
    def test_progress_of_a_known_total(self, how, capsys):
        Parallel(**how, progress="always", total=8)(delayed(abs)(i) for i in range(6))
        assert capsys.readouterr().err.startswith("tasks: 6/8, ")


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"n_jobs": 0}, "n_jobs=0"),
            ({"n_jobs": 2, "backend": "treads"}, "did you mean 'threads'"),
            ({"return_as": "tuple"}, "return_as='tuple' is not known; it can be 'list', 'generator'"),
            ({"prefer": "gpu"}, "prefer='gpu'"),
            ({"require": "gpu"}, "require='gpu'"),
            ({"batch_size": 0}, "batch_size=0"),
            ({"batch_size": -1}, "batch_size=-1"),
            ({"batch_size": "big"}, "batch_size='big'"),
            ({"batch_size": 1.5}, "batch_size=1.5"),
            ({"pre_dispatch": "2 * cores"}, "pre_dispatch='2 . cores'"),
            ({"pre_dispatch": 0}, "pre_dispatch=0"),
            ({"timeout": 0}, "timeout=0"),
            ({"timeout": -1.5}, "timeout=-1.5"),
            ({"timeout": float("nan")}, "timeout=nan"),
            ({"mmap_mode": "x"}, "mmap_mode='x'"),
            ({"max_nbytes": "big"}, "max_nbytes='big'"),
            ({"progress": "never"}, "progress='never'"),
            ({"progress": 1}, "progress=1"),
            ({"total": -1}, "total=-1"),
            ({"backend": "loky", "require": "sharedmem"}, "contradicts require='sharedmem'"),
            ({"prefer": "processes", "require": "sharedmem"}, "contradicts require='sharedmem'"),
        ],
    )
    def test_values_that_cannot_be(self, options, said):
        with pytest.raises(OptionError, match=said):
            Parallel(**options)

    @pytest.mark.parametrize(
        "options",
        [{"n_jobs": "many"}, {"backend": 3}, {"pre_dispatch": 1.5}, {"timeout": "1"}, {"max_nbytes": 1.5}],
    )
    def test_types_that_cannot_be(self, options):
        with pytest.raises(OptionTypeError, match=next(iter(options))):
            Parallel(**options)

    def test_configured_values_are_checked_too(self):
        with parallel_config(prefer="gpu"), pytest.raises(OptionError, match="prefer='gpu'"):
            Parallel()

    @pytest.mark.parametrize("threads", [0, -1])
    def test_inner_threads_that_cannot_be(self, threads):
        with parallel_config(inner_max_num_threads=threads), pytest.raises(OptionError, match="inner_max"):
            Parallel()

    def test_a_window_that_comes_to_nothing_here(self):
        with pytest.raises(OptionError, match="comes to 0"):
            Parallel(**THREADS, pre_dispatch="n_jobs - 2")([delayed(abs)(1)])

    def test_a_misspelt_option(self):
        with pytest.raises(TypeError, match="n_job"):
            Parallel(n_job=2)
