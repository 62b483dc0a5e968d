"""What workers print, warn and log arrives where the parent's own would: its streams, its warnings, its handlers.

A worker has no streams of its own. Its ``sys.stdout`` and ``sys.stderr`` hand whole lines to the socket; warnings
that its filters let through and log records that its levels let through travel as such. The parent writes, shows
and handles them in the thread that runs the loop, so that whatever captures or redirects there (pytest, a
notebook, ``contextlib.redirect_stdout``, a logging configuration) holds for workers too. What C code and child
processes write to the descriptors 1 and 2 goes there directly: workers have the parent's.

What a worker must know for that, warning filters and logging levels as they are in the parent when a call begins,
is its `surroundings`.
"""

from __future__ import annotations

import io
import os
import pickle
import re
import sys
import threading
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, Protocol, TextIO, cast

from lightwork.errors import NotFollowedWarning
from lightwork.workers.framing import Kind
from lightwork.workers.payload import pack, unpack

if TYPE_CHECKING:
    import logging

__all__ = ["Relay", "deliver", "surroundings", "with_name"]

_STREAMS = ("stdout", "stderr")
# Stands among the names of loggers for the level that `logging.disable` set; no logger is called so.
_DISABLED = "\0"

# A line with its end; progress bars end theirs with a carriage return.
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")

_Action = Literal["default", "error", "ignore", "always", "module", "once"]

_Spelled = tuple[_Action, str | tuple[str, int] | None, bytes, str | tuple[str, int] | None, int]
_Text = str | re.Pattern[str] | None

Surroundings = dict[str, object]
"""Warning filters and logging levels, in a form that can be packed."""


# --- the parent's side --------------------------------------------------------------------------------


def surroundings() -> Surroundings:
    """The warning filters and logging levels that hold now, in a form that can be packed and compared."""
    return {"filters": _filters(), "levels": _levels()}


def _filters() -> list[object]:
    said: list[object] = []
    for action, message, category, module, line in warnings.filters:
        try:
            # A class, or several: `simplefilter` takes both.
            said.append((action, _spelled(message), pickle.dumps(category, 5), _spelled(module), line))
        except Exception:
            continue  # a category without an importable name can hardly be raised in a worker
    return said


def _spelled(text: object) -> str | tuple[str, int] | None:
    """What a filter holds: a text that must be equal, or an expression that must match."""
    if isinstance(text, re.Pattern):
        return str(text.pattern), text.flags
    if text is None or type(text) is str:
        return text
    raise TypeError(f"{text!r} cannot stand in a filter")


def _levels() -> dict[str, int] | None:
    """Levels by logger's name, the root's under the empty one; None while nobody has loaded `logging`."""
    logging = sys.modules.get("logging")
    if logging is None:
        return None
    manager = logging.root.manager
    found = {
        name: logger.level for name, logger in list(manager.loggerDict.items()) if getattr(logger, "level", 0)
    }
    return {**found, "": logging.root.level, _DISABLED: manager.disable}


def deliver(kind: int, body: bytes | bytearray, worker: str, *, named: bool = False) -> None:
    """Give what a worker sent to the stream, the warning display or the logger that it is for.

    Parameters
    ----------
    kind, body : int, bytes
        The frame.
    worker : str
        The worker's name, which log records carry as that of their process.
    named : bool
        Whether the name is to stand before each printed line.
    """
    if kind == Kind.OUTPUT:
        number, data = cast("tuple[int, bytes]", unpack(body))
        stream = cast("TextIO | None", getattr(sys, _STREAMS[number]))
        if stream is not None:  # a program without streams (pythonw) prints nowhere
            text = data.decode("utf-8", "replace")
            _write(stream, with_name(text, worker) if named else text)
            stream.flush()
    elif kind == Kind.WARNING:
        message, category, filename, line = cast(
            "tuple[Warning, type[Warning], str, int]", pickle.loads(body)
        )
        # The worker's filters, which are ours, have let it through already.
        warnings.showwarning(message, category, filename, line)
    else:
        import logging

        record = logging.makeLogRecord(cast("Mapping[str, object]", pickle.loads(body)))
        if record.processName == "MainProcess":  # what every process of ours would call itself
            record.processName = worker
        logging.getLogger(record.name).handle(record)


def with_name(text: str, worker: str) -> str:
    """Printed text with a name before each of its lines; a line without an end gets one, so that no two share a name.

    Examples
    --------
    >>> with_name("one\\ntwo", "worker 3")
    '[worker 3] one\\n[worker 3] two\\n'
    """
    lines = [f"[{worker}] {line}" for line in _LINE.findall(text)]
    return "".join(lines) + ("" if text.endswith(("\n", "\r")) else "\n")


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


# --- the worker's side --------------------------------------------------------------------------------


def _read(spelled: str | tuple[str, int] | None) -> _Text:
    return re.compile(*spelled) if isinstance(spelled, tuple) else spelled


class _Sender(Protocol):
    def __call__(self, kind: int, body: bytes, /) -> None: ...


