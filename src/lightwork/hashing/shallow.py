"""The walk over values that are neither deep nor tangled, which most are: by plain recursion.

The law: what it returns is what `Walk.term` returns, in about half the time. It knows nothing of cycles, of nesting
beyond `DEPTH`, of functions and classes (which are walked with an eye on what is open) and of the path to a part. Where
it meets one of these, or an error, it gives up, and `Walk.term` goes over the value with all its care, and makes the
error's message. What is in the memo by then is of finished objects without cycles, whose terms do not depend on who
asked.
"""

from __future__ import annotations

from typing import Any

from lightwork.hashing.atoms import ATOMS, INLINE, SMALL, Term, count, flat, is_inline, order_of
from lightwork.hashing.walk import OBJECTS, STEPS, Apart, Steps, Walk

DEPTH = 32  # containers in containers: two or three of Python's frames for each

_CONTAINERS = frozenset({list, tuple, dict, set, frozenset})
_ONLY_DICT = frozenset({dict})


def digest(value: object, walk: Walk) -> bytes:
    """Return the digest of a value, by a walk over data (not code)."""
    try:
        term = _term(value, walk, set())
    except Exception:
        # Too deep, tangled, or an error: the careful walk finds out which.
        return walk.digest(value)
    return walk.digest_of(term)


class _UnfitError(Exception):
    """The value is too deep, refers to itself, or holds the user's code."""


def _term(value: Any, walk: Walk, opened: set[int]) -> Term:
    kind = type(value)
    if kind in ATOMS:
        return walk.leaf(value, kind)
    key = id(value)
    known = walk.memo.get(key)
    if known is not None:
        return known[0]
    if key in opened or len(opened) >= DEPTH:
        raise _UnfitError
    if kind in _CONTAINERS:
        opened.add(key)
        few = len(value) <= SMALL
        term = (few and _of_few(value, kind, walk, opened)) or _drive(STEPS[kind](value, walk), walk, opened)
    else:
        known_at_once = OBJECTS[0](value, kind, walk)
        if known_at_once is not None:
            return known_at_once
        apart = walk.pending
        if type(apart) is not Apart:
            raise _UnfitError
        opened.add(key)
        parts = [apart.head]
        _add_terms(parts, apart.parts, walk, opened)
        parts.append(apart.tail)
        term = _ended(parts, not apart.tail and is_inline(apart.parts, tuple), walk)
    opened.remove(key)
    walk.memo[key] = (term, value)
    return term


def _ended(parts: list[bytes], inline: bool, walk: Walk) -> Term:
    encoding = b"".join(parts)
    return encoding if inline else b"#" + walk.algo.once(encoding)


def _drive(steps: Steps, walk: Walk, opened: set[int]) -> Term:
    """Run the steps that any container has, and give them the terms that they ask for."""
    send, term = steps.send, None
    while True:
        try:
            part = send(term)  # type: ignore[arg-type]  # the first send must be None
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        term = _term(part, walk, opened)


def _of_few(value: Any, kind: type, walk: Walk, opened: set[int]) -> Term | None:
    """Encode a list, a tuple or a dict with texts as keys; None for others, and for records that go by columns."""
    if kind is dict:
        order = order_of(tuple(value))
        if order is None:
            return None
        items = order.values(value)
        parts, most = [order.head], INLINE // 2
    elif kind is tuple or kind is list:
        items, most = value, INLINE
        parts = [count(b"(" if kind is tuple else b"[", len(value))]
    else:
        return None
    kinds = set(map(type, items))
    if kinds == _ONLY_DICT and len(items) > 1:
        return None
    _add_terms(parts, items, walk, opened)
    return _ended(parts, len(items) <= most and kinds <= ATOMS, walk)


def _add_terms(parts: list[bytes], items: Any, walk: Walk, opened: set[int]) -> None:
    """Write the terms of parts that have an order, atoms that stand together at once."""
    atoms: list[Any] = []
    for item in items:
        if type(item) in ATOMS:
            atoms.append(item)
            continue
        if atoms:
            parts.append(_of_atoms(atoms, walk))
            atoms = []
        parts.append(_term(item, walk, opened))
    if atoms:
        parts.append(_of_atoms(atoms, walk))


def _of_atoms(atoms: list[Any], walk: Walk) -> bytes:
    if len(atoms) == 1:
        return walk.leaf(atoms[0], type(atoms[0]))
    data = flat(atoms) if len(atoms) <= SMALL else None
    return b"".join([walk.leaf(each, type(each)) for each in atoms]) if data is None else data
