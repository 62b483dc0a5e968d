"""The processes backend: a crew of worker processes, lent by the pool for one call.

This is the parent's end of the protocol that `workers.worker` speaks. `send` turns tasks into bytes and
queues them; `wait` polls the sockets, reads replies and notices deaths. A worker is dead when its socket has
closed; the zygote then says how it ended, and the control page which task it was running.

Work is taken back by the control page alone (`revoke`), since a worker that runs a long task reads no messages. What
lies behind its claim is free at once; the worker still answers each of its spans, and only then is sent more.

Where tasks have a time limit, `wait` also looks at the pages, as often as one could be over; a worker whose task is
over is killed, what it had still sent is read, and the task is blamed for the death whatever runs there by then.
"""

from __future__ import annotations

import itertools
import pickle
import select
from collections.abc import Callable, Iterable, Sequence
from math import ceil, inf
from time import monotonic, monotonic_ns, sleep
from typing import cast

from lightwork.errors import WorkerStartError
from lightwork.parallel.backends import blame, incoming
from lightwork.parallel.backends.base import Back, CrewOptions, Died, Done, Event, Task, Up
from lightwork.parallel.backends.environment import Environment
from lightwork.parallel.backends.member import Member
from lightwork.parallel.backends.outgoing import Outgoing, Parcel
from lightwork.workers.bell import Bell
from lightwork.workers.framing import Kind
from lightwork.workers.handle import DEFAULT_MAKE, Make, WorkerHandle
from lightwork.workers.interrupts import held_back
from lightwork.workers.launch import fork_zygote
from lightwork.workers.outboxes import WAITED_FOR
from lightwork.workers.page import SETTLING, Page
from lightwork.workers.payload import pack, unpack
from lightwork.workers.pool import Pool, lend_pool
from lightwork.workers.relay import deliver
from lightwork.workers.segments import Segment, Segments

__all__ = ["ProcessCrew", "lend"]

# Workers that end before they claim anything are replaced; so many in a row mean that none can live here.
_MOST_BLAMELESS_DEATHS = 10
# Milliseconds; poll() takes no more than 24 days.
_LONGEST_POLL = 86_400_000

# Looked up once: a name of an enumeration costs as much as the call that it is given to.
_TASKS, _REPLY = int(Kind.TASKS), int(Kind.REPLY)

_calls = itertools.count(1)


def lend(
    count: int, options: CrewOptions, *, at_first: int | None = None, segments: Segments | None = None
) -> ProcessCrew:
    """A crew of `count` worker processes; forks of this very process are made for one call, and end with it."""
    own = options.start_method == "fork"
    pool = Pool(fork_zygote) if own else lend_pool()
    return ProcessCrew(pool, count, options, own_pool=own, at_first=at_first, segments=segments)


