"""Which rule speaks for an object, and the object's encoding by it.

The law: the first of these that is there: a rule that the user registered for the class or the nearest of its bases,
``__lightwork_hash__`` on the class, the rule of the exact type, that of its family, and last what pickle would keep.
What was found for a class is kept. Functions and classes are code: what reads it is loaded when the first is met.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from marshal import dumps
from typing import Any

from lightwork.errors import OptionTypeError
from lightwork.hashing.atoms import Term, atom, count, flat, is_inline, quick
from lightwork.hashing.buffers import XXH3_128
from lightwork.hashing.rules import FAMILIES, LATE, RULES, iterator, module, named_tuple, plain
from lightwork.hashing.scope import scope_of
from lightwork.hashing.taken import (
    NEW,
    Rule,
    Taken,
    by_reduce,
    is_plain_instance,
    of_reduced,
    reduced_of,
    same_pickling,
    traced,
    version_of,
)
from lightwork.hashing.walk import Apart, Steps, StepsOf, Walk, install, install_objects, name_of

_registered: dict[type, Callable[[Any], object]] = {}
_resolved: dict[type, Rule] = {}


def objects(value: Any, kind: type, walk: Walk) -> Term | None:
    """Encode an object at once where its parts are atoms; else leave its parts or steps to the walk."""
    rule = RULES.get(kind) or _resolved.get(kind)
    if rule is None:
        if (
            issubclass(kind, type)
            and walk.trace is None
            and scope_of(walk).is_library_module(value.__module__)
        ):
            return _library_class(value, walk)
        steps = _steps_of_code(kind)
        if steps is not None:
            walk.pending = steps
            return None
        if len(_resolved) > _KEPT:
            _resolved.clear()
        rule = _resolved[kind] = _resolve(kind, value)
    walk.heavy = False
    if walk.trace is not None:
        if rule is module:
            from lightwork.hashing.modules import module_steps

            walk.pending = module_steps
            return None
        taken = rule(value, walk)
    elif rule is plain:
        return _instance(value, kind, walk)
    elif rule is by_reduce and not callable(value):
        reduced = reduced_of(value, walk)
        usual = _usual(value, kind, reduced)
        if usual is not None:
            traced(kind, walk)
            walk.pending = usual
            return None
        taken = of_reduced(value, kind, walk, reduced)
    else:
        taken = rule(value, walk)
    if isinstance(taken, bytes):
        return taken
    name, parts, labels = taken
    head = count(b"O", len(parts)) + atom(name, str, walk.algo)
    data = flat(parts)
    if data is None:
        walk.pending = Apart(head, parts, labels)
        return None
    term = head + data if is_inline(parts, tuple) else b"#" + walk.algo.once(head + data)
    if walk.heavy:
        walk.keep(value, term)
    return term


def _usual(value: Any, kind: type, reduced: Any) -> Apart | None:
    """Say of the objects that reduce to a call of their class and a state what `of_reduced` does, in half the time."""
    if len(reduced) < 3 or type(reduced[2]) is not dict or reduced[3:] not in _NOTHING:
        return None
    maker, arguments, state = reduced[:3]
    if maker is NEW and len(arguments) == 1 and arguments[0] is kind:
        return Apart(_head(kind, 6) + _MADE, (state,), (), b"NNN")
    if maker is kind and not isinstance(value, (set, frozenset)):
        return Apart(_head(kind, 6) + _CALL, (arguments, state), (".__reduce__()",), b"NNN")
    return None


def _instance(value: Any, kind: type, walk: Walk) -> Term | None:
    """Encode an instance that is nothing but its attributes."""
    if walk.kinds is not None:
        walk.kinds.add(kind)
    head, state = _head(kind, 1), vars(value)
    encoding = quick(state, walk.algo, 0)
    if encoding is None:
        walk.pending = Apart(head, (state,), ())
        return None
    return b"#" + walk.algo.once(
        head + (encoding if is_inline(state, dict) else b"#" + walk.algo.once(encoding))
    )


def _head(kind: type, parts: int) -> bytes:
    """Write how the encoding of an instance begins."""
    head = _heads.get((kind, parts))
    if head is None:
        if len(_heads) > _KEPT:
            _heads.clear()
        head = _heads[kind, parts] = count(b"O", parts) + _text_term(name_of(kind))
    return head


_KEPT = (
    1000  # classes: in a program that makes them by the thousand, all are looked at anew from time to time
)
# What `of_reduced` says of how most are made, as terms; then follow the state and three times nothing.
_MADE = dumps("new", 2) + dumps((), 2)
_CALL = dumps("call", 2)
_NOTHING = ((), (None,), (None, None), (None, None, None))
_heads: dict[tuple[type, int], bytes] = {}


def _steps_of_code(kind: type) -> StepsOf | None:
    """Return the steps of functions and classes. What reads code is loaded when the first code is met."""
    if kind is types.FunctionType:
        from lightwork.hashing.follow import function_steps

        install(kind, function_steps)
        return function_steps
    return classes if issubclass(kind, type) else None


def classes(value: type, walk: Walk) -> Steps:
    """Encode a class: a library's by its name, the user's by what it does."""
    if scope_of(walk).is_library_module(value.__module__):
        yield from ()
        return _library_class(value, walk)
    from lightwork.hashing.classes import class_steps

    return (yield from class_steps(value, walk))


def _library_class(value: type, walk: Walk) -> Term:
    version = "".join(version_of(value.__module__, walk))
    return count(b"C", 2) + _text_term(name_of(value)) + _text_term(version)


def _text_term(text: str) -> bytes:
    return atom(text, str, XXH3_128)


install_objects(objects)


def _resolve(kind: type, value: Any) -> Rule:
    for base in kind.__mro__:
        if base in _registered:
            return _by_user(_registered[base])
        if "__lightwork_hash__" in vars(base):
            return _by_itself
    if kind.__module__ in ("builtins", "itertools") and hasattr(kind, "__next__") and kind not in RULES:
        return iterator
    exact = LATE.get(name_of(kind))
    if exact is not None and _is_genuine(kind):
        return exact
    if (
        issubclass(kind, tuple)
        and isinstance(getattr(kind, "_fields", None), tuple)
        and same_pickling(kind, object)
    ):
        return named_tuple
    for base in kind.__mro__:
        family = FAMILIES.get(name_of(base))
        if family is not None and _is_genuine(base):
            return family
    return plain if is_plain_instance(kind, value) else by_reduce


def _is_genuine(kind: type) -> bool:
    """Whether a class is what its name says: anyone may call a class ``numpy.ndarray``."""
    found: object = sys.modules.get(kind.__module__)
    for part in kind.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is kind or kind.__module__ in ("_thread", "_io", "_pickle", "re")


def _by_user(rule: Callable[[Any], object]) -> Rule:
    def take(value: Any, walk: Walk) -> Taken:
        kind = type(value)
        return Taken("by rule " + name_of(kind), (rule(value), *traced(kind, walk)))

    return take


def _by_itself(value: Any, walk: Walk) -> Taken:
    kind = type(value)
    return Taken("by itself " + name_of(kind), (value.__lightwork_hash__(), *traced(kind, walk)))


def register_hash(kind: type, rule: Callable[[Any], object]) -> None:
    """Say how objects of a class (and its subclasses) are hashed.

    Parameters
    ----------
    kind : type
        The class.
    rule : callable
        Takes an object and returns what stands for it: any value that can be hashed. The name of
        the object's class counts as well.

    Examples
    --------
    >>> import lightwork
    >>> from lightwork.hashing import register_hash
    >>> class Sensor:
    ...     def __init__(self, name, reading):
    ...         self.name, self.reading = name, reading
    >>> register_hash(Sensor, lambda sensor: sensor.name)
    >>> lightwork.hash(Sensor("a", 1)) == lightwork.hash(Sensor("a", 2))
    True
    """
    if not isinstance(kind, type):
        raise OptionTypeError(f"register_hash takes a class first, not {kind!r}")
    if not callable(rule):
        raise OptionTypeError(f"register_hash takes a function of one object as the rule, not {rule!r}")
    _registered[kind] = rule
    _resolved.clear()
