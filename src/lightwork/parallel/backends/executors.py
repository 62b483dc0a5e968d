"""Any `concurrent.futures.Executor` as a crew; where our own workers cannot be had, the standard library's.

An executor has no workers that one could name, so this crew has slots: so many spans are out at a time, and whoever
is free runs the next. It keeps the law of `base` but for one point: spans of one slot may run in any order, so a
death blames nobody. What has not begun is taken back as far as the executor lets it: spans that it has handed to
nobody yet, and of those that run in our memory the tasks behind the one that runs. An executor that shares our memory
runs tasks as they are. For all others a task is pickled when it is taken (by cloudpickle, so that lambdas and
``__main__`` travel), its result when it is there; what cannot be is its own failure, not its span's.

An executor that was handed to a loop stays its owner's: an aborted loop cancels what has not begun and leaves the
rest to end by itself. On systems without our workers (Windows) `lend` makes a process pool of the standard library,
keeps it for the next loop, and ends its processes when a loop is aborted.
"""

from __future__ import annotations

import atexit
import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextvars import ContextVar
from functools import partial
from io import BytesIO
from multiprocessing import get_context
from os import getpid
from queue import Empty, SimpleQueue
from time import perf_counter
from typing import Any, cast

import cloudpickle

from lightwork.parallel.backends import blame
from lightwork.parallel.backends.base import CrewOptions, Done, Encode, Event, Task
from lightwork.parallel.backends.threads import Owed, Span, run_span
from lightwork.workers import entropy
from lightwork.workers.current import CurrentTask, answer_here
from lightwork.workers.failures import Report, describe
from lightwork.workers.inside import reduce_variable

__all__ = ["ExecutorCrew", "lend", "lend_from"]

_Parcel = tuple[bytes, Task[object]]
_Answer = tuple[list["bytes | None"], list[tuple[int, Report]], float]

_kept: tuple[object, ProcessPoolExecutor] | None = None


def lend(count: int, options: CrewOptions) -> ExecutorCrew:
    """A crew of the standard library's worker processes; the same pool serves later loops of the same make."""
    global _kept
    make = (count, options.initializer, options.initargs, options.max_tasks_per_child)
    if _kept is None or _kept[0] != make:
        if _kept is None:
            atexit.register(_end_kept)
        _end_kept()
        pool = ProcessPoolExecutor(
            count,
            get_context("spawn"),
            options.initializer,
            cast(
                "tuple[()]", options.initargs
            ),  # the stubs tie them to the initializer, whose type is lost here
            max_tasks_per_child=options.max_tasks_per_child,
        )
        _kept = make, pool
    return ExecutorCrew(_kept[1], count, ours=True)


def lend_from(executor: Executor, count: int, options: CrewOptions) -> ExecutorCrew:
    """A crew over an executor that the user made, and keeps."""
    return ExecutorCrew(executor, count, ours=False)


def _end_kept(*, kill: bool = False) -> None:
    global _kept
    kept, _kept = _kept, None
    if kept is None:
        return
    processes = list((getattr(kept[1], "_processes", None) or {}).values())
    kept[1].shutdown(wait=not kill, cancel_futures=True)
    if kill:
        for process in processes:
            process.terminate()


class _Submitted(Span):
    """A span with an executor.

    Attributes
    ----------
    tasks : list of Task
        All that it had when it was submitted, to be named in errors.
    """

    __slots__ = ("future", "tasks")

    future: Future[object]

    def __init__(self, first: int, tasks: list[Task[object]], attempt: int, *, shared: bool) -> None:
        super().__init__(first, tasks if shared else (), attempt)
        self.kept = len(tasks)
        self.tasks = tasks

    def take_back(self) -> bool:
        """Take back what has not begun; whether there was something."""
        taken = super().take_back()
        if self.kept and self.future.cancel():
            self.kept = 0
            return True
        return taken


