"""One call of a `Parallel`: its options and an input become a plain loop, or a pump with all that it needs.

Everything here is made anew for each call; of the `Parallel` nothing changes but the counts that people read on it.
What wraps the input is put on from the inside out: what keeps its error (`guard`), what each task finds around it
(`inside`), and, where the reader is another thread, what has a plain loop stop.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sized
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar, cast

from lightwork.parallel.backends import Backend, sequential
from lightwork.parallel.backends.base import Task
from lightwork.parallel.backends.threads import inside_thread
from lightwork.parallel.batching import Pace, window
from lightwork.parallel.blocks import Calls
from lightwork.parallel.guard import Guard
from lightwork.parallel.options import inherited_seed, refuse_unpicklable, tasks_of
from lightwork.parallel.outcomes import Outcomes
from lightwork.parallel.plan import Plan
from lightwork.parallel.pump import Pump
from lightwork.parallel.reading import Reading
from lightwork.parallel.recourse import Recourse
from lightwork.parallel.tasks import dressed
from lightwork.parallel.watch import Watch

if TYPE_CHECKING:
    from lightwork.parallel.parallel import Parallel
    from lightwork.workers.streams import Hold, Seed

__all__ = ["run"]

T = TypeVar("T")


def run(
    parallel: Parallel[Any, Any],
    iterable: Iterable[Task[T]],
    backend: Backend,
    workers: int,
    *,
    replaced: bool,
    reading: Reading | None,
) -> list[T] | Generator[T, None, None]:
    """Run the tasks.

    Parameters
    ----------
    parallel : Parallel
        The options.
    iterable : iterable of tasks
        The input.
    backend, workers : Backend, int
        Where, and on how many workers.
    replaced : bool
        Whether `Parallel.print_progress` is a subclass's.
    reading : Reading or None
        By which another thread, the reader's, has the loop stop.
    """
    source = tasks_of(iterable)
    calls = iterable if isinstance(iterable, Calls) else None
    length = calls.length if calls else len(iterable) if isinstance(iterable, Sized) else None
    total = parallel.total if length is None else length
    watcher = Watch(parallel, source, (backend.name, workers), total, replaced)
    guard = Guard() if parallel.on_input_error == "finish" and backend.module is not None else None
    if guard is not None:  # a plain loop has finished what it was given anyway
        source, calls = guard.watched(source), None
    seed = parallel._seed or inherited_seed()
    if seed is not None or parallel.contextvars:
        source, calls = _dressed(parallel, source, backend, seed), None
    if backend.module is None:
        return _plain(parallel, source if reading is None else reading.watched(source), watcher)
    hands = workers if length is None else max(1, min(workers, length))
    limit = window(parallel.pre_dispatch, workers)
    pace, plan, outcomes = _decisions(parallel, hands, limit)
    pump = Pump(
        cast("Iterator[object]", source),
        lambda: backend.lend(hands, parallel._options),
        plan,
        pace,
        outcomes,
        parallel.timeout,
        watcher,
        eager=limit == inf,
        calls=calls,
        recourse=_recourse(parallel),
        reading=reading,
        guard=guard,
    )
    if parallel.return_as == "list":
        return cast("list[T]", pump.collect())
    return cast("Generator[T, None, None]", pump.stream())


def _dressed(
    parallel: Parallel[Any, Any], source: Iterator[Task[T]], backend: Backend, seed: Seed | None
) -> Iterator[Task[T]]:
    """The tasks, with what each is to find around it."""
    from lightwork.workers.inside import captured, dress
    from lightwork.workers.streams import owns_process

    hold: Hold = "none" if backend.shares_memory else "call"
    if backend.module is None and not inside_thread() and owns_process():
        hold = "task"  # as alone as this code is
    settings = captured(parallel.contextvars)
    if not backend.shares_memory:
        refuse_unpicklable(settings)
    inside = partial(dress, seed=seed, settings=settings, hold=hold, is_inherited=parallel._seed is None)
    return cast("Iterator[Task[T]]", dressed(source, inside))


def _plain(
    parallel: Parallel[Any, Any], source: Iterator[Task[T]], watcher: Watch
) -> list[T] | Generator[T, None, None]:
    recourse = _recourse(parallel, deaths=False)
    if parallel.return_as == "list" and not watcher.shows and recourse is None:
        results = sequential.collect(source)
        parallel.n_completed_tasks = parallel.n_dispatched_tasks = len(results)
        parallel._original_iterator = None
        return results
    if parallel.return_as == "list":
        return sequential.gather(source, watcher, recourse)
    return sequential.stream(source, watcher, recourse)


def _recourse(parallel: Parallel[Any, Any], *, deaths: bool = True) -> Recourse | None:
    """What one call does about tasks that fail, and workers that die; None where errors are simply raised."""
    if parallel._retries is None and parallel.on_error == "raise" and (parallel.rerun_lost or not deaths):
        return None
    return Recourse(parallel._retries, parallel.on_error, rerun_lost=parallel.rerun_lost)


def _decisions(parallel: Parallel[Any, Any], hands: int, limit: float) -> tuple[Pace, Plan, Outcomes]:
    """How much at once, who runs what, and what may be read."""
    fixed = None if parallel.batch_size == "auto" else parallel.batch_size
    pace = Pace(fixed, ahead=parallel.return_generator)
    plan = Plan(limit, pace, in_batches=fixed is None or not parallel._window_said, workers=hands)
    return pace, plan, Outcomes(ordered=parallel.return_as != "generator_unordered")
