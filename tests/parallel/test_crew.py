"""The process crew against real workers: what one task does, no other sees; who dies is named."""

import importlib
import logging
import math
import os
import random
import signal
import sys
import threading
import time
import warnings

import numpy as np
import pytest

from lightwork import Parallel, delayed, pool_info
from lightwork.errors import ArrayChangedError, PicklingFailedError, RemoteTraceback, WorkerDied
from lightwork.parallel.backends.base import CrewOptions, Died, Done, Up
from lightwork.parallel.backends.processes import lend


@pytest.fixture
def crew():
    made = lend(2, CrewOptions(max_nbytes=1000))
    yield made
    made.abort()


def send(crew, worker, first, tasks):
    """Encode the tasks of a span and queue them, as the pump does."""
    crew.send(worker, first, [crew.encode(index, task) for index, task in enumerate(tasks, first)])


def collect(crew, count):
    """The events until `count` spans are answered or lost."""
    events = []
    while sum(type(event) is not Up for event in events) < count:
        events += crew.wait(30)
    return events


def run(crew, func, *argument_tuples):
    """Results of one call after the other on the first worker, each in a span of its own."""
    worker = crew.workers[0]
    for index, args in enumerate(argument_tuples):
        send(crew, worker, index, [(func, args, {})])
    results = {}
    for event in collect(crew, len(argument_tuples)):
        assert event.failures is None, event.failures
        results[event.first] = event.results[0]
    return [results[index] for index in range(len(argument_tuples))]


def test_spans_are_answered_by_the_worker_that_got_them(crew):
    first, second = crew.workers
    send(crew, first, 0, [(math.sqrt, (4,), {}), (divmod, (7, 2), {})])
    send(crew, second, 2, [(int, ("11",), {"base": 2})])
    events = {event.first: event for event in collect(crew, 2)}
    assert (events[0].worker, events[0].results) == (first, [2.0, (3, 1)])
    assert (events[2].worker, events[2].results) == (second, [3])


def draw(_):
    return random.random(), np.random.rand(), os.urandom(4)


def test_two_workers_never_draw_equal_random_numbers(crew):
    for index, worker in enumerate(crew.workers):
        send(crew, worker, index, [(draw, (index,), {})])
    draws = [event.results[0] for event in collect(crew, 2)]
    assert len({value for drawn in draws for value in drawn}) == 6


def write_into(array):
    before = array[0]
    array[0] = 99
    return before


def test_a_task_never_sees_what_another_wrote_into_a_shared_array(crew):
    array = np.arange(1.0, 1001.0)
    small = np.ones(3)
    assert run(crew, write_into, *[(array,)] * 5, *[(small,)] * 5) == [1.0] * 10
    assert array[0] == 1.0


def test_nor_within_one_span(crew):
    array, numbers = np.ones(1000), [1]
    worker = crew.workers[0]
    send(crew, worker, 0, [(write_into, (array,), {})] * 3 + [(write_into, (numbers,), {})] * 3)
    (event,) = collect(crew, 1)
    assert event.results == [1.0] * 3 + [1] * 3


@pytest.mark.parametrize("size", [40_000, 100_000, 255_000])
def test_medium_results_keep_no_worker_waiting_for_whoever_reads_them(crew, size):
    worker, count = crew.workers[0], 12
    for index in range(count):
        send(crew, worker, index, [(np.full, (size, index, "u1"), {})])
    crew.flush()
    page = crew._members[worker].handle.page
    deadline = time.monotonic() + 30
    while page.begun < count and time.monotonic() < deadline:
        time.sleep(0.001)
    assert page.begun == count
    results = {event.first: event.results[0] for event in collect(crew, count)}
    assert all((results[index] == index).all() and len(results[index]) == size for index in range(count))


