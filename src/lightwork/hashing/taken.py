"""An object taken apart: what rules give to the walk, and what pickle itself would give.

The law: `Taken` holds all of an object that counts, as a name and parts. `by_reduce` is the rule for what has no rule
of its own: the object's ``__reduce_ex__``, with the functions in it by name and the class by name. Where a fingerprint
is being made the class itself is a part as well, since then its code matters (`traced`).
"""

from __future__ import annotations

import copyreg
from collections import OrderedDict
from collections.abc import Callable
from types import FunctionType
from typing import Any, NamedTuple

from lightwork.hashing.atoms import Term
from lightwork.hashing.buffers import digest_bytes
from lightwork.hashing.scope import scope_of
from lightwork.hashing.walk import Walk, name_of, refuse


class Taken(NamedTuple):
    """An object taken apart: the name that its encoding bears, its parts, and what to call them in a message."""

    name: str
    parts: tuple[Any, ...]
    labels: tuple[str, ...] = ()


Rule = Callable[[Any, "Walk"], Taken | Term]  # a term, where the rule has written it all


def data_of(buffer: Any, walk: Walk) -> bytes:
    """Digest a buffer; the digest stands for it among the parts."""
    walk.heavy = True
    return digest_bytes(buffer, walk.algo)


def version_of(module: str, walk: Walk) -> tuple[str, ...]:
    """Return the version of a library, where code counts."""
    if walk.trace is None:
        return ()
    scope = scope_of(walk)
    name = scope.library_name(module)
    if scope.is_library_module(module):
        walk.trace.library(name)
        return (name,)
    return (name, *walk.trace.compiled(module))


_COPYREG: Any = copyreg  # typeshed lacks what pickle itself uses
NEW = _COPYREG.__newobj__
_NEW = (NEW, _COPYREG.__newobj_ex__)
_RECONSTRUCT = _COPYREG._reconstructor


def traced(kind: type, walk: Walk) -> tuple[Any, ...]:
    """To code that holds an instance, the class belongs; to a value its name is enough."""
    if walk.kinds is not None:
        walk.kinds.add(kind)
    return () if walk.trace is None else (kind,)


def by_reduce(value: Any, walk: Walk) -> Taken:
    """Take an object apart as pickle does."""
    kind = type(value)
    if callable(value) and scope_of(walk).is_library_module(kind.__module__):
        source = getattr(value, "py_func", None)
        if isinstance(source, FunctionType):
            # A compiler's (numba's): what it compiles, how, and which compiler.
            options = getattr(value, "targetoptions", None)
            return Taken(
                "compiled " + name_of(kind),
                (source, options, *version_of(kind.__module__, walk)),
                (".py_func",),
            )
        wrapped = getattr(value, "__wrapped__", None)
        if wrapped is not None:
            # The standard library's own have none: its versions do not count.
            version = [each for each in version_of(kind.__module__, walk) if each]
            return Taken("wrapper " + name_of(kind), (wrapped, *version), (".__wrapped__",))
    return of_reduced(value, kind, walk, reduced_of(value, walk))


def of_reduced(value: Any, kind: Any, walk: Walk, reduced: str | tuple[Any, ...]) -> Taken:
    """Take an object apart, given what its ``__reduce_ex__`` returned."""
    if isinstance(reduced, str):
        home = getattr(value, "__module__", None) or kind.__module__
        return Taken("global", (f"{home}.{reduced}", *version_of(home, walk)))
    maker, arguments, state, items, pairs, setter = (*reduced, None, None, None, None)[:6]
    if maker is kind and isinstance(value, set | frozenset) and _is_pickled_unordered(kind):
        arguments = tuple([frozenset(each) for each in arguments])
    if maker in _NEW or maker is _RECONSTRUCT:
        how, arguments = "new", arguments[1:]
    elif maker is kind:
        how = "call"
    else:
        how = f"{getattr(maker, '__module__', '')}.{getattr(maker, '__qualname__', None) or name_of(type(maker))}"
    if items is not None:
        items = list(items)
    if pairs is not None:
        pairs = list(pairs) if isinstance(value, OrderedDict) else dict(pairs)
    parts = (how, arguments, state, items, pairs, setter, *traced(kind, walk))
    return Taken(name_of(kind), parts, ("", ".__reduce__()", "", "", "", ""))


def reduced_of(value: Any, walk: Walk) -> str | tuple[Any, ...]:
    """Return what pickle would ask the object for; refuse what has nothing to say."""
    try:
        special = _COPYREG.dispatch_table.get(type(value))
        reduced: Any = special(value) if special is not None else value.__reduce_ex__(5)
    except RecursionError:
        raise
    except Exception as error:
        raise refuse(walk, value, f"it has no value of its own that could be hashed: {error}") from error
    if isinstance(reduced, str) or (isinstance(reduced, tuple) and 2 <= len(reduced) <= 6):
        return reduced
    raise refuse(
        walk, value, f"its __reduce_ex__ returned {type(reduced).__name__}, not what pickle asks for"
    )


def same_pickling(kind: Any, base: Any) -> bool:
    """Whether a class is pickled as its base is."""
    return bool(kind.__reduce_ex__ is base.__reduce_ex__ and kind.__reduce__ is base.__reduce__)


def _is_pickled_unordered(kind: Any) -> bool:
    """Whether a set's class is pickled with its elements in the order of a hash table."""
    base = set if issubclass(kind, set) else frozenset
    return same_pickling(kind, base) and kind.__iter__ is base.__iter__


def is_plain_instance(kind: Any, value: Any) -> bool:
    """Whether pickle would keep of such an instance its class and its ``__dict__``, and nothing else.

    Python itself refuses to pickle an instance so if a class in C among its bases keeps more than attributes show.
    """
    if (
        not same_pickling(kind, object)
        or kind.__getstate__ is not _OBJECT.__getstate__
        or kind in _COPYREG.dispatch_table
        or _COPYREG._slotnames(kind)
        or callable(value)  # it may wrap a function, which then counts
        or not isinstance(getattr(value, "__dict__", None), dict)
    ):
        return False
    try:
        return bool(
            value.__reduce_ex__(5)[:2] == (_NEW[0], (kind,)) and value.__reduce_ex__(5)[3:] == (None, None)
        )
    except Exception:
        return False  # the walk meets the error again, where it can be told with its path


_OBJECT: Any = object
