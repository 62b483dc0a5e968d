"""`listen`: from any thread, whoever waits for a crew can be woken."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from lightwork.parallel.backends import executors, processes, threads
from lightwork.parallel.backends.base import CrewOptions


@pytest.fixture(params=["processes", "threads", "executor"])
def crew(request):
    if request.param == "executor":
        with ThreadPoolExecutor(1) as executor:
            yield executors.lend_from(executor, 1, CrewOptions())
        return
    module = {"processes": processes, "threads": threads}[request.param]
    made = module.lend(1, CrewOptions())
    yield made
    made.release()


def run(crew, index, func, *args):
    task = (func, args, {})
    crew.send(crew.workers[0], index, [task if crew.encode is None else crew.encode(index, task)])


def test_a_wait_is_ended_from_another_thread(crew):
    ring = crew.listen()
    thread = threading.Thread(target=ring)
    thread.start()
    assert crew.wait(60) == []
    thread.join()


def test_a_ring_before_the_wait_ends_the_next_one(crew):
    crew.listen()()
    assert crew.wait(60) == []


def test_results_arrive_all_the_same(crew):
    ring = crew.listen()
    results = []
    for index in range(20):
        run(crew, index, abs, -index)
        ring()
        while len(results) <= index:
            results += [event.results[0] for event in crew.wait(60)]
    assert results == list(range(20))


def test_a_ring_after_the_end_does_nothing():
    crew = processes.lend(1, CrewOptions())
    ring = crew.listen()
    crew.release()
    ring()