def test_medium_results_of_one_task_are_not_those_of_the_next(crew):
    """Each lies where an earlier one did, and has to be out of there by then."""
    arrays = run(crew, np.full, *[(60_000, index, "u1") for index in range(60)])
    assert [set(array.tolist()) for array in arrays] == [{index} for index in range(60)]
    for array in arrays:
        array += 1  # ordinary memory, and its own
    assert [set(array.tolist()) for array in arrays] == [{index + 1} for index in range(60)]


class Counter:
    def __init__(self):
        self.count = 0

    def add(self, n):
        self.count += n
        return self.count


def test_nor_through_the_object_of_a_method(crew):
    counter = Counter()
    assert run(crew, counter.add, *[(1,)] * 4) == [1] * 4
    assert counter.count == 0


def test_nor_through_a_closure_or_its_big_array(crew):
    seen, array = [], np.zeros(1000)

    def look(n):
        seen.append(n)
        array[0] += 1
        return len(seen), array[0]

    assert run(crew, look, *[(n,) for n in range(4)]) == [(1, 1.0)] * 4
    assert (seen, array[0]) == ([], 0.0)


def test_many_different_functions_travel_with_their_tasks(crew):
    worker = crew.workers[0]
    for index in range(100):
        send(crew, worker, index, [((lambda x, k=index: x + k), (index,), {})])
    events = collect(crew, 100)
    assert [event.results[0] for event in events] == [2 * index for index in range(100)]


def test_big_results_come_back_as_ordinary_writable_memory(crew):
    results = run(crew, np.full, *[(200_000, float(n)) for n in range(8)])
    for n, array in enumerate(results):
        assert (array[0], array[-1], array.flags.writeable) == (n, n, True)
        array[:] = -1
    crew.release()
    assert all((array == -1).all() for array in results)


def test_a_span_of_many_big_results_fits_in_one_reply(crew):
    send(crew, crew.workers[0], 0, [(np.full, (100_000, float(n)), {}) for n in range(6)])
    (event,) = collect(crew, 1)
    assert [array[-1] for array in event.results] == list(range(6))


def test_ten_megabytes_cross_in_both_directions_without_dead_lock():
    crew = lend(2, CrewOptions(max_nbytes=None))
    data = bytearray(os.urandom(10 << 20))
    for index in range(6):
        send(crew, crew.workers[index % 2], index, [(bytes, (data,), {})])
    assert all(event.results == [bytes(data)] for event in collect(crew, 6))
    crew.release()


def test_without_a_threshold_and_with_read_only_maps():
    crew = lend(1, CrewOptions(max_nbytes=1000, mmap_mode="r"))
    send(crew, crew.workers[0], 0, [(_writable, (np.ones(1000),), {})])
    (event,) = collect(crew, 1)
    assert event.results == [False]
    crew.release()


def _writable(array):
    return array.flags.writeable


def test_an_array_that_changes_while_its_tasks_are_sent_is_an_error(crew):
    buffer = np.zeros(1000)
    for index in range(3):
        buffer[:] = index
        send(crew, crew.workers[0], index, [(np.sum, (buffer,), {})])
    collect(crew, 3)
    with pytest.raises(ArrayChangedError):
        crew.release()


def test_each_task_may_bring_its_own_array_in_bounded_memory(crew):
    descriptors = []
    for index in range(20):
        send(crew, crew.workers[0], index, [(np.sum, (np.full(10_000, float(index)),), {})])
        (event,) = collect(crew, 1)
        assert event.results == [10_000.0 * index]
        descriptors.append(len(os.listdir("/proc/self/fd")))
    assert descriptors[-1] <= descriptors[2]


# --- errors ---


def fail(kind):
    raise kind


def test_a_task_that_fails_tells_its_number_and_traceback_and_the_others_go_on(crew):
    send(crew, crew.workers[0], 5, [(len, ("ab",), {}), (fail, (ValueError("no"),), {}), (len, ("abc",), {})])
    (event,) = collect(crew, 1)
    assert event.results == [2, None, 3]
    error = event.failures[6]
    assert (type(error), error.args) == (ValueError, ("no",))
    assert isinstance(error.__cause__, RemoteTraceback)
    assert "in fail" in str(error.__cause__)
    assert "task 6 of the loop: fail(ValueError('no'))" in error.__notes__[0]


