"""What `map` and its relatives have in common: their options, and the `Parallel` that runs them.

``on_error`` is none of `LoopOptions` but named by each of them, since what they return depends on it: their overloads
tell ``"return"``, which puts a `TaskError` among the results, from the rest. There they look at the arguments of a
function of one only; to do so for more would double a list that is long enough.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, cast, overload

from lightwork.errors import OptionTypeError, TaskError
from lightwork.parallel.options import TaskOptions
from lightwork.parallel.parallel import GeneratorKind, ListKind, Parallel
from lightwork.settings import MmapMode, default

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from lightwork.parallel.recourse import OnError

__all__ = ["LoopOptions", "loop"]


class LoopOptions(TaskOptions, total=False):
    """What `map` and its relatives take by keyword beside ``on_error``: the options of `Parallel`, explained there.

    Attributes
    ----------
    n_jobs : int
        The number of workers; -1, the default here, for all cores; 1 is a plain loop.
    """

    n_jobs: int | None
    backend: str | Executor | None
    verbose: int
    timeout: float | None
    pre_dispatch: int | str
    batch_size: int | Literal["auto"]
    max_nbytes: int | str | None
    mmap_mode: MmapMode | None
    prefer: Literal["processes", "threads"] | None
    require: Literal["sharedmem"] | None


@overload
def loop(
    name: str, return_as: ListKind, on_error: OnError, options: LoopOptions
) -> Parallel[ListKind, TaskError]: ...


@overload
def loop(
    name: str, return_as: GeneratorKind, on_error: OnError, options: LoopOptions
) -> Parallel[GeneratorKind, TaskError]: ...


def loop(
    name: str, return_as: ListKind | GeneratorKind, on_error: OnError, options: LoopOptions
) -> Parallel[ListKind, TaskError] | Parallel[GeneratorKind, TaskError]:
    """The `Parallel` that runs the calls of the function of this name."""
    if "return_as" in options:
        raise OptionTypeError(
            f"{name}() takes no return_as: `map` and `starmap` return lists, `imap` and `imap_unordered` generators"
        )
    said: dict[str, object] = {**options, "on_error": on_error}
    if said.get("n_jobs") is None:
        said["n_jobs"] = default(-1)
    make = cast("Callable[..., Parallel[ListKind, TaskError] | Parallel[GeneratorKind, TaskError]]", Parallel)
    return make(return_as=return_as, **said)
