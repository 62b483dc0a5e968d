"""What `multiprocessing` finds in a worker: a ``__main__`` that its children can make again, and an inheritance.

A child that `multiprocessing` starts in a task by spawn or forkserver looks for functions and classes of ``__main__``
by name, in a ``__main__`` of its own. It makes that of what ``__main__.__spec__.name`` says in the process that asks
for the child: the name of a module to run, which would find none of what a script or a notebook defines; "__main__"
means that there is nothing to run. So a worker's ``__main__`` has such a spec, whose name, when it is pickled for a
child, installs there what the worker was told of in this call, and then reads "__main__". Children of children get
it in the same way.

Children of `multiprocessing` inherit two things more, and so do workers: the key that lets a manager's proxies
(`multiprocessing.Manager().dict()`) speak with their manager, and the start method that the program has set.

A process that was forked from the user's program has the user's ``__main__``; nothing of this concerns it.
"""

from __future__ import annotations

import importlib.machinery
import os
import sys
from collections.abc import Iterable
from typing import Final

__all__ = ["Settings", "Spec", "adopt", "settings"]

Settings = tuple[bytes, str | None]
"""The key of a process, and the start method that was set in it, if one was."""

# What a child runs, which does not know yet where modules lie.
_IN_A_CHILD: Final = """
import sys
sys.path[:] = path
from lightwork.workers import main_module
for definitions in told:
    main_module.install(definitions)
"""


class Spec(importlib.machinery.ModuleSpec):
    """How to make this ``__main__`` again, for `multiprocessing`.

    Parameters
    ----------
    told : list of bytes
        What `main_module.install` was told; it may grow.
    """

    def __init__(self, told: list[bytes]) -> None:
        name = _Name("__main__")
        name.told = told
        super().__init__(name, None)


class _Name(str):
    """ "__main__", which installs this process's definitions where it is unpickled."""

    told: list[bytes]

    def __reduce__(self) -> tuple[object, ...]:
        names = {"code": _IN_A_CHILD, "path": _absolute(sys.path), "told": self.told}
        return eval, ("exec(code) or '__main__'", names)


def _absolute(path: Iterable[object]) -> list[str]:
    """A child may read this in another folder."""
    return [os.path.abspath(entry) for entry in path if type(entry) is str]


# --- what else children inherit ---


def settings() -> Settings | None:
    """What this process gives to its children; None while nothing has loaded `multiprocessing`."""
    package = sys.modules.get("multiprocessing.context")
    default = getattr(package, "_default_context", None)  # also while it is being loaded
    if default is None:
        return None
    return bytes(default.current_process().authkey), default.get_start_method(allow_none=True)


def adopt(told: Settings | None) -> None:
    """Be like a child of the parent."""
    if told is None:
        return
    import multiprocessing  # 0.9 ms; only where the parent has loaded it

    multiprocessing.current_process().authkey, method = told
    if multiprocessing.get_start_method(allow_none=True) != method:
        multiprocessing.set_start_method(method, force=True)
