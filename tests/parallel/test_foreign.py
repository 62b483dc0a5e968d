"""Backends written for joblib run our loops through the same hooks: joblib's own, and ones made here."""

import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import ClassVar

import numpy as np
import pytest
from joblib import _parallel_backends as theirs

from lightwork import Parallel, delayed, parallel_backend, parallel_config, register_parallel_backend
from lightwork.errors import OptionError, OptionTypeError
from lightwork.parallel.backends.foreign import BackendBase
from lightwork.settings import _default_backend, registered


@pytest.fixture(autouse=True)
def _registry(monkeypatch):
    before = dict(registered)
    yield
    registered.clear()
    registered.update(before)
    _default_backend.clear()


@pytest.fixture(scope="module", autouse=True)
def _tracker():
    """The standard library starts a process of its own beside its first workers, and keeps it: not ours to end."""
    resource_tracker.ensure_running()


def square(i):
    return i * i


def fail_at(place, i):
    if i == place:
        raise KeyError(i)
    return i


class Recording(BackendBase):
    """Runs everything on one thread of its own, and tells what it was asked."""

    supports_retrieve_callback = True
    supports_sharedmem = True
    instances: ClassVar[list] = []

    def __init__(self, **options):
        super().__init__(**options)
        self.told = []
        self.instances.append(self)

    def effective_n_jobs(self, n_jobs):
        return 3 if n_jobs == -1 else n_jobs

    def configure(self, n_jobs=1, parallel=None, **options):
        self.told.append(f"configure {n_jobs}")
        self.pool = ThreadPoolExecutor(1)
        return super().configure(n_jobs, parallel, **options)

    def start_call(self):
        self.told.append("start")

    def submit(self, func, callback):
        assert len(func.items) == len(func) == 1
        future = self.pool.submit(func)
        future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out):
        return out.result()

    def stop_call(self):
        self.told.append("stop")

    def abort_everything(self, ensure_ready=True):
        self.told.append("abort")

    def terminate(self):
        self.told.append("terminate")
        self.pool.shutdown()


class Older(Recording):
    """As backends were before: results are asked for by what `apply_async` returned."""

    supports_retrieve_callback = False
    submit = None

    def apply_async(self, func, callback):
        return Recording.submit(self, func, callback)

    def retrieve_result(self, out, timeout=None):
        return out.result(timeout)


class Lending(Recording):
    """Lets another task run in the place of one whose loop waits."""

    @contextmanager
    def retrieval_context(self):
        self.told.append("retrieve")
        try:
            yield
        finally:
            self.told.append("retrieved")


THEIRS = {
    "threads": theirs.ThreadingBackend,
    "sequential": theirs.SequentialBackend,
    "own": Recording,
    "older": Older,
}
each_backend = pytest.mark.parametrize("factory", THEIRS.values(), ids=THEIRS)


@each_backend
class TestLoops:
    def test_lists_and_generators(self, factory):
        loop = Parallel(n_jobs=2, backend=factory())
        assert loop(delayed(square)(i) for i in range(50)) == [i * i for i in range(50)]
        assert loop(delayed(square)(i) for i in range(3)) == [0, 1, 4]
        generator = Parallel(n_jobs=2, backend=factory(), return_as="generator")
        assert list(generator(delayed(square)(i) for i in range(5))) == [0, 1, 4, 9, 16]

    def test_a_failure_is_the_tasks_own(self, factory):
        loop = Parallel(n_jobs=2, backend=factory(), batch_size=4)
        with pytest.raises(KeyError, match="7"):
            loop(delayed(fail_at)(7, i) for i in range(20))
        assert loop(delayed(square)(i) for i in range(3)) == [0, 1, 4]

    def test_arrays(self, factory):
        array = np.arange(300_000)
        loop = Parallel(n_jobs=2, backend=factory())
        assert loop(delayed(np.sum)(array + i) for i in range(3)) == [
            int((array + i).sum()) for i in range(3)
        ]

    def test_by_name(self, factory):
        register_parallel_backend("theirs", factory)
        assert Parallel(n_jobs=2, backend="theirs")(delayed(square)(i) for i in range(4)) == [0, 1, 4, 9]
        with parallel_config(backend="theirs", n_jobs=2):
            assert Parallel()(delayed(square)(i) for i in range(4)) == [0, 1, 4, 9]
        with parallel_backend("theirs") as (backend, n_jobs):
            assert (type(backend), n_jobs) == (factory, -1)
            assert Parallel()(delayed(square)(i) for i in range(4)) == [0, 1, 4, 9]