class ProcessCrew:
    """Worker processes for one call; see `backends.base` for what may be called when.

    Parameters
    ----------
    pool : Pool
        Where the workers come from and go to.
    count : int
        How many.
    options : CrewOptions
        How arguments travel, and how workers are made.
    own_pool : bool
        Whether the pool is this crew's alone, forked from this process: then workers have its ``__main__`` already.
    at_first : int or None
        How many of the workers there are from the beginning; None: all.
    segments : Segments or None
        Where big arguments lie, if that is not this crew's own.
    """

    def __init__(
        self,
        pool: Pool,
        count: int,
        options: CrewOptions,
        *,
        own_pool: bool = False,
        at_first: int | None = None,
        segments: Segments | None = None,
    ) -> None:
        self._pool = pool
        self._own_pool = own_pool
        self._options = options
        self._call = next(_calls)
        self._outgoing = Outgoing(options, pool.kept, defines=not own_pool, segments=segments)
        self._blameless = 0
        self._unsent: set[Member] = set()
        self._watch = select.poll()
        self._bell: Bell | None = None
        self._environment = Environment(self._call, count, options)
        self._limit = inf if options.task_timeout is None else options.task_timeout * 1e9
        self._look_at = inf if self._limit == inf else 0.0
        self._members: dict[int, Member] = {}
        self._by_descriptor: dict[int, Member] = {}
        try:
            self.make = self._how_made()
            self.enlarge(count if at_first is None else at_first)
        except BaseException:
            self.abort()
            raise

    def _how_made(self) -> Make:
        options = self._options
        initializer = definitions = None
        if options.initializer is not None:
            initializer, definitions = self._outgoing.initializer(options.initializer, options.initargs)
        spawn = DEFAULT_MAKE.spawn if options.start_method is None else options.start_method == "spawn"
        return Make(spawn, initializer, options.memory_limit, options.max_tasks_per_child, definitions)

    def enlarge(self, count: int) -> Sequence[int]:
        """So many workers more; their numbers."""
        with held_back():
            handles = self._pool.lend(count, self.make)
            for handle in handles:
                self._join(handle)
        return [handle.number for handle in handles]

    @property
    def workers(self) -> Sequence[int]:
        """The numbers of the workers that run now."""
        return list(self._members)

    def _join(self, handle: WorkerHandle) -> None:
        member = Member(handle)
        self._members[handle.number] = self._by_descriptor[handle.channel.fileno()] = member
        self._watch.register(handle.channel.fileno(), select.POLLIN)
        self._environment.tell(handle)
        if handle.fresh and self.make != DEFAULT_MAKE:
            handle.fresh = False
            for kind, body, descriptors in self._outgoing.news(member.told):
                handle.channel.post(kind, body, descriptors)
            make = self.make
            handle.channel.post(Kind.INIT, pack((make.memory_limit, make.most_tasks, make.initializer)))

    # --- sending ---

    def encode(self, index: int, task: Task[object], /) -> object:
        """Write a task down; raises `PicklingFailedError`, naming the part in the way, where it cannot travel."""
        parcel, dropped = self._outgoing.encode(index, task)
        if dropped:
            self.drop_segments(dropped)
        return parcel

    def define(self, definitions: bytes) -> None:
        """Have workers define this before what is sent from now on; see `outgoing.Written`."""
        self._outgoing.define(definitions)

    def admit(
        self, index: int, task: Task[object], data: bytes, numbers: Sequence[int], segments: list[Segment]
    ) -> object:
        """As `encode`, for a task that was written down elsewhere and whose buffers are laid out."""
        return self._outgoing.admit(index, task, data, numbers, segments)

    def send(self, worker: int, first: int, parcels: Sequence[object], attempt: int = 1) -> None:
        """Queue a span with a worker."""
        member = self._members[worker]
        body, tasks, needed = self._outgoing.span(
            self._call, first, cast("Sequence[Parcel | Task[object]]", parcels), attempt
        )
        if needed or self._outgoing.has_news(member.told):
            for kind, news, descriptors in self._outgoing.news(member.told, needed):
                self._queue(member, kind, news, descriptors)
        # First what it owes: Ctrl-C may strike between any two lines, and one that owes nothing goes to the next call.
        waits = not member.owed
        member.owed.append((first, tasks, len(tasks)))
        member.handle.spans += 1
        member.handle.channel.queue(_TASKS, body)
        if waits:
            self._flush(member)
        else:
            self._unsent.add(member)

    def place(self, worker: int) -> tuple[Page, int]:
        """Where what a worker was sent last can be withdrawn: its control page, and the number of the span there."""
        handle = self._members[worker].handle
        return handle.page, handle.spans

    def _queue(self, member: Member, kind: int, body: bytes, descriptors: Sequence[int] = ()) -> None:
        member.handle.channel.queue(kind, body, descriptors)
        self._unsent.add(member)

    def flush(self) -> None:
        """Hand what `send` has queued to the sockets, one call for each worker."""
        for member in self._unsent:
            self._flush(member)
        self._unsent.clear()

    def _flush(self, member: Member) -> None:
        channel = member.handle.channel
        if not channel.flush() and not member.watches_out:
            member.watches_out = True
            self._watch.modify(channel.fileno(), select.POLLIN | select.POLLOUT)

    def drop_segments(self, numbers: Sequence[int]) -> None:
        """Let the workers drop the segments of these numbers."""
        for member in self._members.values():
            held = member.handle.segments
            if mine := [number for number in numbers if number in held]:
                held.difference_update(mine)
                self._queue(member, Kind.FORGET, pack(mine))

    # --- taking back ---

    def revoke(self, workers: Sequence[int], /) -> Sequence[Event]:
        """Call off what these workers, which have some, have not begun."""
        members = [self._members[worker] for worker in workers]
        for member in members:
            member.revoked = True
            member.handle.page.call_off(member.handle.spans)
        sleep(SETTLING)
        return [Back(member.handle.number, kept) for member in members if (kept := member.give_up())]

    # --- receiving ---

    def listen(self) -> Callable[[], None]:
        """A function that wakes `wait`; see `backends.base`."""
        if self._bell is None:
            self._bell = Bell()
            self._watch.register(self._bell.fileno(), select.POLLIN)
        return self._bell.ring

    def wait(self, timeout: float | None) -> Sequence[Event]:
        """What happened, in order; blocks until something did."""
        self.flush()
        events: list[Event] = []
        rung = False
        deadline = None if timeout is None else monotonic() + timeout
        while not events:
            until = self._look_at if deadline is None else min(deadline, self._look_at)
            left = None if until == inf else min(max(0, ceil((until - monotonic()) * 1000)), _LONGEST_POLL)
            ready = self._watch.poll(left)
            for descriptor, what in ready:
                if self._bell is not None and descriptor == self._bell.fileno():
                    self._bell.silence()
                    rung = True
                    continue
                member = self._by_descriptor[descriptor]
                channel = member.handle.channel
                if what & select.POLLOUT and channel.flush():
                    member.watches_out = False
                    self._watch.modify(descriptor, select.POLLIN)
                if what & ~select.POLLOUT:
                    self._receive(member, events)
                    if channel.ended:
                        with held_back():
                            self._bury(member, events)
            if self._look_at < inf and self._look_at <= monotonic():
                self._end_overdue(events)
            elif not ready:
                break
            if rung:
                break
        return events

    def _receive(self, member: Member, events: list[Event]) -> bool:
        """Read what a worker has sent; whether there was something."""
        frames = member.handle.channel.receive()
        for kind, _, body in frames:
            if kind == _REPLY:
                self._read_reply(member, body, events)
            elif kind == Kind.LEAVING:
                member.leaves = True
            elif kind == Kind.UNFIT:
                raise blame.unfit(pickle.loads(body), self._options.initializer)
            else:
                name = f"worker {member.handle.number}"
                deliver(kind, body, name, named=self._options.worker_names)
        return bool(frames)

    def _read_reply(self, member: Member, body: bytes | bytearray, events: list[Event]) -> None:
        reply: incoming.Reply = unpack(body)  # type: ignore[assignment]  # a cast costs as much as the unpacking
        call, first, seconds = reply[:3]
        if call != self._call:
            return
        self._blameless = 0
        _, tasks, kept = member.owed[0]
        results, failures, box, largest = incoming.read(reply, tasks, member.handle.outboxes)
        if box is not None:
            self._queue(member, Kind.FREED, pack(box))
            if largest >= WAITED_FOR:
                self.flush()  # the worker may wait for it, and our caller may be away for long
        # Not before: a worker whose reply was read by half must not serve another call.
        member.owed.popleft()
        if len(results) < kept:  # it was taken back, or withdrawn
            events.append(Back(member.handle.number, [(first, len(results))]))
        elif member.revoked:
            # It may have run more than it was to keep, if a task began while it was taken back: then another worker
            # has it now, and what this one made of it is dropped.
            incoming.cut(results, failures, first, kept)
        over: Iterable[int] = range(first, first + len(results))
        if failures and self._options.retains:
            over = [index for index in over if index not in failures]
        self._outgoing.done(over)
        if results:
            events.append(Done(member.handle.number, first, results, failures or None, seconds))
        if member.revoked and not member.owed:
            member.revoked = False
            events.append(Up(member.handle.number))

    # --- death and end ---

    def _end_overdue(self, events: list[Event]) -> None:
        """End the workers whose tasks run for too long, and note when the next could."""
        now, limit = monotonic_ns(), self._limit
        next_look = now + limit  # what begins later is over later
        for member in list(self._members.values()):
            index, since = (member.handle.page.running if member.runs() else None) or (None, now)
            if index is None or since + limit > now:
                next_look = min(next_look, since + limit)
            elif self._pool.strike(member.handle):
                with held_back():
                    self._bury(member, events, overdue=index)
        self._look_at = next_look / 1e9

    def _bury(self, member: Member, events: list[Event], *, overdue: int | None = None) -> None:
        handle = member.handle
        self._leave(member)
        self._unsent.discard(member)
        ending = self._pool.ending(handle)
        while not handle.channel.ended and self._receive(member, events):
            pass  # what it had sent before it was ended
        claimed = handle.page.claimed if overdue is None else overdue
        ran = member.ran()
        handle.close()
        task = None if claimed is None else member.owes(claimed)
        left = member.leaves and claimed is None
        # Workers that end with their zygote are one death, however many they are.
        is_death = (self._pool.has_crashed() or ending is not None) and not left
        if claimed is None or task is None:
            claimed = None
            self._blameless += is_death
        elif not self._options.retains:
            self._outgoing.done([claimed])
        error: Exception = blame.died(ending, claimed, task)
        if overdue is not None and claimed is not None and task is not None:
            error = blame.overdue(cast(float, self._options.task_timeout), claimed, task)
        if self._blameless > _MOST_BLAMELESS_DEATHS:
            raise WorkerStartError(
                f"{self._blameless} workers in a row ended before they ran a task; the last: {error}"
            )
        events.append(Died(handle.number, claimed, error, ran, left))
        (successor,) = self._pool.lend(1, self.make)
        self._join(successor)
        events.append(Up(successor.number))

    def _leave(self, member: Member) -> None:
        descriptor = member.handle.channel.fileno()
        self._watch.unregister(descriptor)
        del self._by_descriptor[descriptor]
        del self._members[member.handle.number]

    def forget(self, indexes: Sequence[int]) -> None:
        """These tasks need their segments no longer."""
        self._outgoing.done(indexes)

    def abort(self) -> None:
        """Kill the workers that run something, now, with all that they started; the others go back."""
        self._part()

    def release(self) -> None:
        """Hand the workers back.

        Raises
        ------
        ArrayChangedError
            If an array that tasks shared was changed while they were being sent.
        """
        try:
            if self._members:
                self._outgoing.check()
        finally:
            self._part()

    def _part(self) -> None:
        with held_back():
            self.flush()  # word of an emptied outbox may wait here: no sign that a worker is busy
            members = list(self._members.values())
            self._members.clear()
            self._by_descriptor.clear()
            busy = [member for member in members if member.runs() or member.handle.channel.pending]
            idle = [member for member in members if member not in busy]
            for member in idle:
                if held := member.handle.segments:
                    member.handle.channel.post(Kind.FORGET, pack(list(held)))
                    held.clear()
            self._outgoing.close()
            if self._bell is not None:
                self._bell.close()
            self._pool.give_back(member.handle for member in idle)
            self._pool.kill([member.handle for member in busy])
            if self._own_pool:
                self._pool.shutdown()
