"""The pump over a crew without workers: every path of a loop, in any order of events."""

import gc
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwork.errors import LightworkError, TaskError, TaskFormatError, TaskTimeout
from lightwork.parallel.backends.base import Done
from lightwork.parallel.batching import Pace
from lightwork.parallel.outcomes import Outcomes
from lightwork.parallel.plan import Plan
from lightwork.parallel.pump import Pump
from lightwork.parallel.recourse import Recourse
from lightwork.parallel.retries import Retries
from lightwork.parallel.tasks import delayed
from lightwork.workers.functions import Found, Missing

from .fakes import FakeCrew, Killed, RestlessPlan


class Recorder:
    def __init__(self):
        self.counts, self.endings, self.hires, self.there = [], [], 0, 0

    def remembered(self, count):
        self.there += count

    def hired(self):
        self.hires += 1

    def advanced(self, completed, dispatched, exhausted):
        self.counts.append((completed, dispatched, exhausted))

    def ended(self, completed, whole):
        self.endings.append((completed, whole))


class Loop:
    """A pump with its parts, and what happened to them."""

    def __init__(
        self,
        tasks,
        workers=2,
        window=4,
        size=1,
        ordered=True,
        ahead=False,
        timeout=None,
        in_batches=True,
        eager=False,
        restless=False,
        recourse=None,
        **crew,
    ):
        self.taken = 0
        self.crew = None
        self.recorder = Recorder()
        pace = Pace(size, ahead=ahead)
        kind = RestlessPlan if restless else Plan
        self.plan = kind(window, pace, in_batches=in_batches, workers=workers)
        outcomes = Outcomes(ordered=ordered)

        def hire():
            self.crew = FakeCrew(workers, **crew)
            return self.crew

        self.pump = Pump(
            self.counting(tasks),
            hire,
            self.plan,
            pace,
            outcomes,
            timeout,
            self.recorder,
            eager=eager,
            recourse=recourse,
        )

    def counting(self, tasks):
        for task in tasks:
            self.taken += 1
            yield task


def squares(count):
    return (delayed(pow)(i, 2) for i in range(count))


def nothing_is_open(loop):
    """Whether the plan's books of what fills the window are even, whatever was split, lost and run again."""
    return loop.plan._batches == loop.plan._open == 0


def fail(index):
    raise ValueError(index)


def kill(claimed=True):
    raise Killed(claimed)


@st.composite
def shapes(draw):
    return {
        "workers": draw(st.integers(1, 5)),
        "window": draw(st.integers(1, 20) | st.just(inf)),
        "size": draw(st.integers(1, 6) | st.none()),
        "in_batches": draw(st.booleans()),
        "seed": draw(st.integers(0, 10**6)),
        "late_up": draw(st.booleans()),
        "seconds": draw(st.sampled_from([1e-9, 1e-4, 1.0])),
        "restless": draw(st.booleans()),
        "slow_up": draw(st.booleans()),
    }


class TestCollect:
    @given(shapes(), st.integers(0, 60))
    def test_all_results_in_order(self, shape, count):
        loop = Loop(squares(count), **shape)
        assert loop.pump.collect() == [i * i for i in range(count)]
        assert loop.recorder.endings == [(count, True)]
        if count:
            assert loop.crew.ended == "released"
            assert sorted(loop.crew.ran) == list(range(count))
            assert nothing_is_open(loop)

    @given(shapes(), st.integers(0, 60), st.booleans())
    def test_a_task_is_what_it_was_when_it_was_taken(self, shape, count, eager):
        loop = Loop(refilled(count), eager=eager, **shape)
        assert loop.pump.collect() == [[i] for i in range(count)]

    def test_no_tasks_no_workers(self):
        loop = Loop([])
        assert loop.pump.collect() == []
        assert loop.crew is None
        assert loop.recorder.endings == [(0, True)]

    def test_every_failure_ends_it_with_the_lowest_known(self):
        tasks = [*squares(3), delayed(fail)(3), delayed(fail)(4), *squares(10)]
        loop = Loop(tasks, workers=1, size=5, window=inf)
        with pytest.raises(ValueError, match=r"^3$") as caught:
            loop.pump.collect()
        assert caught.value.args == (3,)
        assert loop.crew.ended == "aborted"
        assert loop.recorder.endings == [(5, False)]

    @pytest.mark.parametrize("seed", range(10))
    def test_a_failure_out_of_order_ends_it_at_once(self, seed):
        sent = []

        def note_and_fail():
            sent.extend(loop.crew.sent)
            fail(1)

        loop = Loop([delayed(abs)(0), delayed(note_and_fail)(), *squares(50)], seed=seed)
        with pytest.raises(ValueError, match="1"):
            loop.pump.collect()
        assert loop.crew.sent == sent

    def test_one_slow_result_holds_up_nothing(self):
        """A list's window counts what is not finished; results that wait for an earlier one do not fill it."""
        loop = Loop(squares(100), workers=2, window=2)
        crew = FakeCrew(2)
        crew.random.choice = lambda busy: busy[-1]  # the first worker's answer comes last
        loop.pump._hire = lambda: crew
        assert loop.pump.collect() == [i * i for i in range(100)]
        assert [worker for worker, _, _ in crew.sent].count(0) <= 2

    def test_the_input_is_taken_only_as_far_as_the_window_allows(self):
        lead = []

        def tasks():
            for i in range(50):
                lead.append(i - loop.plan.finished)
                yield delayed(pow)(i, 2)

        loop = Loop(tasks(), window=3, seconds=1e-9)
        loop.pump.collect()
        assert max(lead) <= 2

    def test_counts_are_told(self):
        loop = Loop(squares(5))
        loop.pump.collect()
        completed = [count for count, _, _ in loop.recorder.counts]
        assert completed == sorted(completed)
        assert loop.recorder.counts[-1] == (5, 5, True)
        assert loop.recorder.hires == 1


