"""How long results may be used: `expires=` and `expires_after`. Values in, values out; the clock is the caller's."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from datetime import timedelta

__all__ = ["Expires", "expires_after", "is_fresh", "lifetime"]

Lifetime: TypeAlias = "float | str | timedelta"
Expires: TypeAlias = "Lifetime | Callable[[dict[str, object]], Lifetime]"


def _seconds(span: object, option: str) -> float:
    from lightwork.memory.quota import seconds_of  # here, because few functions have results that expire

    return seconds_of(span, option)


def lifetime(expires: Expires | None) -> float | Callable[[dict[str, object]], Lifetime] | None:
    """What `expires` means: seconds, or a function of an entry's metadata that tells them; None for ever."""
    if expires is None or callable(expires):
        return expires
    return _seconds(expires, "expires")


def is_fresh(
    metadata: dict[str, object], life: float | Callable[[dict[str, object]], Lifetime], now: float
) -> bool:
    """Whether an entry may still be used."""
    seconds = _seconds(life(metadata), "expires") if callable(life) else life
    written = metadata.get("time")
    return isinstance(written, int | float) and now - written < seconds


class expires_after:  # noqa: N801 - joblib's name
    """A `cache_validation_callback` that has results computed again when they are older than this.

    Takes what `datetime.timedelta` takes. ``expires="7d"`` in `Memory.cache` says the same.

    Examples
    --------
    >>> from lightwork import Memory
    >>> from lightwork.memory import expires_after
    >>> memory = Memory("cache", verbose=0)
    >>> fetch = memory.cache(len, cache_validation_callback=expires_after(hours=1))
    >>> fetch("abc")
    3
    >>> fetch.clear()
    """

    def __init__(
        self,
        days: float = 0,
        seconds: float = 0,
        microseconds: float = 0,
        milliseconds: float = 0,
        minutes: float = 0,
        hours: float = 0,
        weeks: float = 0,
    ) -> None:
        from datetime import timedelta

        span = timedelta(days, seconds, microseconds, milliseconds, minutes, hours, weeks)
        self.seconds = _seconds(span, "expires_after")

    def __call__(self, metadata: Mapping[str, object]) -> bool:
        """Whether the entry with this metadata may still be used."""
        return is_fresh(dict(metadata), self.seconds, time.time())

    def __repr__(self) -> str:
        return f"expires_after(seconds={self.seconds:g})"
