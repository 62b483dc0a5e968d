"""What makes two spellings of a call one: every call becomes one tuple of values.

1. A `Binder` takes arguments by position, by keyword and by default, and returns their values in the order of the
   signature, without those that are ignored. It is compiled from the signature: a function with the same parameters
   that returns them. So Python itself binds, in 0.3 µs.
2. `functools.wraps` makes a wrapper look like what it wraps. A wrapper that names parameters is taken by its own
   signature; one that only passes on (``*args, **kwargs``) by that of what it wraps, but defaults are filled
   in only where its code shows that it adds none of its own. Otherwise a left-out argument is a value of its own.
3. What Python cannot tell, or would refuse, is taken as it is spelled: that costs a computation at worst.

Pure: nothing here touches a file, the clock or the state of the process.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from types import FunctionType
from typing import Final, NamedTuple

from lightwork.errors import OptionError
from lightwork.memory.ignoring import Ignoring, Path, parse, without
from lightwork.memory.key import Values

__all__ = ["Binder", "Omitted", "binder", "check_ignore"]

Bind = Callable[..., Values]


class Omitted:
    """Stands, as a class, for an argument left to a default we do not know; marks calls left as spelled."""


# The kinds of parameters, numbered as `inspect` does.
_POSITIONAL_ONLY: Final = 0
_POSITIONAL_OR_KEYWORD: Final = 1
_VAR_POSITIONAL: Final = 2
_KEYWORD_ONLY: Final = 3
_VAR_KEYWORD: Final = 4

_STARS: Final = {_VAR_POSITIONAL: "*", _VAR_KEYWORD: "**"}


class _NoDefault:
    """Stands, as a class, for the default of a parameter that has none."""


class Parameter(NamedTuple):
    """One parameter of a function; plain functions are read here, since importing `inspect` takes 2 ms."""

    name: str
    kind: int
    default: object = _NoDefault


class Binder(NamedTuple):
    """Turns the arguments of a call into the one tuple of values that stands for all its spellings.

    Attributes
    ----------
    names : tuple of str
        The parameters whose values the tuple holds, in the signature's order; ``*args`` and ``**kwargs``
        with their stars.
    bind : callable
        Python's own binding, for calls that Python takes.
    ignored : tuple
        What is ignored inside of values: the place of each, and the names that lead there.
    """

    names: tuple[str, ...]
    bind: Bind
    ignored: tuple[tuple[int, tuple[str, ...]], ...] = ()

    def __call__(self, args: Values, kwargs: Mapping[str, object]) -> Values:
        """The values of a call; one that Python would refuse is taken as it is spelled.

        Such a call will fail when it is made, with Python's own words, unless a wrapper knows
        what to do with it.
        """
        try:
            return self.bind(*args, **kwargs)
        except TypeError:
            return _as_spelled(*args, **kwargs)

    def counted(self, values: Values) -> Values:
        """What of the values of a call counts: all but what is ignored inside of them."""
        if not self.ignored or values[0] is Omitted:
            return values
        return without(values, self.ignored)

    def named(self, values: Values) -> dict[str, object]:
        """Parameter names with the values of a call, to be shown."""
        if len(values) == 3 and values[0] is Omitted:
            return {"*args": values[1], "**kwargs": values[2]}
        return dict(zip(self.names, values, strict=True))


def binder(function: Callable[..., object], ignore: Iterable[str] = ()) -> Binder:
    """Compile the binder of a function; `ignore` names parameters that make no difference.

    Raises
    ------
    OptionError
        A name in `ignore` is not one of the parameters.
    """
    ignored = check_ignore(function, ignore) if ignore else Ignoring(frozenset(), ())
    found = _signature(function)
    if found is None:
        return Binder(("*args", "**kwargs"), _as_spelled)
    parameters, filled = found
    kept = [p for p in parameters if p.name not in ignored.parameters]
    names = tuple(_STARS.get(p.kind, "") + p.name for p in kept)
    places = {p.name: place for place, p in enumerate(kept)}
    paths = tuple((places[path.parameter], path.names) for path in ignored.paths)
    return Binder(names, _compile(parameters, kept, filled), paths)


def check_ignore(function: Callable[..., object], ignore: Iterable[str]) -> Ignoring:
    """What to ignore; ``*`` and ``**``, with their names or without, stand for those that take the rest."""
    paths = parse(ignore if isinstance(ignore, str) else list(ignore))
    found = _signature(function)
    parameters = found[0] if found else []
    known = {p.name: p.name for p in parameters}
    for p in parameters:
        if stars := _STARS.get(p.kind):
            known |= {stars: p.name, stars + p.name: p.name}
    for name, _ in paths:
        if name not in known:
            shown = getattr(function, "__qualname__", function)
            listed = ", ".join(p.name for p in parameters) or "none that are known"
            raise OptionError(f"ignore={ignore!r}: {shown} has no parameter {name!r}; it has {listed}")
    whole = frozenset(known[path.parameter] for path in paths if not path.names)
    inner = {
        Path(known[path.parameter], path.names)
        for path in paths
        if path.names and known[path.parameter] not in whole
    }
    return Ignoring(whole, tuple(sorted(inner)))


def _as_spelled(*args: object, **kwargs: object) -> Values:
    return (Omitted, args, kwargs)


def _compile(parameters: list[Parameter], kept: list[Parameter], filled: bool) -> Bind:
    """A function with these parameters that returns the values of those that are kept.

    Defaults are looked up among its globals, which its body does not use: no parameter's name can hide one.
    """
    defaults: dict[str, object] = {}
    spelled: list[str] = []
    last = None
    for number, parameter in enumerate(parameters):
        kind, name = parameter.kind, parameter.name
        if last is _POSITIONAL_ONLY and kind is not last:
            spelled.append("/")
        if kind is _KEYWORD_ONLY and last not in (kind, _VAR_POSITIONAL):
            spelled.append("*")
        last = kind
        if parameter.default is _NoDefault:
            spelled.append(_STARS.get(kind, "") + name)
        else:
            default = parameter.default if filled else (Omitted, parameter.default)
            defaults[f"_{number}"] = default
            spelled.append(f"{name}=_{number}")
    if last is _POSITIONAL_ONLY:
        spelled.append("/")
    returned = "".join(f"{p.name}, " for p in kept)
    exec(f"def bind({', '.join(spelled)}): return ({returned})", defaults)
    bind: Bind = defaults["bind"]  # type: ignore[assignment]  # made by the line above
    return bind


# --- signatures, with caution ---------------------------------------------------------------------


def _signature(function: Callable[..., object]) -> tuple[list[Parameter], bool] | None:
    """The parameters that a function takes, and whether their defaults hold; None where Python cannot tell.

    `functools.wraps` makes a wrapper look like what it wraps. It is one only if it hands its arguments on, so
    a wrapper that names parameters is taken by its own signature.
    """
    wrapped = getattr(function, "__wrapped__", None)
    if not callable(wrapped):
        return _own_signature(function)
    if isinstance(function, functools._lru_cache_wrapper):
        return _signature(wrapped)
    own = _own_signature(function)
    if own is None:
        return None
    if [p.kind for p in own[0]] != [_VAR_POSITIONAL, _VAR_KEYWORD]:
        return own
    inner = _signature(wrapped)
    if inner is None:
        return own
    return inner[0], inner[1] and _passes_keywords_on(function)


def _own_signature(function: Callable[..., object]) -> tuple[list[Parameter], bool] | None:
    """The parameters of a function itself, and whether they are its own, not only stated (``__signature__``)."""
    stated = False
    if type(function) is FunctionType and function.__dict__.keys() <= _SAYS_NOTHING:
        parameters = _parameters_of(function)
    else:
        import inspect

        try:
            found = inspect.signature(function, follow_wrapped=False)
        except (TypeError, ValueError):
            return None
        stated = getattr(function, "__signature__", None) is not None
        parameters = [
            Parameter(p.name, int(p.kind), _NoDefault if p.default is p.empty else p.default)
            for p in found.parameters.values()
        ]
    if any(not p.name.isidentifier() for p in parameters):
        return None
    return parameters, not stated


# Attributes of a function that do not state another signature.
_SAYS_NOTHING: Final = frozenset({"__wrapped__"})


def _parameters_of(function: FunctionType) -> list[Parameter]:
    """The parameters of a plain function, from its code and its defaults."""
    code, by_keyword = function.__code__, function.__kwdefaults__ or {}
    names, count, only = code.co_varnames, code.co_argcount, code.co_posonlyargcount
    defaults = (function.__defaults__ or ())[-count:] if count else ()
    filled = (*[_NoDefault] * (count - len(defaults)), *defaults)
    found = [
        Parameter(name, _POSITIONAL_ONLY if place < only else _POSITIONAL_OR_KEYWORD, default)
        for place, (name, default) in enumerate(zip(names[:count], filled, strict=True))
    ]
    end = count + code.co_kwonlyargcount
    rest = iter(names[end:])
    if code.co_flags & 0x04:  # inspect.CO_VARARGS
        found.append(Parameter(next(rest), _VAR_POSITIONAL))
    found += [Parameter(name, _KEYWORD_ONLY, by_keyword.get(name, _NoDefault)) for name in names[count:end]]
    if code.co_flags & 0x08:  # inspect.CO_VARKEYWORDS
        found.append(Parameter(next(rest), _VAR_KEYWORD))
    return found


def _passes_keywords_on(function: Callable[..., object]) -> bool:
    """Whether a function uses its ``**kwargs`` in calls ``g(..., **kwargs)`` with no other keyword, only.

    Then it cannot put a default of its own in the place of the wrapped function's. The compiler writes such a
    call as BUILD_MAP 0, a load of kwargs, DICT_MERGE; any other sequence makes us the more careful.
    """
    code = getattr(function, "__code__", None)
    if code is None:
        return False
    import dis

    keywords = code.co_varnames[code.co_argcount + code.co_kwonlyargcount + 1]
    steps = [step for step in dis.get_instructions(code) if step.opname != "EXTENDED_ARG"]
    for before, step, after in zip([None, *steps], steps, [*steps[1:], None], strict=False):
        names = step.argval if isinstance(step.argval, tuple) else (step.argval,)
        if keywords not in names or step.opname == "LOAD_GLOBAL":
            continue
        starts = before is not None and before.opname == "BUILD_MAP" and before.arg == 0
        if not (starts and after is not None and after.opname == "DICT_MERGE"):
            return False
    return True