class TestStream:
    @given(shapes(), st.integers(0, 60), st.booleans())
    def test_all_results(self, shape, count, ordered):
        loop = Loop(squares(count), ordered=ordered, ahead=True, **shape)
        results = list(loop.pump.stream())
        assert (results if ordered else sorted(results)) == [i * i for i in range(count)]
        assert loop.recorder.endings == [(count, True)]
        assert nothing_is_open(loop)

    def test_work_begins_at_the_call(self):
        loop = Loop(squares(50), ahead=True)
        generator = loop.pump.stream()
        assert loop.crew.sent
        generator.close()

    @given(shapes(), st.integers(1, 60), st.booleans())
    def test_its_lead_over_the_reader_never_exceeds_the_window(self, shape, count, ordered):
        loop = Loop(squares(count), ordered=ordered, ahead=True, **shape)
        largest = 1
        for read, _ in enumerate(loop.pump.stream(), 1):
            largest = max(largest, loop.pump._pace.size)
            batches = shape["in_batches"] or shape["size"] is None
            if shape["in_batches"] or shape["size"] is not None:
                assert loop.taken - read <= shape["window"] * (largest if batches else 1)

    @given(shapes(), st.integers(1, 40))
    def test_while_the_reader_is_away_nothing_lies_here_that_a_worker_could_have(self, shape, count):
        """Not even one that only has to say first that it has nothing left."""
        loop = Loop(squares(count), ahead=True, **{**shape, "restless": True, "slow_up": True})
        for _ in loop.pump.stream():
            assert not loop.plan.settling
            assert loop.crew.flushed

    def test_closing_aborts(self):
        loop = Loop(squares(50), ahead=True)
        generator = loop.pump.stream()
        assert next(generator) == 0
        generator.close()
        assert loop.crew.ended == "aborted"
        assert loop.recorder.endings == [(loop.plan.finished, False)]
        assert list(generator) == []

    @pytest.mark.parametrize("read", [0, 1])
    def test_dropping_aborts(self, read):
        loop = Loop(squares(50), ahead=True)
        generator = loop.pump.stream()
        for _ in range(read):
            next(generator)
        del generator
        gc.collect()
        assert loop.crew.ended == "aborted"

    def test_workers_go_back_before_the_last_result_is_read(self):
        loop = Loop(squares(4), ahead=True, window=10)
        generator = loop.pump.stream()
        next(generator)
        while loop.plan.finished < 4:
            next(generator)
        next(generator, None)
        assert loop.crew.ended == "released"

    def test_a_failure_appears_at_its_place(self):
        tasks = [*squares(5), delayed(fail)(5), *squares(100)]
        for seed in range(20):
            loop = Loop(tasks, ahead=True, seed=seed, size=2, window=6)
            generator = loop.pump.stream()
            assert [next(generator) for _ in range(5)] == [0, 1, 4, 9, 16]
            with pytest.raises(ValueError, match="5"):
                next(generator)
            # On a machine that stalls, work is taken back, and all that was taken may be finished by now.
            assert loop.crew.ended == ("released" if loop.plan.finished == loop.plan.taken else "aborted")
            assert loop.taken < 40
            assert list(generator) == []

    def test_unordered_failure_comes_when_it_comes(self):
        loop = Loop([*squares(3), delayed(fail)(3)], ordered=False, ahead=True, workers=1)
        seen = []
        with pytest.raises(ValueError, match="3"):
            seen.extend(loop.pump.stream())
        assert loop.crew.ended == "released"
        assert loop.recorder.endings == [(4, False)]


