"""What a task of a loop finds around it, where the loop asks for more than the call itself.

An `Inside` stands for the task's function: it takes the number of the task before the arguments, seeds the
task's stream of random numbers, sets context variables, calls the function, and puts all back. It is an ordinary
function to every backend, so they need to know nothing of it, and loops that ask for none of this pay nothing.

A `ContextVar` cannot be pickled. One that a module holds goes by its name; any other becomes a variable of the worker's
that stands for it from then on.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from contextvars import Context, ContextVar, Token
from functools import lru_cache, partial
from importlib import import_module
from types import TracebackType
from typing import Any, cast

from lightwork.workers.functions import Found, Missing, Remembered
from lightwork.workers.streams import Drawing, Hold, Seed

__all__ = ["Inside", "bare", "captured", "dress", "reduce_variable"]

Settings = tuple[tuple[ContextVar[Any], object], ...]
"""Context variables, and what each is set to."""


def captured(variables: Iterable[ContextVar[Any]]) -> Settings:
    """What context variables hold here and now; those that hold nothing are left out."""
    nothing = object()
    settings = [(variable, variable.get(nothing)) for variable in variables]
    return tuple([(variable, value) for variable, value in settings if value is not nothing])


class Inside:
    """A function as the tasks of one loop call it.

    Parameters
    ----------
    func : callable
        The function.
    seed : Seed or None
        Where the streams of the tasks come from.
    settings : tuple
        Context variables and their values.
    hold : {"none", "task", "call"}
        How long the random generators of the process are the loop's; see `streams.Drawing`.
    """

    __slots__ = ("func", "hold", "seed", "settings")

    def __init__(
        self, func: Callable[..., object], seed: Seed | None, settings: Settings, *, hold: Hold
    ) -> None:
        self.func = func
        self.seed = seed
        self.settings = settings
        self.hold: Hold = hold

    def __call__(self, number: int, /, *args: object, **kwargs: object) -> object:
        """Run the task of this number."""
        with _Around(self, number):
            return self.func(*args, **kwargs)

    def __reduce__(self) -> tuple[object, ...]:
        settings = tuple([(_reference(variable), value) for variable, value in self.settings])
        return _inside, (type(self), self.func, self.seed, settings, self.hold)


class _InsideRemembered(Inside):
    """A function that may know its results; under a seed it knows them for each stream."""

    __slots__ = ()

    def __call__(self, number: int, /, *args: object, **kwargs: object) -> object:
        """Run the task of this number in a plain loop."""
        answer = self.__lightwork_lookup__((number, *args), kwargs)
        if isinstance(answer, Found):
            return answer.value
        value = answer.func(*answer.args, **answer.kwargs)
        return value if answer.finish is None else answer.finish(value)

    def __lightwork_lookup__(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> Found | Missing:
        """Answer a loop as the function does."""
        number, func = cast(int, args[0]), cast(Remembered, self.func)
        with _Around(self, None):  # a look-up draws nothing
            if self.seed is None:
                answer = func.__lightwork_lookup__(args[1:], kwargs)
            else:
                answer = func.__lightwork_lookup__(args[1:], kwargs, self.seed.stream(number).token)
        if isinstance(answer, Found):
            return answer
        finish, again = answer.finish, answer.again

        def finished(value: object) -> object:
            with _Around(self, number):
                return cast("Callable[[object], object]", finish)(value)

        inner = Inside(answer.func, self.seed, self.settings, hold=self.hold)
        looked = again and partial(self._look_again, again)
        return Missing(inner, (number, *answer.args), answer.kwargs, finish and finished, answer.same, looked)

    def _look_again(self, again: Callable[[], Found | None]) -> Found | None:
        with _Around(self, None):
            return again()


class _Around:
    """What a task of a number runs in; without a number, the context variables alone."""

    __slots__ = ("_drawing", "_settings", "_tokens")

    def __init__(self, inside: Inside, number: int | None) -> None:
        self._settings = inside.settings
        self._tokens: list[Token[Any]] = []
        self._drawing: Drawing | None = None
        if inside.seed is not None and number is not None:
            self._drawing = Drawing(inside.seed.stream(number), inside.hold)

    def __enter__(self) -> None:
        for variable, value in self._settings:
            self._tokens.append(variable.set(value))
        if self._drawing is not None:
            self._drawing.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._drawing is not None:
            self._drawing.__exit__(kind, error, traceback)
        for (variable, _), token in zip(self._settings, self._tokens, strict=True):
            variable.reset(token)


def dress(
    func: Callable[..., object],
    seed: Seed | None,
    settings: Settings,
    *,
    hold: Hold,
    is_inherited: bool = False,
) -> Inside:
    """The `Inside` for a function.

    What remembers its results is not seeded by a loop around its loop (`is_inherited`): most that is remembered draws
    nothing, and would be computed again for each task of that one.
    """
    if not hasattr(type(func), "__lightwork_lookup__"):
        return Inside(func, seed, settings, hold=hold)
    return _InsideRemembered(func, None if is_inherited else seed, settings, hold=hold)


def bare(
    func: Callable[..., object], args: tuple[object, ...]
) -> tuple[Callable[..., object], tuple[object, ...]]:
    """The function that the user gave, and its arguments, of what a task calls."""
    return (func.func, args[1:]) if isinstance(func, Inside) else (func, args)


def _inside(
    kind: type[Inside],
    func: Callable[..., object],
    seed: Seed | None,
    settings: tuple[tuple[Reference, object], ...],
    hold: Hold,
) -> Inside:
    known = tuple([(_variable(*reference), value) for reference, value in settings])
    return kind(func, seed, known, hold=hold)


# --- context variables on their way -------------------------------------------------------------------

Reference = tuple[str, str, tuple[object, ...]]
"""Module and name of a variable; or a name of ours and its own name, for one that no module holds, and its default."""

_ours: dict[str, ContextVar[Any]] = {}


def reduce_variable(variable: ContextVar[Any]) -> tuple[Callable[..., ContextVar[Any]], Reference]:
    """How a context variable is pickled."""
    return _variable, _reference(variable)


@lru_cache(maxsize=256)
def _reference(variable: ContextVar[Any]) -> Reference:
    for module, held in list(sys.modules.items()):
        if module not in ("__main__", "__mp_main__"):  # which is another one in a worker
            for name, value in list(getattr(held, "__dict__", {}).items()):
                if value is variable:
                    return module, name, ()
    try:
        default: tuple[object, ...] = (Context().run(variable.get),)
    except LookupError:
        default = ()
    key = f" {os.urandom(16).hex()}"  # no name of a module
    _ours[key] = variable
    return key, variable.name, default


def _variable(module: str, name: str, default: tuple[object, ...]) -> ContextVar[Any]:
    known = _ours.get(module)
    if known is not None:
        return known
    if not module.startswith(" "):
        return cast("ContextVar[Any]", getattr(import_module(module), name))
    made: ContextVar[Any]
    made = ContextVar(name, default=default[0]) if default else ContextVar(name)
    return _ours.setdefault(module, made)
