"""`ProcessExecutor`: our workers in the manner of `concurrent.futures`.

What people call lives here: options, `submit`, `map`, the end. What happens to a job is the desk's (`desk.py`).

Where the standard library documents how its ``ProcessPoolExecutor`` behaves, this one behaves so, except where better
is possible:

- a worker that dies costs the one job that it ran, and the executor goes on;
- arguments are taken as they are when they are submitted;
- Ctrl-C in the ``with`` block ends what runs, instead of waiting for it;
- ``map`` gives the results in front of a failure, whatever the size of chunks.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future
from itertools import count, islice
from operator import index
from pickle import PickleError
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar, cast

from lightwork.errors import OptionError, OptionTypeError
from lightwork.parallel.backends.base import CrewOptions
from lightwork.parallel.claims import Job
from lightwork.parallel.desk import Desk
from lightwork.parallel.options import chosen, crew_options, whole
from lightwork.settings import MmapMode, StartMethod, default, environment, parse_size, resolve
from lightwork.workers import failures
from lightwork.workers.chunks import OwnInitializer, run_chunk
from lightwork.workers.functions import Found, Remembered, inside_worker
from lightwork.workers.limits import cpu_count
from lightwork.workers.pool import lend_pool

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext

__all__ = ["ProcessExecutor"]

P = ParamSpec("P")
T = TypeVar("T")

_numbers = count(1)
_Chunk = tuple["Future[object]", bool]
"""A job of `map`, and whether it is a single call."""

_START_METHODS: Final[dict[str, StartMethod | None]] = {"fork": "fork", "spawn": "spawn", "forkserver": None}


class ProcessExecutor(Executor):
    """Worker processes as an executor of `concurrent.futures`.

    Parameters
    ----------
    max_workers : int, optional
        How many; by default as many as there are cores. They start when there is something for them to do, and are
        free for others after a second without.
    mp_context : multiprocessing context, optional
        For programs written for the standard library's executor: its start method is taken. Use `start_method`.
    initializer : callable, optional
        Called once in each worker before its first job. Workers are then this executor's alone, and end with it.
    initargs : tuple
        Its arguments.
    max_nbytes : int or str, optional
        Buffers from this size on travel by memory; None: inside messages.
    mmap_mode : {"c", "r", "r+", "w+"}, optional
        How such buffers come out in workers: private and writable, or read-only (``"r"``).
    max_tasks_per_child, memory_limit, start_method, inner_max_num_threads
        How workers are made and bounded; see `lightwork.settings.WorkerOptions`.

    Examples
    --------
    >>> from lightwork import ProcessExecutor
    >>> with ProcessExecutor(max_workers=2) as executor:
    ...     future = executor.submit(pow, 2, 10)
    ...     print(future.result(), list(executor.map(abs, [-1, -2])))
    1024 [1, 2]
    """

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: BaseContext | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[object, ...] = (),
        *,
        max_nbytes: int | str | None = default("1M"),
        mmap_mode: MmapMode | None = default("c"),  # noqa: B008 - an immutable marker
        max_tasks_per_child: int | None = None,
        memory_limit: int | str | None = None,
        start_method: StartMethod | None = None,
        inner_max_num_threads: int | None = None,
    ) -> None:
        if os.name != "posix":
            raise OptionError(
                "ProcessExecutor needs a POSIX system; use concurrent.futures.ProcessPoolExecutor here"
            )
        self._max_workers = cpu_count() if max_workers is None else whole("max_workers", max_workers, 1)
        if start_method is None and mp_context is not None:
            start_method = _START_METHODS[mp_context.get_start_method()]
        said = {
            "initializer": initializer,
            "initargs": initargs,
            "max_tasks_per_child": max_tasks_per_child,
            "memory_limit": memory_limit,
            "start_method": start_method,
            "inner_max_num_threads": inner_max_num_threads,
        }
        self._options = _options(
            max_nbytes, mmap_mode, {name: value for name, value in said.items() if value not in (None, ())}
        )
        self._desk = self._new_desk()

    def _new_desk(self) -> Desk:
        desk = Desk(self._max_workers, self._options, own=self._options.initializer is not None)
        # Whoever drops the executor has told it all that there was: what was submitted is done, then the keeper ends.
        self._farewell = weakref.finalize(self, desk.retire)
        self._farewell.atexit = False
        return desk

    def _open_desk(self) -> Desk:
        if self._desk.process != os.getpid():  # what was submitted before a fork is the parent's
            self._desk = self._new_desk()
        return self._desk

    # --- work ---------------------------------------------------------------------------------------

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a worker call ``fn(*args, **kwargs)``.

        The arguments are written down now; what becomes of them later makes no difference. Where that fails, the
        future holds the error.

        Returns
        -------
        Future
            Its `result`, `exception`, `cancel` and so on are those of `concurrent.futures`.

        Raises
        ------
        RuntimeError
            If the executor was shut down, or has broken (`BrokenExecutorError`).
        """
        return cast("Future[T]", self._submit(fn, args, kwargs))

    def _submit(
        self, fn: Callable[..., object], args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> Future[object]:
        if not callable(fn):
            raise OptionTypeError(f"submit({fn!r}): {type(fn).__name__} cannot be called")
        desk = self._open_desk()
        desk.must_be_open()
        finish: Callable[[object], object] | None = None
        if hasattr(type(fn), "__lightwork_lookup__"):
            answer = cast(Remembered, fn).__lightwork_lookup__(args, kwargs)
            if isinstance(answer, Found):
                return _done(answer.value)
            fn, args, kwargs, finish = answer[:4]
        if inside_worker() or environment("LIGHTWORK_SEQUENTIAL") not in (None, "0"):
            return _run_here(fn, args, kwargs, finish)
        job = Job((fn, tuple(args), dict(kwargs)), finish)
        _note(desk)
        try:
            desk.submit(job)
        except PickleError as error:  # ours is one; importing that takes 7 ms
            job.future.set_running_or_notify_cancel()
            job.future.set_exception(error)
        # Now, while the workers start, so that it costs nothing: once the interpreter ends, it cannot be imported.
        import lightwork._late_errors  # noqa: F401

        return job.future

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[object],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Call a function with each item; an iterator over the results, in order.

        The inputs are taken at once, unless `buffersize` is given. For a loop and nothing else, `lightwork.map` is
        faster and finds the size of chunks by itself.

        Parameters
        ----------
        fn : callable
            The function.
        *iterables : iterable
            Its arguments; the shortest ends it.
        timeout : float, optional
            Seconds from now after which waiting for the next result raises `TimeoutError`.
        chunksize : int
            Calls in one job. All of a chunk are read before it is written down, so an input that gives one buffer again
            and again needs 1; and calls of a chunk see what those before them did to an object that they share.
        buffersize : int, optional
            Jobs that may be submitted ahead of the result that is read next; then the inputs may be endless.
        """
        if whole("chunksize", chunksize) < 1:
            raise OptionError(f"chunksize={chunksize!r} must be 1 or more")
        ahead = None if buffersize is None else _buffersize(buffersize)
        deadline = None if timeout is None else monotonic() + timeout
        rows = zip(*iterables)  # noqa: B905 - the shortest ends it
        jobs = (self._chunk(fn, chunk) for chunk in iter(lambda: list(islice(rows, chunksize)), []))
        pending = deque(islice(jobs, ahead))
        return cast("Iterator[T]", _results(jobs if ahead is not None else iter(()), pending, deadline))

    def _chunk(self, fn: Callable[..., object], chunk: list[tuple[object, ...]]) -> _Chunk:
        if len(chunk) == 1:
            return self._submit(fn, chunk[0], {}), True
        return self._submit(run_chunk, (fn, chunk), {}), False

    # --- the end ------------------------------------------------------------------------------------

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more; what was submitted is done, unless `cancel_futures` says otherwise.

        Parameters
        ----------
        wait : bool
            Whether to return only when all is done.
        cancel_futures : bool
            Whether jobs that have not begun are cancelled.
        """
        self._desk.retire(cancel=cancel_futures)
        if wait:
            _await(self._desk)

    def kill_workers(self) -> None:
        """End what runs, at once: those futures get `WorkerDied`, those that have not begun are cancelled."""
        self._desk.retire(kill=True)
        _await(self._desk)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self.kill_workers()
        else:
            self.shutdown()
        return None


def _options(
    max_nbytes: int | str | None, mmap_mode: MmapMode | None, said: Mapping[str, object]
) -> CrewOptions:
    size = resolve("max_nbytes", max_nbytes)
    options = crew_options(
        None if size is None else parse_size(size, "max_nbytes"),
        chosen("mmap_mode", resolve("mmap_mode", mmap_mode)),
        said,
    )
    if options.initializer is None:
        return options
    return options._replace(initializer=OwnInitializer(options.initializer, next(_numbers)))


def _buffersize(value: int) -> int:
    try:
        number = index(value)
    except TypeError:
        raise OptionTypeError(f"buffersize must be a whole number or None, not {value!r}") from None
    if number < 1:
        raise OptionError(f"buffersize={number} must be 1 or more")
    return number


def _done(value: object) -> Future[object]:
    future: Future[object] = Future()
    future.set_running_or_notify_cancel()
    future.set_result(value)
    return future


def _run_here(
    fn: Callable[..., object],
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
    finish: Callable[[object], object] | None,
) -> Future[object]:
    """The debugging mode, and a job of a job: a plain call."""
    future: Future[object] = Future()
    future.set_running_or_notify_cancel()
    try:
        result = fn(*args, **kwargs)
        future.set_result(result if finish is None else finish(result))
    except BaseException as error:
        future.set_exception(error)
        if not isinstance(error, Exception):
            raise
    return future


def _results(jobs: Iterator[_Chunk], pending: deque[_Chunk], deadline: float | None) -> Iterator[object]:
    """The results of `ProcessExecutor.map`; whoever stops reading them cancels the rest."""
    try:
        while pending:
            future, single = pending[0]
            value = future.result(None if deadline is None else deadline - monotonic())
            pending.popleft()
            pending.extend(islice(jobs, 1))
            del future
            if single:
                yield value
            else:
                yield from _values(cast("tuple[list[object], failures.Report | None]", value))
            del value
    finally:
        for future, _ in pending:
            future.cancel()


def _values(chunk: tuple[list[object], failures.Report | None]) -> Iterator[object]:
    results, failure = chunk
    results.reverse()
    while results:
        yield results.pop()
    if failure is not None:
        raise failures.read(failure)


# --- at exit ------------------------------------------------------------------------------------------------

_desks: weakref.WeakSet[Desk] = weakref.WeakSet()
_registered = 0


def _note(desk: Desk) -> None:
    """See to it that what was submitted is done before the program ends, as the standard library does."""
    global _registered
    _desks.add(desk)
    if _registered == os.getpid():
        return
    _registered = os.getpid()
    lend_pool()  # its own end is registered first, and so comes last
    atexit.register(_end_all, _registered)
    if "multiprocessing.util" in sys.modules:  # its children end without `atexit`
        sys.modules["multiprocessing.util"].Finalize(None, _end_all, (_registered,), exitpriority=100)


def _end_all(process: int) -> None:
    if process != os.getpid():
        return
    # Ctrl-C has ended the program: what it was waiting for is of no use any more.
    interrupted = getattr(sys, "last_type", None) is KeyboardInterrupt and not hasattr(sys, "ps1")
    desks = list(_desks)
    for desk in desks:
        desk.retire(kill=interrupted)
    for desk in desks:
        _await(desk)


def _await(desk: Desk) -> None:
    """Wait for the end of a desk; its own thread (a callback that shuts down) and a forked child cannot."""
    keeper = desk.keeper
    if keeper is not None and keeper is not threading.current_thread() and desk.process == os.getpid():
        keeper.join()