class TestInput:
    def test_what_it_raises_goes_on_and_the_crew_is_aborted(self):
        def tasks():
            yield from squares(5)
            raise KeyError("mine")

        loop = Loop(tasks())
        with pytest.raises(KeyError, match="mine"):
            loop.pump.collect()
        assert loop.crew.ended == "aborted"

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
    def test_an_interrupt_anywhere_aborts(self, error):
        loop = Loop(squares(5))

        def interrupted(events):
            raise error

        loop.pump._handle = interrupted
        with pytest.raises(error):
            loop.pump.collect()
        assert loop.crew.ended == "aborted"
        assert loop.recorder.endings == [(0, False)]

    def test_no_task_is_told_before_there_are_workers(self):
        loop = Loop([3])
        with pytest.raises(TaskFormatError, match="got 3 at position 0: did you forget `delayed`"):
            loop.pump.collect()
        assert loop.crew is None

    def test_no_function_is_told_before_there_are_workers(self):
        loop = Loop([(None, (1,), {})])
        with pytest.raises(TaskFormatError, match="position 0 calls None, of type NoneType"):
            loop.pump.collect()
        assert loop.crew is None

    @pytest.mark.parametrize(
        ("item", "said"), [(3, "got 3 at position 7"), ((4, (), {}), "position 7 calls 4, of type int")]
    )
    def test_no_task_later_on(self, item, said):
        loop = Loop([*squares(7), item])
        with pytest.raises(TaskFormatError, match=said):
            loop.pump.collect()
        assert loop.crew.ended == "aborted"

    def test_infinite_input_of_a_generator(self):
        def forever():
            while True:
                yield delayed(abs)(-1)

        loop = Loop(forever(), ahead=True)
        generator = loop.pump.stream()
        assert [next(generator) for _ in range(10)] == [1] * 10
        generator.close()


class TestTimeout:
    def test_no_result_in_time(self):
        loop = Loop(squares(5), timeout=1e-9, silent=True)
        with pytest.raises(TaskTimeout, match=r"timeout=1e-09 seconds; 0 of the 2 tasks"):
            loop.pump.collect()
        assert loop.crew.ended == "aborted"

    def test_in_time(self):
        assert Loop(squares(5), timeout=600).pump.collect() == [0, 1, 4, 9, 16]


class TestDeath:
    @given(shapes(), st.integers(0, 30))
    def test_names_its_task_and_the_loop_ends(self, shape, deadly):
        tasks = list(squares(31))
        tasks[deadly] = delayed(kill)()
        loop = Loop(tasks, **shape)
        with pytest.raises(RuntimeError, match=f"died in {deadly}$"):
            loop.pump.collect()
        assert loop.crew.ended == "aborted"

    @given(shapes(), st.sets(st.integers(0, 30), max_size=5), st.booleans())
    def test_all_others_are_done_once(self, shape, dying, ordered):
        """Workers that die without a claim, once for each of some tasks: nobody is blamed, nothing is lost."""
        left = set(dying)

        def task(index):
            if index in left:
                left.discard(index)
                raise Killed(False)
            return index

        loop = Loop([delayed(task)(i) for i in range(31)], ordered=ordered, ahead=True, **shape)
        results = list(loop.pump.stream())
        assert (results if ordered else sorted(results)) == list(range(31))

    @given(shapes())
    def test_a_task_that_always_kills_without_a_claim_is_blamed_in_the_end(self, shape):
        tasks = list(squares(20))
        tasks[7] = delayed(kill)(claimed=False)
        loop = Loop(tasks, **shape)
        with pytest.raises(RuntimeError, match="died in None"):
            loop.pump.collect()


def refilled(count):
    """An input that fills one buffer again and again, as readers of files do."""
    buffer = [None]
    for i in range(count):
        buffer[0] = i
        yield delayed(list)(buffer)