class TestHooks:
    @pytest.fixture(autouse=True)
    def _forget(self):
        Recording.instances.clear()

    def test_they_are_called_in_order(self):
        backend = Recording()
        Parallel(n_jobs=2, backend=backend)(delayed(square)(i) for i in range(10))
        assert backend.told == ["configure 2", "start", "stop", "terminate"]
        with pytest.raises(KeyError):
            Parallel(n_jobs=2, backend=backend)(delayed(fail_at)(0, i) for i in range(10))
        assert backend.told[4:] == ["configure 2", "start", "abort", "stop", "terminate"]

    def test_a_worker_whose_task_waits_for_a_loop_is_lent_to_others(self):
        backend = Lending()
        Parallel(n_jobs=2, backend=backend, batch_size=1)(delayed(square)(i) for i in range(10))
        assert backend.told == ["configure 2", "start", "retrieve", "retrieved", "stop", "terminate"]
        with pytest.raises(KeyError):
            Parallel(n_jobs=2, backend=backend)(delayed(fail_at)(2, i) for i in range(10))
        assert backend.told[6:] == [
            "configure 2",
            "start",
            "retrieve",
            "retrieved",
            "abort",
            "stop",
            "terminate",
        ]

    def test_a_generator_that_is_dropped_gives_its_place_back(self):
        backend = Lending()
        results = Parallel(n_jobs=2, backend=backend, return_as="generator")(
            delayed(square)(i) for i in range(10)
        )
        assert next(results) == 0
        results.close()
        assert backend.told.count("retrieve") == backend.told.count("retrieved") == 1

    def test_a_backend_without_workers_is_told(self):
        class Deserted(Recording):
            def effective_n_jobs(self, n_jobs):
                return 0

        with pytest.raises(RuntimeError, match="Deserted has 0 workers for n_jobs=2"):
            Parallel(n_jobs=2, backend=Deserted())(delayed(square)(i) for i in range(3))

    def test_the_backend_counts_its_workers(self):
        register_parallel_backend("recording", Recording)
        Parallel(n_jobs=-1, backend="recording")(delayed(square)(i) for i in range(10))
        assert Recording.instances[-1].told[0] == "configure 3"
        assert Parallel(n_jobs=2, backend="recording")._effective_n_jobs() == 2

    def test_a_configuration_makes_it_once_with_its_options(self):
        register_parallel_backend("recording", Recording)
        with parallel_config(backend="recording", n_jobs=2, address="there", inner_max_num_threads=1):
            Parallel()([delayed(square)(1), delayed(square)(2)])
            Parallel()([delayed(square)(1), delayed(square)(2)])
        (made,) = Recording.instances
        assert made.backend_kwargs == {"address": "there"}
        with (
            pytest.raises(OptionTypeError, match="adress"),
            parallel_config(backend="threads", adress="there"),
        ):
            pass

    def test_a_configuration_gives_the_one_that_its_loops_use(self):
        register_parallel_backend("recording", Recording)
        with parallel_backend("recording", address="there") as (backend, n_jobs):
            Parallel(n_jobs=2)(delayed(square)(i) for i in range(4))
        assert ([backend], n_jobs) == (Recording.instances, -1)
        assert backend.told[0] == "configure 2"

    def test_as_the_default(self):
        register_parallel_backend("recording", Recording, make_default=True)
        Parallel(n_jobs=2)([delayed(square)(1), delayed(square)(2)])
        assert len(Recording.instances) == 1
        Parallel(n_jobs=2, backend="threads")([delayed(square)(1), delayed(square)(2)])
        assert len(Recording.instances) == 1

    def test_one_that_falls_back(self):
        class Fallback(Exception):
            def __init__(self, backend):
                self.backend = backend

        class Falling(Recording):
            def configure(self, n_jobs=1, parallel=None, **options):
                raise Fallback(Recording())

        assert Parallel(n_jobs=2, backend=Falling())(delayed(square)(i) for i in range(3)) == [0, 1, 4]

    def test_a_callback_that_comes_before_submit_returns(self):
        class Immediate(Older):
            def apply_async(self, func, callback):
                out = Future()
                out.set_result(func())
                callback(out)
                return out

        assert Parallel(n_jobs=2, backend=Immediate())(delayed(square)(i) for i in range(3)) == [0, 1, 4]

    def test_a_generator_that_is_closed_ends_the_call(self):
        backend = Recording()
        gate = threading.Event()
        generator = Parallel(n_jobs=2, backend=backend, return_as="generator")(
            delayed(gate.wait)(i and 60) for i in range(4)
        )
        next(generator)
        gate.set()
        generator.close()
        assert backend.told[-3:] == ["abort", "stop", "terminate"]


