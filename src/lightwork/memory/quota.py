"""What may be stored, and which entries go when there are too many: values in, values out.

Least recently used first. An entry's last use is the later of its times of reading and writing, as the file system
tells them (mounted with ``relatime``, the usual way, it notes a read once a day or after a write; a cache with
limits notes hits itself, see `budget`).

Limits hold by themselves, by **paying with what one frees**. One counter, shared by all processes, says how much room
was granted. A process has an `Account`: it asks for a 512th of the limit at a time, and spends that on what it
stores. When the counter is full, it removes entries and spends the room that this gave, which does not touch the
counter. Who dies takes its unspent room along: then less is stored than might be, never more.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from operator import attrgetter
from typing import Final, NamedTuple

from lightwork.errors import OptionError, OptionTypeError

__all__ = ["Account", "Amount", "Held", "Limits", "charge", "oldest_quarter", "seconds_of", "victims"]

_BLOCK: Final = 4096  # what a small file takes on most file systems
_PORTIONS: Final = 512  # of a limit: how much is asked for at a time


class Held(NamedTuple):
    """An entry that takes room."""

    path: str
    size: int
    used: float


def victims(
    held: Iterable[Held], *, bytes_limit: int | None, items_limit: int | None, unused_since: float | None
) -> list[str]:
    """The entries to remove so that the rest keeps all limits.

    Parameters
    ----------
    held : iterable of Held
        All entries.
    bytes_limit, items_limit : int or None
        What may stay at most.
    unused_since : float or None
        Entries that were last used before this time go in any case.
    """
    oldest_first = sorted(held, key=attrgetter("used"))
    size, count = sum(each.size for each in oldest_first), len(oldest_first)
    gone = []
    for each in oldest_first:
        too_old = unused_since is not None and each.used < unused_since
        too_large = bytes_limit is not None and size > bytes_limit
        too_many = items_limit is not None and count > items_limit
        if not (too_old or too_large or too_many):
            break
        gone.append(each.path)
        size -= each.size
        count -= 1
    return gone


class Limits(NamedTuple):
    """What a cache may hold: bytes, entries, and for how many seconds one may go unused."""

    bytes: int | None = None
    items: int | None = None
    age: float | None = None


class Amount(NamedTuple):
    """Room for entries."""

    bytes: int = 0
    items: int = 0

    def plus(self, other: Amount) -> Amount:
        """The sum."""
        return Amount(self.bytes + other.bytes, self.items + other.items)

    def minus(self, other: Amount) -> Amount:
        """The difference."""
        return Amount(self.bytes - other.bytes, self.items - other.items)


def charge(size: int) -> Amount:
    """The room that an entry of this size takes."""
    return Amount(-(-size // _BLOCK) * _BLOCK, 1)


class Account:
    """The room that one process may still use under some limits."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.left = Amount()

    @property
    def in_debt(self) -> bool:
        """Whether more was stored than was paid for. What has no limit is paid for, too: another may limit it."""
        return self.left.bytes < 0 or self.left.items < 0

    def asks(self, granted: Amount) -> Amount:
        """What to take from the shared counter, which says that this much was granted so far.

        As much as is owed and a portion on top, as far as the limits allow it.
        """
        return Amount(
            _portion(self._limits.bytes, granted.bytes, self.left.bytes, 256 * _BLOCK),
            _portion(self._limits.items, granted.items, self.left.items, 256),
        )

    def add(self, amount: Amount) -> None:
        """Room was granted, or made."""
        self.left = self.left.plus(amount)

    def spend(self, amount: Amount) -> None:
        """Room was used."""
        self.left = self.left.minus(amount)


def _portion(limit: int | None, granted: int, left: int, unlimited: int) -> int:
    if left >= 0:
        return 0
    if limit is None:
        return -left + unlimited
    return max(0, min(-left + limit // _PORTIONS, limit - granted))


def oldest_quarter(held: Iterable[Held]) -> list[Held]:
    """The longest unused quarter of a shard's entries, at least one if there is one."""
    oldest_first = sorted(held, key=attrgetter("used"))
    return oldest_first[: max(1, len(oldest_first) // 4)]


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def seconds_of(duration: object, option: str) -> float:
    """A span of time in seconds, from a number of them, a `timedelta`, or text such as ``"7d"``.

    Examples
    --------
    >>> seconds_of("7d", "expires"), seconds_of(1.5, "expires")
    (604800.0, 1.5)
    """
    seconds: float
    span = sys.modules.get("datetime")  # not imported: no timedelta can be here
    if span is not None and isinstance(duration, span.timedelta):
        seconds = duration.total_seconds()
    elif isinstance(duration, str):
        number, unit = duration.strip()[:-1], duration.strip()[-1:].lower()
        try:
            seconds = float(number) * _UNITS[unit]
        except (KeyError, ValueError):
            raise OptionError(
                f"{option}={duration!r} is not a span of time; write seconds as a number, or '90s', '30m', '7d'"
            ) from None
    elif isinstance(duration, int | float) and not isinstance(duration, bool):
        seconds = float(duration)
    else:
        raise OptionTypeError(f"{option} must be a number of seconds, a timedelta or text, not {duration!r}")
    if not seconds >= 0:
        raise OptionError(f"{option}={duration!r}: a span of time cannot be negative")
    return seconds
