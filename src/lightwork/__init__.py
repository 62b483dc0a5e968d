"""lightwork: parallel loops, remembered functions, and objects in plain pickle files.

The public names are bound when first used (PEP 562), so that ``import lightwork`` costs next to nothing:
no NumPy, no cloudpickle, no pickle is loaded by it. `hash` and `map` are public yet not in ``__all__``, so that
``from lightwork import *`` does not hide the built-ins.
"""

from __future__ import annotations

from lightwork._version import __version__

# Type checkers take this name for true. Importing it from `typing` would be most of what `import lightwork` costs.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from lightwork import errors as errors
    from lightwork.hashing import explain, register_hash
    from lightwork.hashing import hash as hash
    from lightwork.memory import MemorizedFunc, MemorizedResult, Memory, expires_after
    from lightwork.parallel import Parallel, Retries, delayed, parallel_backend, parallel_config
    from lightwork.parallel.asynchronous import aimap, amap
    from lightwork.parallel.backends import register_parallel_backend
    from lightwork.parallel.executor import ProcessExecutor
    from lightwork.parallel.mapping import map as map
    from lightwork.parallel.mapping import starmap
    from lightwork.parallel.sizing import effective_n_jobs
    from lightwork.parallel.streaming import imap, imap_unordered
    from lightwork.parallel.wrapping import wrap_non_picklable_objects
    from lightwork.persist import dump, inspect_file, load, reseal_file, verify_file
    from lightwork.workers.current import current_task
    from lightwork.workers.limits import cpu_count
    from lightwork.workers.pool import pool_info
    from lightwork.workers.streams import rng

__all__ = [
    "MemorizedFunc",
    "MemorizedResult",
    "Memory",
    "Parallel",
    "ProcessExecutor",
    "Retries",
    "__version__",
    "aimap",
    "amap",
    "cpu_count",
    "current_task",
    "delayed",
    "dump",
    "effective_n_jobs",
    "expires_after",
    "explain",
    "imap",
    "imap_unordered",
    "inspect_file",
    "load",
    "parallel_backend",
    "parallel_config",
    "pool_info",
    "register_hash",
    "register_parallel_backend",
    "reseal_file",
    "rng",
    "starmap",
    "verify_file",
    "wrap_non_picklable_objects",
]

_HOMES = {
    "MemorizedFunc": "lightwork.memory",
    "MemorizedResult": "lightwork.memory",
    "Memory": "lightwork.memory",
    "Parallel": "lightwork.parallel",
    "ProcessExecutor": "lightwork.parallel.executor",
    "Retries": "lightwork.parallel",
    "aimap": "lightwork.parallel.asynchronous",
    "amap": "lightwork.parallel.asynchronous",
    "cpu_count": "lightwork.workers.limits",
    "current_task": "lightwork.workers.current",
    "delayed": "lightwork.parallel",
    "dump": "lightwork.persist",
    "effective_n_jobs": "lightwork.parallel.sizing",
    "expires_after": "lightwork.memory",
    "explain": "lightwork.hashing",
    "hash": "lightwork.hashing",
    "imap": "lightwork.parallel.streaming",
    "imap_unordered": "lightwork.parallel.streaming",
    "inspect_file": "lightwork.persist",
    "load": "lightwork.persist",
    "map": "lightwork.parallel.mapping",
    "parallel_backend": "lightwork.parallel",
    "parallel_config": "lightwork.parallel",
    "pool_info": "lightwork.workers.pool",
    "register_hash": "lightwork.hashing",
    "register_parallel_backend": "lightwork.parallel.backends",
    "reseal_file": "lightwork.persist",
    "rng": "lightwork.workers.streams",
    "starmap": "lightwork.parallel.mapping",
    "verify_file": "lightwork.persist",
    "wrap_non_picklable_objects": "lightwork.parallel.wrapping",
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name == "errors":
        return import_module("lightwork.errors")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'lightwork' has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, "errors"})
