"""A crew without workers: it runs spans when it is waited for, in any order that a seed gives, and dies as told."""

from __future__ import annotations

import copy
import random

from lightwork.parallel.backends.base import Died, Done, Up


class Killed(Exception):
    """What a task raises to end its worker."""


class FakeCrew:
    """Spans of one worker run in order; which worker is next, the seed decides."""

    def __init__(self, count, seed=0, unsendable=(), late_up=False, seconds=1e-6, silent=False):
        self.workers = [] if late_up else list(range(count))
        self.pending = [Up(worker) for worker in range(count)] if late_up else []
        self.random = random.Random(seed)
        self.unsendable = set(unsendable)
        self.seconds = seconds
        self.silent = silent
        self.queues = {worker: [] for worker in range(count)}
        self.names = count
        self.sent = []
        self.deepest = 0
        self.ended = None

    def encode(self, index, task):
        if index in self.unsendable:
            raise ValueError(f"task {index} cannot travel")
        func, args, kwargs = task
        return func, copy.deepcopy(args), kwargs

    def send(self, worker, first, tasks):
        assert self.ended is None
        self.sent.append((worker, first, len(tasks)))
        self.queues[worker].append((first, list(tasks)))
        self.deepest = max(self.deepest, len(self.queues[worker]))

    def flush(self):
        assert self.ended is None

    def wait(self, timeout):
        assert self.ended is None
        if self.pending:
            events, self.pending = self.pending, []
            return events
        busy = [worker for worker, spans in self.queues.items() if spans]
        assert busy or timeout is not None, "waited for ever for nothing"
        if not busy or self.silent:
            return []
        worker = self.random.choice(busy)
        first, tasks = self.queues[worker].pop(0)
        return self.run(worker, first, tasks)

    def run(self, worker, first, tasks):
        results, failures = [], {}
        for index, (func, args, kwargs) in enumerate(tasks, first):
            try:
                results.append(func(*args, **kwargs))
            except Killed as death:
                return self.die(worker, index if death.args[0] else None)
            except Exception as error:
                results.append(None)
                failures[index] = error
        return [Done(worker, first, results, failures or None, self.seconds * len(tasks))]

    def die(self, worker, claimed):
        del self.queues[worker]
        self.queues[self.names] = []
        self.names += 1
        return [Died(worker, claimed, RuntimeError(f"died in {claimed}")), Up(self.names - 1)]

    def abort(self):
        self.ended = self.ended or "aborted"

    def release(self):
        assert not any(self.queues.values())
        self.ended = self.ended or "released"
