"""A progress bar for loops: rich's where rich is installed, else one plain line that is written over.

It shows itself on a terminal only. Elsewhere (a log file, a CI run) it is silent, unless asked for with
``always``: then a plain line is written now and then. Drawing is bounded by time, not by the number of tasks,
and no thread is started for it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Protocol, TextIO

from lightwork.observe.messages import short_format_time

__all__ = ["Progress"]

# Seconds between two drawings: about what an eye follows on a terminal; rare enough for a log elsewhere.
_ON_TERMINAL = 0.1
_IN_LOG = 10.0
_WIDTH = 24


class Progress:
    """How far a loop has come.

    Parameters
    ----------
    total : int or None
        How many steps there will be; None where that is not known.
    describe : str
        What is going on, in a word or two.
    always : bool
        Write plain lines also where the stream is not a terminal.
    stream : text file, optional
        Where to draw; standard error by default.
    clock : callable
        Seconds on a steady clock.

    Examples
    --------
    >>> bar = Progress(10, "fits")
    >>> bar.start()
    >>> bar.advance(10)
    >>> bar.close()
    """

    def __init__(
        self,
        total: int | None,
        describe: str,
        *,
        always: bool = False,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total = total
        self._describe = describe
        self._stream = stream if stream is not None else sys.stderr
        self._clock = clock
        self._done = 0
        self._drawing: _Drawing | None = None
        terminal = self._stream is not None and self._stream.isatty()
        self._wanted = self._stream is not None and (terminal or always)
        self._terminal = terminal
        self._pause = _ON_TERMINAL if terminal else _IN_LOG
        self._next = 0.0

    def start(self) -> None:
        """Begin to draw."""
        if not self._wanted:
            return
        if not self._terminal:
            self._drawing = _Log(self._stream, self._describe, self._clock())
        elif find_spec("rich") is not None:
            self._drawing = _Rich(self._stream, self._describe, self._total)
        else:
            self._drawing = _Line(self._stream, self._describe, self._clock())
        self._next = self._clock() + (0 if self._terminal else self._pause)

    def advance(self, count: int) -> None:
        """So many more steps are done."""
        self._done += count
        if self._drawing is None:
            return
        now = self._clock()
        if now >= self._next:
            self._next = now + self._pause
            self._drawing.draw(self._done, self._total, now)

    def expect(self, total: int) -> None:
        """It is known now how many steps there will be; a total that was said stays."""
        if self._total is None:
            self._total = total

    def close(self) -> None:
        """Draw the last state and leave the line; closing twice does nothing."""
        drawing, self._drawing = self._drawing, None
        if drawing is not None:
            drawing.draw(self._done, self._total, self._clock())
            drawing.close()


class _Drawing(Protocol):
    """One way of showing how far we are."""

    def draw(self, done: int, total: int | None, now: float) -> None: ...

    def close(self) -> None: ...


class _Log:
    """Whole lines, for files."""

    def __init__(self, stream: TextIO, describe: str, begun: float) -> None:
        self._stream = stream
        self._describe = describe
        self._begun = begun

    def draw(self, done: int, total: int | None, now: float) -> None:
        self._stream.write(self._text(done, total, now) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Nothing is open."""

    def _text(self, done: int, total: int | None, now: float) -> str:
        elapsed = now - self._begun
        took = short_format_time(elapsed).strip()
        if total is None:
            return f"{self._describe}: {done} done, {took}"
        left = short_format_time(elapsed / done * max(0, total - done)).strip() if done else "?"
        return f"{self._describe}: {done}/{total}, {took}, {left} left"


class _Line(_Log):
    """One line of a terminal, written over."""

    def __init__(self, stream: TextIO, describe: str, begun: float) -> None:
        super().__init__(stream, describe, begun)
        self._length = 0

    def draw(self, done: int, total: int | None, now: float) -> None:
        text = self._text(done, total, now)
        if total:
            filled = min(_WIDTH, _WIDTH * done // total)
            text = f"[{'#' * filled}{'.' * (_WIDTH - filled)}] {text}"
        self._stream.write("\r" + text.ljust(self._length))
        self._stream.flush()
        self._length = len(text)

    def close(self) -> None:
        self._stream.write("\n")
        self._stream.flush()


class _Rich:
    """rich's bar, refreshed by us, so that it needs no thread."""

    def __init__(self, stream: TextIO, describe: str, total: int | None) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bar

        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(file=stream),
            auto_refresh=False,
        )
        self._task = self._bar.add_task(describe, total=total)
        self._bar.start()

    def draw(self, done: int, total: int | None, now: float) -> None:
        self._bar.update(self._task, completed=done, total=total, refresh=True)

    def close(self) -> None:
        self._bar.stop()