def test_the_argument_that_cannot_be_pickled_is_named(crew):
    with pytest.raises(PicklingFailedError, match=r"task 4, print\(.*argument 1 cannot be pickled"):
        crew.encode(4, (print, (1, threading.Lock()), {}))
    send(crew, crew.workers[0], 3, [(len, ("a",), {})])
    assert collect(crew, 1)[0].results == [1]


def test_a_result_that_cannot_be_pickled_fails_its_own_task(crew):
    send(crew, crew.workers[0], 0, [(len, ("a",), {}), (threading.Lock, (), {})])
    (event,) = collect(crew, 1)
    assert event.results == [1, None]
    assert isinstance(event.failures[1], PicklingFailedError)
    assert "lock" in str(event.failures[1])


# --- death ---


def kill_self(how):
    os.kill(os.getpid(), how)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_death_names_the_task_and_the_signal(crew, how):
    worker = crew.workers[0]
    send(crew, worker, 0, [(len, ("a",), {}), (kill_self, (int(how),), {}), (len, ("b",), {})])
    died, up = collect(crew, 1)
    assert (type(died), died.worker, died.claimed) == (Died, worker, 1)
    assert isinstance(died.error, WorkerDied)
    assert (died.error.index, died.error.signal) == (1, how)
    assert how.name in str(died.error)
    assert f"task 1: kill_self({int(how)})" in str(died.error)
    send(crew, up.worker, 0, [(len, ("again",), {})])
    assert collect(crew, 1)[0].results == [5]


def test_an_exit_names_its_code(crew):
    send(crew, crew.workers[0], 0, [(os._exit, (7,), {})])
    died, _ = collect(crew, 1)
    assert died.claimed == 0
    assert "exit code 7" in str(died.error)


class KillsItsReader:
    def __reduce__(self):
        return kill_self, (int(signal.SIGKILL),)


def test_a_death_while_arguments_are_read_is_blamed_on_their_task(crew):
    send(crew, crew.workers[0], 0, [(len, ("a",), {}), (len, (KillsItsReader(),), {})])
    died, _ = collect(crew, 1)
    assert died.claimed == 1


def test_a_death_between_tasks_blames_nobody(crew):
    worker = crew.workers[0]
    (pid,) = run(crew, os.getpid, ())
    os.kill(pid, signal.SIGKILL)
    events = collect(crew, 1)
    assert (events[0].worker, events[0].claimed) == (worker, None)
    send(crew, events[1].worker, 0, [(len, ("a",), {})])
    assert collect(crew, 1)[0].results == [1]


def start_child_and_die():
    if os.fork() == 0:
        signal.pause()
    os._exit(3)


def test_the_children_of_a_dead_worker_end_with_it(crew):
    send(crew, crew.workers[0], 0, [(start_child_and_die, (), {})])
    died, _ = collect(crew, 1)
    assert died.claimed == 0  # and the leak fixture finds no process


def test_abort_ends_what_runs_at_once_and_the_next_call_is_clean():
    crew = lend(2, CrewOptions())
    for index, worker in enumerate(crew.workers):
        send(crew, worker, index, [(time.sleep, (60,), {})])
    began = time.monotonic()
    crew.abort()
    assert time.monotonic() - began < 5
    again = lend(2, CrewOptions())
    send(again, again.workers[0], 0, [(len, ("abc",), {})])
    assert collect(again, 1)[0].results == [3]
    again.release()
    again.release()


def test_idle_workers_serve_the_next_call():
    pids = []
    for _ in range(3):
        crew = lend(1, CrewOptions())
        pids += run(crew, os.getpid, ())
        crew.release()
    assert len(set(pids)) == 1


def where():
    return os.getcwd(), os.environ.get("LIGHTWORK_TEST_VARIABLE")


