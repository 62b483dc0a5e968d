"""What the options of `Parallel` can be, and the errors for what they cannot. Pure.

Each function takes what was said and returns it in the one form that the rest works with, or raises before any
worker starts. Sizes, numbers of workers, windows and backends have their own places (`settings.parse_size`,
`workers.limits`, `batching.window`, `backends.choose`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, SupportsFloat, SupportsIndex, TypeVar, cast

from lightwork.errors import OptionError, OptionTypeError, TaskFormatError
from lightwork.parallel.backends.base import CrewOptions, Task
from lightwork.settings import (
    MmapMode,
    StartMethod,
    WorkerOptions,
    default,
    environment,
    parse_size,
    refuse_unknown,
    resolve,
)

if TYPE_CHECKING:
    from contextvars import ContextVar

    from numpy.random import SeedSequence

    from lightwork.parallel.guard import OnInputError
    from lightwork.parallel.retries import Retries
    from lightwork.workers.streams import Seed

__all__ = [
    "CHOICES",
    "TaskOptions",
    "chosen",
    "crew_options",
    "inherited_seed",
    "refuse_unpicklable",
    "seconds",
    "seed_of",
    "tasks_of",
    "variables_of",
    "whole",
    "whole_batch",
]

T = TypeVar("T")


class TaskOptions(WorkerOptions, total=False):
    """The options that only a keyword can set and that leave the type of what a loop returns alone."""

    progress: bool | Literal["always"]
    total: int | None
    seed: int | Sequence[int] | SeedSequence | None
    contextvars: Iterable[ContextVar[Any]]
    task_timeout: float | None
    retries: int | Retries
    rerun_lost: bool
    on_input_error: OnInputError


CHOICES: Final[dict[str, tuple[object, ...]]] = {
    "return_as": ("list", "generator", "generator_unordered"),
    "prefer": (None, "processes", "threads"),
    "require": (None, "sharedmem"),
    "mmap_mode": (None, "r", "r+", "w+", "c"),
    "progress": (False, True, "always"),
    "start_method": (None, "zygote", "spawn", "fork"),
    "rerun_lost": (True, False),
    "on_error": ("raise", "return", "skip"),
    "on_input_error": ("cancel", "finish"),
}


def chosen(option: str, value: T) -> T:
    """One of the values that an option can take.

    Examples
    --------
    >>> chosen("prefer", "threads")
    'threads'
    """
    choices = CHOICES[option]
    if value not in choices or (isinstance(value, int) and not isinstance(value, bool)):
        raise OptionError(f"{option}={value!r} is not known; it can be {', '.join(map(repr, choices))}")
    return value


def crew_options(
    max_nbytes: int | None,
    mmap_mode: MmapMode | None,
    said: Mapping[str, object],
    *,
    retains: bool = False,
    task_timeout: float | None = None,
) -> CrewOptions:
    """What concerns the workers, from what `Parallel` was told, and what `parallel_config` says of the rest."""
    refuse_unknown(said)

    def option(name: str) -> object:
        return said[name] if name in said else resolve(name, default(cast(object, None)))

    initializer = option("initializer")
    if initializer is not None and not callable(initializer):
        raise OptionTypeError(f"initializer must be a function or None, not {initializer!r}")
    limit = cast("int | str | None", option("memory_limit"))
    return CrewOptions(
        max_nbytes=max_nbytes,
        mmap_mode=mmap_mode,
        inner_max_num_threads=_optional("inner_max_num_threads", option("inner_max_num_threads")),
        start_method=cast("StartMethod | None", chosen("start_method", option("start_method"))),
        initializer=initializer,
        initargs=tuple(cast("tuple[object, ...]", option("initargs") or ())),
        memory_limit=None if limit is None else parse_size(limit, "memory_limit"),
        max_tasks_per_child=_optional("max_tasks_per_child", option("max_tasks_per_child")),
        worker_names=_worker_names(option("worker_names")),
        retains=retains,
        task_timeout=task_timeout,
    )


def _worker_names(value: object) -> bool:
    if value is None:
        return environment("LIGHTWORK_WORKER_NAMES") not in (None, "0")
    return bool(whole("worker_names", cast(int, value), 0))


def _optional(option: str, value: object) -> int | None:
    return None if value is None else whole(option, cast(int, value), 1)


def seconds(option: str, value: float | None) -> float | None:
    """A time to wait, None for ever.

    Examples
    --------
    >>> seconds("timeout", 2)
    2.0
    """
    if value is None:
        return None
    if isinstance(value, bool | str) or not isinstance(cast(object, value), SupportsFloat):
        raise OptionTypeError(f"{option} must be a number of seconds or None, not {value!r}")
    if not value > 0:
        raise OptionError(f"{option}={value!r} must be more than 0 seconds; None waits for ever")
    return float(value)


def seed_of(said: object) -> Seed:
    """The seed of a loop: a whole number, several, or a `numpy.random.SeedSequence`."""
    from lightwork.workers.streams import Seed

    return Seed.of(said)


def inherited_seed() -> Seed | None:
    """The seed that a loop inside a task of a seeded one has without being told."""
    streams = sys.modules.get("lightwork.workers.streams")  # not loaded: nobody has a seed
    return None if streams is None else cast("Seed | None", streams.inherited())


def variables_of(said: Iterable[ContextVar[Any]]) -> tuple[ContextVar[Any], ...]:
    """Context variables that are to travel.

    Examples
    --------
    >>> variables_of([])
    ()
    """
    given: object = said
    if not isinstance(given, Iterable):
        raise OptionTypeError(f"contextvars must be several contextvars.ContextVar, not {said!r}")
    variables = tuple(said)
    if variables:
        from contextvars import ContextVar

        for each in variables:
            if not isinstance(cast(object, each), ContextVar):
                raise OptionTypeError(f"contextvars must be contextvars.ContextVar, and {each!r} is none")
    return variables


def refuse_unpicklable(settings: Iterable[tuple[ContextVar[Any], object]]) -> None:
    """Raise for a context variable whose value cannot travel, before any worker starts."""
    for variable, value in settings:
        try:
            import cloudpickle

            cloudpickle.dumps(value, 5)
        except Exception as error:
            from lightwork.errors import PicklingFailedError

            raise PicklingFailedError(
                f"the context variable {variable.name!r} cannot be sent to a worker process: its value, of type"
                f" {type(value).__name__}, cannot be pickled ({type(error).__name__}: {error})",
                f"context variable {variable.name!r}",
            ) from None


def whole(option: str, value: float, least: int | None = None) -> int:
    """A whole number, of at least `least` where that is given; True is 1, as people write ``verbose=True``.

    Examples
    --------
    >>> whole("verbose", True)
    1
    """
    said: object = value
    if not (isinstance(said, SupportsIndex) or (isinstance(said, float) and said.is_integer())):
        raise OptionTypeError(f"{option} must be a whole number, not {value!r}")
    if least is not None and value < least:
        raise OptionError(f"{option}={value!r} must be {least} or more")
    return int(value)


def whole_batch(value: int | Literal["auto"]) -> int | Literal["auto"]:
    """How many tasks a message carries, or that they are to be measured."""
    if value == "auto":
        return "auto"
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise OptionError(f"batch_size={value!r} is not known; it can be 'auto' or a whole number above 0")
    if value.__index__() < 1:
        raise OptionError(f"batch_size={value!r} must be 1 or more, or 'auto'")
    return value.__index__()


def tasks_of(iterable: Iterable[Task[T]]) -> Iterator[Task[T]]:
    """The input as an iterator; the two usual slips are named."""
    if isinstance(iterable, tuple) and len(iterable) == 3 and callable(iterable[0]):
        raise TaskFormatError("got one task, not an iterable of tasks; write Parallel(...)([delayed(f)(x)])")
    try:
        return iter(iterable)
    except TypeError:
        from lightwork.observe.messages import shorten

        raise TaskFormatError(
            f"got {shorten(iterable)}, not an iterable of tasks; write Parallel(...)(delayed(f)(x) for x in xs)"
        ) from None
