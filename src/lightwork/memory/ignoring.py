"""What of an argument makes no difference to a key: ``ignore=["config.verbose"]``.

A path is the name of a parameter and, behind dots, attributes or keys of dicts. In the place of what it leads to
goes one fixed value, in a shallow copy of each object on the way; so values that differ there only have one digest,
whether they hold something there or not. The caller's objects are read, never changed.

1. The parameter has to exist: a wrong name is told by the decorator.
2. Further names are looked for at each call, because one parameter may hold many kinds of things. What a value does
   not have is passed over: the value counts whole, which costs a computation at worst.
3. Only what an object *holds* can be left out: keys of dicts, fields of named tuples, instance attributes and slots. A
   property is computed from something else, which still counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MemberDescriptorType
from typing import NamedTuple, cast

from lightwork.errors import OptionError, OptionTypeError
from lightwork.memory.key import Values

__all__ = ["Ignored", "Ignoring", "parse", "without"]


class Ignored:
    """Stands, as a class, for what makes no difference."""


class Path(NamedTuple):
    """A parameter, and the names that lead into its value."""

    parameter: str
    names: tuple[str, ...]


class Ignoring(NamedTuple):
    """The parameters that make no difference at all, and the paths into others."""

    parameters: frozenset[str]
    paths: tuple[Path, ...]


def parse(ignore: Sequence[str]) -> list[Path]:
    """The paths that were named.

    Examples
    --------
    >>> parse(["verbose", "config.log.level"])
    [Path(parameter='verbose', names=()), Path(parameter='config', names=('log', 'level'))]
    """
    if isinstance(ignore, str):
        raise OptionTypeError(f"ignore={ignore!r}: give a list of names, such as ignore=[{ignore!r}]")
    found = []
    for name in ignore:
        if not isinstance(name, str):
            raise OptionTypeError(f"ignore={list(ignore)!r}: give names, not {name!r}")
        parameter, *names = name.split(".")
        if not all((parameter, *names)):
            raise OptionError(f"ignore={list(ignore)!r}: {name!r} lacks a name before or behind a dot")
        found.append(Path(parameter, tuple(names)))
    return found


def without(values: Values, paths: Sequence[tuple[int, tuple[str, ...]]]) -> Values:
    """Values with what some paths lead to replaced; each path is a place among the values, and names.

    Examples
    --------
    >>> without(({"a": 1, "b": 2},), [(0, ("b",))])
    ({'a': 1, 'b': <class 'lightwork.memory.ignoring.Ignored'>},)
    """
    changed = list(values)
    for place, names in paths:
        changed[place] = _replaced(changed[place], names)
    return tuple(changed)


def _replaced(value: object, names: tuple[str, ...]) -> object:
    name, rest = names[0], names[1:]
    if isinstance(value, dict):
        if not rest:
            return _with_item(value, name, Ignored)
        return _with_item(value, name, _replaced(value[name], rest)) if name in value else value
    if isinstance(value, tuple):
        fields = getattr(value, "_fields", ())
        if name not in fields:
            return value
        new = _replaced(getattr(value, name), rest) if rest else Ignored
        parts = [new if field == name else each for field, each in zip(fields, value, strict=True)]
        return tuple.__new__(type(value), parts)
    attributes = getattr(value, "__dict__", None)
    slot = isinstance(getattr(type(value), name, None), MemberDescriptorType)
    if isinstance(value, type) or not (slot or isinstance(attributes, dict)):
        return value
    if not rest:
        return _with_attribute(value, name, Ignored)
    if slot or name in cast("dict[str, object]", attributes):
        inner = getattr(value, name, Ignored)
        return value if inner is Ignored else _with_attribute(value, name, _replaced(inner, rest))
    return value


def _with_item(value: dict[object, object], name: str, item: object) -> object:
    twin = cast("dict[object, object]", _twin(value))
    twin.pop(name, None)  # so that it comes last: an OrderedDict's order counts
    twin[name] = item
    return twin


def _with_attribute(value: object, name: str, item: object) -> object:
    twin = _twin(value)
    # Past a `__setattr__` of the class's own: a frozen dataclass refuses, others check or compute something.
    if isinstance(getattr(twin, "__dict__", None), dict) and not isinstance(
        getattr(type(twin), name, None), MemberDescriptorType
    ):
        vars(twin)[name] = item
    else:
        object.__setattr__(twin, name, item)
    return twin


def _twin(value: object) -> object:
    """A shallow copy, whose changes are certain not to reach the value itself."""
    import copy

    twin = copy.copy(value)
    shared = twin is value or (hasattr(value, "__dict__") and vars(twin) is vars(value))
    if shared or type(twin) is not type(value):
        raise TypeError(f"copy.copy() of a {type(value).__name__} gives no copy of its own")
    return twin
