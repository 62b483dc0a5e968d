"""Tasks of one loop that are the same call: one is sent, the others wait for its result. Pure.

A remembered function names its calls (`Missing.same`). The first task of a name *leads*; those that come while it is
under way *follow*. A follower is written down when it is taken, like any task, because its arguments may change
afterwards. When the leader has ended, however it ended, each follower looks once more: it finds its own copy of the
result, or is sent after all.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import NamedTuple

from lightwork.workers.functions import Found

__all__ = ["Double", "Doubles"]


class Double(NamedTuple):
    """A task that waits for an equal one: what would be sent, and how to look for the result again."""

    number: int
    same: Hashable
    parcel: object
    again: Callable[[], Found | None]


class Doubles:
    """The leaders that are under way, and who follows them.

    Examples
    --------
    >>> doubles = Doubles()
    >>> doubles.follows(0, "a"), doubles.follows(1, "a"), doubles.follows(2, "b")
    (False, True, False)
    >>> doubles.wait(Double(1, "a", "parcel", lambda: None))
    True
    >>> [double.number for double in doubles.ended(0)], doubles.follows(3, "a")
    ([1], False)
    """

    __slots__ = ("_followers", "_led")

    def __init__(self) -> None:
        self._led: dict[int, Hashable] = {}
        self._followers: dict[Hashable, list[Double]] = {}

    def __bool__(self) -> bool:
        return bool(self._led)

    def follows(self, index: int, same: Hashable) -> bool:
        """Whether an equal task is under way; if not, this one leads from now on."""
        if same in self._followers:
            return True
        self._led[index] = same
        self._followers[same] = []
        return False

    def wait(self, double: Double) -> bool:
        """Let a task wait; False where its leader has ended meanwhile."""
        followers = self._followers.get(double.same)
        if followers is None:
            return False
        followers.append(double)
        return True

    def ended(self, index: int) -> list[Double]:
        """A task has ended; returns those that waited for it."""
        if index not in self._led:
            return []
        return self._followers.pop(self._led.pop(index))
