"""A loop into results: `Parallel`, over the plan that decides and the crews that run.

Pure: `tasks` (what a task is), `plan` (who runs which span), `batching` (how much at once), `outcomes` (the order of
results), `recourse` and `retries` (what becomes of failures). Shells: `pump` (drives one loop), `parallel` (what people
call), `backends` (who runs tasks).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightwork.parallel.parallel import Parallel
    from lightwork.parallel.retries import Retries
    from lightwork.parallel.tasks import delayed
    from lightwork.settings import parallel_backend, parallel_config

__all__ = ["Parallel", "Retries", "delayed", "parallel_backend", "parallel_config"]

# An executor needs none of these: each is imported when it is first asked for.
_LATE = {
    "Parallel": "lightwork.parallel.parallel",
    "Retries": "lightwork.parallel.retries",
    "delayed": "lightwork.parallel.tasks",
    "parallel_backend": "lightwork.settings",
    "parallel_config": "lightwork.settings",
}


def __getattr__(name: str) -> object:
    if name in _LATE:
        from importlib import import_module

        value: object = getattr(import_module(_LATE[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
