"""A loop into results: `Parallel`, over the plan that decides and the crews that run.

Pure: `tasks` (what a task is), `plan` (who runs which span), `batching` (how much at once), `outcomes` (the order of
results), `recourse` and `retries` (what becomes of failures). Shells: `pump` (drives one loop), `parallel` (what people
call), `backends` (who runs tasks).
"""

from __future__ import annotations

from lightwork.parallel.parallel import Parallel
from lightwork.parallel.retries import Retries
from lightwork.parallel.tasks import delayed
from lightwork.settings import parallel_backend, parallel_config

__all__ = ["Parallel", "Retries", "delayed", "parallel_backend", "parallel_config"]
