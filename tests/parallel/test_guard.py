"""Inputs that raise, on every backend: the loop is cancelled, or finishes what it was given before."""

import asyncio
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context, resource_tracker

import pytest

import lightwork
from lightwork import Memory, Parallel, Retries, delayed
from lightwork.errors import OptionError, TaskError, TaskFormatError
from lightwork.parallel.backends.foreign import BackendBase


@pytest.fixture(autouse=True, scope="module")
def _tracker():
    """The standard library starts a process of its own beside its first workers, and keeps it: not ours to end."""
    resource_tracker.ensure_running()


class Hooked(BackendBase):
    """A backend in joblib's manner."""

    supports_retrieve_callback = True
    supports_sharedmem = True

    def effective_n_jobs(self, n_jobs):
        return n_jobs

    def configure(self, n_jobs=1, parallel=None, **options):
        self.pool = ThreadPoolExecutor(n_jobs)
        return super().configure(n_jobs, parallel, **options)

    def submit(self, func, callback):
        future = self.pool.submit(func)
        future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out):
        return out.result()

    def terminate(self):
        self.pool.shutdown()


PLACES = ["sequential", "threads", "processes", "thread executor", "process executor", "hooks"]
OURS = {
    "sequential": {"n_jobs": 1},
    "threads": {"n_jobs": 2, "backend": "threads"},
    "processes": {"n_jobs": 2},
}


@pytest.fixture(params=PLACES)
def how(request):
    if request.param in OURS:
        yield dict(OURS[request.param])
    elif request.param == "hooks":
        yield {"n_jobs": 2, "backend": Hooked()}
    else:
        spawn = request.param == "process executor"
        with ProcessPoolExecutor(2, get_context("spawn")) if spawn else ThreadPoolExecutor(2) as executor:
            yield {"n_jobs": 2, "backend": executor}


parallel_places = pytest.mark.parametrize("how", list(OURS.values())[1:], ids=list(OURS)[1:])
each_kind = pytest.mark.parametrize("kind", ["list", "generator", "generator_unordered"])
windows = pytest.mark.parametrize("pre_dispatch", ["2 * n_jobs", 1, 50, "all"])


class Broken(Exception):
    """The input's own, of two arguments."""

    def __init__(self, place, why):
        super().__init__(f"{place}: {why}")


def numbers(count):
    yield from range(count)
    raise Broken(count, "no more")


def tasks(count, func=abs):
    for i in numbers(count):
        yield delayed(func)(-i)


def fail_at_two(i):
    if i == -2:
        raise KeyError("two")
    return -i


def read(results):
    """What a loop gave, and what it raised."""
    found = []
    try:
        found.extend(results())
    except Broken as error:
        return found, error
    raise AssertionError("nothing was raised")


