"""Reading an input in one go, but only as long as it is quick.

A message to a worker holds as many tasks as were worth it until now, thousands where they are tiny. An input may become
slow at any moment (a directory was listed, and now each file is opened; a queue has run dry): then what was read is to
be sent, not to wait for thousands more. The clock is looked at between portions, which are of one item at first, and
after each that was slow; they grow until the look costs an item less than 0.02 µs.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from time import perf_counter
from typing import Final, TypeVar

__all__ = ["Brisk"]

T = TypeVar("T")

_LARGEST: Final = 16
# Seconds; a message is to take about 2 ms to make (`batching.TARGET`), so this cuts none that takes what it should.
_PATIENCE: Final = 5e-3


class Brisk:
    """A way to read inputs.

    Attributes
    ----------
    was_cut : bool
        Whether the last reading ended because it took too long: the input may have more.
    """

    __slots__ = ("_portion", "was_cut")

    def __init__(self) -> None:
        self.was_cut = False
        self._portion = 1

    def read(self, source: Iterator[T], count: int) -> Iterator[T]:
        """As ``islice(source, count)``, but that it ends sooner where the source is slow, though not before its first.

        Examples
        --------
        >>> source = iter(range(10))
        >>> list(Brisk().read(source, 4)), next(source)
        ([0, 1, 2, 3], 4)
        """
        self.was_cut = False
        if count <= 1:
            return islice(source, count)
        return chain.from_iterable(self._portions(source, count))

    def _portions(self, source: Iterator[T], count: int) -> Iterator[Iterator[T]]:
        until = perf_counter() + _PATIENCE
        while count:
            portion = min(self._portion, count)
            yield islice(source, portion)
            count -= portion
            if perf_counter() >= until:
                self._portion = 1
                self.was_cut = count > 0
                return
            self._portion = min(2 * self._portion, _LARGEST)
