"""The two cloudpickle picklers of `payload`, in a module of their own because cloudpickle takes 20 ms to import."""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Callable
from contextvars import ContextVar
from types import CodeType
from typing import TYPE_CHECKING, Any

import cloudpickle

from lightwork.workers.inside import reduce_variable

if TYPE_CHECKING:
    from lightwork.workers.payload import Definitions

__all__ = ["ByNamePickler", "ByValuePickler"]


# What cloudpickle, from 3.1.3 on, writes as the file of a code object.
_NO_FILE = "<dynamic-code>"


def _special(definitions: Definitions, obj: object) -> Callable[[Any], Any] | None:
    # The plain pickler refuses these two, so they come here, and it needs no rule for them.
    return _RULES.get(type(obj)) or definitions.special.get(type(obj))


def _reduce_code(code: CodeType) -> tuple[Callable[..., object], tuple[object, ...]]:
    """As cloudpickle does, but with the file: tracebacks show its lines, and a remembered function is known by them."""
    make, parts = cloudpickle.Pickler.dispatch_table[CodeType](code)
    named = (code.co_filename if type(part) is str and part == _NO_FILE else part for part in parts)
    return make, tuple(named)


_RULES: dict[type, Callable[[Any], Any]] = {ContextVar: reduce_variable, CodeType: _reduce_code}


class ByNamePickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle carries no types
    """Refers to what ``__main__`` holds by its name, and tells `Definitions` of it."""

    def __init__(
        self, file: io.BytesIO, definitions: Definitions, take: Callable[[pickle.PickleBuffer], bool]
    ) -> None:
        super().__init__(file, 5, buffer_callback=take)
        self._definitions = definitions

    def reducer_override(self, obj: object) -> Any:
        """By name where the worker's ``__main__`` will hold it, else by our own rules, else as cloudpickle does."""
        # Not by a dispatch table: cloudpickle's class attribute of that name hides the C pickler's own field.
        special = _special(self._definitions, obj)
        if special is not None:
            return special(obj)
        if self._definitions.note(obj):
            return NotImplemented
        return super().reducer_override(obj)


class ByValuePickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle carries no types
    """Writes definitions of ``__main__`` by value, and tells `Definitions` of those that they use in turn."""

    def __init__(self, file: io.BytesIO, definitions: Definitions) -> None:
        super().__init__(file, 5)
        self._definitions = definitions
        main = sys.modules.get("__mp_main__")
        if main is not None:
            cloudpickle.register_pickle_by_value(main)  # which it does with the other name of itself

    def reducer_override(self, obj: object) -> Any:
        """By our own rules, else as cloudpickle does; only noted, so that it is installed too."""
        special = _special(self._definitions, obj)
        if special is not None:
            return special(obj)
        self._definitions.note(obj)
        return super().reducer_override(obj)
