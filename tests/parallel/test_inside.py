"""What tasks find around them: seeded random numbers and context variables, alike on every backend."""

import random
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextvars import ContextVar
from multiprocessing import get_context, resource_tracker

import numpy as np
import pytest

import lightwork
from lightwork import Memory, Parallel, delayed, rng
from lightwork.errors import OptionError, OptionTypeError, PicklingFailedError, TaskFormatError

NAME = ContextVar("NAME", default="nobody")
BARE = ContextVar("BARE")


def draw(*_):
    return random.random(), float(np.random.rand()), float(rng().random())


def draw_rng(_):
    return float(rng().random())


def fail_once(folder, i):
    """Each task draws, and fails where asked."""
    return draw_rng(i) if i != 2 else draw_rng(i) / 0


@pytest.fixture(scope="module", autouse=True)
def _tracker():
    """The standard library starts a process of its own beside its first workers, and keeps it: not ours to end."""
    resource_tracker.ensure_running()


PLACES = {
    "plain": {"n_jobs": 1},
    "processes": {"n_jobs": 2},
    "one by one": {"n_jobs": 2, "batch_size": 1},
    "in batches": {"n_jobs": 3, "batch_size": 4},
    "spawned": {"n_jobs": 2, "start_method": "spawn"},
    "forked": {"n_jobs": 2, "start_method": "fork"},
    "generator": {"n_jobs": 2, "return_as": "generator"},
    "plain generator": {"n_jobs": 1, "return_as": "generator"},
}
each_place = pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)


