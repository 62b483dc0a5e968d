"""The backends by name, and which of them serves a loop.

A backend is a function that lends a crew (`base.Crew`); its module is loaded when it is first asked for.
What a loop gets is decided by `choose`, a pure function over what was said: the backend named in the call,
else the one of `parallel_config`, else what `require` and `prefer` ask for, else processes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from lightwork.errors import OptionError, OptionTypeError, WorkerStartError
from lightwork.parallel.backends.base import Lend
from lightwork.settings import (
    ALIASES,
    RegisteredBackend,
    refuse_unknown_backend,
    registered,
    set_default_backend,
)
from lightwork.workers.limits import worker_count

if TYPE_CHECKING:
    from concurrent.futures import Executor

__all__ = ["ALIASES", "BACKENDS", "Backend", "choose", "find", "register_parallel_backend"]


class Backend(NamedTuple):
    """One way of running tasks: its name, where it lives, and what it promises."""

    name: str
    module: str | None
    """The module with its `lend`; None for the plain loop, which needs no workers."""
    shares_memory: bool
    given: object = None
    """What the user has given to run the tasks: an executor, or a backend written for joblib."""
    stops_tasks: bool = False
    """Whether a task that runs for too long can be stopped."""

    @property
    def lend(self) -> Lend:
        """How it is asked for a crew."""
        if self.module is None:
            raise OptionError(f"the {self.name} backend has no workers")
        if sys.is_finalizing():  # nothing can be imported or started any more
            raise WorkerStartError(
                f"the interpreter is shutting down, too late for {self.name} to be started; run the loop earlier,"
                " or with n_jobs=1"
            )
        module = import_module(self.module)
        if self.given is not None:
            return cast(Lend, partial(module.lend_from, self.given))
        return cast(Lend, module.lend)

    def workers(self, n_jobs: int | None) -> int:
        """How many workers a loop that was told `n_jobs` has here."""
        if self.module == _FOREIGN:
            return cast(int, import_module(_FOREIGN).workers_of(self.given, n_jobs))
        if n_jobs is None and self.given is not None:
            return getattr(self.given, "_max_workers", None) or worker_count(-1)
        return worker_count(n_jobs)


_EXECUTORS: Final = "lightwork.parallel.backends.executors"
_FOREIGN: Final = "lightwork.parallel.backends.foreign"
# Our own workers need forks, socket pairs and anonymous memory; elsewhere the standard library's pool serves.
_PROCESSES: Final = "lightwork.parallel.backends.processes" if os.name == "posix" else _EXECUTORS

BACKENDS: Final[dict[str, Backend]] = {
    backend.name: backend
    for backend in (
        Backend("sequential", None, shares_memory=True),
        Backend("threads", "lightwork.parallel.backends.threads", shares_memory=True),
        Backend("processes", _PROCESSES, shares_memory=False, stops_tasks=os.name == "posix"),
    )
}


def register_parallel_backend(name: str, factory: Callable[..., object], make_default: bool = False) -> None:
    """Give a backend a name, to be used as ``backend=name``.

    Parameters
    ----------
    name : str
        The name. Lightwork's own names stay what they are.
    factory : callable
        Makes the backend; called for each `Parallel` that names it, with the further arguments of
        `parallel_config`. A backend written for joblib will do; `BackendBase` has a default for each hook.
    make_default : bool, default False
        Whether loops that name no backend use it from now on.

    Raises
    ------
    OptionError
        If the name is one of lightwork's own.
    OptionTypeError
        If the factory cannot be called.

    Examples
    --------
    >>> from joblib._parallel_backends import ThreadingBackend
    >>> from lightwork import Parallel, delayed, register_parallel_backend
    >>> register_parallel_backend("their threads", ThreadingBackend)
    >>> Parallel(n_jobs=2, backend="their threads")(delayed(abs)(i) for i in (-1, -2))
    [1, 2]
    """
    if not isinstance(cast(object, name), str) or not callable(cast(object, factory)):
        raise OptionTypeError(
            f"register_parallel_backend({name!r}, {factory!r}): give a name and what makes it"
        )
    if name in BACKENDS or name in ALIASES:
        raise OptionError(f"{name!r} is the name of a backend of lightwork; choose another one")
    registered[name] = partial(_made, name, factory)
    if make_default:
        set_default_backend(name)


def _made(name: str, factory: Callable[..., object], options: Mapping[str, object]) -> object:
    made: object = import_module(_FOREIGN).made(name, factory, options)
    return made


def _foreign(name: str, backend: object) -> Backend:
    return Backend(name, _FOREIGN, bool(getattr(backend, "supports_sharedmem", False)), backend)


def find(name: str | Executor) -> Backend:
    """The backend of a name or alias, or over an executor or a backend written for joblib.

    Raises
    ------
    OptionError
        If there is none of that name; the message suggests the nearest.
    OptionTypeError
        If it is not a name at all.

    Examples
    --------
    >>> find("loky").name
    'processes'
    """
    if callable(getattr(name, "submit", None)) and callable(getattr(name, "shutdown", None)):
        threads = sys.modules.get("concurrent.futures.thread")
        shares = threads is not None and isinstance(name, threads.ThreadPoolExecutor)
        return Backend(type(name).__name__, _EXECUTORS, shares, name)
    if isinstance(name, RegisteredBackend):
        return _foreign(name.name, name.instance)
    if not isinstance(name, str):
        if callable(getattr(name, "configure", None)) and import_module(_FOREIGN).is_backend(name):
            return _foreign(type(name).__name__, name)
        raise OptionTypeError(f"backend must be a name such as 'processes', or an executor, not {name!r}")
    if name in registered:
        return _foreign(name, registered[name]({}))
    refuse_unknown_backend(name)
    return BACKENDS[ALIASES.get(name, name)]


def choose(
    said: str | Executor | None, configured: str | Executor | None, prefer: str | None, require: str | None
) -> Backend:
    """The backend for a loop.

    Parameters
    ----------
    said : str, Executor or None
        The name, or the executor, given to `Parallel` itself.
    configured : str, Executor or None
        The name that `parallel_config` gives; only a wish, where `require` rules it out.
    prefer : {"processes", "threads"} or None
        A hint, where no backend is named.
    require : {"sharedmem"} or None
        Workers must share the caller's memory.

    Raises
    ------
    OptionError
        If what was said in the call contradicts itself.
    """
    shared = require == "sharedmem"
    if shared and prefer == "processes":
        raise OptionError("prefer='processes' contradicts require='sharedmem'; drop one of them")
    if said is not None:
        backend = find(said)
        if shared and not backend.shares_memory:
            raise OptionError(f"backend={said!r} contradicts require='sharedmem'; use backend='threads'")
        return backend
    if configured is not None:
        backend = find(configured)
        return BACKENDS["threads"] if shared and not backend.shares_memory else backend
    return BACKENDS["threads" if shared or prefer == "threads" else "processes"]
