"""Streams of random numbers: each task of a seeded loop has its own, made from its number and the loop's seed alone.

The stream of task ``i`` is the ``i``-th child of ``numpy.random.SeedSequence(seed)``, so it is the same whoever runs
the task, in whatever order, beside whatever others, and however often. Three generators are seeded from it: the one
that `rng` returns, the one behind the functions of `random`, and NumPy's legacy global one. The last two belong to the
whole process, so they are put back when the task ends, and left alone where tasks share a process. A worker, in which
nobody draws between two tasks, puts them back once a call (`put_back`): for `random` that saves 8 of 13 µs a task.
How NumPy's is seeded and put aside is `twister`'s business.

NumPy is imported here, if it is installed: a task that imports it later would find its global generator unseeded.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from contextvars import ContextVar, Token
from marshal import dumps
from operator import index as as_index
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, SupportsIndex, cast

from lightwork.errors import OptionError, OptionTypeError
from lightwork.workers.functions import inside_worker

if TYPE_CHECKING:
    from numpy.random import Generator, SeedSequence

    from lightwork.workers.twister import Twister

__all__ = ["Drawing", "Hold", "Seed", "Stream", "inherited", "owns_process", "put_back", "rng"]

Hold = Literal["none", "task", "call"]
"""How long the generators of the process are the loop's: never, for each task, or in a worker for the whole call."""

# A child of the task's own sequence, beyond any that a task will spawn: loops inside the task must share none with it.
_LOOPS: Final = 2**32 - 2


class Stream(NamedTuple):
    """What the random numbers of one task are made from; the fields are those of a `numpy.random.SeedSequence`."""

    entropy: int | tuple[int, ...]
    spawn_key: tuple[int, ...]
    pool_size: int

    @property
    def token(self) -> bytes:
        """Sixteen bytes that tell this stream from all others."""
        from hashlib import blake2b  # loads OpenSSL

        return blake2b(dumps(tuple(self), 2), digest_size=16).digest()

    def sequence(self, *further: int) -> SeedSequence:
        """The seed sequence of this stream, or of a descendant of it."""
        from numpy.random import SeedSequence

        key = (*self.spawn_key, *further)
        return SeedSequence(self.entropy, spawn_key=key, pool_size=self.pool_size)


class Seed(NamedTuple):
    """The seed of a loop."""

    entropy: int | tuple[int, ...]
    spawn_key: tuple[int, ...] = ()
    pool_size: int = 4

    def stream(self, number: int) -> Stream:
        """The stream of a task.

        Examples
        --------
        >>> Seed(7).stream(3)
        Stream(entropy=7, spawn_key=(3,), pool_size=4)
        """
        return Stream(self.entropy, (*self.spawn_key, number), self.pool_size)

    @classmethod
    def of(cls, said: object) -> Seed:
        """The seed that a user gave: a whole number, several, or a `numpy.random.SeedSequence`.

        Raises
        ------
        OptionError
            For a number below 0.
        OptionTypeError
            For what is none of these.

        Examples
        --------
        >>> Seed.of(7), Seed.of([7, 1])
        (Seed(entropy=7, spawn_key=(), pool_size=4), Seed(entropy=(7, 1), spawn_key=(), pool_size=4))
        """
        if hasattr(type(said), "generate_state"):
            given = cast("SeedSequence", said)
            return cls(_numbers(given.entropy), tuple(map(int, given.spawn_key)), int(given.pool_size))
        return cls(_numbers(said))


def _numbers(said: object) -> int | tuple[int, ...]:
    if isinstance(said, bool):
        raise OptionTypeError(f"seed must be a whole number, not {said!r}")
    several = isinstance(said, Iterable) and not isinstance(said, str | bytes)
    given = cast("Iterable[SupportsIndex]", said if several else (said,))
    try:
        numbers = tuple([as_index(each) for each in given])
    except TypeError:
        raise OptionTypeError(
            f"seed must be a whole number, several of them, or a numpy.random.SeedSequence, not {said!r}"
        ) from None
    if not numbers or min(numbers) < 0:
        raise OptionError(f"seed={said!r} must be made of numbers that are 0 or more")
    return numbers if several else numbers[0]


# --- inside a task ------------------------------------------------------------------------------------