class TestFinish:
    @each_kind
    def test_everything_before_the_error_is_finished(self, how, kind):
        for count in (0, 1, 7, 60):
            loop = Parallel(**how, return_as=kind, on_input_error="finish")
            found, error = read(lambda loop=loop, count=count: loop(tasks(count)))
            assert str(error) == f"{count}: no more"
            if kind == "list":
                assert error.partial_results == {i: i for i in range(count)}
            else:
                assert (sorted(found) if kind == "generator_unordered" else found) == list(range(count))
            assert error.__traceback__.tb_frame.f_code is read.__code__

    @parallel_places
    @each_kind
    @windows
    @pytest.mark.parametrize("batch_size", [1, 7, "auto"])
    def test_however_far_ahead_the_input_is_taken(self, how, kind, pre_dispatch, batch_size):
        loop = Parallel(
            **how, return_as=kind, on_input_error="finish", pre_dispatch=pre_dispatch, batch_size=batch_size
        )
        found, error = read(lambda: loop(tasks(40)))
        found = error.partial_results.values() if kind == "list" else found
        assert sorted(found) == list(range(40))

    @parallel_places
    def test_maps(self, how):
        with pytest.raises(Broken) as caught:
            lightwork.map(abs, numbers(300), **how, on_input_error="finish")
        assert caught.value.partial_results == {i: i for i in range(300)}
        with pytest.raises(Broken) as caught:
            lightwork.starmap(pow, ((i, 2) for i in numbers(9)), **how, on_input_error="finish")
        assert caught.value.partial_results == {i: i * i for i in range(9)}
        for form in (lightwork.imap, lightwork.imap_unordered):
            found, _ = read(lambda form=form: form(abs, numbers(9), **how, on_input_error="finish"))
            assert sorted(found) == list(range(9))

    @parallel_places
    def test_for_asyncio(self, how):
        async def listed():
            await lightwork.amap(abs, numbers(9), **how, on_input_error="finish")

        async def read_one_by_one():
            found = []
            try:
                async for result in lightwork.aimap(abs, numbers(9), **how, on_input_error="finish"):
                    found += [result]
            except Broken:
                return found

        with pytest.raises(Broken) as caught:
            asyncio.run(listed())
        assert caught.value.partial_results == {i: i for i in range(9)}
        assert asyncio.run(read_one_by_one()) == list(range(9))

    def test_a_task_that_fails_meanwhile_ends_the_loop_and_tells_of_the_input(self, how):
        with pytest.raises(KeyError) as caught:
            Parallel(**how, on_input_error="finish", batch_size=1, pre_dispatch="all")(tasks(6, fail_at_two))
        notes = getattr(caught.value, "__notes__", [])
        told = [
            note for note in notes if note.endswith("had raised tests.parallel.test_guard.Broken: 6: no more")
        ]
        assert len(told) == (how["n_jobs"] > 1)  # a plain loop was not there yet

    def test_a_failed_task_that_is_told_does_not(self, how):
        with pytest.raises(Broken) as caught:
            Parallel(**how, on_input_error="finish", on_error="return")(tasks(6, fail_at_two))
        told = caught.value.partial_results.pop(2)
        assert isinstance(told, TaskError)
        assert isinstance(told.error, KeyError)
        assert caught.value.partial_results == {i: i for i in (0, 1, 3, 4, 5)}

    def test_those_that_failed_are_run_again_first(self, how, tmp_path):
        loop = Parallel(**how, on_input_error="finish", retries=Retries(2, backoff=0.01))
        found, error = read(lambda: loop(delayed(fail_first)(tmp_path, i) for i in numbers(5)))
        assert found == []
        assert error.partial_results == {i: i for i in range(5)}

    @parallel_places
    def test_remembered_results_count(self, how, tmp_path):
        remembered = Memory(tmp_path, verbose=0).cache(square)
        for _ in range(2):
            with pytest.raises(Broken) as caught:
                Parallel(**how, on_input_error="finish")(delayed(remembered)(i % 4) for i in numbers(12))
            assert caught.value.partial_results == {i: (i % 4) ** 2 for i in range(12)}

    @parallel_places
    def test_with_seeds(self, how):
        with pytest.raises(Broken) as caught:
            Parallel(**how, on_input_error="finish", seed=3)(tasks(12))
        assert caught.value.partial_results == {i: i for i in range(12)}

    @parallel_places
    def test_no_line_says_that_it_finished(self, how, capsys):
        with pytest.raises(Broken):
            Parallel(**how, on_input_error="finish", verbose=60)(tasks(4))
        told = capsys.readouterr().out
        assert "Using backend" in told
        assert "finished" not in told

    @parallel_places
    def test_a_reader_that_leaves_before_does_not_meet_it(self, how):
        results = Parallel(**how, on_input_error="finish", return_as="generator")(tasks(5))
        assert next(results) == 0
        results.close()
        assert list(results) == []

    @parallel_places
    def test_an_input_that_the_loop_left_unfinished_goes_on(self, how):
        source = tasks(100)
        options = {"return_as": "generator", "pre_dispatch": 4, "batch_size": 1}  # it takes no more than five
        results = Parallel(**how, **options, on_input_error="finish")(source)
        next(results)
        results.close()
        assert next(source)[1][0] < 0

    @parallel_places
    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
    def test_what_is_no_exception_ends_the_loop_at_once(self, how, error):
        def source():
            yield delayed(abs)(-1)
            raise error

        results = Parallel(**how, on_input_error="finish", return_as="generator", pre_dispatch=1)(source())
        with pytest.raises(error):
            list(results)

    def test_an_item_that_is_no_task_ends_the_loop_at_once(self, how):
        with pytest.raises(TaskFormatError, match="position 1"):
            Parallel(**how, on_input_error="finish")([delayed(abs)(-1), 3])


@parallel_places
@each_kind
def test_cancelled_unless_said(how, kind):
    found, error = read(lambda: Parallel(**how, return_as=kind, pre_dispatch="all")(tasks(5)))
    assert found == []
    assert error.partial_results == {}


def test_the_option_is_looked_at_before_the_loop():
    with pytest.raises(
        OptionError, match="on_input_error='raise' is not known; it can be 'cancel', 'finish'"
    ):
        Parallel(on_input_error="raise")


def square(i):
    return i * i


def fail_first(folder, i):
    path = folder / str(i)
    if not path.exists():
        path.touch()
        raise ValueError(f"task {i}")
    return i
