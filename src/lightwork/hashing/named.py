"""What people say about a scope, as names: the code that they point at, checked as far as that can be known now.

The law: what cannot have an effect is an error, told where it is said and with the nearest name that would. A module
that is not imported yet is only looked for, never imported; what it holds is checked when it is there. So are the
names of ``__main__``, which may be defined further down. A name that leads nowhere is harmless: more counts than was
meant.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from difflib import get_close_matches
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from lightwork.errors import OptionError, OptionTypeError

__all__ = ["dependencies", "packages"]


def dependencies(given: Iterable[object]) -> tuple[str, ...]:
    """Return the names of what `ignore_deps` lists: functions, classes, modules, dotted names."""
    return tuple(sorted({_dependency(each) for each in _listed("ignore_deps", given)}))


def packages(given: Iterable[object]) -> tuple[str, ...]:
    """Return the names of what `track_packages` lists: packages or modules, or their names."""
    return tuple(sorted({_package(each) for each in _listed("track_packages", given)}))


def _listed(option: str, given: Iterable[object]) -> Iterable[object]:
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise OptionTypeError(f"{option}={given!r}: give a list, such as {option}=[{given!r}]")
    return given


def _dependency(given: object) -> str:
    if isinstance(given, str):
        return _checked(given)
    if isinstance(given, ModuleType):
        return given.__name__
    module, name = getattr(given, "__module__", None), getattr(given, "__qualname__", None)
    if not callable(given) or not isinstance(module, str) or not isinstance(name, str):
        raise OptionTypeError(
            f"ignore_deps: {given!r:.80} bears no name of its own; name the place where your code looks it up, "
            f"such as 'features.ALPHA'"
        )
    if "<lambda>" in name:
        raise OptionError(
            f"ignore_deps: all lambdas of {module} bear the name of {given!r:.80}; define it with `def`"
        )
    return f"{module}.{name}"


def _checked(name: str) -> str:
    parts = name.split(".")
    if not all(part.isidentifier() or part == "<locals>" for part in parts):
        raise OptionError(f"ignore_deps: {name!r} is not a dotted name, such as 'features.scale'")
    _find("ignore_deps", parts[0])
    found: Any = sys.modules.get(parts[0])
    for place, part in enumerate(parts[1:], 1):
        if found is None or part == "<locals>" or not _is_complete(found):
            break
        above = ".".join(parts[:place])
        if not isinstance(found, ModuleType | type):
            raise OptionError(
                f"ignore_deps: {name!r}: {above} is of type {type(found).__name__}, and counts whole or not at all; "
                f"use {above!r}"
            )
        if part not in dir(found):
            if isinstance(found, ModuleType) and hasattr(found, "__path__") and find_spec(f"{above}.{part}"):
                break  # a module of a package, not imported yet
            raise OptionError(f"ignore_deps: {above} has no {part!r}{_nearest(part, dir(found))}")
        found = getattr(found, part)
    return name


def _is_complete(found: object) -> bool:
    """Whether all that a module or class will hold is there."""
    if not isinstance(found, ModuleType):
        return True
    return found.__name__ != "__main__" and not getattr(found.__spec__, "_initializing", False)


def _package(given: object) -> str:
    name = given.__name__ if isinstance(given, ModuleType) else given
    if not isinstance(name, str):
        raise OptionTypeError(f"track_packages: {given!r:.80} is neither a package nor the name of one")
    root = name.partition(".")[0]
    if root in sys.stdlib_module_names or root == "lightwork":
        owner = "lightwork" if root == "lightwork" else "Python"
        raise OptionError(f"track_packages: {name!r} is part of {owner}, whose code is not followed")
    _find("track_packages", root)
    return name


def _find(option: str, root: str) -> None:
    """Refuse the name of a package or module that is nowhere."""
    try:
        if root in sys.modules or (root.isidentifier() and find_spec(root) is not None):
            return
    except (ImportError, ValueError):
        pass  # what cannot be looked for is not there
    from importlib.metadata import packages_distributions

    by_package = packages_distributions()
    hint = _nearest(root, {each.partition(".")[0] for each in (*sys.modules, *by_package)})
    for package, names in sorted(by_package.items()):
        if root in names:
            hint = f"; the distribution {root!r} holds the package {package!r}"
    raise OptionError(f"{option}: there is no module {root!r}{hint}")


def _nearest(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, known, 1)
    return f"; did you mean {near[0]!r}?" if near else ""
