"""What applies here and now: environment variables, `parallel_config`, and where caches lie.

The law: an option that was said explicitly wins, else what `parallel_config` says in this context, else
the option's own default. `default(x)` marks a parameter's default, so that "not said" and "said, with the
same value" stay apart. Configurations live in one context variable as immutable mappings: each thread and
each asyncio task has its own, and leaving one puts back exactly what was there before.

Environment variables of lightwork are named in one table, `ENVIRONMENT`, and read through `environment`.
Sizes written by people (``"1M"``) go through `parse_size`, wherever they are accepted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from operator import index
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Final, Generic, Literal, SupportsIndex, TypedDict, TypeVar, Unpack, cast

from lightwork.errors import OptionError, OptionTypeError

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from pathlib import Path

__all__ = [
    "ENVIRONMENT",
    "Default",
    "MmapMode",
    "RegisteredBackend",
    "StartMethod",
    "WorkerOptions",
    "affinity",
    "cache_folder",
    "cores",
    "default",
    "environment",
    "parallel_backend",
    "parallel_config",
    "parse_size",
    "refuse_unknown",
    "registered",
    "resolve",
    "set_default_backend",
]

T = TypeVar("T")

MmapMode = Literal["r", "r+", "w+", "c"]
"""How arrays that travel by memory come out at the other end; the words mean what NumPy means by them."""

StartMethod = Literal["zygote", "spawn", "fork"]
"""How worker processes come about."""

ENVIRONMENT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "LIGHTWORK_CACHE_DIR": "the folder that remembered results go to by default",
        "LIGHTWORK_SEQUENTIAL": "1 makes every parallel loop a plain one, for debugging",
        "LIGHTWORK_WORKER_NAMES": "1 puts the worker's name before each line that tasks print",
        "LIGHTWORK_MAX_CPU_COUNT": "at most so many cores are used",
        "LOKY_MAX_CPU_COUNT": "the same, by joblib's name",
    }
)


def environment(name: str) -> str | None:
    """The value of one of our environment variables, None where it is unset or empty."""
    if name not in ENVIRONMENT:
        raise KeyError(f"{name} is not in settings.ENVIRONMENT")
    return os.environ.get(name) or None


# --- "not said" -------------------------------------------------------------------------------------


class Default(Generic[T]):
    """The default of an option, told apart from the same value said explicitly."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"default({self.value!r})"


def default(value: T) -> T:
    """Mark `value` as the default of an option that `parallel_config` may replace.

    To a type checker it is the value itself, as with `dataclasses.field`.

    Examples
    --------
    >>> default(None)
    default(None)
    """
    return cast(T, Default(value))


def resolve(option: str, given: T) -> T:
    """What an option amounts to: as given, else as `parallel_config` says, else its default.

    Examples
    --------
    >>> resolve("n_jobs", default(1))
    1
    >>> with parallel_config(n_jobs=2):
    ...     resolve("n_jobs", default(1)), resolve("n_jobs", 3)
    (2, 3)
    """
    if not isinstance(given, Default):
        return given
    value = _active.get().get(option, given)
    if isinstance(value, Default):
        value = _default_backend[-1] if option == "backend" and _default_backend else given.value
    return cast(T, value)


# --- backends by name ------------------------------------------------------------------------------------

BACKEND_NAMES: Final = ("sequential", "threads", "processes")

# joblib's names for the same things.
ALIASES: Final[dict[str, str]] = {"loky": "processes", "multiprocessing": "processes", "threading": "threads"}


