"""Random numbers: no two workers may draw the same, unless the user gave them the same generator.

Two things go wrong by themselves. A fork copies the state of every generator, so each worker seeds the global ones
anew (`become_different`). And the functions of `random` and `numpy.random` are methods of hidden global
generators: pickled as the methods that they are, they carry a copy of the state into every task, which then all
draw the same numbers. So they travel by name (`reducers`) and mean the worker's own generator there.

A generator that the user made and hands to tasks is an argument like any other: each task gets it as it was.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import BuiltinMethodType, MethodType
from typing import Any, cast

__all__ = ["become_different", "reducers"]

# module whose functions they are -> module and name of the generator behind them
_GLOBAL_GENERATORS = {"random": ("random", "_inst"), "numpy.random": ("numpy.random.mtrand", "_rand")}


def become_different() -> None:
    """Seed anew whatever holds entropy that a fork has copied.

    `random` does so by itself (it registers for the fork); NumPy's global state does not.
    """
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def reducers() -> Mapping[type, Callable[[Any], Any]]:
    """How methods are pickled: those of the global generators by name, others as ever."""
    homes = {}
    for home, (module, name) in _GLOBAL_GENERATORS.items():
        if module in sys.modules:
            homes[id(getattr(sys.modules[module], name, None))] = home

    def reduce(method: BuiltinMethodType | MethodType) -> object:
        home = homes.get(id(method.__self__))
        if home is not None:
            return _function, (home, method.__name__)
        return method.__reduce_ex__(5)

    return {BuiltinMethodType: reduce, MethodType: reduce} if homes else {}


def _function(module: str, name: str) -> Callable[..., object]:
    return cast("Callable[..., object]", getattr(import_module(module), name))
