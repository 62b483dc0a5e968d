"""Who runs which span, and when the next may be taken from the input. Everything that decides it lives here; no IO.

A plan is a state machine. Events are its methods; its commands are what `room` (take so many tasks from the
input) and `next_send` (send this span to that worker) return. It knows numbers only: tasks, results and clocks
are the pump's.

1. A task is **taken** from the input, once; from then on it is **open** until its result was handed over (`handed`).
   Never more tasks are open than the window allows. One that counts batches is full when so many spans are open and
   so many times `pace.size` tasks: either alone would starve workers when that size shrinks.
2. A taken task is **finished** exactly once: answered without a worker, done, failed, or blamed for a death. What
   is not finished is either in the backlog or with exactly one worker; or it failed and waits to be run again, from
   `repeats`, which takes back that it is finished, to `needs`.
3. Work moves in spans (first number, count). Single tasks are told apart only after something went wrong.
4. A worker gets spans while it is idle, or while `Pace.allows` says that more may be queued with it; idle
   workers come first.
5. When a worker dies, the task that it had claimed is blamed and finished; all others that lay with it are
   sent again, each by itself, so that if one of them kills its worker too, the claim names it. A task at the
   head of its worker that is lost `MOST_LOSSES` times more without any claim is blamed as well: a plan ends. That a
   worker leaves of its own accord is no such loss.
   Those that had run already, and whose results are lost, are sent again too, unless `died` is told of them.
6. A span that a worker answers without having it is not known here (`done` returns 0) and must be dropped.
7. What a worker has not begun may be taken back: `take_back` names the workers that are to give up what they have
   not begun, by the clock that the pump reads; `back` says what one gave up, which is sent again before anything else.

A worker is in one of these states:

========  =========================  =================================================================
state     gets work                  leaves it when
========  =========================  =================================================================
idle      first of all               it is sent a span: busy
busy      if `Pace.allows`           it has no span left: idle; `take_back` names it: revoked
revoked   never                      the crew says `up`, having all its answers: idle
dead      never                      never; another comes `up` in its place, under a name of its own
========  =========================  =================================================================

The cost is a few operations a span; state for single tasks (`_losses`) exists only for those that were sent again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from heapq import nlargest
from math import inf
from operator import attrgetter
from typing import Final, NamedTuple

from lightwork.parallel.batching import LATE, WORTH, Pace, share

__all__ = ["Loss", "Plan", "Send"]

MOST_LOSSES: Final = 3


class Send(NamedTuple):
    """The command to send a span to a worker."""

    worker: int
    first: int
    length: int


class Loss(NamedTuple):
    """What a worker's death means: the task that is blamed, if one is, and the spans that lay with the worker.

    All tasks of those spans are in the backlog again, as spans of one, but for the blamed one and those that are gone:
    they had run, and are not to be run again.
    """

    blamed: int | None
    spans: list[tuple[int, int]]
    gone: frozenset[int] = frozenset()


class _Lane:
    """A worker as the plan sees it: the spans that lie with it, in the order they were sent."""

    __slots__ = ("alive", "name", "revoked", "since", "spans", "spare", "tasks")

    def __init__(self, name: int) -> None:
        self.name = name
        self.spans: dict[int, int] = {}
        self.tasks = 0
        self.spare = False
        """Whether it stands in the queue of those that may get more."""
        self.since = 0.0
        """When it began its first span, as far as is known."""
        self.revoked = False
        self.alive = True


class Plan:
    """The state of one loop.

    Parameters
    ----------
    window : float
        How much may be open at a time; `math.inf` for no bound.
    pace : Pace
        How much at once.
    in_batches : bool
        Whether the window counts batches (of `pace.size` tasks) or tasks.
    workers : int
        How many workers there will be.

    Attributes
    ----------
    taken, finished : int
        Tasks taken from the input, and finished, so far.
    """

    __slots__ = (
        "_backlog",
        "_batches",
        "_begun",
        "_due",
        "_gives_back",
        "_idle",
        "_in_batches",
        "_lanes",
        "_looked",
        "_losses",
        "_open",
        "_pace",
        "_share",
        "_spare",
        "_window",
        "finished",
        "taken",
    )

    def __init__(self, window: float, pace: Pace, *, in_batches: bool, workers: int) -> None:
        self._window = window
        self._pace = pace
        self._in_batches = in_batches
        self._share = share(inf if in_batches else window, workers)
        self._lanes: dict[int, _Lane] = {}
        self._idle: deque[_Lane] = deque()
        self._spare: deque[_Lane] = deque()
        self._backlog: deque[tuple[int, int]] = deque()
        self._losses: dict[int, int] = {}
        self._open = 0
        self._batches = 0
        self._begun = False
        self._gives_back = False
        self._looked = 0.0
        self._due = inf
        self.taken = 0
        self.finished = 0

    # --- workers ------------------------------------------------------------------------------------

    def begin(self, workers: Iterable[int], *, gives_back: bool = True) -> None:
        """There is a crew, with these workers ready; before that, tasks are taken on trust.

        `gives_back` says whether it can take work back from its workers.
        """
        self._begun = True
        self._gives_back = self._pace.gives_back = gives_back
        for worker in workers:
            self.up(worker)
        self._due = inf

    def up(self, worker: int) -> None:
        """A worker may be sent to from now on: a new one, or one that has given up what was taken back."""
        lane = self._lanes.get(worker)
        if lane is None:
            lane = self._lanes[worker] = _Lane(worker)
        elif not lane.revoked or lane.spans:
            return
        lane.revoked = False
        self._idle.append(lane)
        if self._gives_back:
            self._due = min(self._due, self._looked + WORTH)

    def died(
        self, worker: int, claimed: int | None, ran: Iterable[tuple[int, int]] = (), *, left: bool = False
    ) -> Loss:
        """A worker ended, running the task `claimed`, or none; what it `ran`, in spans, is not to be run again.

        If it `left` of its own accord, that says nothing about the tasks that were sent to it.
        """
        lane = self._lanes.pop(worker, None)
        if lane is None:
            return Loss(None, [])
        lane.alive = False
        if not lane.spans:
            if not lane.revoked:
                self._idle.remove(lane)
            return Loss(None, [])
        spans = list(lane.spans.items())
        if claimed is None or not any(first <= claimed < first + count for first, count in spans):
            claimed = None if left else self._suspect(*spans[0])
        done = {index for first, count in ran for index in range(first, first + count)} - {claimed}
        lost = [index for first, count in spans for index in range(first, first + count) if index != claimed]
        gone = frozenset(done.intersection(lost)) if done else frozenset[int]()
        for index in lost:
            if index in gone:
                self._losses.pop(index, None)
            elif not left:
                self._losses.setdefault(index, 0)
        if claimed is not None:
            self._losses.pop(claimed, None)
            self.finished += 1
        self.finished += len(gone)
        self._again([(index, 1) for index in lost if index not in gone])
        self._batches += lane.tasks - len(spans)
        return Loss(claimed, spans, gone)

    def _suspect(self, first: int, count: int) -> int | None:
        """The task to blame where none was claimed: one that lost its worker again and again, alone and first."""
        if count > 1 or first not in self._losses:
            return None
        self._losses[first] += 1
        return first if self._losses[first] >= MOST_LOSSES else None

    # --- tasks --------------------------------------------------------------------------------------

    def waiting(self) -> bool:
        """Whether tasks wait for a worker."""
        return bool(self._backlog)

    def room(self) -> int:
        """How many tasks to take from the input now, as one span; 0 for none."""
        if self._backlog or (self._begun and not self._idle and self._candidate() is None):
            return 0
        size = self._pace.size
        if self._window == inf:
            return size
        free = (self._window * size if self._in_batches else self._window) - self._open
        if free >= size or (self._in_batches and self._batches < self._window):
            return min(size, self._share)
        if free <= 0 or (self._in_batches and 2 * free < size and self._open):
            return 0  # a sliver of a batch would stay one, each time it comes round
        return min(int(free), self._share)

    def took(self, count: int) -> None:
        """So many tasks were taken; each is then named by `needs` or by `answered`."""
        self.taken += count
        self._open += count

    def needs(self, first: int, count: int, *, again: bool = False) -> None:
        """These tasks need a worker; `again`, if they were named by `repeats`."""
        self._batches += not again
        self._backlog.append((first, count))

    def answered(self, count: int) -> None:
        """So many tasks need none; they are finished."""
        self._batches += 1
        self.finished += count

    def waits(self, count: int, *, aside: bool) -> None:
        """So many tasks wait for the results of others, each by itself; `aside`: they fill no window meanwhile."""
        if aside:
            self._open -= count
        else:
            self._batches += count

    def waited(self, *, aside: bool) -> None:
        """One of them waits no more; it is named by `needs` or by `answered` now."""
        if aside:
            self._open += 1
        else:
            self._batches -= 1

    def repeats(self, count: int, chunks: int) -> None:
        """So many tasks of a finished span will be run again, the others are handed over in so many chunks.

        Each is then named by `needs`, as a span of one; until then it counts as one that is open.
        """
        self.finished -= count
        self._batches += count + chunks - 1

    def next_send(self, now: float = 0.0) -> Send | None:
        """The span to send next, and to whom; None where there is none, or nobody free."""
        if not self._backlog:
            return None
        lane = self._candidate()
        if lane is None:
            return None
        first, count = self._backlog.popleft()
        if lane.spans:
            self._spare.popleft()
            lane.spare = False
        else:
            self._idle.popleft()
            lane.since = now
        if self._due == inf and (count > 1 or lane.spans) and self._gives_back:
            self._due = now + LATE
        lane.spans[first] = count
        lane.tasks += count
        self._offer(lane)
        return Send(lane.name, first, count)

    def done(self, worker: int, first: int, now: float = 0.0) -> int:
        """A worker finished a span: the number of its tasks, or 0 where it did not have it."""
        lane = self._lanes.get(worker)
        if lane is None or first not in lane.spans:
            return 0
        count = lane.spans.pop(first)
        lane.since = now
        self._lighten(lane, count)
        self.finished += count
        if self._losses and count == 1:
            self._losses.pop(first, None)
        return count

    def handed(self, count: int, *, spans: int = 1) -> None:
        """The results of so many tasks, the last ones of so many spans, were handed over; they are no longer open."""
        self._open -= count
        self._batches -= spans

    def _again(self, spans: list[tuple[int, int]]) -> None:
        """These wait once more. Lowest first, whichever worker gave up what: a reader in order waits for that one."""
        self._backlog = deque(sorted([*spans, *self._backlog]))

    # --- taking back --------------------------------------------------------------------------------

    @property
    def due(self) -> float:
        """When `take_back` is to be asked next, now that everything was sent that can be.

        Infinite while no worker has anything to give up. While all are busy it lies far ahead: a wait that may be short
        costs several microseconds (the kernel sets a timer, which takes a virtual machine long).
        """
        return min(self._due, self._looked + WORTH) if self._idle and self._due < inf else self._due

    @property
    def settling(self) -> bool:
        """Whether tasks wait, and a worker that has nothing left will be `up` as soon as it has said so."""
        return bool(self._backlog) and any(lane.revoked and not lane.spans for lane in self._lanes.values())

    def take_back(self, now: float) -> list[int]:
        """The workers that are to give up what they have not begun; each gets nothing until it is `up` again.

        It is to be asked when `due` has come, after everything was sent that can be, and with the time at which the
        last answers were read: an answer that nobody has read yet is no reason.
        """
        pace = self._pace
        idle = 0 if self._backlog else len(self._idle)
        late: list[_Lane] = []
        loaded: list[_Lane] = []
        self._due = inf
        for lane in self._lanes.values() if len(self._lanes) > 1 else ():
            if lane.tasks < 2 or lane.revoked:
                continue
            until = lane.since + pace.patience(next(iter(lane.spans.values())), idle=idle > 0)
            if until <= now:
                late.append(lane)
                continue
            self._due = min(self._due, until)
            if idle and pace.worth(lane.tasks - 1):
                loaded.append(lane)
        if loaded and idle > len(late):
            late += nlargest(idle - len(late), loaded, key=attrgetter("tasks"))
        for lane in late:
            lane.revoked = True
        self._looked = now
        return [lane.name for lane in late]

    def back(self, worker: int, first: int, kept: int) -> list[tuple[int, int]]:
        """A worker gave up all but the first `kept` tasks of a span; returns the pieces to send them in."""
        lane = self._lanes.get(worker)
        count = 0 if lane is None else lane.spans.get(first, 0)
        if lane is None or count <= kept:
            return []
        if kept:
            lane.spans[first] = kept
        else:
            del lane.spans[first]
        given_up = count - kept
        self._lighten(lane, given_up)
        size = self._pace.piece(given_up, len(self._lanes))
        pieces = [
            (begin, min(size, first + count - begin)) for begin in range(first + kept, first + count, size)
        ]
        self._again(pieces)
        self._batches += len(pieces) - (not kept)
        return pieces

    # --- the queues of workers that may get more ----------------------------------------------------

    def _lighten(self, lane: _Lane, count: int) -> None:
        """A worker has so many tasks less."""
        lane.tasks -= count
        if lane.revoked:
            return
        if not lane.spans:
            self._idle.append(lane)
        elif not lane.spare:
            self._offer(lane)

    def _offer(self, lane: _Lane) -> None:
        if not lane.spare and self._pace.allows(len(lane.spans), lane.tasks):
            lane.spare = True
            self._spare.append(lane)

    def _candidate(self) -> _Lane | None:
        """The worker to send to next; entries that no longer hold are dropped on the way."""
        if self._idle:
            return self._idle[0]
        spare = self._spare
        while spare:
            lane = spare[0]
            usable = lane.alive and lane.spans and not lane.revoked
            if usable and self._pace.allows(len(lane.spans), lane.tasks):
                return lane
            spare.popleft()
            lane.spare = False
        return None