class TestSeed:
    @each_place
    def test_the_numbers_are_the_same_everywhere(self, place):
        before = random.getstate(), np.random.get_state()[1].tolist()
        children = np.random.SeedSequence(42).spawn(10)
        expected = [float(np.random.default_rng(child).random()) for child in children]
        drawn = list(Parallel(seed=42, **place)(delayed(draw)(i) for i in range(10)))
        assert [each[2] for each in drawn] == expected
        assert drawn == Parallel(seed=42)(delayed(draw)(i) for i in range(10))
        assert len({number for each in drawn for number in each}) == 30
        assert (random.getstate(), np.random.get_state()[1].tolist()) == before

    @each_place
    def test_no_task_is_given_the_half_of_a_pair_that_another_has_left(self, place):
        drawn = list(Parallel(seed=42, **place)(delayed(np.random.normal)() for _ in range(10)))
        assert drawn == Parallel(seed=42)(delayed(np.random.normal)() for _ in range(10))
        assert len(set(drawn)) == 10

    @pytest.mark.parametrize(
        "executor",
        [lambda: ThreadPoolExecutor(2), lambda: ProcessPoolExecutor(2, get_context("spawn"))],
        ids=["threads", "processes"],
    )
    def test_executors_draw_the_same_numbers(self, executor):
        with executor() as pool:
            drawn = Parallel(backend=pool, seed=42)(delayed(draw_rng)(i) for i in range(10))
        assert drawn == Parallel(seed=42)(delayed(draw_rng)(i) for i in range(10))

    def test_threads_draw_the_same_numbers_from_rng_and_share_the_others(self):
        drawn = Parallel(n_jobs=2, backend="threads", seed=42)(delayed(draw_rng)(i) for i in range(10))
        assert drawn == Parallel(seed=42)(delayed(draw_rng)(i) for i in range(10))
        state = random.getstate()
        Parallel(n_jobs=2, backend="threads", seed=42)(delayed(draw_rng)(i) for i in range(10))
        assert random.getstate() == state

    def test_unordered_results_are_each_of_their_own_stream(self):
        loop = Parallel(n_jobs=2, return_as="generator_unordered", batch_size=1, seed=1)
        assert sorted(loop(delayed(draw_rng)(i) for i in range(20))) == sorted(
            Parallel(seed=1)(delayed(draw_rng)(i) for i in range(20))
        )

    def test_functions_of_all_kinds_in_one_loop(self):
        kinds = [draw_rng, lambda _: float(rng().random()), rng, np.random.rand, random.random]
        args = [(0,), (0,), (), (), ()]
        tasks = [delayed(func)(*arg) for func, arg in zip(kinds, args, strict=True)] * 2

        def seen(results):
            return [value if isinstance(value, float) else float(value.random()) for value in results]

        assert seen(Parallel(n_jobs=2, seed=3)(tasks)) == seen(Parallel(seed=3)(tasks))

    def test_an_error_names_the_task_as_the_user_wrote_it(self, tmp_path):
        with pytest.raises(ZeroDivisionError) as caught:
            Parallel(n_jobs=2, seed=3)(delayed(fail_once)("here", i) for i in range(4))
        assert "raised by task 2 of the loop: fail_once('here', 2)" in caught.value.__notes__

    def test_items_that_are_no_tasks_are_refused_by_position(self):
        for n_jobs in (1, 2):
            with pytest.raises(TaskFormatError, match="got 3 at position 1"):
                Parallel(n_jobs=n_jobs, seed=1)([delayed(draw)(0), 3])
            with pytest.raises(TaskFormatError, match="position 0 calls 3"):
                Parallel(n_jobs=n_jobs, seed=1)([(3, (), {})])

    def test_map_draws_the_same(self):
        expected = Parallel(seed=4)(delayed(draw_rng)(i) for i in range(300))
        assert lightwork.map(draw_rng, range(300), n_jobs=2, seed=4) == expected
        assert list(lightwork.imap(draw_rng, range(300), n_jobs=2, seed=4)) == expected

    def test_what_is_no_seed_is_refused_at_once(self):
        with pytest.raises(OptionError):
            Parallel(seed=-1)
        with pytest.raises(OptionTypeError):
            Parallel(seed="1")

    def test_a_loop_without_a_seed_draws_what_nobody_has_drawn(self):
        """Not what a worker would draw on from the last task of a loop that had a seed."""
        drawn = []
        for _ in range(6):
            Parallel(n_jobs=2, seed=1)([delayed(draw)(0)])
            drawn += Parallel(n_jobs=2)(delayed(draw)(i) for i in range(4))
        numbers = [number for each in drawn for number in each]
        assert len(set(numbers)) == len(numbers)

    @pytest.mark.parametrize("n_jobs", [1, 2])
    @pytest.mark.parametrize("seed", [None, 3])
    def test_a_nested_loop_puts_back_the_generators_of_its_task(self, n_jobs, seed):
        def outer(i):
            random.seed(i)
            np.random.seed(i)
            first = random.random(), float(np.random.rand())
            Parallel(n_jobs=2, seed=1)(delayed(draw)(i) for i in range(2))
            return *first, random.random(), float(np.random.rand())

        expected = []
        for i in range(4):
            ours, theirs = random.Random(i), np.random.RandomState(i)
            first = ours.random(), float(theirs.rand())
            expected.append((*first, ours.random(), float(theirs.rand())))
        assert Parallel(n_jobs=n_jobs, seed=seed)(delayed(outer)(i) for i in range(4)) == expected

    def test_a_nested_loop_draws_from_its_task(self):
        def outer(i):
            return Parallel(n_jobs=2)(delayed(draw_rng)(i) for i in range(2))

        nested = Parallel(n_jobs=2, seed=8)(delayed(outer)(i) for i in range(3))
        assert nested == Parallel(seed=8)(delayed(outer)(i) for i in range(3))
        assert len({number for pair in nested for number in pair}) == 6

    @pytest.mark.parametrize("backend", ["threads", "executor"])
    def test_a_nested_loop_of_a_thread_leaves_the_generators_of_the_process_alone(self, backend):
        def outer(i):
            Parallel(seed=1)(delayed(draw_rng)(i) for i in range(2))
            return Parallel()(delayed(draw_rng)(i) for i in range(2))

        state = random.getstate()
        with ThreadPoolExecutor(2) as pool:
            loop = Parallel(n_jobs=2, backend=pool if backend == "executor" else backend, seed=8)
            nested = loop(delayed(outer)(i) for i in range(20))
        assert random.getstate() == state
        assert nested == Parallel(seed=8)(delayed(outer)(i) for i in range(20))

    def test_a_nested_loop_leaves_what_is_remembered_to_its_own_keys(self, tmp_path):
        square = Memory(tmp_path, verbose=0).cache(pow)

        def outer(i):
            return Parallel(n_jobs=2)(delayed(square)(i, 2) for i in range(3))

        assert Parallel(n_jobs=2, seed=8)(delayed(outer)(i) for i in range(3)) == [[0, 1, 4]] * 3
        assert square.stats()["items"] == 3

    def test_numpy_that_only_the_task_imports_is_seeded(self):
        program = """
import sys
from lightwork import Parallel, delayed
def draw(i):
    import numpy
    return float(numpy.random.rand())
for n_jobs in (2, 1):
    assert n_jobs == 1 or "numpy" not in sys.modules
    print(Parallel(n_jobs=n_jobs, seed=1)(delayed(draw)(i) for i in range(4)))
"""
        ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
        one, two = ran.stdout.splitlines()
        assert ran.stderr == ""
        assert one == two


