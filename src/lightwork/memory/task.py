"""A remembered function in a loop: the parent looks, a worker computes and stores.

The parent answers what it has. For the rest it sends a `Computation`: the function, the path that the parent made
of *its* code and the arguments, and the parent's tokens of all code that the function follows. A worker may hold
other code than the parent: it imports modules when it needs them, and they may have been edited since the parent
did. So it makes its own tokens and stores the result only if they are the parent's; else the result goes back
unstored, with the names of what differs, and the parent warns once.

The methods of the user's objects among the arguments run too, so the classes that the arguments hold are compared
with the rest. What comes from ``__main__`` is sent by value, so it *is* the parent's code, and is not compared: a
worker may have no source of a notebook's cell, and would make another token of the same code.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from lightwork.errors import CodeChangedWarning
from lightwork.memory.entry import Absent
from lightwork.memory.function import MAIN
from lightwork.memory.memorized import MemorizedFunc
from lightwork.memory.telling import expect
from lightwork.workers.functions import Found, Missing

if TYPE_CHECKING:
    from lightwork.memory.key import Values
    from lightwork.memory.keymaker import Key

__all__ = ["Computation", "missing"]

Code = frozenset[tuple[str, bytes]]
"""What a function follows: names and tokens."""

Answer = tuple[bool, object, tuple[str, ...]]
"""Whether the parent finds the result in the entry; else the result; the names of code that differs."""

_UNREMEMBERED: Final = "its decorator"


def missing(
    func: MemorizedFunc[..., object], key: Key, args: Values, kwargs: Mapping[str, object]
) -> Missing:
    """What to send to a worker for a call whose result is not there."""
    if func.verbose:
        expect()
    return Missing(
        Computation(func, code_of(key), key.stream),
        (key.path, *args),
        kwargs,
        partial(_finish, func, key, args, kwargs),
        same=key.path,
        again=partial(_again, func, key, *((args, kwargs) if func.verbose > 1 else ((), {}))),
    )


def _again(
    func: MemorizedFunc[..., object], key: Key, args: Values, kwargs: Mapping[str, object]
) -> Found | None:
    """The result of a call whose equal has been computed."""
    value = func.recall(key, args, kwargs)
    return None if isinstance(value, Absent) else Found(value)


def code_of(key: Key) -> Code:
    """The code that a worker imports by itself, of all that a call runs."""
    return frozenset(
        (name, token)
        for followed in (key.code, *key.classes)
        for name, token in zip(followed.names, followed.tokens, strict=True)
        if name.partition(".")[0] not in MAIN
    )


class Computation:
    """Runs in a worker: computes one call, and stores the result if the code is the parent's."""

    def __init__(self, func: object, code: Code, stream: bytes) -> None:
        self.func = func
        self.code = code
        self.stream = stream

    def __call__(self, path: str, /, *args: object, **kwargs: object) -> Answer:
        """Compute the call whose entry is to be at a path."""
        func = self.func
        if not isinstance(func, MemorizedFunc):  # by its name the worker found something else
            return False, cast("MemorizedFunc[..., object]", func)(*args, **kwargs), (_UNREMEMBERED,)
        key = func.key_at(path, args, kwargs, self.stream)
        differing = tuple(sorted({name for name, _ in code_of(key) ^ self.code}))
        value = func.recall(key, args, kwargs)
        if isinstance(value, Absent):
            value, stored = func.compute(key, args, kwargs, store=not differing)
        else:
            stored = True
        if stored and (func.mmap_mode is not None or func.answers_from_entry):
            return True, None, ()
        return False, value, differing


def _finish(
    func: MemorizedFunc[..., object], key: Key, args: Values, kwargs: Mapping[str, object], answer: object
) -> object:
    """In the parent: the result that a worker computed."""
    in_entry, value, differing = cast(Answer, answer)
    if differing:
        func.tell_once(
            f"code {differing}",
            f"a worker holds other code of {', '.join(differing)} than this process: the results of "
            f"{func.shown} that it computed are returned, not stored. Restart to run what the files say now",
            CodeChangedWarning,
        )
    if not in_entry:
        return func.received(value)
    # A result that is to be mapped is mapped here; one that was removed meanwhile is computed again.
    found = func.recall(key, args, kwargs)
    return func.compute(key, args, kwargs, store=True)[0] if isinstance(found, Absent) else found
