"""The input of a loop on its way to the plan: each task looked up, or written down, before the next is taken.

An input may use one buffer again and again (``buffer[:] = i; yield delayed(f)(buffer)``), so whatever becomes of a
task is made of what its arguments hold now. Three things come out: what is to be sent (a parcel), what needs no worker
(`Answer`: it is remembered, or it cannot travel), and what waits for an equal task (`doubles.Double`).

The crew is asked for when the first task needs a worker; so bad input and loops whose results are all
remembered start none. Where the input calls one function, and the crew knows it, tasks are taken in blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from lightwork.errors import TaskFormatError
from lightwork.parallel.backends.base import Crew, Encode, Task
from lightwork.parallel.blocks import Block, Calls
from lightwork.parallel.doubles import Double, Doubles
from lightwork.parallel.tasks import is_plain, refusal, triple
from lightwork.workers.functions import Found, Missing
from lightwork.workers.payload import ATOMS

__all__ = ["Answer", "Intake", "kind_apart"]

_are_atoms = ATOMS.issuperset
_new = tuple.__new__


class Answer(NamedTuple):
    """What became of a task that needs no worker: it is remembered, or it cannot travel, and then it is named."""

    value: object
    error: Exception | None = None
    task: Task[object] | None = None


_APART = (Answer, Double)  # what is not sent, or not yet


def kind_apart(item: object) -> type | None:
    """The type of an item that is not sent, or not yet; None for a parcel."""
    return type(item) if type(item) in _APART else None


class Intake:
    """The input of one loop.

    Parameters
    ----------
    source : iterator
        The tasks.
    crew : callable
        The loop's crew; called when the first task needs one.
    eager : bool
        Whether the whole input is taken before anything else.
    calls : Calls or None
        The same input, where it calls one function: then it is read in blocks as far as that may be.

    Attributes
    ----------
    ended : bool
        Whether the input is known to have no more.
    apart : int
        How many items were given out that are not to be sent, and are not settled yet.
    finishes : dict
        What turns the answer of a worker into the result, by the number of the task, for those that have such a thing.
    doubles : Doubles
        Which tasks wait for an equal one.
    """

    __slots__ = (
        "_calls",
        "_crew",
        "_eager",
        "_encode",
        "_held",
        "_hired",
        "_prepared",
        "_settled",
        "apart",
        "doubles",
        "ended",
        "finishes",
    )

    def __init__(
        self,
        source: Iterator[object],
        crew: Callable[[], Crew],
        *,
        eager: bool = False,
        calls: Calls[object] | None = None,
    ) -> None:
        self._crew = crew
        self._hired = False
        self._encode: Encode | None = None
        self._settled: object = (
            None  # the function of the last task, if it may be sent without a further look
        )
        self._calls = None if eager else calls
        self._eager = eager
        self._held: list[object] = []
        self._prepared = self._prepare(source, 0)
        self.ended = False
        self.apart = 0
        self.finishes: dict[int, Callable[[object], object]] = {}
        self.doubles = Doubles()

    def take(self, first: int, count: int) -> Sequence[object]:
        """The next tasks, of which the first has this number: at most `count`; none only at the end of the input."""
        if self._eager:
            self._eager = False
            self._prepared = iter(list(self._prepared))
        if block := self._block(first, count):
            self.ended = len(block) < count and self._calls is not None
            return block
        items = [*self._held, *islice(self._prepared, count - len(self._held))]
        self._held = []
        self.ended = len(items) < count
        return items

    def take_apart(self, most: int) -> list[object]:
        """The next tasks as long as none of them is to be sent, at most so many."""
        items: list[object] = []
        for item in islice(self._prepared, most):
            if type(item) not in _APART:
                self._held = [item]
                break
            items.append(item)
        return items

    def close(self) -> None:
        """Let go of the input and of all arguments now, not when they happen to be collected."""
        self._prepared = iter(())
        self._held = []
        self._calls = None

    def _block(self, first: int, count: int) -> Block | None:
        """The next tasks in one piece, where they may be sent as they are without a look at each."""
        calls = self._calls
        if calls is None or not self._hired or self._settled is not calls.func:
            return None
        block = calls.take(count, None if self._encode is None else ATOMS)
        if calls.is_denied:  # from here on, each is written down by itself
            self._calls = None
            self._prepared = self._prepare(iter(calls), first + len(block))
        return block

    def _prepare(self, source: Iterator[object], first: int) -> Iterator[object]:
        known: dict[type, bool] = {}
        settled: object = None
        for index, given in enumerate(source, first):
            task = given if is_plain(given) else triple(index, given)
            func, args, kwargs = task
            if func is settled and not kwargs and _are_atoms(map(type, args)):
                yield task
                continue
            may_know = known.get(type(func))
            if may_know is None:
                if not callable(func):
                    raise TaskFormatError(refusal(index, task))
                may_know = known[type(func)] = hasattr(type(func), "__lightwork_lookup__")
            answer = self._look_up(index, *task) if may_know else None
            if isinstance(answer, Answer):
                yield answer
                continue
            if answer is not None:
                task = answer.func, tuple(answer.args), dict(answer.kwargs)
            if not self._hired:
                self._encode = self._crew().encode
                self._hired = True
            encode = self._encode
            try:
                parcel = task if encode is None else encode(index, task)
            except Exception as error:
                yield self._answer(index, None, error, task)
                continue
            if answer is not None:
                settled = self._settled = None
                yield self._perhaps_double(index, answer, parcel)
            elif encode is None:
                self._settled = func
                yield parcel
            else:
                settled = self._settled = func if parcel is given else None
                yield parcel

    def _look_up(
        self, index: int, func: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]
    ) -> Answer | Missing:
        """Ask a function that may know its results."""
        try:
            answer: Found | Missing = func.__lightwork_lookup__(args, kwargs)  # type: ignore[attr-defined]
        except Exception as error:
            return self._answer(index, None, error, (func, args, kwargs))
        if isinstance(answer, Found):  # the way of each hit: as Answer(...) makes it, in half of the time
            self.apart += 1
            return _new(Answer, (answer.value, None, None))
        if answer.finish is not None:
            self.finishes[index] = answer.finish
        return answer

    def _perhaps_double(self, index: int, answer: Missing, parcel: object) -> object:
        """A task as it will be sent; or, if one with an equal result is under way, what waits for it."""
        same, again = answer.same, answer.again
        if same is None or again is None or not self.doubles.follows(index, same):
            return parcel
        self.apart += 1
        return Double(index, same, parcel, again)

    def _answer(
        self, index: int, value: object, error: Exception | None = None, task: Task[object] | None = None
    ) -> Answer:
        self.finishes.pop(index, None)
        self.apart += 1
        return Answer(value, error, task)