class TestSeedOfRememberedFunctions:
    @pytest.fixture
    def remembered(self, tmp_path):
        return Memory(tmp_path, verbose=0).cache(draw_rng)

    @pytest.mark.parametrize("n_jobs", [1, 2])
    def test_the_stream_is_part_of_the_key(self, remembered, n_jobs):
        expected = Parallel(seed=5)(delayed(draw_rng)(0) for _ in range(4))
        loop = Parallel(n_jobs=n_jobs, seed=5)
        assert loop(delayed(remembered)(0) for _ in range(4)) == expected
        assert remembered.stats()["items"] == 4
        assert loop(delayed(remembered)(0) for _ in range(4)) == expected
        assert remembered.stats()["items"] == 4
        assert Parallel(n_jobs=n_jobs, seed=6)(delayed(remembered)(0) for _ in range(4)) != expected
        assert Parallel(n_jobs=3 - n_jobs, seed=5)(delayed(remembered)(0) for _ in range(4)) == expected

    def test_calls_outside_have_a_key_of_their_own(self, remembered):
        inside = Parallel(seed=5)([delayed(remembered)(0)])
        assert not remembered.check_call_in_cache(0)
        assert remembered(0) != inside[0]
        assert Parallel(seed=5)([delayed(remembered)(0)]) == inside

    @pytest.mark.parametrize("n_jobs", [1, 2])
    def test_mapped_results(self, tmp_path, n_jobs):
        remembered = Memory(tmp_path, mmap_mode="r", verbose=0).cache(draw_array)
        loop = Parallel(n_jobs=n_jobs, seed=5)
        first = loop(delayed(remembered)(20_000) for _ in range(3))
        again = loop(delayed(remembered)(20_000) for _ in range(3))
        plain = Parallel(seed=5)(delayed(draw_array)(20_000) for _ in range(3))
        for some in (first, again):
            assert all(np.array_equal(a, b) for a, b in zip(some, plain, strict=True))

    @pytest.mark.parametrize("n_jobs", [1, 2])
    def test_generators(self, tmp_path, n_jobs):
        remembered = Memory(tmp_path, verbose=0).cache(draw_some)
        loop = Parallel(n_jobs=n_jobs, seed=5)
        first = [list(each) for each in loop(delayed(remembered)(3) for _ in range(3))]
        again = [list(each) for each in loop(delayed(remembered)(3) for _ in range(3))]
        assert first == again == Parallel(seed=5)(delayed(list_some)(3) for _ in range(3))
        assert remembered.stats()["items"] == 3


def draw_some(count):
    for _ in range(count):
        yield float(rng().random())


def list_some(count):
    return list(draw_some(count))


def draw_array(size):
    return rng().random(size)