def refuse_unknown_backend(name: str) -> None:
    """Raise for a backend that nobody knows, with the nearest name that somebody does."""
    known = [*BACKEND_NAMES, *ALIASES, *registered]
    if name not in known:
        from difflib import get_close_matches

        near = get_close_matches(name.lower(), known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise OptionError(f"backend={name!r} is not known; {hint}there are {', '.join(map(repr, known))}")


# What each means where workers are threads: nothing that could be had by ignoring it.
_FOR_PROCESSES: Final = {
    "start_method": "threads are not started in several ways",
    "initializer": "there is one process, where the program can call it once",
    "memory_limit": "the memory is that of this process",
    "max_tasks_per_child": "there is no process to replace",
    "inner_max_num_threads": "the native libraries are those of this process; limit them with `threadpoolctl`",
    "worker_names": "its lines are this process's own",
}


def refuse_worker_options(backend: object, options: Mapping[str, object]) -> None:
    """Raise for what makes or bounds worker processes told together with a backend that has none."""
    if backend not in ("threads", "threading"):
        return
    for name, reason in _FOR_PROCESSES.items():
        if options.get(name) is not None:
            raise OptionError(
                f"{name}={options[name]!r} is for worker processes, and the backend is {backend!r}: {reason}"
            )


# --- backends that users bring --------------------------------------------------------------------------

registered: dict[str, Callable[[Mapping[str, object]], object]] = {}
"""What makes the backends that `register_parallel_backend` has given names, of their options."""

_default_backend: list[str] = []


def set_default_backend(name: str) -> None:
    """Let a registered backend serve loops that name none."""
    _default_backend.append(name)


class RegisteredBackend:
    """A registered backend and what it is to be made with; made once for all loops of a configuration.

    Parameters
    ----------
    name : str
        Its name.
    options : mapping
        The arguments of its factory.
    """

    __slots__ = ("_instance", "name", "options")

    def __init__(self, name: str, options: Mapping[str, object]) -> None:
        self.name = name
        self.options = options
        self._instance: object = None

    @property
    def instance(self) -> object:
        """The backend; made when it is first asked for."""
        if self._instance is None:
            self._instance = registered[self.name](self.options)
        return self._instance

    def __repr__(self) -> str:
        return repr(self.name)


# --- parallel_config ------------------------------------------------------------------------------------

_active: ContextVar[Mapping[str, object]] = ContextVar(
    "lightwork_parallel_config", default=MappingProxyType({})
)


class WorkerOptions(TypedDict, total=False):
    """How worker processes are made and bounded; options of `Parallel` and of `parallel_config`.

    Attributes
    ----------
    start_method : {"zygote", "spawn", "fork"}
        ``"zygote"`` (the default on Linux) forks workers from a clean process; ``"spawn"`` (elsewhere) starts an
        interpreter for each; ``"fork"`` forks the calling process, whose memory the workers then share
        without any copy: only for programs whose threads and native libraries stand that.
    initializer : callable
        Called once in each worker before its first task; workers are kept for calls with the same one.
    initargs : tuple
        Its arguments.
    memory_limit : int or str
        Bytes (or ``"2G"``) of data that a worker may have; a task that needs more gets `MemoryError`.
    max_tasks_per_child : int
        A worker that has run so many tasks is replaced.
    inner_max_num_threads : int
        Threads that native libraries (BLAS, OpenMP) may use in each worker; by default each its share of the cores.
    worker_names : bool
        Put the name of the worker process, ``[worker 3]``, before each line that its tasks print. Log records carry it
        always, as ``processName``.
    """

    start_method: StartMethod | None
    initializer: Callable[..., object] | None
    initargs: tuple[object, ...]
    memory_limit: int | str | None
    max_tasks_per_child: int | None
    inner_max_num_threads: int | None
    worker_names: bool | None


def refuse_unknown(options: Mapping[str, object]) -> None:
    """Raise for an option that nobody knows, with the nearest name that somebody does."""
    for name in options:
        if name not in WorkerOptions.__annotations__:
            from difflib import get_close_matches

            near = get_close_matches(name, [*WorkerOptions.__annotations__, *PARALLEL_OPTIONS], 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise OptionTypeError(f"there is no option {name!r}{hint}")


PARALLEL_OPTIONS: Final = (
    "n_jobs", "backend", "return_as", "verbose", "timeout", "pre_dispatch", "batch_size", "temp_folder",
    "max_nbytes", "mmap_mode", "prefer", "require", "progress", "total", "seed", "contextvars",
    "retries", "rerun_lost", "on_error", "on_input_error", "task_timeout",
)  # fmt: skip
"""The other options of `Parallel`, to be suggested."""


class parallel_config:  # noqa: N801 - joblib's name
    """Set what `Parallel` takes where it is not told otherwise; explicit arguments of `Parallel` win.

    Used in a ``with`` statement it holds inside it; called by itself it holds from then on, until
    `unregister`. Nested configurations add to the outer ones.

    Parameters
    ----------
    backend : str or concurrent.futures.Executor, optional
        ``"processes"``, ``"threads"``, ``"sequential"``, or joblib's names for them.
    n_jobs : int, optional
        The number of workers; -1 for all cores.
    verbose : int, optional
        How much is printed.
    temp_folder : str, optional
        Accepted for joblib's sake; nothing is laid into folders.
    max_nbytes : int or str, optional
        Buffers from this size on travel by memory instead of inside messages.
    mmap_mode : {"c", "r", "r+", "w+"}, optional
        How such buffers come out in workers.
    prefer : {"processes", "threads"}, optional
        A hint, where no backend is named.
    require : {"sharedmem"}, optional
        Workers must share the caller's memory.
    **worker_options : WorkerOptions
        How worker processes are made and bounded, such as ``inner_max_num_threads=1``. With a backend that
        `register_parallel_backend` has named, others go to its factory.

    Examples
    --------
    >>> from lightwork import Parallel, delayed
    >>> with parallel_config(backend="threads", n_jobs=2):
    ...     Parallel()(delayed(abs)(i) for i in (-1, -2))
    [1, 2]
    """

    def __init__(
        self,
        backend: str | Executor | None = default(None),  # noqa: B008 - an immutable marker
        *,
        n_jobs: int | None = default(None),
        verbose: int = default(0),
        temp_folder: str | os.PathLike[str] | None = default(None),  # noqa: B008 - an immutable marker
        max_nbytes: int | str | None = default("1M"),
        mmap_mode: MmapMode | None = default("c"),  # noqa: B008 - an immutable marker
        prefer: Literal["processes", "threads"] | None = default(None),
        require: Literal["sharedmem"] | None = default(None),
        **worker_options: Unpack[WorkerOptions],
    ) -> None:
        if isinstance(backend, str) and backend in registered:
            known = WorkerOptions.__annotations__
            own = {name: value for name, value in worker_options.items() if name not in known}
            worker_options = cast(
                WorkerOptions, {name: value for name, value in worker_options.items() if name in known}
            )
            backend = cast("str", RegisteredBackend(backend, own))
        refuse_unknown(worker_options)
        if isinstance(backend, str):
            refuse_unknown_backend(backend)
        refuse_worker_options(backend, worker_options)
        said: dict[str, object] = {
            "backend": backend,
            "n_jobs": n_jobs,
            "verbose": verbose,
            "temp_folder": temp_folder,
            "max_nbytes": max_nbytes,
            "mmap_mode": mmap_mode,
            "prefer": prefer,
            "require": require,
            **worker_options,
        }
        self._before = _active.get()
        added = {name: value for name, value in said.items() if not isinstance(value, Default)}
        _active.set(MappingProxyType({**self._before, **added}))

    def unregister(self) -> None:
        """Put back the configuration that held before this one."""
        _active.set(self._before)

    def __enter__(self) -> parallel_config:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.unregister()


class parallel_backend(parallel_config):  # noqa: N801 - joblib's name
    """Set the backend that loops use where they name none: the older form of `parallel_config`.

    ``with`` gives the backend, as it was named, or as its factory made it, and the number of workers.

    Parameters
    ----------
    backend : str or concurrent.futures.Executor
        The backend.
    n_jobs : int, default -1
        The number of workers; all cores, unlike in `parallel_config`.
    inner_max_num_threads : int, optional
        Threads that native libraries may use in each worker.
    **backend_params : object
        Arguments for the factory of a registered backend.

    Examples
    --------
    >>> from lightwork import Parallel, delayed
    >>> with parallel_backend("threads", n_jobs=2) as (backend, n_jobs):
    ...     backend, n_jobs, Parallel()(delayed(abs)(i) for i in (-1, -2))
    ('threads', 2, [1, 2])
    """

    def __init__(
        self,
        backend: str | Executor,
        n_jobs: int = -1,
        inner_max_num_threads: int | None = None,
        **backend_params: object,
    ) -> None:
        self._n_jobs = n_jobs
        if inner_max_num_threads is not None:
            backend_params["inner_max_num_threads"] = inner_max_num_threads
        super().__init__(backend, n_jobs=n_jobs, **cast(WorkerOptions, backend_params))
        self._backend = _active.get()["backend"]

    def __enter__(self) -> tuple[object, int]:  # type: ignore[override]  # joblib's, too, returns these
        backend = self._backend
        return backend.instance if isinstance(backend, RegisteredBackend) else backend, self._n_jobs


# --- cores ------------------------------------------------------------------------------------------


def affinity() -> set[int]:
    """The numbers of the cores that this process may run on; empty where the system does not say."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


def cores() -> int:
    """How many cores this process may run on.

    Examples
    --------
    >>> cores() >= 1
    True
    """
    return len(affinity()) or os.cpu_count() or 1


# --- sizes and places -------------------------------------------------------------------------------

_SIZE = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([KMGT]?)(?:I?B)?\s*", re.IGNORECASE)
_FACTORS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_size(size: SupportsIndex | str, option: str = "size") -> int:
    """A number of bytes, from a number or from text such as ``"1K"``, ``"1.5 MB"``, ``"2GiB"``.

    Units are powers of 1024, whatever the letters after them.

    Parameters
    ----------
    size : int or str
        What was said.
    option : str
        The option it was said for, for the message of an error.

    Raises
    ------
    OptionError
        If the text is not a size, or the number is negative.
    OptionTypeError
        If it is neither a whole number nor text.

    Examples
    --------
    >>> parse_size("1K"), parse_size("1.5M"), parse_size(100)
    (1024, 1572864, 100)
    """
    if isinstance(size, str):
        match = _SIZE.fullmatch(size)
        if match is None:
            raise OptionError(
                f'{option}={size!r} is not a size; write bytes as a number, or "100K", "1M", "2G"'
            )
        return int(float(match[1]) * _FACTORS[match[2].upper()])
    if isinstance(size, bool) or not hasattr(size, "__index__"):
        raise OptionTypeError(f"{option} must be a whole number of bytes or text such as '1M', not {size!r}")
    number = index(size)
    if number < 0:
        raise OptionError(f"{option}={number} is negative; a size is 0 or more bytes")
    return number


def cache_folder() -> Path:
    """The folder for remembered results where none is named: ``LIGHTWORK_CACHE_DIR``, else the user's cache.

    It is only named here; whoever writes into it makes it.
    """
    from pathlib import Path

    if chosen := environment("LIGHTWORK_CACHE_DIR"):
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir()) / "lightwork"
