"""What a backend is to a loop: a crew of workers that take spans of tasks and tell what became of them.

One crew serves one call. The pump alone talks to it, from one thread at a time. Tasks are numbered from 0 in
the order of the loop; a span is a run of neighbours, known by its first number. The pump decides who gets
which span; a crew decides nothing: it carries, runs, reports.

The law for crews
-----------------
- `send` never blocks and never runs a task. What it queues may wait for the next `flush` or `wait`. Spans sent
  to one worker run in the order they were sent.
- Each task sent is answered once: by the `Done` of its span, by a `Back`, or by the `Died` of its worker, its last
  event. A `Back` that trims a span comes before its `Done`; a span that keeps no task gets no `Done`.
- A worker that died is replaced: an `Up` follows, or `wait` raises what prevents it.
- A task that fails does not end its span: `Done` says which failed, the others have their results.
- A worker that `revoke` was called for is sent nothing until an `Up` says that it may be again; by then all that it
  had is answered.
- A parcel is the task itself, or a tuple that ends with it (`task_of`). Where `CrewOptions.retains` says so, the
  parcel of a task that failed, or was blamed for a death, may be sent again until `forget` was called for it.
- After `abort` or `release` nothing else is called but those two, which then do nothing. `abort` may come
  at any moment, also from a generator that is collected in another thread, and returns without waiting for
  running tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias, TypeVar, cast

from lightwork.settings import MmapMode, StartMethod

__all__ = [
    "Back",
    "Crew",
    "CrewOptions",
    "Died",
    "Done",
    "Encode",
    "Event",
    "Lend",
    "Revoke",
    "Task",
    "Up",
    "task_of",
]

T = TypeVar("T")

Task: TypeAlias = tuple[Callable[..., T], tuple[object, ...], dict[str, object]]
"""A call to be made: function, positional arguments, keyword arguments; what `delayed` makes."""


def task_of(parcel: object) -> Task[object]:
    """The task in a parcel, or the parcel that is one.

    Examples
    --------
    >>> task_of((abs, (1,), {})) == task_of((b"...", (abs, (1,), {})))
    True
    """
    last = cast("tuple[object, ...]", parcel)[-1]
    return cast("Task[object]", parcel if type(last) is dict else last)


class Done(NamedTuple):
    """A span was run.

    Attributes
    ----------
    worker : int
        Who ran it.
    first : int
        The number of its first task.
    results : list
        One entry for each task of the span; None for those that failed.
    failures : mapping or None
        The exception of each task that failed, by its number in the loop; None where none did.
    seconds : float
        How long the worker was busy with the span.
    """

    worker: int
    first: int
    results: list[object]
    failures: Mapping[int, BaseException] | None
    seconds: float


class Died(NamedTuple):
    """A worker ended.

    Attributes
    ----------
    worker : int
        Which.
    claimed : int or None
        The number of the task that it was running, None where it was running none.
    error : BaseException
        What to raise for that task.
    ran : sequence of (int, int)
        Tasks that it had run, or had begun to, and whose results did not arrive: the first of a run of neighbours, and
        how many. Where it is not certain that one had not been begun, it is among them.
    left : bool
        Whether it ended of its own accord, as one does that has run as many tasks as it may, or whose modules were
        edited: then nothing that was sent to it is suspected.
    """

    worker: int
    claimed: int | None
    error: BaseException
    ran: Sequence[tuple[int, int]] = ()
    left: bool = False


class Up(NamedTuple):
    """A worker may be sent to from now on."""

    worker: int


class Back(NamedTuple):
    """A worker gives up tasks that it has not begun, and will not begin.

    Attributes
    ----------
    worker : int
        Who had them.
    kept : list of (int, int)
        Spans that it had, in the order in which they were sent: the number of the first task, and how many tasks from
        there on the worker keeps; those behind come back.
    """

    worker: int
    kept: list[tuple[int, int]]


Event: TypeAlias = Done | Died | Up | Back


class Encode(Protocol):
    """Writes a task down as it is now, so that what its arguments become later makes no difference."""

    def __call__(self, index: int, task: Task[object], /) -> object:
        """The task as it will be given to `Crew.send`; raises what is to be raised for one that cannot travel.

        Where that is a task too, the one given or a copy, its function needs no further look: later tasks of it whose
        arguments are atoms (`workers.payload.ATOMS`) may be sent as they are, also as a `blocks.Block`.
        """


class Revoke(Protocol):
    """Takes back what workers have not begun; takes no longer than a fraction of a millisecond."""

    def __call__(self, workers: Sequence[int], /) -> Sequence[Event]:
        """What is known at once to come back; more may be told by `Crew.wait`, and the `Up` of each worker."""


class Crew(Protocol):
    """Workers for one call; the law is the module's."""

    @property
    def workers(self) -> Sequence[int]:
        """The names of the workers that may be sent to now; read once, at the start."""

    @property
    def encode(self) -> Encode | None:
        """How tasks are written down for `send`; None where they are sent as they are, as triples."""

    def send(self, worker: int, first: int, parcels: Sequence[object], attempt: int = 1) -> None:
        """Queue a span with a worker: tasks as `encode` made them, in a list or in a `blocks.Block`.

        A task that is run again comes alone, with the number of its attempt.
        """

    def flush(self) -> None:
        """Let the workers have what was queued; `wait` does so too."""

    def wait(self, timeout: float | None) -> Sequence[Event]:
        """What happened, in order; blocks until something did, at most `timeout` seconds (None: for ever)."""

    @property
    def revoke(self) -> Revoke | None:
        """How work is taken back from workers that have not begun it; None where it cannot be."""

    def listen(self) -> Callable[[], None]:
        """Called before `wait`: a function that lets the `wait` of now, or the next one, return with what it has.

        It may be called from any thread, also when the crew is no more.
        """

    def forget(self, indexes: Sequence[int]) -> None:
        """These tasks, which have failed, will not be sent again."""

    def abort(self) -> None:
        """Stop all that runs, as far as can be without waiting for it; nothing more is reported."""

    def release(self) -> None:
        """Hand the workers back; nothing runs, though some may still owe word of what was taken back."""


