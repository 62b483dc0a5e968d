"""A crew without workers: it runs spans when it is waited for, in any order that a seed gives, and dies as told."""

from __future__ import annotations

import copy
import random

from lightwork.parallel.backends.base import Back, Died, Done, Up, task_of
from lightwork.parallel.plan import Plan
from lightwork.workers.payload import ATOMS


class Killed(Exception):
    """What a task raises to end its worker."""


class FakeCrew:
    """Spans of one worker run in order; which worker is next, the seed decides.

    So it does how far a worker had come when work was taken back from it, and whether it ran more than it was to.
    """

    def __init__(
        self, count, seed=0, unsendable=(), late_up=False, seconds=1e-6, silent=False, slow_up=False
    ):
        self.workers = [] if late_up else list(range(count))
        self.pending = [Up(worker) for worker in range(count)] if late_up else []
        self.random = random.Random(seed)
        self.unsendable = set(unsendable)
        self.seconds = seconds
        self.silent = silent
        self.slow_up = slow_up
        self.queues = {worker: [] for worker in range(count)}
        self.names = count
        self.revoked = {}
        self.ran = []
        self.sent = []
        self.forgotten = []
        self.deepest = 0
        self.flushed = True
        self.ended = None

    def encode(self, index, task):
        if index in self.unsendable:
            raise ValueError(f"task {index} cannot travel")
        func, args, kwargs = task
        if ATOMS.issuperset(map(type, (*args, *kwargs.values()))) and not self.unsendable:
            return func, args, dict(kwargs)
        return index, (func, *copy.deepcopy((args, kwargs)))

    def send(self, worker, first, tasks, attempt=1):
        assert self.ended is None
        assert worker not in self.revoked, "sent to a worker that has not given up what was taken back"
        self.sent.append((worker, first, len(tasks)))
        self.flushed = False
        self.queues[worker].append((first, list(map(task_of, tasks))))
        self.deepest = max(self.deepest, len(self.queues[worker]))

    def forget(self, indexes):
        self.forgotten += indexes

    def flush(self):
        assert self.ended is None
        self.flushed = True

    def wait(self, timeout):
        self.flush()
        if self.pending:
            events, self.pending = self.pending, []
            return events
        busy = [worker for worker, spans in self.queues.items() if spans]
        assert busy or timeout is not None, "waited for ever for nothing"
        if not busy or self.silent:
            return []
        worker = self.random.choice(busy)
        first, tasks = self.queues[worker].pop(0)
        if worker not in self.revoked:
            return self.run(worker, first, tasks)
        return self.answer_revoked(worker, first, tasks)

    def revoke(self, workers):
        """Each worker has begun its first spans up to some task; it may turn out not to have run them all."""
        events = []
        for worker in workers:
            queue = self.queues[worker]
            begun = self.random.randint(0, len(queue))
            part = self.random.randint(0, len(queue[begun][1])) if begun < len(queue) else 0
            keeps = [len(tasks) for _, tasks in queue[:begun]] + [part] * (begun < len(queue))
            keeps += [0] * (len(queue) - len(keeps))
            self.revoked[worker] = {first: keep for (first, _), keep in zip(queue, keeps, strict=True)}
            kept = [(f, keep) for (f, tasks), keep in zip(queue, keeps, strict=True) if keep < len(tasks)]
            if kept:
                events.append(Back(worker, kept))
            if not queue:
                events += self.up_again(worker)
        return events

    def answer_revoked(self, worker, first, tasks):
        kept = self.revoked[worker].pop(first)
        runs = self.random.choice([kept, self.random.randint(0, kept)])
        events = [Back(worker, [(first, runs)])] if runs < kept else []
        events += self.run(worker, first, tasks[:runs]) if runs else []
        return events if worker not in self.queues or self.queues[worker] else events + self.up_again(worker)

    def up_again(self, worker):
        del self.revoked[worker]
        if self.slow_up:
            self.pending.append(Up(worker))
            return []
        return [Up(worker)]

    def run(self, worker, first, tasks):
        results, failures = [], {}
        for index, (func, args, kwargs) in enumerate(tasks, first):
            try:
                self.ran.append(index)
                results.append(func(*args, **kwargs))
            except Killed as death:
                return self.die(worker, index if death.args[0] else None, [(first, index - first)])
            except Exception as error:
                results.append(None)
                failures[index] = error
        return [Done(worker, first, results, failures or None, self.seconds * len(tasks))]

    def die(self, worker, claimed, ran=()):
        del self.queues[worker]
        self.revoked.pop(worker, None)
        self.queues[self.names] = []
        self.names += 1
        return [Died(worker, claimed, RuntimeError(f"died in {claimed}"), ran), Up(self.names - 1)]

    def abort(self):
        self.ended = self.ended or "aborted"

    def release(self):
        for worker, queue in self.queues.items():
            kept = self.revoked.get(worker, {})
            assert not any(kept.get(first, 1) for first, _ in queue)
        self.ended = self.ended or "released"


class RestlessPlan(Plan):
    """A plan that takes work back from anybody, at any time."""

    def __init__(self, *args, seed=0, **kwargs):
        super().__init__(*args, **kwargs)
        self.random = random.Random(seed)
        self.taken_back = 0

    def take_back(self, now):
        ordinary = super().take_back(now)
        lanes = [lane for lane in self._lanes.values() if lane.tasks > 1 and not lane.revoked]
        chosen = [lane for lane in lanes if self.random.random() < 0.5]
        for lane in chosen:
            lane.revoked = True
        self.taken_back += len(chosen)
        self._due = now + self.random.choice([1e-6, 1e-4]) if lanes else self._due
        return ordinary + [lane.name for lane in chosen]
