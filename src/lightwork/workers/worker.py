"""The worker: takes tasks from its socket, runs them one after the other, sends back what they returned.

A worker is forked from the zygote, so the first thing it does is to become different from its siblings:
whatever holds entropy is seeded anew (two forks of one process draw equal numbers otherwise). Then it serves
its socket until it is told to stop or the parent has gone. Nothing is shared with other workers.

Before each task the worker claims it on the control page, before even its arguments are read, so that its
parent knows whom to blame for its death; a task that it finds called off there it does not run: a reply with
fewer results than its span has tasks gives back the rest. Arguments are made anew for each task from bytes, and
so is any function that can carry state. Replies are queued and sent as the socket takes them; a worker that has
tasks never waits for its parent to read.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast

from lightwork.workers import anonymous, functions, limits, main_module, multiprocess
from lightwork.workers.channel import Channel
from lightwork.workers.current import CurrentTask, answer_in_process
from lightwork.workers.entropy import become_different
from lightwork.workers.failures import describe
from lightwork.workers.framing import Kind
from lightwork.workers.outboxes import Outbox
from lightwork.workers.page import Page, clocked, open_once
from lightwork.workers.payload import (
    ATOMS,
    INSIDE,
    decode_arguments,
    encode_result,
    pack,
    unpack,
)
from lightwork.workers.prctl import adoption, death_signal
from lightwork.workers.relay import Relay, Surroundings
from lightwork.workers.sources import Sources

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["main"]

# Printed text that waits here for the parent (bytes) before a task that prints more waits too.
_MOST_OUTPUT = 16 << 20
# An idle worker leaves by itself after this long; the next call forks another in a millisecond.
_IDLE_SECONDS = 300.0

_Callable = Callable[..., object]
_P = ParamSpec("_P")
_T = TypeVar("_T")
# These need no thought on their way back: immutable, of one exact type, and small.
_SMALL = ATOMS - {str, bytes}


class _Function:
    """A function of the call: its bytes, and the one copy that serves all tasks, if one may."""

    __slots__ = ("data", "places", "ready")

    def __init__(self, data: bytes, places: list[int]) -> None:
        self.data = data
        self.places = places
        self.ready: _Callable | None = None


class Worker:
    """The state of a worker between frames."""

    def __init__(self, number: int, sock: int, page: int, outboxes: Sequence[int]) -> None:
        self.number = number
        self._channel = Channel(socket.socket(fileno=sock), takes_descriptors=True)
        self._page = open_once(page)
        self._begun = 0
        self._outbox = Outbox(outboxes)
        self._frames: deque[tuple[int, int, bytes | bytearray]] = deque()
        self._call = 0
        self._read_only = False
        self._task_timeout: float | None = None
        self._attempt = 1
        self._functions: dict[int, _Function] = {}
        self._undefined: Exception | None = None
        self._segments: dict[int, tuple[int, int]] = {}
        self._watch = select.poll()
        self._watch.register(self._channel.fileno(), select.POLLIN)
        self._relay = Relay(self._send_now)
        self._relay.install()
        self._sources = Sources()
        self._outdated = False
        self._threads = "1"
        self._environment: dict[str, str] = {}
        self._most_tasks: int | None = None
        self._tasks_run = 0

    def serve(self) -> None:
        """Take frames until told to stop, until the parent has gone, or until nothing has come for long."""
        obey: dict[int, Callable[[bytes | bytearray], object]] = {
            Kind.INIT: self._initialize,
            Kind.CALL: self._begin_call,
            Kind.FUNCTION: self._take_function,
            Kind.DEFINE: self._define,
            Kind.SEGMENT: self._take_segment,
            Kind.FORGET: self._forget_segments,
            Kind.SHRINK: lambda _: self._outbox.shrink(),
            Kind.TASKS: self._run,
        }
        while True:
            while not self._frames:
                if not self._receive(_IDLE_SECONDS):
                    self._leave()
                    return
            kind, _, body = self._frames.popleft()
            if kind == Kind.STOP:
                return
            obey[kind](body)
            if self._outdated:
                self._leave()
                return

    def _leave(self) -> None:
        """Say that this end is no death: whatever was sent here meanwhile has no part in it."""
        self._channel.queue(Kind.LEAVING)
        self._send_down_to(0)

    def _receive(self, seconds: float) -> bool:
        """Wait for a frame, sending meanwhile what is queued; False when none will come."""
        while True:
            frames = self._channel.receive()
            for kind, _, body in frames:
                if kind == Kind.FREED:
                    self._outbox.freed(cast(int, unpack(body)))
                else:
                    self._frames.append((kind, 0, body))
            if frames:
                return True
            if self._channel.ended:
                return False
            out = select.POLLOUT if self._channel.pending else 0
            self._watch.modify(self._channel.fileno(), select.POLLIN | out)
            if not self._watch.poll(seconds * 1000) and not out:
                return False
            self._channel.flush()

    def _send_now(self, kind: int, body: bytes) -> None:
        """Send what a task printed; the one thing that may wait for the parent to read, as a pipe would."""
        self._channel.queue(kind, body)
        self._send_down_to(_MOST_OUTPUT)

    def _send_down_to(self, backlog: int) -> None:
        """Send until no more than so many bytes wait here; an end that has closed takes them all."""
        while not self._channel.flush() and self._channel.backlog > backlog:
            self._watch.modify(self._channel.fileno(), select.POLLOUT)
            self._watch.poll()

    # --- what a call brings ---

    def _begin_call(self, body: bytes | bytearray) -> None:
        self._outdated = self._sources.changed()
        if self._outdated:
            return  # not a task was begun; the successor imports the files as they are now
        call = cast("dict[str, object]", unpack(body))
        self._call = cast(int, call["call"])
        self._read_only = cast(bool, call["read_only"])
        self._task_timeout = cast("float | None", call["task_timeout"])
        functions.be_awaited(cast(bool, call["awaited"]), process=True)
        if (streams := sys.modules.get("lightwork.workers.streams")) is not None:
            streams.put_back()  # else a call without a seed would draw on from the last task of one that had one
        self._functions.clear()
        self._undefined = None
        main_module.forget()
        multiprocess.adopt(cast("multiprocess.Settings | None", call["multiprocessing"]))
        sys.path[:] = cast("list[str]", call["path"])
        sys.argv[:] = cast("list[str]", call["argv"])
        for number, descriptor in enumerate(self._channel.take_descriptors(cast(int, call["streams"])), 1):
            os.dup2(descriptor, number)
            os.close(descriptor)
        self._enter(cast("str | None", call["folder"]))
        self._adopt_environment(cast("dict[str, str] | None", call["environment"]))
        # Last: filters name classes, whose modules are imported here, and those may load libraries that read variables.
        if call["surroundings"] is not None:
            self._relay.adopt(cast("Surroundings", call["surroundings"]))
        else:
            self._relay.put_back()

    def _enter(self, folder: str | None) -> None:
        """Make the parent's working folder this one's: by name, or by descriptor where it has none."""
        if folder is None:
            (here,) = self._channel.take_descriptors(1)
            os.fchdir(here)
            os.close(here)
        elif _working_folder() != folder:  # where one is already, one may be without a right to go
            os.chdir(folder)

    def _adopt_environment(self, told: dict[str, str] | None) -> None:
        """Let the parent's variables hold; told nothing, put back what tasks have changed of those told last."""
        if told is not None:
            self._environment = told
        elif os.environ == self._environment:
            return
        for name in os.environ.keys() - self._environment.keys():
            del os.environ[name]
        os.environ.update(self._environment)
        if told is not None:
            self._adopt_threads(told)

    def _adopt_threads(self, environment: dict[str, str]) -> None:
        """The zygote loads libraries with one thread; tell them, and those that tasks loaded, this call's share."""
        wanted = environment.get("OPENBLAS_NUM_THREADS", "")
        if "numpy" in sys.modules and wanted != self._threads and wanted.isdigit():
            limits.limit_threads(int(wanted))
        self._threads = wanted

    def _initialize(self, body: bytes | bytearray) -> None:
        limit, self._most_tasks, data = cast("tuple[int | None, int | None, bytes | None]", unpack(body))
        if limit is not None:
            limits.limit_memory(limit)
        if data is None:
            return
        try:
            func, args = cast("tuple[_Callable, tuple[object, ...]]", self._unpickle(pickle.loads, data))
            func(*args)
            main_module.keep(func)
            for known in self._functions.values():
                main_module.equip(known.ready)
        except BaseException as error:
            self._relay.flush()
            self._channel.post(Kind.UNFIT, pickle.dumps(describe(error)))
            self._outdated = True
        self._relay.flush()

    def _define(self, body: bytes | bytearray) -> None:
        try:
            main_module.install(body)
        except Exception as error:
            error.add_note(
                "raised in a worker, which could not make what tasks use of __main__ from its pickle"
            )
            self._undefined = error  # for those tasks that need what is missing now

    def _take_function(self, body: bytes | bytearray) -> None:
        number, data, places, stateless = cast("tuple[int, bytes, list[int], bool]", unpack(body))
        known = self._functions[number] = _Function(data, places)
        if stateless:
            try:
                known.ready = self._on_the_clock(self._load(data, places))
            except Exception:
                return  # each task that uses it loads it again, and reports the error as its own

    def _take_segment(self, body: bytes | bytearray) -> None:
        number, size = cast("tuple[int, int]", unpack(body))
        (descriptor,) = self._channel.take_descriptors(1)
        self._segments[number] = descriptor, size

    def _forget_segments(self, body: bytes | bytearray) -> None:
        for number in cast("list[int]", unpack(body)):
            os.close(self._segments.pop(number)[0])

    def _fetch(self, number: int) -> Buffer:
        descriptor, size = self._segments[number]
        return anonymous.private_map(descriptor, size, writable=not self._read_only)

    def _load(self, data: bytes, places: list[int]) -> _Callable:
        buffers = [self._fetch(place) for place in places]
        func = cast(_Callable, self._unpickle(pickle.loads, data, buffers=buffers))
        main_module.equip(func)
        return func

    def _unpickle(self, load: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return load(*args, **kwargs)
        except AttributeError:
            if self._undefined is None:
                raise
            raise self._undefined from None  # which is why a name is missing

    # --- tasks ---

    def _run(self, body: bytes | bytearray) -> None:
        call, first, numbers, told, self._attempt, names = cast(
            "tuple[int, int, int | list[int], list[object] | tuple[object, ...], int, tuple[str, ...]]",
            unpack(body),
        )
        named = -len(names)  # the last values of each task are for these
        # A tuple holds the one argument of each task.
        entries: list[object] = list(zip(told, strict=True)) if isinstance(told, tuple) else told
        words = self._page.words
        words[Page.BEGUN] = self._begun = span = self._begun + 1
        results: list[object] = []
        failures: list[tuple[int, object]] = []
        several = None if type(numbers) is int else cast("list[int]", numbers)
        fixed = None if several or numbers == INSIDE else self._functions[cast(int, numbers)].ready
        begun = time.perf_counter()
        if words[Page.WITHDRAWN + span % Page.RING] == span:
            entries = []
        for index, entry in enumerate(entries, first):
            words[0] = index + 1  # Page.CLAIMED and Page.LIMIT, without the cost of a name
            if words[1] >= span:
                words[0] = 0
                break
            try:
                func = fixed
                if func is None:
                    func = self._function(several[index - first] if several else cast(int, numbers))
                if type(entry) is tuple:
                    if not names:
                        value = func(*entry)
                    elif named == -1:  # written out: less than half the cost
                        value = func(*entry[:-1], **{names[0]: entry[-1]})
                    else:
                        value = func(*entry[:named], **dict(zip(names, entry[named:])))  # noqa: B905 - 0.1 µs
                else:
                    args, kwargs = self._unpickle(decode_arguments, entry, self._fetch)
                    value = func(*args, **kwargs)
                    del args, kwargs
                results.append(value if type(value) in _SMALL else self._encode(value))
                del value
            except BaseException as error:  # whatever a task raises is its caller's to handle
                results.append(None)
                failures.append((index, describe(error)))
        seconds = time.perf_counter() - begun
        self._relay.flush()
        self._sources.note()
        self._outbox.close_reply()
        # Sent now, though the next message may be brief too: it may as well take an hour, and its reader waits.
        self._channel.post(Kind.REPLY, pack((call, first, seconds, results, failures or None)))
        words[Page.CLAIMED] = 0
        self._tasks_run += len(results)
        if self._most_tasks is not None and self._tasks_run >= self._most_tasks:
            self._outdated = True

    def _function(self, number: int) -> _Callable:
        """The function of a task; made anew where it can carry state from one task to the next."""
        if number == INSIDE:
            return self._on_the_clock(_call)
        known = self._functions[number]
        return known.ready or self._on_the_clock(self._load(known.data, known.places))

    def _on_the_clock(self, func: _Callable) -> _Callable:
        """A function that writes on the page when it begins and ends, in calls whose tasks have a time limit."""
        return func if self._task_timeout is None else clocked(func, self._page)

    def current_task(self) -> CurrentTask | None:
        """What runs in this process; nothing between two tasks."""
        index, limit, running = self._page.claimed, self._task_timeout, self._page.running
        if index is None:
            return None
        deadline = None if limit is None or running is None else running[1] / 1e9 + limit
        return CurrentTask(index, self.number, self._attempt, deadline)

    def _encode(self, value: object) -> object:
        try:
            return encode_result(value, self._lay, self._outbox.threshold)
        except Exception as error:
            from lightwork.errors import PicklingFailedError
            from lightwork.persist.pickling import culprit_in

            path, culprit = culprit_in(value, "result")
            raise PicklingFailedError(
                f"the {path}, of type {type(culprit).__name__}, cannot be pickled and so cannot leave its worker"
                f" ({type(error).__name__}: {error}); return something that can",
                path,
            ) from error

    def _lay(self, buffers: Sequence[memoryview]) -> list[int]:
        while self._outbox.must_wait:
            if not self._receive(_IDLE_SECONDS) and self._channel.ended:
                raise SystemExit  # the parent has gone: nobody waits for this result
        return self._outbox.lay(buffers)


def _working_folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None  # it was removed


def _call(func: _Callable, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
    """Runs a function that came inside its task."""
    main_module.equip(func)
    return func(*args, **kwargs)


def main(number: int, sock: int, page: int, *outboxes: int) -> None:
    """Be a worker, from the fork to a normal end of the interpreter.

    Parameters
    ----------
    number : int
        The worker's number in its pool.
    sock, page : int
        Descriptors of the socket to the parent and of the control page.
    *outboxes : int
        Descriptors of the memories for big results.
    """
    functions.enter_worker()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    become_different()
    # A child that `multiprocessing` spawned holds the user's script under this name, and so do its functions.
    sys.modules.setdefault("__mp_main__", sys.modules["__main__"])
    worker = Worker(number, sock, page, outboxes)
    answer_in_process(worker.current_task)
    worker.serve()


def spawned(number: int, *descriptors: int) -> None:
    """Be a worker in an interpreter of its own; the parameters are those of `main`."""
    death_signal(signal.SIGKILL)()
    adoption()()
    main(number, *descriptors)
