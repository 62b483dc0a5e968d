"""The ``__main__`` of a worker: made of definitions that the parent sends, since the script is not to be run again.

Functions and classes of the parent's ``__main__`` are installed here by value. Those that come together share one
dictionary of globals, of what they use; what comes later, or in a later call, has another, with the values of its time.

An initializer is there to set globals (``global model; model = ...``, ``state["model"] = ...``), for tasks that come
later. So what it has left in its dictionary is kept, and put into those of all functions after it. A worker that has
run an initializer serves only calls whose initializer is the same by value, with equal values of all that it uses.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Iterable, Iterator
from types import FunctionType, ModuleType

from lightwork.workers.multiprocess import Spec
from lightwork.workers.payload import MAIN

__all__ = ["equip", "forget", "install", "keep"]

_told: list[bytes] = []
_kept: dict[str, object] = {}


def install(definitions: bytes | bytearray) -> None:
    """Define what `Definitions.take_new` wrote in this process's ``__main__``."""
    main = sys.modules["__main__"]
    reader = pickle.Unpickler(io.BytesIO(definitions))
    while (found := reader.load()) is not None:
        vars(main).update(found)
        for names in _globals_of(found.values()) if _kept else ():
            names.update(_kept)
    _told.append(bytes(definitions))
    main.__spec__ = Spec(_told)
    # A child that `multiprocessing` spawned holds the user's script under this name, and so do its functions.
    sys.modules["__mp_main__"] = main


def forget() -> None:
    """Tell children nothing of what was installed so far: another call begins."""
    _told.clear()


def keep(initializer: object) -> None:
    """Keep what an initializer has set, and put it where there is something already."""
    for names in _globals_of((initializer, type(initializer))):
        _kept.update(
            (name, value)
            for name, value in names.items()
            if not name.startswith("__") and not isinstance(value, FunctionType | type | ModuleType)
        )
    for names in _globals_of(vars(sys.modules["__main__"]).values()):
        names.update(_kept)


def equip(func: object) -> None:
    """Give what the initializer has set to a function that came by value."""
    for names in _globals_of([func]) if _kept else ():
        names.update(_kept)


def _globals_of(values: Iterable[object]) -> Iterator[dict[str, object]]:
    """The dictionaries of globals of functions of ``__main__`` that came by value, and of the methods of classes."""
    for value in values:
        members = vars(value).values() if isinstance(value, type) else (value,)
        for member in members:
            func = member
            while not isinstance(
                func, FunctionType
            ):  # a method, a partial, what stands around a task's function
                func = getattr(func, "__func__", None) or getattr(func, "func", None)
                if func is None:
                    break
            if func is not None and func.__module__ in MAIN:
                yield func.__globals__
