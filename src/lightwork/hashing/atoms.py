"""Atoms, and small containers of atoms, into bytes: at the speed of C, and as the walk would write them.

Atoms are encoded as `marshal` version 2 writes them, which is the same on every Python, and so are tuples and
lists of atoms: one call in C does thousands. That is safe only for the exact types in `ATOMS` (marshal writes arrays
and NumPy scalars as their bytes), only without NaN (its payload would show), and only in slices whose size is bounded:
`is_plain` and `flat` hold these guards, and nothing else in the house may call marshal on what they did not pass.

`quick` is for what a remembered call brings: it encodes small containers without a walk, and gives up (None) at
anything that it does not know. What it gives is what the walk would give; it only takes another way.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from marshal import dumps
from operator import itemgetter
from sys import getsizeof
from types import EllipsisType, NoneType
from typing import Any, NamedTuple

from lightwork.hashing.buffers import Algorithm, digest_bytes, digest_text

ATOMS = frozenset({NoneType, bool, int, float, complex, str, bytes, EllipsisType})
LONG = (
    1024  # characters or bytes: a longer atom enters its container as a digest, so sharing it costs nothing
)
INLINE = 16  # parts: a container of at most so many parts, all atoms, enters its own container as it is
SMALL = 32  # elements: up to here marshal is called first and asked about the length afterwards
SLICE = (
    1024  # elements handed to marshal at once: bounds the memory to SLICE * INLINE * LONG at the very worst
)

NAN = dumps(float("nan"), 2)
_ONLY_STR = frozenset({str})
_NO_LENGTH = frozenset({NoneType, bool, float, EllipsisType})
_TEXTS = 256 << 10  # characters: a slice of texts that is longer is written text by text
_BOUND = 1 << 4096  # ints below are short
pack = struct.Struct("<I").pack
_pack_long = struct.Struct("<Q").pack
_ONLY_DICT = frozenset({dict})
_ROWS = frozenset({tuple, list})

Term = bytes


def count(tag: bytes, number: int) -> bytes:
    """Write a tag and a number of parts, as marshal does."""
    return tag + pack(number) if number < 0x7FFFFFFF else tag + b"\xff\xff\xff\xff" + _pack_long(number)


# --- atoms ----------------------------------------------------------------------------------------


def atom(value: Any, kind: type, algo: Algorithm) -> Term:
    """Return the term of one atom."""
    if kind is str:
        if len(value) > LONG:
            return b"#" + algo.once(count(b"U", len(value)) + digest_text(value, algo))
    elif kind is bytes:
        if len(value) > LONG:
            return b"#" + algo.once(count(b"B", len(value)) + digest_bytes(value, algo))
    elif kind is float:
        return NAN if value != value else dumps(value, 2)
    elif kind is complex:
        real, imag = value.real, value.imag
        return b"y" + _without_payload(real) + _without_payload(imag)
    data = dumps(value, 2)
    return data if len(data) <= LONG or kind is not int else b"#" + algo.once(data)


def _without_payload(number: float) -> bytes:
    return (NAN if number != number else dumps(number, 2))[1:]


def is_plain(items: Any, kinds: set[type]) -> bool:
    """Whether marshal writes these atoms, of these exact types, as they should be written."""
    if not kinds <= ATOMS or complex in kinds:
        return False
    if not kinds <= _NO_LENGTH and not _are_short(items, kinds):
        return False
    return float not in kinds or not _holds_nan(items, kinds)


def is_plain_atom(item: Any) -> bool:
    """Whether a single atom is plain. All that pass `is_plain` are; of those that it turns down, some are as well."""
    kind = type(item)
    if kind is str or kind is bytes:
        return len(item) <= LONG
    if kind is float:
        return bool(item == item)
    return kind in ATOMS and kind is not complex and len(dumps(item, 2)) <= LONG


def _are_short(items: Any, kinds: set[type]) -> bool:
    if len(kinds) > 1:
        return bool(max(map(getsizeof, items)) <= LONG)
    if int in kinds:
        return bool(min(items) > -_BOUND and max(items) < _BOUND)
    return bool(max(map(len, items)) <= LONG)


def _holds_nan(items: Iterable[Any], kinds: set[type], data: bytes = b"\x7f") -> bool:
    """Whether one of the items is NaN; `data` is what marshal wrote of them, where that is at hand.

    The last byte of a NaN is 7f or ff. Looking for these takes a tenth of the time that comparing each item takes.
    """
    if 0x7F not in data and 0xFF not in data:
        return False
    if len(kinds) == 1:
        total = sum(items)
        return bool(total != total)  # also for inf - inf: then the slow way gives the same bytes
    return any(item != item for item in items)


def flat(items: list[Any] | tuple[Any, ...]) -> bytes | None:
    """Write atoms, or small tuples and lists of atoms, at C speed; None where they must go one by one.

    These are their terms, one after the other; only many texts are written together (`_texts`).
    """
    kinds = set(map(type, items))
    if kinds <= ATOMS:
        if len(items) <= SMALL:
            data = dumps(items, 2)
            if len(data) > LONG or complex in kinds or (float in kinds and _holds_nan(items, kinds, data)):
                return None
            return data[5:]
        if kinds == _ONLY_STR:
            return _texts(items)
        return dumps(items, 2)[5:] if is_plain(items, kinds) else None
    if kinds <= _ROWS and max(map(len, items)) <= INLINE and are_plain_rows(items):
        return dumps(items, 2)[5:]
    return None


def _texts(items: Any) -> bytes | None:
    """Write a slice of texts together, in a third of the time that marshal takes: each ended by a NUL, behind a ``Z``.

    Where a text holds a NUL itself, behind an ``S``: all lengths, then all characters.
    """
    if sum(map(len, items)) > _TEXTS:
        return None
    joined = "\0".join(items)
    if joined.count("\0") == len(items) - 1:
        return b"Z" + joined.encode("utf-8", "surrogatepass") + b"\0"
    lengths = array("I", map(len, items))
    if sys.byteorder == "big":
        lengths.byteswap()
    return b"S" + lengths.tobytes() + "".join(items).encode("utf-8", "surrogatepass")


def are_plain_rows(rows: Any) -> bool:
    """Whether all elements of all rows are plain: column by column, since columns tend to be of one type."""
    try:
        columns: Iterable[Any] = zip(*rows, strict=True)
        return all(is_plain(column, set(map(type, column))) for column in columns)
    except ValueError:
        parts = list(chain.from_iterable(rows))
        return is_plain(parts, set(map(type, parts)))


# --- small containers, at once --------------------------------------------------------------------


class Order(NamedTuple):
    """What dicts with certain keys, all texts, have in common."""

    head: bytes  # their encoding up to the values
    values: Callable[[Any], tuple[Any, ...]]
    keys: tuple[str, ...]


_orders: dict[tuple[Any, ...], Order] = {}


def order_of(keys: tuple[Any, ...]) -> Order | None:
    """Return the canonical order of a dict's keys; None for keys that are not short texts."""
    known = _orders.get(keys)
    if known is not None:
        # A subclass of str may be equal to a key that was seen before.
        return known if _ONLY_STR.issuperset(map(type, keys)) else None
    return _order_of(keys)


