"""The crew of threads by itself."""

import threading
import weakref

import pytest

from lightwork.parallel.backends.base import CrewOptions
from lightwork.parallel.backends.threads import inside_thread, lend


@pytest.fixture
def crew():
    crew = lend(2, CrewOptions())
    yield crew
    crew.abort()


def gather(crew, count):
    events = []
    while len(events) < count:
        events += crew.wait(30)
    return {event.first: event for event in events}


def test_spans_run_where_they_were_sent(crew):
    for first, worker in enumerate(crew.workers):
        crew.send(worker, first, [(threading.get_ident, (), {}), (inside_thread, (), {})])
    done = gather(crew, 2)
    assert {event.worker for event in done.values()} == {0, 1}
    assert len({event.results[0] for event in done.values()}) == 2
    assert all(event.results[1] for event in done.values())
    assert not inside_thread()


def test_a_failed_task_does_not_end_its_span(crew):
    def fail(kind):
        raise kind("on purpose")

    crew.send(
        0, 5, [(abs, (-1,), {}), (fail, (ValueError,), {}), (abs, (-3,), {}), (fail, (SystemExit,), {})]
    )
    event = gather(crew, 1)[5]
    assert event.results == [1, None, 3, None]
    assert {index: type(error) for index, error in event.failures.items()} == {6: ValueError, 8: SystemExit}
    assert event.failures[6].__traceback__.tb_frame.f_code.co_name == "fail"
    assert event.seconds >= 0


def test_waiting_ends_in_time(crew):
    assert list(crew.wait(0.001)) == []


def test_abort_does_not_wait_and_runs_nothing_more(crew):
    gate, begun, after = threading.Event(), threading.Event(), []

    def block():
        begun.set()
        gate.wait(30)

    crew.send(0, 0, [(block, (), {}), (after.append, (1,), {})])
    crew.send(0, 2, [(after.append, (2,), {})])
    assert begun.wait(30)
    crew.abort()
    crew.abort()
    crew.release()
    gate.set()
    for thread in crew._threads:
        thread.join(30)
        assert not thread.is_alive()
    assert after == []


def test_release_leaves_no_thread():
    crew = lend(3, CrewOptions())
    crew.send(0, 0, [(abs, (1,), {})])
    gather(crew, 1)
    crew.release()
    assert not any(thread.is_alive() for thread in crew._threads)


def test_arguments_and_results_are_let_go(crew):
    class Big:
        pass

    big = Big()
    gone = weakref.ref(big)
    crew.send(0, 0, [(lambda x: x, (big,), {})])
    done = gather(crew, 1)
    del big, done
    crew.send(0, 1, [(abs, (1,), {})])  # the thread has moved on; without the lock it frees what it made
    gather(crew, 1)
    assert gone() is None
