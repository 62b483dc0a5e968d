"""The lines that loops and remembered functions print, and the short forms of values in them.

Functions here return text; `say` alone writes. Lines of `Parallel` go to standard error, above verbosity 50
to standard output, as joblib's do; lines of `Memory` go to standard output. The work of showing a value is
bounded: a container is cut before its members are looked at, and a `repr` that we do not know the cost of is
not called.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from itertools import islice
from math import isqrt
from typing import Final, Literal

__all__ = [
    "LoopLines",
    "call_text",
    "memory_line",
    "parallel_line",
    "say",
    "short_format_time",
    "shorten",
]


def say(line: str, *, output: bool) -> None:
    """Write a line to standard output (`output`) or standard error, at once."""
    stream = sys.stdout if output else sys.stderr
    if stream is None:  # pythonw and some services have none
        return
    stream.write(f"{line}\n")
    stream.flush()


def short_format_time(seconds: float) -> str:
    """A duration in seven or eight characters.

    Examples
    --------
    >>> short_format_time(0.04), short_format_time(66)
    ('   0.0s', '  1.1min')
    """
    return f"{seconds / 60:5.1f}min" if seconds > 60 else f"{seconds:6.1f}s"


# --- values -----------------------------------------------------------------------------------------

_TEXT: Final = 60
"""Characters of one text, and members and depth of one container that are shown; chosen by taste."""
_MEMBERS: Final = 6
_DEPTH: Final = 3
_CALL: Final = 400

# Types of these modules have a repr of bounded length.
_PLAIN_MODULES: Final = frozenset({"datetime", "decimal", "enum", "fractions", "pathlib", "uuid", "zoneinfo"})
_BRACKETS: Final[dict[type, tuple[str, str]]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
}


def shorten(value: object, depth: int = _DEPTH) -> str:
    """A value as text of bounded length, made with bounded work.

    Examples
    --------
    >>> shorten(list(range(1000)))
    '[0, 1, 2, 3, 4, 5, ... 994 more]'
    """
    kind = type(value)
    if value is None or kind in (bool, float, complex):
        return repr(value)
    if isinstance(value, int) and kind is int:
        return repr(value) if value.bit_length() < 200 else f"<int of {value.bit_length()} bits>"
    if isinstance(value, str | bytes):
        return repr(value) if len(value) <= _TEXT else f"{value[: _TEXT - 10]!r}... {len(value)} long"
    if kind in _BRACKETS:
        return _container(value, kind, depth)
    if kind is dict:
        return _mapping(value, depth)  # type: ignore[arg-type]
    return _other(value, kind, depth)


def _container(value: object, kind: type, depth: int) -> str:
    opening, closing = _BRACKETS[kind]
    size = len(value)  # type: ignore[arg-type]
    if not size:
        return repr(value)
    if not depth:
        return f"{opening}... {size}{closing}"
    shown = [shorten(item, depth - 1) for item in islice(value, _MEMBERS)]  # type: ignore[call-overload]
    if size > _MEMBERS:
        shown.append(f"... {size - _MEMBERS} more")
    comma = "," if kind is tuple and size == 1 else ""
    return f"{opening}{', '.join(shown)}{comma}{closing}"


def _mapping(value: Mapping[object, object], depth: int) -> str:
    if value and not depth:
        return f"{{... {len(value)}}}"
    shown = [
        f"{shorten(key, 0)}: {shorten(item, depth - 1)}" for key, item in islice(value.items(), _MEMBERS)
    ]
    if len(value) > _MEMBERS:
        shown.append(f"... {len(value) - _MEMBERS} more")
    return "{" + ", ".join(shown) + "}"


def _other(value: object, kind: type, depth: int) -> str:
    try:
        shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    except Exception:  # a property of the user's; what it raises must not end the call that is only shown
        return f"<{kind.__name__}>"
    if isinstance(shape, tuple) and not isinstance(value, type):
        return f"<{kind.__name__} {shape}{'' if dtype is None else f' {dtype}'}>"
    if isinstance(value, type):
        return value.__qualname__
    if kind.__module__ in _PLAIN_MODULES or kind.__module__.startswith("pathlib."):
        return repr(value)
    fields = getattr(kind, "__dataclass_fields__", None)
    if isinstance(fields, dict) and depth:
        shown = (f"{field}={shorten(getattr(value, field, None), depth - 1)}" for field in fields)
        return f"{kind.__name__}({', '.join(islice(shown, _MEMBERS))})"
    name = getattr(value, "__qualname__", None)
    return name if isinstance(name, str) and callable(value) else f"<{kind.__name__}>"


def call_text(name: str, args: tuple[object, ...], kwargs: Mapping[str, object]) -> str:
    """A call as text: the function's name with its arguments shortened.

    Examples
    --------
    >>> call_text("fit", (3,), {"kernel": "rbf"})
    "fit(3, kernel='rbf')"
    """
    said = [shorten(value) for value in islice(args, 20)]
    said += [f"{key}={shorten(value)}" for key, value in islice(kwargs.items(), 20)]
    text = ", ".join(said)
    return f"{name}({text if len(text) <= _CALL else text[: _CALL - 4] + ' ...'})"


# --- Memory -----------------------------------------------------------------------------------------


def memory_line(
    event: Literal["computing", "computed", "loaded"], call: str, seconds: float | None = None
) -> str:
    """What is said when a remembered function is called.

    Parameters
    ----------
    event : {"computing", "computed", "loaded"}
        What happened.
    call : str
        The function's name, or the whole call as `call_text` writes it.
    seconds : float, optional
        How long it took.

    Examples
    --------
    >>> memory_line("computing", "features.load(1)")
    '[Memory] Calling features.load(1)...'
    >>> memory_line("computed", "features.load", 0.25)
    '[Memory] features.load computed in 0.2s'
    """
    if event == "computing":
        return f"[Memory] Calling {call}..."
    took = "" if seconds is None else f" in {short_format_time(seconds).strip()}"
    return f"[Memory] {call} {event}{took}"


# --- Parallel ---------------------------------------------------------------------------------------


def parallel_line(n_jobs: int | None, text: str) -> str:
    """A line of a parallel loop.

    Examples
    --------
    >>> parallel_line(2, "Done   6 out of   6 | elapsed:    0.0s finished")
    '[Parallel(n_jobs=2)]: Done   6 out of   6 | elapsed:    0.0s finished'
    """
    return f"[Parallel(n_jobs={n_jobs})]: {text}"


class LoopLines:
    """The lines of one loop: which of them are due at this verbosity, and what they say.

    Parameters
    ----------
    n_jobs : int or None
        As the user gave it; it stands at the head of each line.
    verbose : int
        0 nothing, 1 beginning and end; more, more often; above 10 every time.
    clock : callable
        Seconds on a steady clock.
    """

    def __init__(self, n_jobs: int | None, verbose: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._n_jobs = n_jobs
        self._verbose = verbose
        self._clock = clock
        self._begun = clock()
        self._last = 0

    def started(self, backend: str, workers: int) -> None:
        """The loop has its workers."""
        self._say(f"Using backend {backend} with {workers} concurrent workers.")

    def progress(self, done: int, total: int | None) -> None:
        """So many tasks are done; `total` is None while the input is not exhausted."""
        if not self._due(done) or done == total:
            return
        elapsed = self._clock() - self._begun
        if total is None:
            self._say(f"Done {done:3d} tasks      | elapsed: {short_format_time(elapsed)}")
            return
        remaining = elapsed / done * (total - done)
        self._say(
            f"Done {done:3d} out of {total:3d} | elapsed: {short_format_time(elapsed)}"
            f" remaining: {short_format_time(remaining)}"
        )

    def finished(self, done: int) -> None:
        """All tasks are done."""
        elapsed = short_format_time(self._clock() - self._begun)
        self._say(f"Done {done:3d} out of {done:3d} | elapsed: {elapsed} finished")

    def remembered(self, count: int, total: int) -> None:
        """So many of the results were there before the loop."""
        self._say(f"{count:,} of {total:,} were there.")

    def _due(self, done: int) -> bool:
        """Lines get rarer as the loop goes on: their number grows with the square root of the tasks done."""
        if done <= self._last:
            return False
        step = max(1, (11 - self._verbose) ** 2 // 2) if self._verbose <= 10 else 0
        due = not step or isqrt(done // step) > isqrt(self._last // step)
        if due:
            self._last = done
        return due

    def _say(self, text: str) -> None:
        say(parallel_line(self._n_jobs, text), output=self._verbose > 50)