def _order_of(keys: tuple[Any, ...]) -> Order | None:
    if not keys or not _ONLY_STR.issuperset(map(type, keys)) or max(map(len, keys)) > LONG:
        return None
    ordered = tuple(sorted(keys))
    head = b"{" + pack(2 * len(keys)) + dumps(ordered, 2)[5:]
    values: Callable[[Any], tuple[Any, ...]] = itemgetter(*ordered)
    if len(ordered) == 1:
        only = ordered[0]
        values = lambda each: (each[only],)  # noqa: E731 - itemgetter gives a lone value as it is
    if len(_orders) > 1000:
        _orders.clear()
    made = _orders[keys] = Order(head, values, ordered)
    return made


_floats: dict[tuple[type, ...], bool] = {}
"""Whether there is a float among atoms of these types, none of which is complex."""


def plain_tuple(value: tuple[Any, ...]) -> bytes | None:
    """Encode a tuple of atoms, as `quick` does, in half of its time once their types were met; None asks `quick`."""
    types = tuple(map(type, value))
    floats = _floats.get(types)
    if floats is None:
        if len(types) <= SMALL and ATOMS.issuperset(types) and complex not in types and len(_floats) < 1000:
            _floats[types] = float in types
        return None
    data = dumps(value, 2)
    if len(data) > LONG or (floats and (0x7F in data or 0xFF in data)):
        return None
    return data


