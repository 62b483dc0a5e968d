"""Backends that were written for joblib (1.3 and later), as crews: the other way round they know nothing of us.

Such a backend is an object with hooks: `configure` says how many workers there will be, `submit` takes a callable
and a callback, `retrieve_result_callback` or `retrieve_result` gives what became of it. To `executors.ExecutorCrew`
it is one more executor (`HookedExecutor`), whose spans go through those hooks. What a backend is given looks as
it expects: a callable with ``items`` and a length, that returns the list of its results.

`BackendBase` has a default for each hook, for those who write a new one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar, Protocol, TypeVar, cast
from uuid import uuid4

from lightwork.errors import OptionTypeError, WorkerStartError
from lightwork.parallel.backends.base import CrewOptions, Event
from lightwork.parallel.backends.executors import ExecutorCrew

__all__ = ["BackendBase", "Hooks", "is_backend", "lend_from", "made", "workers_of"]

T = TypeVar("T")


class Hooks(Protocol):
    """What every such backend has."""

    def configure(self, n_jobs: int = 1, parallel: Any = None, **options: Any) -> int:
        """Be ready for a loop; returns the number of workers."""

    def effective_n_jobs(self, n_jobs: int) -> int:
        """The number of workers that a loop told `n_jobs` gets."""


class BackendBase:
    """A way of running tasks, to be registered with `register_parallel_backend`; override what is not so with yours.

    Parameters
    ----------
    nesting_level : int, optional
        How deep inside other loops it is used.
    inner_max_num_threads : int, optional
        Threads that native libraries may use in each worker, where `supports_inner_max_num_threads`.
    **backend_kwargs : object
        What `parallel_config` was given beside the backend's name.
    """

    default_n_jobs: ClassVar[int] = 1
    supports_inner_max_num_threads: ClassVar[bool] = False
    supports_retrieve_callback: ClassVar[bool] = False
    supports_return_generator: ClassVar[bool] = True
    supports_sharedmem: ClassVar[bool] = False
    supports_timeout: ClassVar[bool] = False
    uses_threads: ClassVar[bool] = False

    def __init__(
        self,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
        **backend_kwargs: object,
    ) -> None:
        self.nesting_level = nesting_level
        self.inner_max_num_threads = inner_max_num_threads
        self.backend_kwargs = backend_kwargs
        self.parallel: object = None

    def effective_n_jobs(self, n_jobs: int) -> int:
        """The number of workers that a loop told `n_jobs` gets."""
        from lightwork.workers.limits import worker_count

        return worker_count(n_jobs)

    def configure(self, n_jobs: int = 1, parallel: object = None, **options: object) -> int:
        """Be ready for a loop; returns the number of workers."""
        self.parallel = parallel
        return self.effective_n_jobs(n_jobs)

    def start_call(self) -> None:
        """A loop begins."""

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], object]) -> Any:
        """Have `func` called by a worker, and `callback` with the outcome once it was; returns what stands for it."""
        raise NotImplementedError(f"{type(self).__name__} must define submit")

    def retrieve_result_callback(self, out: Any) -> Any:
        """What `func` returned, from what the callback got; raises what it raised."""
        raise NotImplementedError(f"{type(self).__name__} must define retrieve_result_callback")

    def retrieve_result(self, out: Any, timeout: float | None = None) -> Any:
        """What `func` returned, from what `submit` returned; raises what it raised."""
        return out.get(timeout=timeout) if self.supports_timeout else out.get()

    def compute_batch_size(self) -> int:
        """How many tasks a batch should have; measured by the loop, whatever is said here."""
        return 1

    def batch_completed(self, batch_size: int, duration: float) -> None:
        """A batch took so many seconds."""

    @contextmanager
    def retrieval_context(self) -> Iterator[None]:
        """Held from when results are first waited for until the loop ends.

        A loop inside a task holds a worker that waits; a backend may lend that worker to others meanwhile.
        """
        yield

    def stop_call(self) -> None:
        """A loop has ended."""

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """End what runs; be ready for another loop where `ensure_ready`."""

    def terminate(self) -> None:
        """The workers are not needed any more."""


def is_backend(value: object) -> bool:
    """Whether an object has the hooks of such a backend."""
    return callable(getattr(value, "configure", None)) and callable(_submit_of(value))


def _submit_of(backend: object) -> object:
    """Its ``submit``, which was ``apply_async`` before joblib 1.5."""
    return getattr(backend, "submit", None) or getattr(backend, "apply_async", None)


def made(name: str, factory: Callable[..., object], options: Mapping[str, object]) -> Hooks:
    """The backend that a registered factory makes.

    Raises
    ------
    OptionTypeError
        If it makes none, or takes no such options.
    """
    try:
        backend = factory(**options)
    except TypeError as error:
        said = ", ".join(options) or "no options"
        raise OptionTypeError(f"backend={name!r} cannot be made with {said}: {error}") from error
    if not is_backend(backend):
        raise OptionTypeError(
            f"what was registered as backend {name!r} made {backend!r}, which lacks `configure` or `submit`"
        )
    return cast(Hooks, backend)


def workers_of(backend: Hooks, n_jobs: int | None) -> int:
    """How many workers a loop gets from a backend."""
    if n_jobs is None:
        n_jobs = getattr(backend, "default_n_jobs", 1)
    count = backend.effective_n_jobs(n_jobs)
    if count < 1:
        raise WorkerStartError(
            f"{type(backend).__name__} has {count} workers for n_jobs={n_jobs}; start some, and run the loop then"
        )
    return count


def lend_from(backend: Hooks, count: int, options: CrewOptions) -> ExecutorCrew:
    """A crew over a backend, configured for one call."""
    return _HookedCrew(HookedExecutor(backend, count, options), count)


class _Loop:
    """What stands for the loop in the eyes of a backend: joblib's own ask for these."""

    def __init__(self, count: int, backend: Hooks) -> None:
        self._id = uuid4().hex
        self.n_jobs = count
        self.verbose = 0
        self.timeout = None
        self._backend = backend