class Relay:
    """A worker's streams, warnings and log records, on their way to the parent.

    Parameters
    ----------
    send : callable
        Sends a frame at once; called in the main thread only.
    """

    def __init__(self, send: _Sender) -> None:
        self._send = send
        self._raw = [_Lines(self, number) for number in range(len(_STREAMS))]
        self._waiting: list[tuple[int, bytes]] = []
        self._handler: logging.Handler | None = None
        self._filters: list[tuple[str, _Text, object, _Text, int]] = []

    def install(self) -> None:
        """Take the place of this process's streams and of its display of warnings.

        A child that a task forks has no part in the socket: it writes to the descriptors.
        """
        plain = {name: getattr(sys, name) for name in _STREAMS}
        show = warnings.showwarning
        for name, raw in zip(_STREAMS, self._raw, strict=True):
            errors = "strict" if name == "stdout" else "backslashreplace"
            stream = io.TextIOWrapper(
                io.BufferedWriter(raw), encoding="utf-8", errors=errors, line_buffering=True
            )
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
        warnings.showwarning = self._warn

        def restore() -> None:
            for name, stream in plain.items():
                setattr(sys, name, stream)
                setattr(sys, f"__{name}__", stream)
            warnings.showwarning = show
            if self._handler is not None:
                import logging

                logging.root.removeHandler(self._handler)

        os.register_at_fork(after_in_child=restore)

    def adopt(self, told: Surroundings) -> None:
        """Let the parent's warning filters and logging levels hold in this worker."""
        # The parent looked at the same functions and has told it, with the user's line, which is not to be seen here.
        self._filters = [("ignore", None, NotFollowedWarning, None, 0)]
        for action, message, kind, module, line in cast("list[_Spelled]", told["filters"]):
            try:
                category = pickle.loads(kind)
            except Exception:
                continue  # its module is not there: nobody can raise it here
            self._filters.append((action, _read(message), category, _read(module), line))
        self.put_back()
        levels = cast("dict[str, int] | None", told["levels"])
        if levels is not None:
            self._adopt_levels(levels)

    def put_back(self) -> None:
        """Undo what tasks have changed in the filters."""
        if warnings.filters != self._filters:
            # None of the module's functions can make each filter that there may be; this one forgets what it knew.
            warnings.resetwarnings()
            cast("list[object]", warnings.filters).extend(self._filters)

    def _adopt_levels(self, levels: dict[str, int]) -> None:
        import logging

        for name, logger in list(logging.root.manager.loggerDict.items()):
            if isinstance(logger, logging.Logger) and name not in levels:
                logger.setLevel(logging.NOTSET)
        logging.disable(levels.pop(_DISABLED))
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        if self._handler is None:
            self._handler = _log_handler(self)
            logging.root.addHandler(self._handler)

    def post(self, kind: int, body: bytes) -> None:
        """Send a frame; one of another thread waits for the main thread, which owns the socket."""
        if threading.current_thread() is threading.main_thread():
            self._send_waiting()
            self._send(kind, body)
        else:
            self._waiting.append((kind, body))

    def flush(self) -> None:
        """Send what is begun: after a task, a line without an end is one."""
        for name, raw in zip(_STREAMS, self._raw, strict=True):
            try:
                getattr(sys, name).flush()
            except (AttributeError, OSError, ValueError):
                continue  # a task closed or replaced the stream; that is its right
            raw.send_rest()
        self._send_waiting()

    def _send_waiting(self) -> None:
        while self._waiting:
            self._send(*self._waiting.pop(0))

    def _warn(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if file is not None:
            file.write(warnings.formatwarning(str(message), category, filename, lineno, line))
            return
        try:
            body = pickle.dumps((message, category, filename, lineno), 5)
        except Exception:  # a warning that cannot be pickled is still one to be read
            body = pickle.dumps(
                (UserWarning(f"{category.__name__}: {message}"), UserWarning, filename, lineno), 5
            )
        self.post(Kind.WARNING, body)

    def log(self, record: logging.LogRecord) -> None:
        """Send a record; whatever in it cannot travel does so as text."""
        fields = {**record.__dict__, "msg": record.getMessage(), "args": None, "exc_info": None}
        if record.exc_info and not record.exc_text:
            import traceback

            fields["exc_text"] = "".join(traceback.format_exception(*record.exc_info)).rstrip()
        try:
            body = pickle.dumps(fields, 5)
        except Exception:
            simple = (str, int, float, type(None))
            body = pickle.dumps({k: v if type(v) in simple else str(v) for k, v in fields.items()}, 5)
        self.post(Kind.LOG, body)


class _Lines(io.RawIOBase):
    """The raw end of a stream: sends whole lines, keeps the beginning of the next."""

    def __init__(self, relay: Relay, number: int) -> None:
        self._relay = relay
        self._number = number
        self._rest = b""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        """The descriptor of the real stream, for those who write to it past Python."""
        return self._number + 1

    def write(self, data: object) -> int:
        piece = bytes(cast(bytes, data))
        whole = self._rest + piece
        # A carriage return ends a line too: progress bars are made of them.
        end = max(whole.rfind(b"\n"), whole.rfind(b"\r")) + 1
        self._rest = whole[end:]
        if end:
            self._relay.post(Kind.OUTPUT, pack((self._number, whole[:end])))
        return len(piece)

    def send_rest(self) -> None:
        if self._rest:
            rest, self._rest = self._rest, b""
            self._relay.post(Kind.OUTPUT, pack((self._number, rest)))


def _log_handler(relay: Relay) -> logging.Handler:
    import logging

    class Forwarding(logging.Handler):
        """Hands records to the relay."""

        def emit(self, record: logging.LogRecord) -> None:
            try:
                relay.log(record)
            except Exception:
                self.handleError(
                    record
                )  # a record that cannot be formatted; as any handler of `logging` does

    return Forwarding()
