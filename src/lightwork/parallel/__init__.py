"""A loop into results: `Parallel`, over the plan that decides and the crews that run.

Pure: `tasks` (what a task is), `plan` (who runs which span), `batching` (how much at once), `outcomes` (the order of
results). Shells: `pump` (drives one loop), `parallel` (what people call), `backends` (who runs tasks).
"""

from __future__ import annotations

from lightwork.parallel.parallel import Parallel
from lightwork.parallel.tasks import delayed
from lightwork.settings import parallel_backend, parallel_config

__all__ = ["Parallel", "delayed", "parallel_backend", "parallel_config"]
