"""Behind `ProcessExecutor`: jobs come in from any thread, one thread of its own (the keeper) has workers do them.

Three parties, each with its own state:

- **Whoever submits** writes its call down in its own thread, so that what its arguments become later makes no
  difference, and leaves the job in `Desk._inbox`. No code of the user's runs under the lock.
- **The keeper** alone talks to the workers. It hires a crew when there is something to do, sends jobs as a `Plan` says,
  and hands the crew back when nothing has come for a while, so that idle executors hold no workers.
- **The executor** is not known here: a desk whose executor was dropped is told to retire, and the keeper ends when the
  last job is done.

Jobs are queued with a worker only while they are measured to be short. A job must not wait behind another that may wait
for it in turn (at a barrier, say): what lies behind a job that takes longer than a few milliseconds is taken back, and
begun by whoever is idle. Until a worker begins it, it can be cancelled, wherever it lies (`claims.py`).

What ends a crew (an initializer that raises, no room for workers) breaks the desk: every job gets that error. A worker
that dies does not: the job that it ran fails, and another worker takes its place.
"""

from __future__ import annotations

import os
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from time import monotonic
from typing import Final, cast

from lightwork.errors import LightworkError
from lightwork.parallel.backends import processes
from lightwork.parallel.backends.base import Back, CrewOptions, Died, Done, Event
from lightwork.parallel.backends.outgoing import Written, write_down
from lightwork.parallel.batching import Pace
from lightwork.parallel.claims import Job, Place
from lightwork.parallel.plan import Plan
from lightwork.workers.pool import lend_pool
from lightwork.workers.segments import SharedSegments

__all__ = ["Desk"]

# Seconds without a job after which the workers are free for others. Chosen by guess: hiring them again takes a
# fraction of a millisecond, so little is lost; and workers must not be held for minutes, as idle ones leave then.
_IDLE: Final = 1.0


_Ended = tuple[Job, object, "BaseException | None"]