@pytest.mark.parametrize("kind", ["LokyBackend", "MultiprocessingBackend"])
def test_joblibs_worker_processes(kind):
    """In a program of its own, since they and their files stay until it ends."""
    program = f"""
from joblib._parallel_backends import {kind} as Backend
from lightwork import Parallel, delayed, register_parallel_backend
register_parallel_backend("theirs", Backend)
def fail_at(place, i):
    if i == place:
        raise KeyError(i)
    return i
if __name__ == "__main__":
    loop = Parallel(n_jobs=2, backend="theirs", batch_size=2)
    print(loop(delayed(lambda i: i + 1)(i) for i in range(4)))
    try:
        loop(delayed(fail_at)(3, i) for i in range(8))
    except KeyError as error:
        print(repr(error), error.__notes__)
    print(loop(delayed(fail_at)(-1, i) for i in range(8)))
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (ran.stdout, ran.stderr) == (
        "[1, 2, 3, 4]\nKeyError(3) ['raised by task 3 of the loop: fail_at(3, 3)']\n[0, 1, 2, 3, 4, 5, 6, 7]\n",
        "",
    )


class TestBadInput:
    def test_names_of_ours_are_taken(self):
        for name in ("processes", "loky"):
            with pytest.raises(OptionError, match="name of a backend of lightwork"):
                register_parallel_backend(name, Recording)

    def test_a_factory_must_be_callable(self):
        with pytest.raises(OptionTypeError, match="what makes it"):
            register_parallel_backend("x", 3)

    def test_a_factory_must_make_a_backend(self):
        register_parallel_backend("nothing", lambda: 3)
        with pytest.raises(OptionTypeError, match="lacks `configure`"):
            Parallel(n_jobs=2, backend="nothing")

    def test_a_factory_that_takes_no_such_options(self):
        register_parallel_backend("plain", lambda: Recording())
        with (
            pytest.raises(OptionTypeError, match="cannot be made with speed"),
            parallel_config(backend="plain", speed=3),
        ):
            Parallel(n_jobs=2)

    def test_unknown_names_suggest_registered_ones(self):
        register_parallel_backend("recording", Recording)
        with pytest.raises(OptionError, match="did you mean 'recording'"):
            Parallel(backend="recordin")

    def test_hooks_without_a_default(self):
        with pytest.raises(NotImplementedError, match="must define submit"):
            Parallel(n_jobs=2, backend=BackendBase())(delayed(square)(i) for i in range(3))
