"""How the built-in containers are encoded: part by part, and thousands at once where that gives the same bytes.

The law: a list or tuple is its terms in order, a dict its keys and then its values, a set its elements. What has no
order is put into one that depends on the values alone: keys that are all texts or all integers in their own, all
others in that of their terms; many tuples of atoms are added up instead (`_mixed_items`).
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from itertools import chain, islice, repeat
from marshal import dumps
from typing import Any

from lightwork.hashing.atoms import (
    ATOMS,
    INLINE,
    LONG,
    SLICE,
    Term,
    are_plain_rows,
    atom,
    columns,
    count,
    flat,
    is_inline,
    is_plain,
    is_plain_atom,
)
from lightwork.hashing.buffers import XXH3_128, Algorithm
from lightwork.hashing.walk import KEY, VALUE, Body, Cell, Encoding, Steps, StepsOf, Walk, install


def _body(out: Encoding, items: list[Any] | tuple[Any, ...], walk: Walk, labels: Sequence[Any]) -> Body:
    """Write the terms of parts that have an order; slices of similar dicts in columns."""
    for start in range(0, len(items), SLICE):
        piece = items[start : start + SLICE] if len(items) > SLICE else items
        data = flat(piece)
        if data is not None:
            out.add(data)
            continue
        table = columns(piece) if type(piece[0]) is dict and len(piece) > 1 else None
        if table is None:
            yield from _terms(out, piece, walk, labels[start : start + SLICE])
            continue
        order, cells = table
        out.add(b"R" + order.head)
        for key, column in zip(order.keys, cells, strict=True):
            data = flat(column)
            if data is not None:
                out.add(data)
            else:
                yield from _terms(out, column, walk, map(Cell, labels[start : start + SLICE], repeat(key)))


def _terms(out: Encoding, items: Sequence[Any], walk: Walk, labels: Iterable[Any]) -> Body:
    algo, parts = walk.algo, list[bytes]()
    for label, item in zip(labels, items, strict=False):
        kind = type(item)
        if kind in ATOMS and ((kind is not str and kind is not bytes) or len(item) <= LONG):
            parts.append(atom(item, kind, algo))
        else:
            walk.label = label
            parts.append((yield item))
    out.add(b"".join(parts))


def _sequence(tag: bytes) -> StepsOf:
    def steps(value: Any, walk: Walk) -> Steps:
        out = Encoding(walk.algo, count(tag, len(value)))
        yield from _body(out, value, walk, range(len(value)))
        return out.term(is_inline(value, list))

    return steps


def _is_natural(kinds: set[type]) -> bool:
    """Whether keys or elements are put in their own order, not in that of their terms."""
    return len(kinds) == 1 and (str in kinds or int in kinds)


def _mapping(value: dict[Any, Any], walk: Walk) -> Steps:
    out = Encoding(walk.algo, count(b"{", 2 * len(value)))
    if _is_natural(set(map(type, value))):
        keys = sorted(value)
        yield from _body(out, keys, walk, keys)
        yield from _body(out, list(map(value.__getitem__, keys)), walk, keys)
        return out.term(is_inline(value, dict))
    mixed = _mixed_items(value, walk.algo)
    if mixed is not None:
        out.add(mixed)
        return out.term()
    terms = yield from _isolated(value, walk)
    by_term = dict(zip(terms, value.values(), strict=True))
    if len(by_term) == len(terms):
        order = sorted(by_term)
        out.add(b"".join(order))
        yield from _body(out, list(map(by_term.__getitem__, order)), walk, [VALUE] * len(order))
    else:
        yield from _add_ambiguous(out, terms, value, walk)
    return out.term(is_inline(value, dict))


def _isolated(value: Iterable[Any], walk: Walk) -> Generator[Any, Term, list[Term]]:
    """Return the terms of parts that have no order: none may depend on what the others taught about cycles."""
    mark = walk.mark()
    terms = []
    for item in value:
        walk.label = KEY
        terms.append((yield item))
        walk.rewind(mark)
    return terms


def _mixed_items(items: Any, algo: Algorithm) -> bytes | None:
    """Mix tuples of atoms that have no order: the items of a dict with tuples as keys, or the elements of a set.

    Each is hashed by itself and the digests are added up, as in a multiset hash (Clarke and others, 2003): a third of
    the time that sorting takes. Only for the fast hash, which promises nothing against an adversary anyway.
    """
    if algo is not XXH3_128 or len(items) <= INLINE or type(next(iter(items))) is not tuple:
        return None
    total = 0
    pairs = isinstance(items, dict)
    all_keys, all_values = iter(items), iter(items.values() if pairs else ())
    while keys := list(
        islice(all_keys, SLICE)
    ):  # each slice is done with while it is in the processor's cache
        values = list(islice(all_values, SLICE))
        if set(map(type, keys)) != _ONLY_TUPLE or max(map(len, keys)) > INLINE:
            return None
        # Slices come in the order of insertion, so what is decided here must be a property of each item by itself:
        # the quick checks, which look at a slice as a whole, may turn it down wrongly, and then each atom is asked.
        if not are_plain_rows(keys) and not all(map(is_plain_atom, chain.from_iterable(keys))):
            return None
        if pairs and not is_plain(values, set(map(type, values))) and not all(map(is_plain_atom, values)):
            return None
        # `zip` makes one tuple for all items, if nobody keeps it: no garbage to collect.
        written = map(dumps, zip(keys, values, strict=True) if pairs else keys, _VERSION)
        total += _added_up(b"".join(map(XXH3_128.once, written)))
    return b"M" + (total % _MODULUS).to_bytes(16, "little")


def _added_up(digests: bytes) -> int:
    """Add digests of 16 bytes up, modulo 2**128 - 1: as one long number, which is folded until it is short."""
    total, length = int.from_bytes(digests, "little"), len(digests) // 16
    while length > 4:
        half = (length + 1) // 2
        total = (total & ((1 << 128 * half) - 1)) + (total >> 128 * half)
        length = half + 1  # with the carry
    return total % _MODULUS


_ONLY_TUPLE = frozenset({tuple})
_VERSION = repeat(2)  # of marshal
_MODULUS = (1 << 128) - 1


def _add_ambiguous(out: Encoding, terms: list[bytes], value: dict[Any, Any], walk: Walk) -> Body:
    """Order by key and value: some keys are the same value though they are not equal (two NaN, say)."""
    values = yield from _isolated(value.values(), walk)
    pairs = sorted(zip(terms, values, strict=True))
    out.add(b"".join([term for term, _ in pairs]))
    out.add(b"".join([item for _, item in pairs]))


def _unordered(tag: bytes) -> StepsOf:
    def steps(value: Any, walk: Walk) -> Steps:
        out = Encoding(walk.algo, count(tag, len(value)))
        if _is_natural(set(map(type, value))):
            ordered = sorted(value)
            yield from _body(out, ordered, walk, [KEY] * len(ordered))
        else:
            mixed = _mixed_items(value, walk.algo)
            out.add(b"".join(sorted((yield from _isolated(value, walk)))) if mixed is None else mixed)
        return out.term(is_inline(value, set))

    return steps


for _kind, _steps in {
    list: _sequence(b"["),
    tuple: _sequence(b"("),
    dict: _mapping,
    set: _unordered(b"<"),
    frozenset: _unordered(b">"),
}.items():
    install(_kind, _steps)