class _Own:
    """The generator of a task, or of a thread outside of any; made when first asked for."""

    __slots__ = ("generator", "holds", "loops", "process", "stream")

    def __init__(self, stream: Stream | None, holds: bool = True) -> None:
        self.stream = stream
        self.holds = holds
        self.process = os.getpid()
        self.generator: Generator | None = None
        self.loops = 0


_current: ContextVar[_Own | None] = ContextVar("lightwork_stream", default=None)
_here = threading.local()


def rng() -> Generator:
    """The random generator of the running task: the same numbers for the same seed and task number.

    In a loop with ``seed=``, each task has a generator of its own, whatever the number of workers, the backend, the
    batches and the retries. Elsewhere each thread has one, seeded by the system.

    Returns
    -------
    numpy.random.Generator
        It is the task's (in other threads that the task starts, it is not known).

    Raises
    ------
    ModuleNotFoundError
        If NumPy is not installed.

    Examples
    --------
    >>> from lightwork import Parallel, delayed, rng
    >>> def throw(sides):
    ...     return int(rng().integers(1, sides + 1))
    >>> Parallel(n_jobs=2, seed=1)(delayed(throw)(6) for _ in range(8))
    [1, 6, 3, 2, 5, 2, 2, 5]
    """
    from numpy.random import default_rng

    own = _current.get()
    if own is None:
        own = getattr(_here, "own", None)
        if own is None or own.process != os.getpid():  # a fork must not draw what its parent draws
            own = _here.own = _Own(None)
    if own.generator is None:
        own.generator = default_rng(own.stream and own.stream.sequence())
    return own.generator


def inherited() -> Seed | None:
    """The seed of a loop that begins here and was told none: the running task's, if that has one; another each time."""
    own = _current.get()
    if own is None or own.stream is None:
        return None
    own.loops += 1
    entropy, key, pool_size = own.stream
    return Seed(entropy, (*key, _LOOPS, own.loops), pool_size)


def owns_process() -> bool:
    """Whether the running task, if it has a stream, has the generators of the process for itself."""
    own = _current.get()
    return own is None or own.holds


class Drawing:
    """A ``with`` block whose random numbers come from a stream.

    Parameters
    ----------
    stream : Stream
        Where from.
    hold : {"none", "task", "call"}
        How long the generators that belong to the process are the loop's: for ``"call"``, `put_back` ends it, if the
        process is a worker; anywhere else it ends with the block.
    """

    __slots__ = ("_before", "_hold", "_stream", "_token")

    def __init__(self, stream: Stream, hold: Hold) -> None:
        self._stream = stream
        self._hold = hold

    def __enter__(self) -> None:
        global _before_call
        hold = self._hold
        self._token: Token[_Own | None] = _current.set(_Own(self._stream, hold != "none"))
        self._before: _Before | None = None
        if hold == "none":
            return
        if hold == "task" or not inside_worker():
            before = self._before = _take()
        else:
            if _before_call is None:
                _before_call = _take()
            before = _before_call
        _seed_globals(self._stream, before)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _current.reset(self._token)
        if self._before is not None:
            _restore(self._before)


class _Before(NamedTuple):
    """What the generators of the process were: one's state, and what is in the place of NumPy's, if that is here."""

    state: Any
    twister: Twister | None


_before_call: _Before | None = None
_spares: list[Twister] = []


def put_back() -> None:
    """Called by a worker before another call: its generators are as they were before the last call's tasks."""
    global _before_call
    before, _before_call = _before_call, None
    if before is not None:
        _restore(before)


def _take() -> _Before:
    """Put the generators of the process aside."""
    import random

    twister = _spares.pop() if _spares else _twister()
    if twister is not None:
        twister.take_over()
    return _Before(random.getstate(), twister)


def _twister() -> Twister | None:
    try:
        import numpy.random  # noqa: F401 - whether it is here
    except ModuleNotFoundError:
        return None
    from lightwork.workers.twister import Twister

    return Twister()


def _seed_globals(stream: Stream, before: _Before) -> None:
    import random
    from hashlib import blake2b

    # A digest takes 1 µs, a further child of the seed sequence 10.
    digest = blake2b(dumps(tuple(stream), 2), digest_size=32, person=b"generators").digest()
    random.seed(int.from_bytes(digest[:16], "little"))
    if before.twister is not None:
        before.twister.seed(digest[16:])


def _restore(before: _Before) -> None:
    import random

    random.setstate(before.state)
    if before.twister is not None:
        before.twister.give_back()
        _spares.append(before.twister)