def test_folder_and_environment_of_the_call_hold(tmp_path, monkeypatch):
    for value in ("one", "two", None):
        folder = tmp_path / str(value)
        folder.mkdir()
        monkeypatch.chdir(folder)
        if value is None:
            monkeypatch.delenv("LIGHTWORK_TEST_VARIABLE")
        else:
            monkeypatch.setenv("LIGHTWORK_TEST_VARIABLE", value)
        crew = lend(1, CrewOptions())
        assert run(crew, where, ()) == [(str(folder), value)]
        crew.release()


def threads():
    return os.environ["OPENBLAS_NUM_THREADS"], os.environ["OMP_NUM_THREADS"]


def test_native_threads_are_limited(monkeypatch):
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    crew = lend(1, CrewOptions(inner_max_num_threads=3))
    assert run(crew, threads, ()) == [("3", "3")]
    crew.release()


SURROUNDED = """
import os
FOUND = os.environ["OMP_NUM_THREADS"], os.environ["LIGHTWORK_TEST_VARIABLE"], os.getcwd()
class Category(Warning): ...
"""


def what_the_category_found():
    return sys.modules["surrounded"].FOUND


def test_modules_of_warning_categories_find_folder_and_environment_of_the_call(tmp_path, monkeypatch):
    (tmp_path / "surrounded.py").write_text(SURROUNDED)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIGHTWORK_TEST_VARIABLE", "here")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delitem(sys.modules, "surrounded", raising=False)
    import surrounded

    monkeypatch.delenv("OMP_NUM_THREADS")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", surrounded.Category)
        crew = lend(1, CrewOptions(inner_max_num_threads=3))
        assert run(crew, what_the_category_found, ()) == [("3", "here", str(tmp_path))]
        crew.release()
    monkeypatch.delitem(sys.modules, "surrounded")


def test_waiting_without_anything_to_come_ends_in_time(crew):
    assert crew.wait(0.01) == []
    assert isinstance(Done(0, 0, [], None, 0.0), tuple)


# --- what workers say ---


def speak(n):
    print("line", n)
    print("no end", end="")
    print("error", n, file=sys.stderr)
    warnings.warn(f"warning {n}", UserWarning, stacklevel=1)
    logging.getLogger("speaker").info("record %d", n)
    os.write(1, b"descriptor\n")
    os.system("echo child")
    try:
        input()
    except EOFError:
        return n


def test_what_a_task_says_arrives_in_the_parents_streams_and_handlers(capsys, caplog):
    logging.getLogger("speaker").setLevel(logging.INFO)
    crew = lend(1, CrewOptions())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        crew.abort()
        crew = lend(1, CrewOptions())
        assert run(crew, speak, (7,)) == [7]
    crew.release()
    logging.getLogger("speaker").setLevel(logging.NOTSET)
    out, err = capsys.readouterr()
    assert out == "line 7\nno end"
    assert err == "error 7\n"
    assert [str(warning.message) for warning in caught] == ["warning 7"]
    assert [record.getMessage() for record in caplog.records] == ["record 7"]


def test_descriptors_of_the_parent_hold_in_workers_that_were_there_before(capfd):
    with capfd.disabled():
        first = lend(1, CrewOptions())
        run(first, os.getpid, ())
        first.release()
    crew = lend(1, CrewOptions())
    run(crew, os.write, (1, b"seen\n"))
    run(crew, os.system, ("echo by a child >&2",))
    crew.release()
    out, err = capfd.readouterr()
    assert (out, err) == ("seen\n", "by a child\n")


def print_in_a_forked_child():
    pid = os.fork()
    if pid == 0:
        print("from the child", flush=True)
        os._exit(0)
    os.waitpid(pid, 0)


def test_a_child_that_a_task_forks_cannot_disturb_the_socket(capfd):
    crew = lend(1, CrewOptions())
    run(crew, print_in_a_forked_child, *[()] * 3)
    crew.release()
    assert capfd.readouterr().out == "from the child\n" * 3