class Desk:
    """The jobs of one executor.

    Parameters
    ----------
    count : int
        How many workers there are at most.
    options : CrewOptions
        How they are made.
    own : bool
        Whether they are this executor's alone, and end with it.
    """

    def __init__(self, count: int, options: CrewOptions, *, own: bool) -> None:
        self.process = os.getpid()
        self.keeper: threading.Thread | None = None
        self._count = count
        self._options = options
        self._own = own
        # Shared with whoever submits, under the lock.
        # Re-entrant: a finalizer that has the desk retire may run in a thread that holds it.
        self._lock = threading.RLock()
        self._news = threading.Condition(self._lock)
        self._inbox: deque[Job] = deque()
        self._submitted = 0
        self._known: dict[str, object] = {}
        self._ring: Callable[[], None] | None = None
        self._rung = False
        self._retired = self._cancels = self._killed = False
        self.broken: BaseException | None = None
        # The keeper's.
        self._segments: SharedSegments | None = None
        self._crew: processes.ProcessCrew | None = None
        self._backlog: deque[Job] = deque()
        self._plan = Plan(inf, Pace(1), in_batches=False, workers=count)
        self._pace = Pace(1)
        self._hired = 0
        self._looked = 0.0
        self._out: dict[int, Job] = {}
        self._lanes: defaultdict[int, deque[Job]] = defaultdict(deque)
        self._definitions: list[bytes] = []

    # --- whoever submits ----------------------------------------------------------------------------

    def submit(self, job: Job) -> None:
        """Write a job down and take it in.

        Raises
        ------
        PicklingFailedError
            If it cannot travel.
        RuntimeError
            If the desk takes none any more.
        """
        written = job.written = write_down(self._submitted, job.task, self._options.max_nbytes, self._known)
        if written.buffers:
            self._lay(job, written)
        with self._lock:
            self.must_be_open()
            job.index = self._submitted
            self._submitted += 1
            if written.defined:
                self._known = {**self._known, **written.defined}
            self._inbox.append(job)
            if self.keeper is None:
                self._start()
            self._call()

    def _lay(self, job: Job, written: Written) -> None:
        self.must_be_open()
        job.numbers, job.segments, job.gone = self._shared_segments().lay(written.buffers)

    def must_be_open(self) -> None:
        """Raise if no more jobs are taken, and say why."""
        with self._lock:
            if self.broken is not None:
                raise self.broken
            if self._retired:
                raise RuntimeError("cannot schedule new futures after shutdown")

    def _start(self) -> None:
        keeper = threading.Thread(target=self._keep, name="lightwork-executor", daemon=True)
        try:
            keeper.start()
        except RuntimeError as error:
            self._inbox.pop()
            raise RuntimeError("cannot schedule new futures after interpreter shutdown") from error
        self.keeper = keeper

    def _call(self) -> None:
        """Have the keeper look at what is new."""
        if self._ring is None:
            self._news.notify()
        elif not self._rung:
            self._rung = True
            self._ring()

    def retire(self, *, cancel: bool = False, kill: bool = False) -> None:
        """Take no more jobs; end when all are done.

        Parameters
        ----------
        cancel : bool
            Whether those that have not begun are cancelled.
        kill : bool
            Whether those that run are ended, too.
        """
        if self.process != os.getpid():
            return  # a forked child has no keeper, and its copy of the lock may be held for ever
        with self._lock:
            self._retired = True
            self._cancels = self._cancels or cancel
            self._killed = self._killed or kill
            self._call()

    # --- the keeper ---------------------------------------------------------------------------------

    def _keep(self) -> None:
        try:
            while self._look():
                self._hand_out()
                self._hand_over(self._wait())
        except BaseException as error:
            self._break(error)
        finally:
            self._leave()

    def _look(self) -> bool:
        """Take in what is new; blocks while there is nothing to do and no crew to be kept. False at the end."""
        with self._lock:
            while True:
                self._rung = False
                self._backlog += self._inbox
                self._inbox.clear()
                if self._killed:
                    return False
                if self._backlog or self._out:
                    break
                if self._retired:
                    return False
                if self._crew is not None:
                    break
                self._news.wait()
        if self._cancels:
            self._cancel()
        return True

    def _cancel(self) -> None:
        """Cancel what has not begun; whoever waits for it is told now."""
        waiting, self._backlog = self._backlog, deque()
        for job in waiting:
            job.future.cancel()
            self._drop(job)
        for job in list(self._out.values()):
            job.future.cancel()

    def _hand_out(self) -> None:
        """Send what the plan allows."""
        plan = self._plan
        while True:
            if not plan.waiting():
                if not self._backlog:
                    return
                if len(self._out) >= self._hired < self._count:
                    self._hire()
                    plan = self._plan
                if not plan.room():
                    return
                job = self._backlog.popleft()
                if job.claim.withdrawn:
                    self._drop(job)
                    continue
                self._out[job.index] = job
                plan.took(1)
                plan.needs(job.index, 1)
            send = plan.next_send(monotonic())
            if send is None:
                return
            job = self._out[send.first]
            lane = self._lanes[send.worker]
            give = partial(self._send, send.worker, job)
            if job.claim.queue(give) if lane else job.future.begin() and give():
                lane.append(job)
            else:
                self._let_go(send.worker, job)

    def _let_go(self, worker: int, job: Job) -> None:
        """No worker will run this job, which was cancelled while it lay with one, or on its way there."""
        self._plan.done(worker, job.index, self._looked)
        del self._out[job.index]
        if job.was_sent:
            cast(processes.ProcessCrew, self._crew).forget([job.index])
        else:
            self._drop(job)

    def _send(self, worker: int, job: Job) -> Place:
        crew, written = cast(processes.ProcessCrew, self._crew), cast(Written, job.written)
        if job.gone:
            crew.drop_segments(job.gone)
            job.gone = ()
        if written.definitions is not None and not job.is_defined:
            job.is_defined = True
            self._definitions.append(written.definitions)
            crew.define(written.definitions)
        parcel = crew.admit(job.index, job.task, written.data, job.numbers, job.segments)
        job.was_sent = True
        crew.send(worker, job.index, [parcel])
        return crew.place(worker)

    def _drop(self, job: Job) -> None:
        if job.segments:
            self._shared_segments().give_back(job.segments)

    def _hire(self) -> None:
        """Get more workers, as far as there are jobs for them."""
        wanted = min(self._count - self._hired, len(self._backlog))
        crew = self._crew
        if crew is not None:
            for worker in crew.enlarge(wanted):
                self._plan.up(worker)
            self._hired += wanted
            return
        crew = processes.lend(self._count, self._options, at_first=wanted, segments=self._shared_segments())
        for definitions in self._definitions:
            crew.define(definitions)
        self._crew = crew
        self._hired = wanted
        self._pace = Pace(1)
        self._plan = Plan(inf, self._pace, in_batches=False, workers=self._count)
        self._lanes.clear()
        self._plan.begin(crew.workers)
        with self._lock:
            self._ring = crew.listen()
            if self._inbox:  # it came while nobody could ring
                self._call()

    def _shared_segments(self) -> SharedSegments:
        with self._lock:
            if self._segments is None:
                self._segments = SharedSegments(lend_pool().kept)
            return self._segments

    def _wait(self) -> Sequence[Event]:
        """What the workers have done; where nothing is to be done, the crew is handed back after a while."""
        crew, due = self._crew, self._plan.due
        if crew is None:
            return ()
        if due <= self._looked:
            late = self._plan.take_back(self._looked)
            return crew.revoke(late) if late else ()
        begun = monotonic()
        until = due if self._out else min(due, begun + _IDLE)
        events = crew.wait(None if until == inf else max(0.0, until - begun))
        self._looked = monotonic()
        if not events and not self._out and self._looked - begun >= _IDLE:
            self._hand_back(crew)
        return events

    def _hand_back(self, crew: processes.ProcessCrew) -> None:
        with self._lock:
            if self._inbox:
                return
            self._ring = None
        self._crew = None
        self._hired = 0
        crew.release()

    def _hand_over(self, events: Sequence[Event]) -> None:
        """Give each future what became of its job, once the workers have their next."""
        ended: list[_Ended] = []
        for event in events:
            if isinstance(event, Done):
                self._done(event, ended)
            elif isinstance(event, Died):
                self._died(event, ended)
            elif isinstance(event, Back):
                self._back(event)
            else:
                self._plan.up(event.worker)
        if ended and self._backlog and self._crew is not None:
            self._hand_out()
            self._crew.flush()
        for job, result, error in ended:
            job.settle(result, error)

    def _done(self, done: Done, ended: list[_Ended]) -> None:
        if not self._plan.done(done.worker, done.first, self._looked):
            return  # it was sent to another meanwhile
        self._pace.ran(1, done.seconds)
        failure = None if done.failures is None else done.failures[done.first]
        job = self._out.pop(done.first)
        self._left(done.worker, job)
        ended.append((job, done.results[0], failure))

    def _left(self, worker: int, *jobs: Job) -> None:
        """A worker has these jobs no longer; it begins the next, if that was not cancelled."""
        lane = self._lanes[worker]
        for job in jobs:
            lane.remove(job)
            job.claim.come_back()
        if lane:
            lane[0].future.begin()

    def _back(self, back: Back) -> None:
        jobs = [self._out[first] for first, _ in back.kept]
        self._left(back.worker, *jobs)
        for job in reversed(jobs):  # each goes before what came back already
            if job.claim.withdrawn:
                self._let_go(back.worker, job)
            else:
                self._plan.back(back.worker, job.index, 0)

    def _died(self, died: Died, ended: list[_Ended]) -> None:
        blamed = self._plan.died(died.worker, died.claimed, left=died.left).blamed
        if blamed is not None:
            job = self._out.pop(blamed)
            if job.future.begin():
                ended.append((job, None, died.error))
        for job in self._lanes.pop(died.worker, ()):
            job.claim.come_back()

    # --- the end ------------------------------------------------------------------------------------

    def _break(self, error: BaseException) -> None:
        from lightwork.errors import BrokenExecutorError

        if isinstance(error, LightworkError):
            broken = BrokenExecutorError(f"the executor has no workers any more: {error}")
        else:
            broken = BrokenExecutorError(f"the executor failed by {type(error).__name__}: {error}")
        broken.__cause__ = error.__cause__ if isinstance(error, LightworkError) and error.__cause__ else error
        with self._lock:
            self.broken = broken

    def _leave(self) -> None:
        """Let go of the workers, and of every job that is left."""
        with self._lock:
            self._retired = True
            self._ring = None
            left = [*self._backlog, *self._inbox]
            self._inbox.clear()
        self._backlog.clear()
        out, self._out = self._out, {}
        crew, self._crew = self._crew, None
        for job in out.values():
            if job.claim.runs():
                job.future.begin()
        try:
            if crew is not None:
                if out:
                    crew.abort()
                else:
                    crew.release()
                if self._own:
                    lend_pool().dismiss(crew.make)
            for job in left:
                self._drop(job)
            if self._segments is not None:
                self._segments.close()
        finally:
            for job in out.values():
                job.claim.come_back()
            self._disappoint([*out.values(), *left])

    def _disappoint(self, jobs: Sequence[Job]) -> None:
        """Tell those who wait for jobs that will not be done."""
        for job in jobs:
            if self.broken is None and job.future.cancel():
                continue
            if job.future.begin():
                job.future.set_exception(self.broken or job.killed())
