"""Whole loops in virtual time: the real plan, pace and pump over workers that are only numbers.

Nothing runs and nothing sleeps: a task is a duration, a worker is the time at which it will be free, and the
pump's clock is ours. So a loop on 64 workers takes a moment, is the same on every machine, and can be compared with
the best that any dispatcher without foresight does: `greedy` gives each worker that is free the next task.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from heapq import heappop, heappush, heapreplace
from itertools import accumulate, repeat
from math import inf

from lightwork.parallel import pump as pump_module
from lightwork.parallel.backends.base import Back, Done, Event, Up
from lightwork.parallel.batching import Pace
from lightwork.parallel.outcomes import Outcomes
from lightwork.parallel.plan import Plan
from lightwork.parallel.pump import Pump

# What a message costs its parent and its worker, and what is between them (measured: 20 µs of the parent's, 12 of a
# worker's for a message of one task; two wake-ups).
MESSAGE = 20e-6
ANSWER = 12e-6


class Clock:
    """The time of the simulated world."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Durations:
    """How long tasks take; a span's sum is asked for often, so sums are kept."""

    def __init__(self, seconds: Iterable[float]) -> None:
        self.until = [0.0, *accumulate(seconds)]

    def of(self, first: int, count: int) -> float:
        return self.until[first + count] - self.until[first]

    def begun(self, first: int, count: int, seconds: float) -> int:
        """How many of a span's tasks have begun after so many seconds."""
        return min(count, bisect_right(self.until, self.until[first] + seconds, first, first + count) - first)


class Constant(Durations):
    """All tasks take equally long: nothing is kept."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def of(self, first: int, count: int) -> float:
        return count * self.seconds

    def begun(self, first: int, count: int, seconds: float) -> int:
        return min(count, int(seconds / self.seconds) + 1)


class _Worker:
    def __init__(self) -> None:
        self.spans: deque[tuple[int, int]] = deque()
        self.starts = 0.0
        """When it began, or will begin, its first span."""
        self.revoked: deque[int] | None = None
        """What it keeps of each span, where work was taken back."""


class VirtualCrew:
    """Workers for a loop whose tasks take the durations of a table; a result is its task's number."""

    encode = None

    def __init__(self, count: int, clock: Clock, durations: Durations) -> None:
        self.workers = range(count)
        self._clock = clock
        self._durations = durations
        self._all = [_Worker() for _ in range(count)]
        self._endings: list[tuple[float, int, int]] = []
        self._stamp = 0
        self._stamps = [0] * count
        self.messages = self.revokes = 0
        self.busy = 0.0

    def send(self, worker: int, first: int, parcels: Sequence[object], attempt: int = 1) -> None:
        self._clock.now += MESSAGE
        self.messages += 1
        state = self._all[worker]
        assert state.revoked is None
        state.spans.append((first, len(parcels)))
        if len(state.spans) == 1:
            self._begin(worker, self._clock.now)

    def _begin(self, worker: int, at: float) -> None:
        """Its first span begins; what it keeps of it tells when it ends."""
        state = self._all[worker]
        state.starts = at + ANSWER
        first, count = state.spans[0]
        kept = count if state.revoked is None else state.revoked[0]
        self._stamp += 1
        self._stamps[worker] = self._stamp
        heappush(self._endings, (state.starts + self._durations.of(first, kept), worker, self._stamp))

    def flush(self) -> None:
        """Messages arrive when they are sent."""

    def wait(self, timeout: float | None) -> Sequence[Event]:
        """Let time pass until a worker answers, or until the timeout."""
        clock, endings = self._clock, self._endings
        while endings and endings[0][2] != self._stamps[endings[0][1]]:
            heappop(endings)
        until = inf if timeout is None else clock.now + timeout
        if endings and endings[0][0] <= until:
            until = max(clock.now, endings[0][0])
        assert until < inf, "waited for ever for nothing"
        clock.now = max(clock.now, until)
        events: list[Event] = []
        while endings and endings[0][0] <= clock.now:
            at, worker, stamp = heappop(endings)
            if stamp == self._stamps[worker]:
                self._answer(worker, at, events)
        return events

    def _answer(self, worker: int, at: float, events: list[Event]) -> None:
        state = self._all[worker]
        first, count = state.spans.popleft()
        if state.revoked is not None:
            count = state.revoked.popleft()
        if count:
            seconds = self._durations.of(first, count)
            self.busy += seconds
            events.append(Done(worker, first, list(range(first, first + count)), None, seconds))
        if state.spans:
            self._begin(worker, at)
        elif state.revoked is not None:
            state.revoked = None
            events.append(Up(worker))

    def revoke(self, workers: Sequence[int]) -> Sequence[Event]:
        events: list[Event] = []
        self._clock.now += 100e-6
        for worker in workers:
            self.revokes += 1
            state = self._all[worker]
            first, count = state.spans[0]
            elapsed = self._clock.now - state.starts
            begun = self._durations.begun(first, count, elapsed) if elapsed >= 0 else 0
            state.revoked = deque([begun] + [0] * (len(state.spans) - 1))
            keeps = zip(state.spans, state.revoked, strict=True)
            if kept := [(start, keep) for (start, length), keep in keeps if keep < length]:
                events.append(Back(worker, kept))
            self._begin(worker, state.starts - ANSWER)
        return events

    def abort(self) -> None:
        raise AssertionError("nothing fails here")

    def release(self) -> None:
        assert not any(sum(state.revoked or [1]) for state in self._all if state.spans)


