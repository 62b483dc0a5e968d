"""A worker process as a member of the crew of one call: what it has been told, and which spans it owes answers for.

Its control page says what it has begun; compared with what it owes, that tells what can be taken back from it, what it
ran of a span that was taken back by half, and what it had run when it died.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice

from lightwork.parallel.backends.base import Task
from lightwork.parallel.backends.outgoing import Told
from lightwork.workers.handle import WorkerHandle

__all__ = ["Member"]


class Member:
    """A worker of the crew: its handle, what it has been told in this call, and what it owes.

    Attributes
    ----------
    owed : deque of (int, sequence of Task, int)
        The spans that it has not answered, in order: the number of the first task, the tasks, and how many of them
        were not taken back.
    revoked : bool
        Whether it is to get no more until it owes nothing.
    leaves : bool
        Whether it has said that it ends of its own accord.
    """

    __slots__ = ("handle", "leaves", "owed", "revoked", "told", "watches_out")

    def __init__(self, handle: WorkerHandle) -> None:
        self.handle = handle
        self.told = Told(handle.segments)
        self.owed: deque[tuple[int, Sequence[Task[object]], int]] = deque()
        self.revoked = False
        self.leaves = False
        self.watches_out = False

    def runs(self) -> bool:
        """Whether it may be running a task; one that only owes word of what was taken back is not."""
        return any(kept for _, _, kept in self.owed)

    def owes(self, index: int) -> Task[object] | None:
        """The task of this number, if it is to run it."""
        for first, tasks, kept in self.owed:
            if first <= index < first + kept:
                return tasks[index - first]
        return None

    def begun(self) -> tuple[int, int]:
        """Which of the spans owed is the last that may have begun (-1: none), and how many of its tasks."""
        page = self.handle.page
        claimed = page.claimed
        if claimed is not None:
            for position, (first, _, kept) in enumerate(self.owed):
                if first <= claimed < first + kept:
                    return position, claimed - first + 1
        position = page.begun - (self.handle.spans - len(self.owed)) - 1
        return position, self.owed[position][2] if position >= 0 else 0

    def ran(self) -> list[tuple[int, int]]:
        """The tasks that it has begun of those owed, in spans."""
        last, count = self.begun()
        found = [(first, kept) for first, _, kept in islice(self.owed, max(last, 0))]
        if last >= 0:
            found.append((self.owed[last][0], count))
        return found

    def give_up(self) -> list[tuple[int, int]]:
        """Owe only what has begun: the spans that were trimmed, and how many tasks of each are kept."""
        last, count = self.begun()
        trimmed: list[tuple[int, int]] = []
        for position in range(max(last, 0), len(self.owed)):
            first, tasks, kept = self.owed[position]
            keeps = count if position == last else 0
            if keeps < kept:
                self.owed[position] = first, tasks, keeps
                trimmed.append((first, keeps))
        return trimmed