class TestNotSent:
    @given(shapes(), st.integers(0, 30))
    def test_the_error_of_the_task_is_raised(self, shape, index):
        loop = Loop(squares(31), unsendable=[index], **shape)
        with pytest.raises(ValueError, match=f"task {index} cannot travel"):
            loop.pump.collect()

    @given(shapes())
    def test_the_rest_of_its_span_is_run(self, shape):
        loop = Loop(squares(31), unsendable=[11], ahead=True, **shape)
        generator = loop.pump.stream()
        assert [next(generator) for _ in range(11)] == [i * i for i in range(11)]
        with pytest.raises(ValueError, match="11"):
            next(generator)


class Memo:
    """A remembered function: knows the results of even numbers."""

    def __init__(self, broken=()):
        self.asked, self.finished, self.broken = [], [], set(broken)

    def __call__(self, x):
        raise AssertionError("workers get what the lookup says")

    def __lightwork_lookup__(self, args, kwargs):
        (x,) = args
        self.asked.append(x)
        if x in self.broken:
            raise ZeroDivisionError(x)
        if x % 2 == 0:
            return Found(x * x)
        return Missing(pow, (x,), {"exp": 2}, self.finish if x % 3 == 0 else None)

    def finish(self, result):
        self.finished.append(result)
        if result == 81:
            raise OSError("disk full")
        return -result


class TestRemembered:
    def test_all_found_needs_no_worker(self):
        memo = Memo()
        loop = Loop([delayed(memo)(2 * i) for i in range(100)])
        assert loop.pump.collect() == [4 * i * i for i in range(100)]
        assert loop.crew is None
        assert loop.recorder.counts[-1][0] == 100

    @given(shapes(), st.booleans())
    def test_found_and_missing_among_others(self, shape, ahead):
        memo = Memo()
        tasks = [delayed(memo)(i) if i % 5 else delayed(pow)(i, 2) for i in range(9)]
        loop = Loop(tasks, ahead=ahead, **shape)
        results = list(loop.pump.stream()) if ahead else loop.pump.collect()
        assert results == [-9 if i == 3 else i * i for i in range(9)]
        assert memo.asked == [1, 2, 3, 4, 6, 7, 8]
        assert memo.finished == [9]
        assert sorted(loop.crew.ran) == [0, 1, 3, 5, 7]

    def test_a_lookup_that_fails_fails_its_task(self):
        loop = Loop([delayed(Memo(broken=[3]))(i) for i in range(6)], ahead=True)
        generator = loop.pump.stream()
        assert [next(generator) for _ in range(3)] == [0, 1, 4]
        with pytest.raises(ZeroDivisionError):
            next(generator)

    def test_a_finish_that_fails_fails_its_task(self):
        loop = Loop([delayed(Memo())(i) for i in (7, 9)])
        with pytest.raises(OSError, match="disk full"):
            loop.pump.collect()

    def test_a_death_keeps_what_is_to_be_finished(self):
        memo, left = Memo(), [1]

        def die_once():
            if left:
                left.pop()
                raise Killed(False)

        tasks = [delayed(die_once)(), delayed(memo)(3), delayed(memo)(15)]
        loop = Loop(tasks, workers=1, size=3)
        assert loop.pump.collect() == [None, -9, -225]
        assert memo.finished == [9, 225]

    def test_the_lead_counts_what_was_found(self):
        loop = Loop([delayed(Memo())(0) for _ in range(100)], ahead=True, window=4)
        generator = loop.pump.stream()
        assert loop.taken <= 4
        next(generator)
        assert loop.taken <= 5


def test_a_crew_that_answers_with_too_few_results_is_refused():
    loop = Loop(squares(5))
    loop.crew = crew = FakeCrew(2)
    crew.run = lambda worker, first, tasks: [Done(worker, first, [], None, 0.0)]
    loop.pump._hire = lambda: crew
    with pytest.raises(LightworkError, match="answered 1 tasks with 0 results"):
        loop.pump.collect()


def test_messages_with_one_worker_are_bounded():
    loop = Loop(squares(2000), window=inf, seconds=1e-9, workers=3)
    loop.pump.collect()
    assert 2 <= loop.crew.deepest <= 8


class Known:
    """A function that knows the results for even numbers."""

    def __init__(self):
        self.asked = []

    def __call__(self, x):
        return -x

    def __lightwork_lookup__(self, args, kwargs):
        self.asked.append(args[0])
        return Found(-args[0]) if args[0] % 2 == 0 else Missing(abs, args, kwargs, lambda value: -value)


