"""Which entries go when there are too many: values in, values out.

Least recently used first. An entry's last use is the later of its times of reading and writing, as the file system
tells them (mounted with ``relatime``, the usual way, it notes a read once a day or after a write).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from operator import attrgetter
from typing import NamedTuple

from lightwork.errors import OptionError, OptionTypeError

__all__ = ["Held", "seconds_of", "victims"]


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