def quick(value: Any, algo: Algorithm, depth: int = 2) -> bytes | None:
    """Encode a small container of atoms and of such containers; None where the walk is needed.

    This is what a remembered call's arguments go through: each line was timed.
    """
    kind = type(value)
    if kind is dict:
        return _quick_dict(value, algo, depth)
    if (kind is not tuple and kind is not list) or len(value) > SMALL:
        return None
    kinds = set(map(type, value))
    if kinds <= ATOMS:
        data = dumps(value, 2)
        if (
            len(data) <= LONG
            and complex not in kinds
            and (float not in kinds or not _holds_nan(value, kinds, data))
        ):
            return data
        return None
    if not depth or kinds == _ONLY_DICT:
        return None
    parts = [b"(" + pack(len(value)) if kind is tuple else b"[" + pack(len(value))]
    for item in value:
        term = _quick_term(item, algo, depth)
        if term is None:
            return None
        parts.append(term)
    return b"".join(parts)


def _quick_dict(value: dict[Any, Any], algo: Algorithm, depth: int) -> bytes | None:
    if len(value) > SMALL:
        return None
    keys = tuple(value)
    order = _orders.get(keys) or _order_of(keys)
    if order is None:
        return b"{\0\0\0\0" if not keys else None
    values = order.values(value)
    # The keys' types too: a subclass of str may be equal to a key that was seen before.
    kinds = set(map(type, keys + values))
    if kinds <= ATOMS:
        data = dumps(values, 2)
        if (
            len(data) <= LONG
            and complex not in kinds
            and (float not in kinds or not _holds_nan(values, kinds, data))
        ):
            return order.head + data[5:]
        return None
    if not depth or not _ONLY_STR.issuperset(map(type, keys)) or set(map(type, values)) == _ONLY_DICT:
        return None
    parts = [order.head]
    for item in values:
        term = _quick_term(item, algo, depth)
        if term is None:
            return None
        parts.append(term)
    return b"".join(parts)


def _quick_term(item: Any, algo: Algorithm, depth: int) -> Term | None:
    kind = type(item)
    if kind in ATOMS:
        return atom(item, kind, algo)
    encoding = quick(item, algo, depth - 1)
    if encoding is None:
        return None
    return encoding if is_inline(item, kind) else b"#" + algo.once(encoding)


def is_inline(value: Any, kind: type) -> bool:
    """Whether a container's term is its whole encoding."""
    if kind is dict:
        return (
            len(value) <= INLINE // 2
            and ATOMS.issuperset(map(type, value))
            and ATOMS.issuperset(map(type, value.values()))
        )
    return len(value) <= INLINE and ATOMS.issuperset(map(type, value))


def columns(dicts: Sequence[Any]) -> tuple[Order, Iterable[tuple[Any, ...]]] | None:
    """Turn dicts that all have the same few texts as keys into columns; None for others."""
    size = len(dicts[0])
    if set(map(type, dicts)) != _ONLY_DICT or not 0 < size <= INLINE or set(map(len, dicts)) != {size}:
        return None
    if set(map(type, chain.from_iterable(dicts))) != _ONLY_STR:
        return None
    keys = tuple(dicts[0])
    order = _orders.get(keys) or _order_of(keys)
    if order is None:
        return None
    try:
        return order, zip(*map(order.values, dicts), strict=True)
    except KeyError:
        return None