class HookedExecutor(Executor):
    """A backend behind the interface of an executor.

    Parameters
    ----------
    backend : Hooks
        The backend; one that falls back to another one when it is configured is replaced by that.
    count : int
        How many workers are asked for.
    options : CrewOptions
        What is known of how arguments should travel.
    """

    def __init__(self, backend: Hooks, count: int, options: CrewOptions) -> None:
        told = {"max_nbytes": options.max_nbytes, "mmap_mode": options.mmap_mode, "verbose": 0}
        if getattr(backend, "supports_inner_max_num_threads", False) and options.inner_max_num_threads:
            backend.inner_max_num_threads = options.inner_max_num_threads  # type: ignore[attr-defined]
        while True:
            try:
                backend.configure(n_jobs=count, parallel=_Loop(count, backend), **told)
                break
            except Exception as error:
                other = getattr(error, "backend", None)  # joblib's FallbackToBackend
                if not is_backend(other):
                    raise
                backend = cast(Hooks, other)
        self.backend: Any = backend
        self.shares_memory = bool(getattr(backend, "supports_sharedmem", False))
        self._submit = cast("Callable[..., Any]", _submit_of(backend))
        self._retrieval: ExitStack | None = None
        self._hook("start_call")

    def submit(self, func: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Have a function called by a worker of the backend."""
        job: _Job[T] = _Job(self.backend)
        job.given(self._submit(_Calls(func, args, kwargs), job.finished))
        return job

    def retrieve(self) -> None:
        """Results are waited for from now on."""
        if self._retrieval is None:
            self._retrieval = ExitStack()
            context = getattr(self.backend, "retrieval_context", None)
            if context is not None:
                self._retrieval.enter_context(context())

    def end(self, *, abort: bool) -> None:
        """The call is over."""
        if self._retrieval is not None:
            self._retrieval.close()
        if abort:
            self._hook("abort_everything", ensure_ready=False)
        self._hook("stop_call")
        self._hook("terminate")

    def _hook(self, name: str, **told: object) -> None:
        hook = getattr(self.backend, name, None)
        if hook is not None:
            hook(**told)


class _Calls:
    """One call in the shape of a batch of calls."""

    def __init__(
        self, func: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]
    ) -> None:
        self.items = [(func, args, kwargs)]

    def __call__(self) -> list[object]:
        return [func(*args, **kwargs) for func, args, kwargs in self.items]

    def __len__(self) -> int:
        return len(self.items)


class _Job(Future[T]):
    """What becomes of one call; the outcome is fetched by whoever asks for it, not in the backend's threads."""

    def __init__(self, backend: Any) -> None:
        super().__init__()
        self.set_running_or_notify_cancel()  # a backend cannot take back a single call
        self._backend = backend
        self._submitted = threading.Event()
        self._job: Any = None
        self._out: Any = None

    def given(self, job: Any) -> None:
        """What the backend returned for the call."""
        self._job = job
        self._submitted.set()

    def finished(self, out: Any = None) -> None:
        """The backend's callback: the call has ended; it may come before `submit` has returned."""
        self._out = out
        self.set_result(cast(T, None))

    def result(self, timeout: float | None = None) -> T:
        """What the call returned."""
        super().result(timeout)
        if getattr(self._backend, "supports_retrieve_callback", False):
            return cast("list[T]", self._backend.retrieve_result_callback(self._out))[0]
        self._submitted.wait()
        return cast("list[T]", self._backend.retrieve_result(self._job, None))[0]


class _HookedCrew(ExecutorCrew):
    def __init__(self, executor: HookedExecutor, count: int) -> None:
        super().__init__(executor, count, ours=False)
        self._hooked: HookedExecutor | None = executor

    def wait(self, timeout: float | None) -> Sequence[Event]:
        """Spans that are done."""
        if self._hooked is not None:
            self._hooked.retrieve()
        return super().wait(timeout)

    def abort(self) -> None:
        """End the backend's call."""
        super().abort()
        self._end(abort=True)

    def release(self) -> None:
        """End the backend's call; nothing runs."""
        super().release()
        self._end(abort=False)

    def _end(self, *, abort: bool) -> None:
        hooked, self._hooked = self._hooked, None
        if hooked is not None:
            hooked.end(abort=abort)