def name_of(_):
    return NAME.get(), BARE.get(None)


def change(i):
    seen = NAME.get()
    NAME.set(f"changed by {i}")
    return seen


@pytest.fixture
def named():
    tokens = NAME.set("caller"), BARE.set("bare")
    yield
    NAME.reset(tokens[0])
    BARE.reset(tokens[1])


class TestContextVariables:
    @each_place
    def test_they_hold_in_tasks_what_they_hold_at_the_call(self, named, place):
        loop = Parallel(contextvars=[NAME, BARE], **place)
        assert list(loop(delayed(name_of)(i) for i in range(6))) == [("caller", "bare")] * 6

    def test_threads_and_executors_too(self, named):
        loop = Parallel(n_jobs=2, backend="threads", contextvars=[NAME])
        assert loop(delayed(name_of)(i) for i in range(6)) == [("caller", None)] * 6
        with ProcessPoolExecutor(2, get_context("spawn")) as pool:
            loop = Parallel(backend=pool, contextvars=[NAME, BARE])
            assert loop(delayed(name_of)(i) for i in range(6)) == [("caller", "bare")] * 6

    @pytest.mark.parametrize("backend", ["processes", "threads", "sequential"])
    def test_a_task_changes_them_for_itself(self, named, backend):
        loop = Parallel(n_jobs=2, backend=backend, contextvars=[NAME])
        assert loop(delayed(change)(i) for i in range(6)) == ["caller"] * 6
        assert NAME.get() == "caller"

    def test_a_mutable_value_is_new_for_each_task(self):
        token = BARE.set([])

        def add(i):
            BARE.get().append(i)
            return BARE.get()

        assert Parallel(n_jobs=2, contextvars=[BARE])(delayed(add)(i) for i in range(6)) == [
            [i] for i in range(6)
        ]
        BARE.reset(token)

    def test_the_next_call_has_what_holds_then(self, named):
        loop = Parallel(n_jobs=2, contextvars=[NAME])
        loop([delayed(name_of)(0)])
        NAME.set("somebody else")
        assert loop([delayed(name_of)(0), delayed(name_of)(1)]) == [("somebody else", None)] * 2

    def test_variables_of_the_program(self):
        program = """
import contextvars
from lightwork import Parallel, delayed
user = contextvars.ContextVar("user", default="nobody")
request = contextvars.ContextVar("request")
def show(i):
    return user.get(), request.get(None)
show_too = lambda i: (user.get(), request.get(None))
print(Parallel(n_jobs=2)(delayed(show)(i) for i in range(2)))
user.set("me"); request.set(5)
print(Parallel(n_jobs=2)(delayed(show)(i) for i in range(2)))
print(Parallel(n_jobs=2, contextvars=[user, request])(delayed(show)(i) for i in range(2)))
print(Parallel(n_jobs=2, contextvars=[user, request])(delayed(show_too)(i) for i in range(2)))
"""
        ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
        assert ran.stderr == ""
        assert ran.stdout.splitlines() == [
            "[('nobody', None), ('nobody', None)]",
            "[('nobody', None), ('nobody', None)]",
            "[('me', 5), ('me', 5)]",
            "[('me', 5), ('me', 5)]",
        ]

    def test_a_value_that_cannot_travel_is_named_before_any_worker_starts(self):
        token = BARE.set(threading.Lock())
        with pytest.raises(PicklingFailedError, match=r"context variable 'BARE'.*type lock"):
            Parallel(n_jobs=2, contextvars=[BARE])(delayed(name_of)(i) for i in range(2))
        assert Parallel(n_jobs=2, backend="threads", contextvars=[BARE])([delayed(abs)(-1)]) == [1]
        BARE.reset(token)

    @pytest.mark.parametrize("said", [3, "NAME", ["NAME"], NAME])
    def test_what_is_no_variable_is_refused_at_once(self, said):
        with pytest.raises(OptionTypeError, match="contextvars"):
            Parallel(contextvars=said)