@given(shapes(), st.lists(st.integers(0, 9), max_size=60), st.booleans())
def test_answers_and_tasks_keep_their_places_in_any_mixture(shape, numbers, ahead):
    known = Known()
    loop = Loop((delayed(known)(x) for x in numbers), ahead=ahead, **shape)
    got = list(loop.pump.stream()) if ahead else loop.pump.collect()
    assert got == [-x for x in numbers]
    assert known.asked == numbers
    assert loop.recorder.there == sum(x % 2 == 0 for x in numbers)
    assert loop.recorder.endings == [(len(numbers), True)]
    assert nothing_is_open(loop)


class TestFailures:
    """Tasks that fail or kill their worker some times before they succeed, in any order of events."""

    @staticmethod
    def flaky(failing, tried):
        def task(i):
            tried[i] = tried.get(i, 0) + 1
            if tried[i] <= failing.get(i, (0, False))[0]:
                if failing[i][1]:
                    raise Killed(True)
                raise ValueError(i)
            return i

        return task

    failing = st.dictionaries(st.integers(0, 40), st.tuples(st.integers(1, 3), st.booleans()), max_size=12)

    @given(shapes(), failing, st.booleans(), st.sampled_from([0, 1e-4]))
    def test_all_succeed_in_the_end(self, shape, failing, streamed, backoff):
        tried = {}
        task = self.flaky(failing, tried)
        recourse = Recourse(Retries(3, on=(ValueError, RuntimeError), backoff=backoff))
        loop = Loop((delayed(task)(i) for i in range(41)), recourse=recourse, **shape)
        results = list(loop.pump.stream()) if streamed else loop.pump.collect()
        assert results == list(range(41))
        assert loop.recorder.endings == [(41, True)]
        assert all(tried[i] > times for i, (times, _) in failing.items())
        assert not recourse.attempts
        assert not loop.pump._in_flight._out
        assert loop.crew.forgotten == []
        assert nothing_is_open(loop)

    @given(shapes(), failing, st.sampled_from(["return", "skip"]), st.booleans())
    def test_each_that_does_not_is_told_once(self, shape, failing, on_error, streamed):
        tried = {}
        task = self.flaky(failing, tried)
        recourse = Recourse(Retries(1, on=(ValueError, RuntimeError)), on_error)
        loop = Loop((delayed(task)(i) for i in range(41)), recourse=recourse, **shape)
        results = list(loop.pump.stream()) if streamed else loop.pump.collect()
        # One that raises runs again as it is; one that kills its worker may also have been lost with another's.
        sure = {i for i, (times, kills) in failing.items() if times > 1 and not kills}
        if on_error == "return":
            told = {error.index: error for error in results if isinstance(error, TaskError)}
            assert [told.get(i, i) for i in range(41)] == results
            assert told.keys() <= {i for i, (times, _) in failing.items() if times > 1}
            assert all(error.attempt == 2 for error in told.values())
        else:
            told = set(range(41)) - set(results)
            assert results == sorted(results)
        assert set(told) <= failing.keys()
        assert sorted(loop.crew.forgotten) == sorted(told)
        assert sum(tried[i] for i in sure) >= 2 * len(sure)
        assert loop.recorder.endings == [(41, True)]
        assert not recourse.attempts
        assert nothing_is_open(loop)

    @given(shapes(), failing, st.booleans())
    def test_what_has_run_is_not_run_again_where_that_is_forbidden(self, shape, failing, claimed):
        """Killers die at their first attempt only, so a second run of anything else shows in `ran`."""
        ran = []

        def task(i):
            if failing.get(i, (0, False))[1]:
                raise Killed(claimed or i % 2)
            ran.append(i)
            return i

        recourse = Recourse(on_error="return", rerun_lost=False)
        loop = Loop((delayed(task)(i) for i in range(41)), recourse=recourse, **shape)
        results = loop.pump.collect()
        told = {error.index: error for error in results if isinstance(error, TaskError)}
        assert [told.get(i, i) for i in range(41)] == results
        killers = {i for i, (_, kills) in failing.items() if kills}
        assert sorted(ran) == sorted(set(range(41)) - killers)
        assert killers <= told.keys()
        assert all("rerun_lost=False" in str(told[i].error) for i in told.keys() - killers)
        assert nothing_is_open(loop)
