"""Any `concurrent.futures.Executor` as a crew; where our own workers cannot be had, the standard library's.

An executor has no workers that one could name, so this crew has slots: so many spans are out at a time, and whoever
is free runs the next. It keeps the law of `base` but for one point: spans of one slot may run in any order, so a
death blames nobody. An executor that shares our memory runs tasks as they are. For all others a task is pickled
when it is taken (by cloudpickle, so that lambdas and ``__main__`` travel), its result when it is there; what cannot
be is its own failure, not its span's.

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
from lightwork.parallel.backends.threads import run_span
from lightwork.workers import entropy
from lightwork.workers.current import CurrentTask, answer_here
from lightwork.workers.failures import Report, describe
from lightwork.workers.inside import reduce_variable

__all__ = ["ExecutorCrew", "lend", "lend_from"]

_Parcel = tuple[bytes, Task[object]]
_Answer = tuple[list["bytes | None"], list[tuple[int, Report]], float]

_Ended = tuple[int, int, "list[Task[object]]", "Future[object]"]

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
        self._outbox: SimpleQueue[_Ended | None] = SimpleQueue()
        self._out: set[Future[object]] = set()

    @property
    def encode(self) -> Encode | None:
        """Tasks are written down unless they stay in this process."""
        return None if self._shares else _encode

    def send(self, worker: int, first: int, parcels: Sequence[object], attempt: int = 1) -> None:
        """Submit a span."""
        tasks: list[Task[object]]
        future: Future[object]
        if self._shares:
            tasks = list(cast("Sequence[Task[object]]", parcels))
            future = cast("Future[object]", self._executor.submit(run_span, worker, first, tasks, attempt))
        else:
            written = cast("Sequence[_Parcel]", parcels)
            tasks = [task for _, task in written]
            spans = [data for data, _ in written]
            future = cast(
                "Future[object]", self._executor.submit(_run, getpid(), worker, first, spans, attempt)
            )
        self._out.add(future)
        future.add_done_callback(lambda done: self._outbox.put((worker, first, tasks, done)))

    @property
    def revoke(self) -> None:
        """An executor tells neither what it has begun nor takes it back."""

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
                events.append(self._event(*ended))
        except Empty:
            return events
        return events

    def listen(self) -> Callable[[], None]:
        """A function that wakes `wait`."""
        return partial(self._outbox.put, None)

    def _event(self, worker: int, first: int, tasks: list[Task[object]], future: Future[object]) -> Done:
        self._out.discard(future)
        try:
            answer = future.result()
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
        for future in list(self._out):
            future.cancel()
        running, self._out = [future for future in self._out if not future.done()], set()
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
