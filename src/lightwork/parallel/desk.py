"""Behind `ProcessExecutor`: jobs come in from any thread, one thread of its own (the keeper) has workers do them.

Three parties, each with its own state:

- **Whoever submits** writes its call down in its own thread, so that what its arguments become later makes no
  difference, and leaves the job in `Desk._inbox`. No code of the user's runs under the lock.
- **The keeper** alone talks to the workers. It hires a crew when there is something to do, gives every worker one job
  at a time, and hands the crew back when nothing has come for a while, so that idle executors hold no workers.
- **The executor** is not known here: a desk whose executor was dropped is told to retire, and the keeper ends when the
  last job is done.

One job at a time: a job behind another could wait for ever where the first waits for it (at a barrier, say), and
whoever submits two jobs to two workers expects them to run at once.

What ends a crew (an initializer that raises, no room for workers) breaks the desk: every job gets that error. A worker
that dies does not: the job that it ran fails, and another worker takes its place.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from time import monotonic
from typing import Final, cast

from lightwork.errors import LightworkError
from lightwork.parallel.backends import blame, processes
from lightwork.parallel.backends.base import CrewOptions, Died, Done, Event, Task
from lightwork.parallel.backends.outgoing import Written, write_down
from lightwork.workers.pool import lend_pool
from lightwork.workers.segments import Segment, SharedSegments

__all__ = ["Desk", "Job"]

# Seconds without a job after which the workers are free for others. Chosen by guess: hiring them again takes a
# fraction of a millisecond, so little is lost; and workers must not be held for minutes, as idle ones leave then.
_IDLE: Final = 1.0
# A job whose worker dies so often before it is begun is to blame.
_MOST_LOSSES: Final = 3


class Job:
    """A call that was submitted.

    Attributes
    ----------
    index : int
        Its number, counted from 0.
    future : Future
        Who waits for it.
    task : Task
        The call itself, to be named in errors.
    finish : callable or None
        Turns what the worker returned into the result.
    """

    __slots__ = ("finish", "future", "gone", "index", "losses", "numbers", "segments", "task", "written")

    def __init__(self, task: Task[object], finish: Callable[[object], object] | None) -> None:
        self.index = -1
        self.future: Future[object] = Future()
        self.task = task
        self.finish = finish
        self.losses = 0
        self.written: Written | None = None
        self.numbers: Sequence[int] = ()
        self.segments: list[Segment] = []
        self.gone: Sequence[int] = ()


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
        self._idle: deque[int] = deque()
        self._out: dict[int, Job] = {}
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
        waiting = [job for job in self._backlog if not job.losses]
        self._backlog = deque(job for job in self._backlog if job.losses)
        for job in waiting:
            job.future.cancel()
            job.future.set_running_or_notify_cancel()
            self._drop(job)

    def _hand_out(self) -> None:
        """Send the next jobs to idle workers."""
        while self._backlog:
            if not self._idle and not self._hire():
                return
            job = self._backlog.popleft()
            if not job.losses and not job.future.set_running_or_notify_cancel():
                self._drop(job)
                continue
            worker = self._idle.popleft()
            self._out[worker] = job
            self._send(worker, job, cast(processes.ProcessCrew, self._crew), cast(Written, job.written))

    def _send(self, worker: int, job: Job, crew: processes.ProcessCrew, written: Written) -> None:
        if job.gone:
            crew.drop_segments(job.gone)
        if written.definitions is not None and not job.losses:
            self._definitions.append(written.definitions)
            crew.define(written.definitions)
        parcel = crew.admit(job.index, job.task, written.data, job.numbers, job.segments)
        crew.send(worker, job.index, [parcel])

    def _drop(self, job: Job) -> None:
        if job.segments:
            self._shared_segments().give_back(job.segments)

    def _hire(self) -> bool:
        """Get workers, as far as there are jobs for them; whether there are any idle ones now."""
        crew = self._crew
        wanted = min(self._count - len(self._out), len(self._backlog))
        if crew is None:
            crew = processes.lend(
                self._count, self._options, at_first=wanted, segments=self._shared_segments()
            )
            self._idle.extend(crew.workers)
            for definitions in self._definitions:
                crew.define(definitions)
            self._crew = crew
            with self._lock:
                self._ring = crew.listen()
                if self._inbox:  # it came while nobody could ring
                    self._call()
        elif wanted > 0:
            self._idle.extend(crew.enlarge(wanted))
        return bool(self._idle)

    def _shared_segments(self) -> SharedSegments:
        with self._lock:
            if self._segments is None:
                self._segments = SharedSegments(lend_pool().kept)
            return self._segments

    def _wait(self) -> Sequence[Event]:
        """What the workers have done; where nothing is to be done, the crew is handed back after a while."""
        crew = self._crew
        if crew is None:
            return ()
        begun = monotonic()
        events = crew.wait(None if self._out else _IDLE)
        if not events and not self._out and monotonic() - begun >= _IDLE:
            with self._lock:
                if self._inbox:
                    return ()
                self._ring = None
            self._crew = None
            self._idle.clear()
            crew.release()
        return events

    def _hand_over(self, events: Sequence[Event]) -> None:
        """Give each future what became of its job, once the workers have their next."""
        ended: list[tuple[Job, object, BaseException | None]] = []
        for event in events:
            if isinstance(event, Done):
                ended.append(self._done(event))
            elif isinstance(event, Died):
                ended += self._died(event)
            else:
                self._idle.append(event.worker)
        if ended and self._backlog and self._crew is not None:
            self._hand_out()
            self._crew.flush()
        for job, result, error in ended:
            _settle(job, result, error)

    def _done(self, done: Done) -> tuple[Job, object, BaseException | None]:
        job = self._out.pop(done.worker)
        self._idle.append(done.worker)
        failure = None if done.failures is None else done.failures[done.first]
        return job, done.results[0], failure

    def _died(self, died: Died) -> list[tuple[Job, object, BaseException | None]]:
        """The job that its worker was running fails; one that it had not begun is sent again."""
        job = self._out.pop(died.worker, None)
        if job is None:
            self._idle.remove(died.worker)
            return []
        job.losses += 1
        if died.claimed is None and job.losses <= _MOST_LOSSES:
            self._backlog.appendleft(job)
            return []
        return [(job, None, died.error)]

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
            self._disappoint([*out.values(), *left])

    def _disappoint(self, jobs: Sequence[Job]) -> None:
        """Tell those who wait for jobs that will not be done."""
        for job in jobs:
            if job.future.running():
                job.future.set_exception(self.broken or _killed(job))
                continue
            if self.broken is None:
                job.future.cancel()
            if job.future.set_running_or_notify_cancel():
                job.future.set_exception(cast(BaseException, self.broken))


def _killed(job: Job) -> BaseException:
    from lightwork.errors import WorkerDied

    call = blame.shown_call(*job.task)
    return WorkerDied(
        f"the workers were killed by their executor, one of them while it ran {call}", job.index
    )


def _settle(job: Job, result: object, error: BaseException | None) -> None:
    if error is None and job.finish is not None:
        try:
            result = job.finish(result)
        except Exception as failure:
            error = failure
    if error is None:
        job.future.set_result(result)
    else:
        job.future.set_exception(error)
