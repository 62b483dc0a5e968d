"""What a function can say about itself to a loop, and what the code inside a task can ask.

A callable that already knows some of its results offers `__lightwork_lookup__` on its class. A loop asks it
in the parent, before any worker is involved, and gets one of two answers: `Found` (here is the value) or
`Missing` (send this instead). That is the whole acquaintance of `memory` and `parallel`; neither imports the
other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

__all__ = ["Found", "Missing", "Remembered", "inside_worker"]

_inside = False


class Found(NamedTuple):
    """The result is already there: no worker is needed."""

    value: object


class Missing(NamedTuple):
    """The result must be computed: what to send to the worker, and what to do with its answer."""

    func: Callable[..., object]
    args: tuple[object, ...]
    kwargs: Mapping[str, object]
    finish: Callable[[object], object] | None = None


class Remembered(Protocol):
    """A callable that may know its results already."""

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Compute, or answer from memory."""

    def __lightwork_lookup__(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> Found | Missing:
        """Whether the result of this call is known, and if not, what to send to a worker."""


def inside_worker() -> bool:
    """Whether this process is one of lightwork's workers (so that loops inside tasks stay small)."""
    return _inside


def enter_worker() -> None:
    """Say that this process is a worker from now on; `worker.main` calls it once."""
    global _inside
    _inside = True
