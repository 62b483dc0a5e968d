"""The input of a loop on its way to the plan: each task looked up, or written down, before the next is taken.

An input may use one buffer again and again (``buffer[:] = i; yield delayed(f)(buffer)``), so whatever becomes of a
task is made of what its arguments hold now. Three things come out: what is to be sent (a parcel), what needs no worker
(`Answer`: it is remembered, or it cannot travel), and what waits for an equal task (`doubles.Double`).

The crew is asked for when the first task needs a worker; so bad input and loops whose results are all
remembered start none. Where the input calls one function, and the crew knows it, tasks are taken in blocks: from
`blocks.Calls` without a look at each, from any other input in `runs`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, takewhile
from typing import NamedTuple, cast

from lightwork.errors import TaskFormatError
from lightwork.parallel.backends.base import Crew, Encode, Task
from lightwork.parallel.blocks import Block, Calls, Read
from lightwork.parallel.brisk import Brisk
from lightwork.parallel.doubles import Double, Doubles
from lightwork.parallel.runs import END, run, same
from lightwork.parallel.tasks import is_plain, refusal, triple
from lightwork.workers.functions import Found, Missing
from lightwork.workers.payload import ATOMS

__all__ = ["Answer", "Intake", "kind_apart"]

_NOTHING = object()
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
        Whether the whole input is read as soon as it can be, however much of it is sent.
    calls : Calls or None
        The same input, where it calls one function: then it is read in blocks as far as that may be.
    whole : bool
        Whether as many tasks as were asked for are waited for, however slow the input is.

    Attributes
    ----------
    reads_ahead : bool
        Whether there is more to `read_ahead`.
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
        "_brisk",
        "_calls",
        "_crew",
        "_encode",
        "_given",
        "_held",
        "_hired",
        "_known",
        "_read_some",
        "_settled",
        "_source",
        "_waiting",
        "apart",
        "doubles",
        "ended",
        "finishes",
        "reads_ahead",
    )

    def __init__(
        self,
        source: Iterator[object],
        crew: Callable[[], Crew],
        *,
        eager: bool = False,
        calls: Calls[object] | None = None,
        whole: bool = False,
    ) -> None:
        self._crew = crew
        self._brisk = Brisk()
        self._read_some: Read = islice if whole else self._brisk.read
        self._hired = False
        self._encode: Encode | None = None
        # The function of the last task that went through `_prepare`, if it may be sent without a further look.
        self._settled: object = _NOTHING
        self._known: dict[type, bool] = {}
        self._calls = None if eager else calls
        self.reads_ahead = eager
        # What was prepared and not given out yet: in pieces, of the first of which so many were given; how many tasks.
        self._held: deque[Sequence[object]] = deque()
        self._given = 0
        self._waiting = 0
        self._source = source
        self.ended = False
        self.apart = 0
        self.finishes: dict[int, Callable[[object], object]] = {}
        self.doubles = Doubles()

    def take(self, first: int, count: int) -> Sequence[object]:
        """The next tasks, of which the first has this number: at most `count`; none only at the end of the input."""
        self._brisk.was_cut = False
        if self._calls is not None and (block := self._block(count)):
            self.ended = len(block) < count and not self._brisk.was_cut and self._calls is not None
            return block
        if self._held:
            self.ended = False
            return self._held_back(count)
        items = self._read(first, count)
        self.ended = len(items) < count and not self._brisk.was_cut
        return items

    def read_ahead(self, first: int, count: int) -> None:
        """Prepare so many of the next tasks, or fewer; the first that is given out next has this number."""
        self._brisk.was_cut = False
        items = self._read(first + self._waiting, count)
        if items:
            self._hold(items)
        self.reads_ahead = len(items) == count or self._brisk.was_cut

    def take_apart(self, first: int, most: int) -> Sequence[object]:
        """The next tasks as long as none of them is to be sent, at most so many."""
        if self._held:
            return self._held_back(
                sum(1 for _ in takewhile(kind_apart, self._held[0][self._given : self._given + most]))
            )
        items: list[object] = []
        for index, given in enumerate(self._read_some(self._source, most), first):
            item = self._prepare(index, given)
            if type(item) not in _APART:
                self._hold([item])
                break
            items.append(item)
        return items

    def close(self) -> None:
        """Let go of the input and of all arguments now, not when they happen to be collected."""
        self._source = iter(())
        self._held.clear()
        self._calls = None

    def _hold(self, items: Sequence[object]) -> None:
        self._held.append(items)
        self._waiting += len(items)

    def _held_back(self, count: int) -> Sequence[object]:
        """Of what was prepared and not given out yet, the next so many."""
        held = self._held[0]
        items = held[self._given : self._given + count]
        self._given += len(items)
        self._waiting -= len(items)
        if self._given == len(held):
            self._held.popleft()
            self._given = 0
        return items

    def _block(self, count: int) -> Block | None:
        """The next tasks in one piece, where they may be sent as they are without a look at each."""
        calls = self._calls
        if calls is None or not self._hired or self._settled is not calls.func:
            return None
        block = calls.take(count, None if self._encode is None else ATOMS, self._read_some)
        if calls.is_denied:  # from here on, each is written down by itself
            self._calls = None
            self._source = iter(calls)
        return block

    def _read(self, first: int, count: int) -> Sequence[object]:
        """The next tasks: in one block if all may be sent as they are, else each as it was prepared."""
        if count == 1:
            for given in self._source:
                return [self._prepare(first, given)]
            return ()
        source = self._read_some(self._source, count)
        items: list[object] = []
        if self._settled is not _NOTHING:
            func = cast("Callable[..., object]", self._settled)
            if self._encode is None:
                odd = same(source, func, items.append)
            else:
                block, odd = run(source, func)
                if odd is END:
                    return block
                items += block
            if odd is END:
                return items
            items.append(self._prepare(first + len(items), odd))
        prepare = self._prepare
        for index, given in enumerate(source, first + len(items)):
            items.append(prepare(index, given))
        return items

    def _prepare(self, index: int, given: object) -> object:
        """What becomes of one task: a parcel, an answer, or a double."""
        task = given if is_plain(given) else triple(index, given)
        func, args, kwargs = task
        if func is self._settled and not kwargs and _are_atoms(map(type, args)):
            return task
        may_know = self._known.get(type(func))
        if may_know is None:
            if not callable(func):
                raise TaskFormatError(refusal(index, task))
            may_know = self._known[type(func)] = hasattr(type(func), "__lightwork_lookup__")
        answer = self._look_up(index, *task) if may_know else None
        if isinstance(answer, Answer):
            return answer
        if answer is not None:
            task = answer.func, tuple(answer.args), dict(answer.kwargs)
        if not self._hired:
            self._encode = self._crew().encode
            self._hired = True
        encode = self._encode
        try:
            parcel = task if encode is None else encode(index, task)
        except Exception as error:
            return self._answer(index, None, error, task)
        if answer is not None:
            self._settled = _NOTHING
            return self._perhaps_double(index, answer, parcel)
        self._settled = func if is_plain(parcel) else _NOTHING
        return parcel

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