class ExecutorCrew:
    """Slots of an executor, for one call.

    Parameters
    ----------
    executor : concurrent.futures.Executor
        Who runs the spans.
    count : int
        How many may be out at a time for the crew to be busy.
    ours : bool
        Whether the executor is `lend`'s, whose processes may be ended.
    """

    def __init__(self, executor: Executor, count: int, *, ours: bool) -> None:
        self.workers: Sequence[int] = range(count)
        self._executor = executor
        self._ours = ours
        self._shares = isinstance(executor, ThreadPoolExecutor) or getattr(executor, "shares_memory", False)
        self._outbox: SimpleQueue[tuple[int, _Submitted] | None] = SimpleQueue()
        self._owed: Owed[_Submitted] = Owed()

    @property
    def encode(self) -> Encode | None:
        """Tasks are written down unless they stay in this process."""
        return None if self._shares else _encode

    def send(self, worker: int, first: int, parcels: Sequence[object], attempt: int = 1) -> None:
        """Submit a span."""
        if self._shares:
            span = _Submitted(first, list(cast("Sequence[Task[object]]", parcels)), attempt, shared=True)
            future: Future[Any] = self._executor.submit(run_span, worker, span)
        else:
            written = cast("Sequence[_Parcel]", parcels)
            span = _Submitted(first, [task for _, task in written], attempt, shared=False)
            spans = [data for data, _ in written]
            future = self._executor.submit(_run, getpid(), worker, first, spans, attempt)
        span.future = future
        self._owed.sent(worker, span)
        future.add_done_callback(lambda _: self._outbox.put((worker, span)))

    def revoke(self, workers: Sequence[int], /) -> Sequence[Event]:
        """Take back what the executor has not begun."""
        return self._owed.revoke(workers)

    def flush(self) -> None:
        """Nothing to do: `send` has handed the span over."""

    def wait(self, timeout: float | None) -> Sequence[Event]:
        """Spans that are done; raises what has broken the executor."""
        events: list[Event] = []
        try:
            while not events or not self._outbox.empty():
                ended = self._outbox.get(timeout=timeout)
                if ended is None:  # somebody rang
                    return events
                if (done := self._done(*ended)) is not None:
                    events += self._owed.answered(done)
        except Empty:
            return events
        return events

    def listen(self) -> Callable[[], None]:
        """A function that wakes `wait`."""
        return partial(self._outbox.put, None)

    def _done(self, worker: int, span: _Submitted) -> Done | None:
        if not span.kept:
            return None  # all of it was taken back
        first, tasks = span.first, span.tasks
        try:
            answer = span.future.result()
        except BrokenExecutor as error:
            raise blame.broken(error, first, tasks) from error
        if self._shares:
            return cast(Done, answer)
        results, failed, seconds = cast(_Answer, answer)
        failures: dict[int, BaseException] = {
            index: blame.raised(report, index, tasks[index - first]) for index, report in failed
        }
        values: list[object] = []
        for offset, data in enumerate(results):
            try:
                values.append(None if data is None else pickle.loads(data))
            except Exception as error:
                values.append(None)
                failures[first + offset] = blame.not_read(error, first + offset, tasks[offset])
        return Done(worker, first, values, failures or None, seconds)

    def forget(self, indexes: Sequence[int]) -> None:
        """Nothing to do: a parcel is all that there is of a task."""

    def abort(self) -> None:
        """Cancel what has not begun; end the processes that are ours."""
        running = [span for span in self._owed.drop() if span.kept and not span.future.done()]
        if self._ours and running:
            _end_kept(kill=True)

    def release(self) -> None:
        """Nothing runs; the executor stays for the next loop."""


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle carries no types
    """cloudpickle, and what it cannot do: functions of global random generators, and context variables."""

    def __init__(self, file: BytesIO) -> None:
        super().__init__(file, 5)
        self._special: dict[type, Callable[[Any], Any]] = {**entropy.reducers(), ContextVar: reduce_variable}

    def reducer_override(self, obj: object) -> object:
        special = self._special.get(type(obj))
        return super().reducer_override(obj) if special is None else special(obj)


def _encode(index: int, task: Task[object], /) -> _Parcel:
    try:
        file = BytesIO()
        _Pickler(file).dump(task)
        return file.getvalue(), task
    except Exception as error:
        raise blame.not_sent(error, index, *task) from None


_seeded_in: int | None = None


def _run(parent: int, worker: int, first: int, tasks: list[bytes], attempt: int) -> _Answer:
    """Run a span, in another process as a rule: one that may be a fork with the random state of its siblings."""
    global _seeded_in
    if _seeded_in != getpid() != parent:
        _seeded_in = getpid()
        entropy.become_different()
    results: list[bytes | None] = []
    failures: list[tuple[int, Report]] = []
    begun = perf_counter()
    before = answer_here(lambda: CurrentTask(first + len(results), worker, attempt))
    for index, data in enumerate(tasks, first):
        try:
            func, args, kwargs = cast("Task[object]", pickle.loads(data))
            results.append(cloudpickle.dumps(func(*args, **kwargs), 5))
        except BaseException as error:  # whatever a task raises is its caller's to handle
            results.append(None)
            failures.append((index, describe(error)))
    answer_here(before)
    return results, failures, perf_counter() - begun