def test_filters_of_the_parent_turn_warnings_of_tasks_into_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        crew = lend(1, CrewOptions())
        send(crew, crew.workers[0], 0, [(warnings.warn, ("now an error",), {})])
        (event,) = collect(crew, 1)
    crew.release()
    assert isinstance(event.failures[0], UserWarning)


def silence():
    warnings.simplefilter("ignore")


def complain(n):
    warnings.warn("heard", UserWarning, stacklevel=1)
    return n


def test_filters_of_tasks_do_not_outlive_their_call():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", (UserWarning, DeprecationWarning))
        crew = lend(1, CrewOptions())
        run(crew, silence, ())
        run(crew, complain, (1,))
        crew.release()
        assert not caught
        crew = lend(1, CrewOptions())
        run(crew, complain, (1,))
        crew.release()
    assert [str(warning.message) for warning in caught] == ["heard"]


def print_much(count):
    for _ in range(count):
        print("x" * 1000)


def test_a_task_that_prints_more_than_the_socket_holds_neither_hangs_nor_loses_lines(capsys):
    crew = lend(1, CrewOptions())
    run(crew, print_much, (40_000,))
    crew.release()
    assert capsys.readouterr().out == ("x" * 1000 + "\n") * 40_000


# --- modules ---


def test_a_module_edited_between_two_calls_is_run_as_it_is_now(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "edited_between_calls.py"
    results = []
    for value in (1, 22):
        path.write_text(f"def answer():\n    return {value}\n")
        sys.modules.pop("edited_between_calls", None)
        importlib.invalidate_caches()
        answer = importlib.import_module("edited_between_calls").answer
        crew = lend(1, CrewOptions())
        send(crew, crew.workers[0], 0, [(answer, (), {})])
        events = collect(crew, 1)
        if isinstance(events[0], Died):
            assert events[0].claimed is None
            send(crew, events[1].worker, 0, [(answer, (), {})])
            events = collect(crew, 1)
        results += events[0].results
        crew.release()
    del sys.modules["edited_between_calls"]
    assert results == [1, 22]


def test_an_edit_blames_no_task_however_many_workers_leave_for_it(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "edited_for_many.py"
    path.write_text("def answer():\n    return 1\n")
    answer = importlib.import_module("edited_for_many").answer
    crew = lend(12, CrewOptions())  # more than one task may lose, or than may end in a row, without a reason
    for index, worker in enumerate(crew.workers):
        send(crew, worker, index, [(answer, (), {})])
    collect(crew, 12)
    crew.release()
    os.utime(path, (1, 1))
    try:
        assert Parallel(n_jobs=2, batch_size=1)([delayed(answer)()] * 5) == [1] * 5
        assert 0 < len(pool_info().workers) < 12  # it was for this that they left
    finally:
        del sys.modules["edited_for_many"]


def test_a_brief_result_does_not_wait_for_the_long_task_behind_it(crew):
    worker = crew.workers[0]
    for index, seconds in enumerate((0, 0, 600)):
        send(crew, worker, index, [(time.sleep, (seconds,), {})])
    assert [event.first for event in collect(crew, 2)] == [0, 1]


def spoil_surroundings():
    os.environ["LIGHTWORK_TEST_VARIABLE"] = "spoilt"
    os.environ.pop("PATH", None)
    os.chdir("/")
    sys.path.insert(0, "/nowhere")


def list_path():
    return list(sys.path)


def test_what_a_task_changes_of_its_surroundings_is_put_back_for_the_next_call(monkeypatch):
    monkeypatch.setenv("LIGHTWORK_TEST_VARIABLE", "mine")
    for func in (spoil_surroundings, list_path, where):
        crew = lend(1, CrewOptions())
        (result,) = run(crew, func, ())
        crew.release()
        assert func is not list_path or "/nowhere" not in result
    assert result == (os.getcwd(), "mine")
