"""What a function can say about itself to a loop, and what the code inside a task can ask.

A callable that already knows some of its results offers `__lightwork_lookup__` on its class. A loop asks it
in the parent, before any worker is involved, and gets one of two answers: `Found` (here is the value) or
`Missing` (send this instead). That is the whole acquaintance of `memory` and `parallel`; neither imports the
other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping
from typing import NamedTuple, Protocol

__all__ = [
    "Found",
    "Missing",
    "Remembered",
    "ask_when_hiring",
    "be_awaited",
    "inside_worker",
    "is_awaited",
    "will_be_awaited",
]

_inside = False
_here = threading.local()
_holders: list[Callable[[], bool]] = []


class Found(NamedTuple):
    """The result is already there: no worker is needed."""

    value: object


class Missing(NamedTuple):
    """The result must be computed: what to send to the worker, and what to do with its answer.

    Calls with equal results have one name (`same`), where that is known; of those under way at one time a loop sends
    one, and then asks `again` for each of the others.
    """

    func: Callable[..., object]
    args: tuple[object, ...]
    kwargs: Mapping[str, object]
    finish: Callable[[object], object] | None = None
    same: Hashable | None = None
    again: Callable[[], Found | None] | None = None


class Remembered(Protocol):
    """A callable that may know its results already."""

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Compute, or answer from memory."""

    def __lightwork_lookup__(
        self, args: tuple[object, ...], kwargs: Mapping[str, object], stream: bytes = b"", /
    ) -> Found | Missing:
        """Whether the result of this call is known, and if not, what to send to a worker.

        In a loop with a seed the result depends on the task's stream of random numbers, too, which `stream` names.
        """


def inside_worker() -> bool:
    """Whether this process is one of lightwork's workers (so that loops inside tasks stay small)."""
    return _inside


def enter_worker() -> None:
    """Say that this process is a worker from now on; `worker.main` calls it once."""
    global _inside
    _inside = True


# --- who may wait ---------------------------------------------------------------------------------------
#
# Whoever runs a loop waits for its workers. If it holds something meanwhile that others wait for (a key that is being
# computed), then a worker that waits for such a thing can close a ring that no lock sees, since "waits for its
# workers" is no lock. So workers of such loops are told, and do not wait.


def ask_when_hiring(holds: Callable[[], bool]) -> None:
    """Register a function that says whether the calling thread holds what others may wait for."""
    _holders.append(holds)


def will_be_awaited() -> bool:
    """Whether workers that this thread hires now are awaited by somebody who holds what others may wait for."""
    return is_awaited() or any(holds() for holds in _holders)


def be_awaited(awaited: bool, *, process: bool = False) -> None:
    """Say so of this thread, or of all threads of this worker process."""
    global _process_awaited
    if process:
        _process_awaited = awaited
    else:
        _here.awaited = awaited


_process_awaited = False


def is_awaited() -> bool:
    """Whether this code must not wait for what others hold."""
    return _process_awaited or getattr(_here, "awaited", False)