class _Unwatched:
    def hired(self) -> None: ...
    def advanced(self, completed: int, dispatched: int, exhausted: bool) -> None: ...
    def remembered(self, count: int) -> None: ...
    def ended(self, completed: int, whole: bool) -> None: ...


@contextmanager
def clock_of_the_pump(clock: Callable[[], float]):
    real = pump_module.perf_counter
    pump_module.perf_counter = clock
    try:
        yield
    finally:
        pump_module.perf_counter = real


def run(
    workers: int, durations: Durations, count: int, *, size: int | None = None, keep: bool = True
) -> tuple[float, VirtualCrew]:
    """How long a loop takes, and the crew with what it counted; results must be whole and in order.

    They are collected as a list, or where they are not to be kept, read from an unordered generator.
    """
    clock = Clock()
    crew = VirtualCrew(workers, clock, durations)
    pace = Pace(size, ahead=not keep)
    plan = Plan(2 * workers, pace, in_batches=True, workers=workers)
    source = repeat((abs, (0,), {}), count)
    pump = Pump(source, lambda: crew, plan, pace, Outcomes(ordered=keep), None, _Unwatched())
    with clock_of_the_pump(clock):
        if keep:
            assert pump.collect() == list(range(count))
        else:
            assert sum(pump.stream()) == count * (count - 1) // 2
    return clock.now, crew


def busy_share(
    workers: int, task: float, away: Callable[[int], float], *, window: int, count: int = 600
) -> float:
    """How much of the time workers run something while a generator is read whose reader stays `away` after each."""
    clock = Clock()
    crew = VirtualCrew(workers, clock, Constant(task))
    pace = Pace(ahead=True)
    plan = Plan(window, pace, in_batches=True, workers=workers)
    source = repeat((abs, (0,), {}), count)
    pump = Pump(source, lambda: crew, plan, pace, Outcomes(ordered=True), None, _Unwatched())
    with clock_of_the_pump(clock):
        for index in pump.stream():
            clock.now += away(index)
    return crew.busy / (workers * clock.now)


def greedy(workers: int, seconds: Sequence[float]) -> float:
    """How long it takes if each worker that is free gets the next task, at no cost."""
    free = [0.0] * workers
    for duration in seconds:
        heapreplace(free, free[0] + duration)
    return max(free)


def heavy_tail(count: int, seed: int) -> list[float]:
    """Durations without a typical size: half below 1.6 ms, one in a thousand above 100 ms (Pareto, 1.5)."""
    chance = random.Random(seed)
    return [min(1e-3 * chance.paretovariate(1.5), 1.0) for _ in range(count)]


def mixed(count: int, seed: int) -> list[float]:
    """Instant tasks and, rarely, long ones among them."""
    chance = random.Random(seed)
    return [chance.uniform(0.1, 0.5) if chance.random() < 0.005 else 1e-4 for _ in range(count)]
