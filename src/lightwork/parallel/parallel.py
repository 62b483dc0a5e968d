"""`Parallel`: what people write. Options are checked here; what is made of them at a call is in `running`.

A `Parallel` holds options only. Each call makes its own plan, pace, outcomes and crew, so calls are independent of each
other: several generators of one object may live at once, and threads may call it at the same time. Workers are
kept by their pool between calls, not by this object.

Where a loop runs is decided in `_place`: one worker, a loop inside a worker, or ``LIGHTWORK_SEQUENTIAL=1`` is the
plain loop of `backends.sequential`.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, Never, Self, TypeVar, Unpack, cast, overload

from lightwork.errors import OptionError, TaskError
from lightwork.parallel.backends import BACKENDS, Backend, choose
from lightwork.parallel.backends.base import Task
from lightwork.parallel.backends.threads import inside_thread
from lightwork.parallel.batching import understand
from lightwork.parallel.guard import OnInputError
from lightwork.parallel.options import (
    TaskOptions,
    chosen,
    crew_options,
    seconds,
    seed_of,
    variables_of,
    whole,
    whole_batch,
)
from lightwork.parallel.reading import Reading
from lightwork.parallel.recourse import OnError, Raises, Returns
from lightwork.parallel.retries import Retries, retries_of
from lightwork.parallel.running import run
from lightwork.settings import (
    Default,
    MmapMode,
    WorkerOptions,
    default,
    environment,
    parse_size,
    refuse_worker_options,
    resolve,
)
from lightwork.workers.functions import inside_worker
from lightwork.workers.limits import worker_count

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from contextvars import ContextVar

    from numpy.random import SeedSequence
    from typing_extensions import TypeVar as Defaulted

    from lightwork.observe.messages import LoopLines

__all__ = ["Parallel"]

T = TypeVar("T")

ListKind = Literal["list"]
GeneratorKind = Literal["generator", "generator_unordered"]
if (
    TYPE_CHECKING
):  # defaults, so that `Parallel` alone is one that returns lists; `typing` has them from Python 3.13
    Kind = Defaulted("Kind", bound=Literal["list", "generator", "generator_unordered"], default=ListKind)
    Told = Defaulted("Told", bound=TaskError, default=Never)
else:
    Kind, Told = TypeVar("Kind"), TypeVar("Told")


class Parallel(Generic[Kind, Told]):
    """Run the tasks of a loop on several workers.

    Parameters
    ----------
    n_jobs : int, optional
        The number of workers: -1 for all cores, -2 for all but one; 1, the default, is a plain loop.
    backend : str or concurrent.futures.Executor, optional
        ``"processes"`` (the default; also ``"loky"``, ``"multiprocessing"``), ``"threads"`` (also ``"threading"``) or
        ``"sequential"``; or an executor of `concurrent.futures` or the like, which stays yours.
    return_as : {"list", "generator", "generator_unordered"}
        A list; or a generator, in order or as results come. Work begins at the call; closing the generator
        stops it.
    verbose : int
        0 silent; above, progress lines on standard error, more often the higher; above 50, on standard output.
    timeout : float, optional
        Seconds that the next result in order is waited for before the loop is given up.
    pre_dispatch : int or str
        How far the input is taken ahead: a number, arithmetic over `n_jobs`, or ``"all"``. It counts tasks where it and
        `batch_size` are both given, else batches. The lead over the reader of a generator never exceeds it.
    batch_size : int or "auto"
        Tasks in one message; by default as many as take a few milliseconds.
    temp_folder : str, optional
        Accepted for joblib's sake; nothing is laid into folders.
    max_nbytes : int or str, optional
        Buffers from this size on travel by memory; None: inside messages.
    mmap_mode : {"c", "r", "r+", "w+"}, optional
        How such buffers come out in workers: private and writable, or read-only (``"r"``).
    prefer : {"processes", "threads"}, optional
        A hint, where no backend is named.
    require : {"sharedmem"}, optional
        Workers must share the caller's memory, that is, be threads.
    progress : bool or "always"
        A progress bar on a terminal; ``"always"``: plain lines elsewhere too.
    total : int, optional
        How many tasks there will be, for the bar, where the input has no length.
    seed : int, sequence of int or numpy.random.SeedSequence, optional
        Each task draws random numbers of its own, the same for any number of workers, backend and batch size:
        from `lightwork.rng`, and, unless workers share the process, from `random` and NumPy's global generator,
        which are put back after the task. A remembered function that is a task is remembered for each of these streams.
    contextvars : iterable of contextvars.ContextVar
        Variables that hold in each task what they hold where the loop is called.
    task_timeout : float, optional
        Seconds that a task may run. One that takes longer fails with `lightwork.errors.TaskTimeout`: its worker process
        is ended, the other tasks go on. Threads cannot be stopped, so this needs processes, and uses one even for
        ``n_jobs=1``; a loop inside a task, and ``LIGHTWORK_SEQUENTIAL=1``, run without a limit.
    retries : int or Retries
        How often a task that failed is run again; a `lightwork.Retries` says also for which errors, and how soon.
    rerun_lost : bool
        A worker that dies takes with it the results of tasks that had finished and were not delivered yet. They are
        run again, which may be for the second time; with False they fail with `lightwork.errors.WorkerDied`.
    on_error : {"raise", "return", "skip"}
        What a task that fails does: its error is raised and ends the loop, what had finished being on it as
        ``partial_results``; or a `lightwork.errors.TaskError` takes the place of its result; or it is left out.
    on_input_error : {"cancel", "finish"}
        What an input that raises does: its error ends the loop at once; or the tasks that it gave before are
        finished, and the error is raised behind them.
    **worker_options : WorkerOptions
        How worker processes are made and bounded: ``start_method``, ``initializer``, ``initargs``, ``memory_limit``,
        ``max_tasks_per_child``, ``inner_max_num_threads``; see `lightwork.settings.WorkerOptions`.

    Examples
    --------
    >>> from math import sqrt
    >>> from lightwork import Parallel, delayed
    >>> Parallel(n_jobs=2, backend="threads")(delayed(sqrt)(i**2) for i in range(4))
    [0.0, 1.0, 2.0, 3.0]
    """

    @overload
    def __init__(
        self: Parallel[ListKind, Never],
        n_jobs: int | None = ...,
        backend: str | Executor | None = ...,
        return_as: ListKind = ...,
        verbose: int = ...,
        timeout: float | None = ...,
        pre_dispatch: int | str = ...,
        batch_size: int | Literal["auto"] = ...,
        temp_folder: str | os.PathLike[str] | None = ...,
        max_nbytes: int | str | None = ...,
        mmap_mode: MmapMode | None = ...,
        prefer: Literal["processes", "threads"] | None = ...,
        require: Literal["sharedmem"] | None = ...,
        *,
        on_error: Raises = ...,
        **options: Unpack[TaskOptions],
    ) -> None: ...

    @overload
    def __init__(
        self: Parallel[ListKind, TaskError],
        n_jobs: int | None = ...,
        backend: str | Executor | None = ...,
        return_as: ListKind = ...,
        verbose: int = ...,
        timeout: float | None = ...,
        pre_dispatch: int | str = ...,
        batch_size: int | Literal["auto"] = ...,
        temp_folder: str | os.PathLike[str] | None = ...,
        max_nbytes: int | str | None = ...,
        mmap_mode: MmapMode | None = ...,
        prefer: Literal["processes", "threads"] | None = ...,
        require: Literal["sharedmem"] | None = ...,
        *,
        on_error: Returns,
        **options: Unpack[TaskOptions],
    ) -> None: ...

    @overload
    def __init__(
        self: Parallel[GeneratorKind, Never],
        n_jobs: int | None = ...,
        backend: str | Executor | None = ...,
        return_as: GeneratorKind = ...,
        verbose: int = ...,
        timeout: float | None = ...,
        pre_dispatch: int | str = ...,
        batch_size: int | Literal["auto"] = ...,
        temp_folder: str | os.PathLike[str] | None = ...,
        max_nbytes: int | str | None = ...,
        mmap_mode: MmapMode | None = ...,
        prefer: Literal["processes", "threads"] | None = ...,
        require: Literal["sharedmem"] | None = ...,
        *,
        on_error: Raises = ...,
        **options: Unpack[TaskOptions],
    ) -> None: ...

    @overload
    def __init__(
        self: Parallel[GeneratorKind, TaskError],
        n_jobs: int | None = ...,
        backend: str | Executor | None = ...,
        return_as: GeneratorKind = ...,
        verbose: int = ...,
        timeout: float | None = ...,
        pre_dispatch: int | str = ...,
        batch_size: int | Literal["auto"] = ...,
        temp_folder: str | os.PathLike[str] | None = ...,
        max_nbytes: int | str | None = ...,
        mmap_mode: MmapMode | None = ...,
        prefer: Literal["processes", "threads"] | None = ...,
        require: Literal["sharedmem"] | None = ...,
        *,
        on_error: Returns,
        **options: Unpack[TaskOptions],
    ) -> None: ...

    def __init__(
        self,
        n_jobs: int | None = default(None),
        backend: str | Executor | None = default(None),  # noqa: B008 - an immutable marker
        return_as: Literal["list", "generator", "generator_unordered"] = "list",
        verbose: int = default(0),
        timeout: float | None = None,
        pre_dispatch: int | str = default("2 * n_jobs"),
        batch_size: int | Literal["auto"] = "auto",
        temp_folder: str | os.PathLike[str] | None = default(None),  # noqa: B008 - an immutable marker
        max_nbytes: int | str | None = default("1M"),
        mmap_mode: MmapMode | None = default("c"),  # noqa: B008 - an immutable marker
        prefer: Literal["processes", "threads"] | None = default(None),
        require: Literal["sharedmem"] | None = default(None),
        *,
        progress: bool | Literal["always"] = False,
        total: int | None = None,
        seed: int | Sequence[int] | SeedSequence | None = None,
        contextvars: Iterable[ContextVar[Any]] = (),
        task_timeout: float | None = None,
        retries: int | Retries = 0,
        rerun_lost: bool = True,
        on_error: OnError = "raise",
        on_input_error: OnInputError = "cancel",
        **worker_options: Unpack[WorkerOptions],
    ) -> None:
        # None says nothing of these two, so that a configuration around the call can.
        self.n_jobs = resolve("n_jobs", default(None) if n_jobs is None else n_jobs)
        worker_count(self.n_jobs)
        said = None if isinstance(cast(object, backend), Default) else backend
        configured = (
            None if said is not None else cast("str | Executor | None", resolve("backend", default(None)))
        )
        self._named = said is not None or configured is not None
        self._prefer = chosen("prefer", resolve("prefer", prefer))
        self._require = chosen("require", resolve("require", require))
        self._backend = choose(said, configured, self._prefer, self._require)
        if self.n_jobs is None and self._backend.given is None:
            self.n_jobs = 1  # what it means there, for those who reckon with it
        refuse_worker_options(said, worker_options)
        self.return_as = chosen("return_as", return_as)
        self.return_generator = return_as != "list"
        self.verbose = whole("verbose", resolve("verbose", verbose))
        self.timeout = seconds("timeout", timeout)
        self.batch_size = whole_batch(batch_size)
        self._window_said = not isinstance(cast(object, pre_dispatch), Default)
        self.pre_dispatch = resolve("pre_dispatch", pre_dispatch)
        understand(self.pre_dispatch)
        self.temp_folder = resolve("temp_folder", temp_folder)
        size = resolve("max_nbytes", max_nbytes)
        self.max_nbytes = None if size is None else parse_size(size, "max_nbytes")
        self.mmap_mode = chosen("mmap_mode", resolve("mmap_mode", mmap_mode))
        self.retries = retries
        self._retries = retries_of(retries)
        self.rerun_lost = chosen("rerun_lost", rerun_lost)
        self.on_error: OnError = chosen("on_error", on_error)
        self.on_input_error: OnInputError = chosen("on_input_error", on_input_error)
        self.task_timeout = seconds("task_timeout", task_timeout)
        if self.task_timeout is not None and not self._backend.stops_tasks:
            raise OptionError(
                f"task_timeout={task_timeout!r} needs worker processes of lightwork, and the backend is"
                f" {self._backend.name}: nothing can stop a task there; use backend='processes'"
            )
        self._options = crew_options(
            self.max_nbytes,
            self.mmap_mode,
            worker_options,
            retains=self._retries is not None,
            task_timeout=self.task_timeout,
        )
        self.progress = chosen("progress", progress)
        self.total = None if total is None else whole("total", total, 0)
        self.seed = seed
        self.contextvars = variables_of(contextvars)
        self._seed = None if seed is None else seed_of(seed)
        self.n_completed_tasks = 0
        self.n_dispatched_tasks = 0
        self._lines: LoopLines | None = None
        self._original_iterator: Iterator[object] | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}(n_jobs={self.n_jobs})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nothing to do: workers are kept by their pool, and loops that still run are their readers'."""

    @overload
    def __call__(self: Parallel[ListKind, Told], iterable: Iterable[Task[T]]) -> list[T | Told]: ...

    @overload
    def __call__(
        self: Parallel[GeneratorKind, Told], iterable: Iterable[Task[T]]
    ) -> Generator[T | Told, None, None]: ...

    def __call__(self, iterable: Iterable[Task[T]]) -> list[T | Told] | Generator[T | Told, None, None]:
        """Run the tasks.

        Parameters
        ----------
        iterable : iterable of tasks
            What `delayed` makes: triples of function, arguments and keyword arguments. It is read in this
            thread, as far ahead as `pre_dispatch` allows.

        Returns
        -------
        list or generator
            The results, as `return_as` says.
        """
        return self._run(iterable)

    def _run(
        self, iterable: Iterable[Task[T]], reading: Reading | None = None
    ) -> list[T] | Generator[T, None, None]:
        """A call, perhaps from a thread other than its reader's."""
        replaced = type(self).print_progress is not Parallel.print_progress
        return run(self, iterable, *self._place(), replaced=replaced, reading=reading)

    def print_progress(self) -> None:
        """Show how far the loop is; called whenever tasks were finished. Subclasses may show it their way.

        They find the numbers in `n_completed_tasks` and `n_dispatched_tasks`.
        """
        if self.verbose and self._lines is not None:
            total = None if self._original_iterator is not None else self.n_dispatched_tasks
            self._lines.progress(self.n_completed_tasks, total)

    def _effective_n_jobs(self) -> int:
        return self._place()[1]

    # --- one call -----------------------------------------------------------------------------------

    def _place(self) -> tuple[Backend, int]:
        """Where a loop that begins now runs, and on how many workers."""
        backend, workers = self._backend, self._backend.workers(self.n_jobs)
        nested = inside_thread() or (inside_worker() and not (self._named and backend.name == "threads"))
        alone = workers == 1 and self.task_timeout is None
        if alone or nested or environment("LIGHTWORK_SEQUENTIAL") not in (None, "0"):
            backend = BACKENDS["sequential"]
        return backend, 1 if backend.module is None else workers