class CrewOptions(NamedTuple):
    """What `Parallel` was told that concerns the workers.

    Attributes
    ----------
    max_nbytes : int or None
        Buffers from this many bytes on travel by memory instead of inside messages; None: all inside.
    mmap_mode : {"c", "r", "r+", "w+"} or None
        How such buffers come out in workers.
    inner_max_num_threads : int or None
        Threads that native libraries may use in each worker; None: each its share of the cores.
    start_method : {"zygote", "spawn", "fork"} or None
        How worker processes come about; None: as is best here.
    initializer : callable or None
        Called in each worker before its first task, with `initargs`.
    initargs : tuple
        Arguments of `initializer`.
    memory_limit : int or None
        Bytes of data that each worker may have.
    max_tasks_per_child : int or None
        Tasks that a worker runs before it is replaced.
    worker_names : bool
        Whether the worker's name stands before each line that its tasks print.
    retains : bool
        Whether tasks that failed may be sent again.
    task_timeout : float or None
        Seconds that a task may run; one that runs longer is ended, by the death of its worker.
    """

    max_nbytes: int | None = 1 << 20
    mmap_mode: MmapMode | None = "c"
    inner_max_num_threads: int | None = None
    start_method: StartMethod | None = None
    initializer: Callable[..., object] | None = None
    initargs: tuple[object, ...] = ()
    memory_limit: int | None = None
    max_tasks_per_child: int | None = None
    worker_names: bool = False
    retains: bool = False
    task_timeout: float | None = None


Lend: TypeAlias = Callable[[int, CrewOptions], Crew]
"""How a backend is asked for a crew: with the number of workers, and the options."""
