"""How much at once: tasks in a message, messages with a worker, tasks ahead of the reader. Pure: no clock, no IO.

The law: `Pace` is told durations and answers with numbers; it looks at no clock itself. Three things are measured:
how long workers run a task, how long the caller's side needs to make and send one (a slow input counts
here), and how long the reader of a generator stays away between two results.

- A **message** carries a fixed number of tasks where the user gave one, else as many as take about `TARGET` seconds, on
  whichever side is slower. It starts at one and at most doubles, so that a few quick tasks at the start of a
  loop do not put a hundred long ones into one worker.
- With **one worker** lie at most `MOST_QUEUED` messages, and at most about `QUEUED` seconds of work: enough
  that it never waits for us, little enough that it keeps no work from an idle one. Where work can be taken back, there
  is one message behind each that takes less than `LATE`: on a busy machine we may be slow to send the next. While the
  reader of a generator is away nobody sends, so then twice as much lies there as was run during the longest of the late
  absences.
- What a worker has not begun is **taken back** when its message takes more than `LATE` seconds, and more than twice as
  long as was to be expected; or, when somebody is idle, more than `QUEUED`, or if the rest is worth it. It is sent
  again in pieces that leave something for everybody, but are worth a message.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from math import ceil, inf
from typing import Final

from lightwork.errors import OptionError, OptionTypeError

__all__ = ["Pace", "share", "understand", "window"]

# Seconds of work in one message: large against the cost of a message (about 10 µs), small against a person's patience
# and against the end of a loop, where one worker may have this much more to do than the others.
TARGET: Final = 2e-3
QUEUED: Final = 5e-3
MOST_QUEUED: Final = 8
# Busy machines let a worker wait for a core for 10 ms and more (seen with ten busy processes on two cores).
LATE: Final = 50e-3
# Taking back costs a worker's answer and a new message, about 0.2 ms in all; a message costs about 20 µs.
WORTH: Final = 1e-3
_PIECE: Final = 2e-4
# Above this the cost of a message no longer matters, and its tasks begin to weigh in memory.
MOST_TASKS: Final = 1 << 13
# An absence shorter than this is a reader that only appends to a list.
_BRIEF: Final = 1e-4
# A long absence counts a little less with each that follows: half as much after some thirty.
_MEMORY: Final = 0.98


class Pace:
    """Durations in, amounts out.

    Parameters
    ----------
    fixed : int or None
        Tasks in a message where the user decided; None: by measured durations.
    ahead : bool
        Whether the results are read one by one, so that the reader may be away at any time.

    Attributes
    ----------
    size : int
        Tasks in the next message.
    is_fixed : bool
        Whether the user gave the number of tasks in a message.
    gives_back : bool
        Whether work can be taken back, so that one message more with a worker keeps nothing from others.
    """

    __slots__ = ("_away", "_run", "_send", "gives_back", "is_fixed", "size")

    def __init__(self, fixed: int | None = None, *, ahead: bool = False) -> None:
        self.is_fixed = fixed is not None
        self._run: float | None = None
        self._send = 0.0
        self._away = inf if ahead else 0.0
        self.size = fixed or 1
        self.gives_back = False

    def ran(self, count: int, seconds: float) -> None:
        """A worker ran a message of `count` tasks in so many seconds."""
        each = seconds / count
        self._run = run = each if self._run is None else (self._run + each) / 2
        if not self.is_fixed:
            slower = max(run, self._send, 1e-9)
            self.size = max(1, min(int(TARGET / slower), max(self.size, 2 * count), MOST_TASKS))

    def sent(self, count: int, seconds: float) -> None:
        """A message of `count` tasks was made and sent in so many seconds of the caller's."""
        self._send = (self._send + seconds / count) / 2

    def away(self, seconds: float) -> None:
        """The reader came back for more after so many seconds."""
        self._away = seconds if self._away == inf else max(seconds, _MEMORY * self._away)

    def allows(self, messages: int, tasks: int) -> bool:
        """Whether a worker that has so many messages, with so many tasks in all, may get another."""
        if not messages:
            return True
        run = self._run
        if run is None:  # nothing measured yet; a task may take an hour
            return self._away == inf and messages < MOST_QUEUED
        work = tasks * run
        if work < QUEUED and messages < MOST_QUEUED:
            return True
        if messages == 1 and work < LATE and self.gives_back:
            return True
        behind = work - work / messages
        return self._away > _BRIEF and (
            behind < 2 * self._away if self._away < inf else messages < MOST_QUEUED
        )

    def patience(self, tasks: int, *, idle: bool) -> float:
        """How many seconds a message of so many tasks may take before what lies behind is taken back.

        Others that are `idle` wait no longer than for what might lie there.
        """
        return QUEUED if idle else max(LATE, 2 * tasks * (self._run or 0.0))

    def worth(self, tasks: int) -> bool:
        """Whether so many tasks are worth being taken from their worker for one that is idle."""
        return self._run is not None and tasks * self._run >= WORTH

    def piece(self, tasks: int, workers: int) -> int:
        """How many of so many tasks that came back to send at a time."""
        least = 1 if self._run is None else int(_PIECE / max(self._run, 1e-9))
        return max(1, ceil(tasks / workers), min(least, tasks))


# --- pre_dispatch -----------------------------------------------------------------------------------

_OPERATORS: Final[dict[type[ast.AST], Callable[[float, float], float]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


def window(pre_dispatch: int | str, n_jobs: int) -> float:
    """The number behind `pre_dispatch`: ``"all"`` is infinite; text is arithmetic over `n_jobs`.

    The text is parsed and computed by this table of operators, never evaluated as Python.

    Raises
    ------
    OptionError
        If the text is no such arithmetic, or comes to less than 1.

    Examples
    --------
    >>> window("2 * n_jobs", 4), window("1.5*n_jobs", 3), window(7, 4)
    (8, 4, 7)
    """
    if isinstance(pre_dispatch, str):
        if pre_dispatch == "all":
            return inf
        number = _compute(pre_dispatch, n_jobs)
    elif isinstance(pre_dispatch, bool) or not hasattr(pre_dispatch, "__index__"):
        raise OptionTypeError(f"pre_dispatch must be a whole number or text, not {pre_dispatch!r}")
    else:
        number = operator.index(pre_dispatch)
    if not 1 <= number < inf:
        raise OptionError(f"pre_dispatch={pre_dispatch!r} comes to {number}; at least 1 task must be allowed")
    return int(number)


def understand(pre_dispatch: int | str) -> None:
    """Refuse what `window` refuses for any number of workers."""
    if isinstance(pre_dispatch, str) and "n_jobs" in pre_dispatch:
        _compute(pre_dispatch, 97)  # any number that no sensible formula turns into 0
    else:
        window(pre_dispatch, 1)


def _compute(text: str, n_jobs: int) -> float:
    refusal = OptionError(
        f"pre_dispatch={text[:80]!r} is not understood; write 'all', a number, or arithmetic such as '2 * n_jobs'"
    )

    def value(node: ast.AST) -> float:
        match node:
            case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
                return number
            case ast.Name(id="n_jobs"):
                return n_jobs
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return _OPERATORS[type(op)](value(left), value(right))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -value(operand)
            case _:
                raise refusal

    if len(text) > 200:
        raise refusal
    try:
        return value(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError) as error:
        raise refusal from (None if error is refusal else error)


def share(limit: float, workers: int) -> int:
    """The largest span that leaves each worker something to do within a window of `limit` tasks."""
    return max(1, ceil(limit / max(1, workers))) if limit < inf else MOST_TASKS
