"""The canonical walk: a value into an unambiguous run of bytes, and that into a digest.

The law: the bytes depend on the value and its types alone; never on the route taken, on which objects are
shared, interned or already seen, nor on the order inside dicts and sets. Each value has an *encoding*: a tag,
the number of its parts, and the *terms* of its parts. The term of a part is its encoding where that is a few atoms
(at most `INLINE`), else ``#`` and the digest of its encoding; so each shared container is walked once however often
it is used. No term is the beginning of another, so no two values share a run of bytes.

Atoms are encoded as `marshal` version 2 writes them (`atoms`); tags of our own are letters that marshal does not use.

The walk keeps its own stack (`Walk.term`), so nesting has no limit. Objects that are not containers are taken
apart by `rules`. Cycles: an object that is met again while its own encoding is being made is written as its
distance among the *open* objects; an object is open until the cycle through it is complete (Tarjan's strongly
connected components). Inside a cycle, then, which objects are shared is part of the value; outside, it is not.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from itertools import chain, islice, repeat
from marshal import dumps
from typing import Any, NamedTuple

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
    pack,
    quick,
)
from lightwork.hashing.buffers import XXH3_128, Algorithm

_TANGLED = 10_000  # objects walked again for an order inside cycles of sets before we give up; by guess

# Labels of parts that no index leads to.
KEY = object()
VALUE = object()

Steps = Generator[Any, Term, Term]
Body = Generator[Any, Term, None]
StepsOf = Callable[[Any, "Walk"], Steps]


# --- the walk -------------------------------------------------------------------------------------


class Encoding:
    """An encoding in the making; what is long goes into the hash as it comes."""

    __slots__ = ("_algo", "_hasher", "_parts", "_size")

    def __init__(self, algo: Algorithm, head: bytes) -> None:
        self._algo = algo
        self._hasher: Any = None
        self._parts = [head]
        self._size = len(head)

    def add(self, data: bytes) -> None:
        """Take the next bytes of the encoding."""
        self._parts.append(data)
        self._size += len(data)
        if self._size > 1 << 16:
            if self._hasher is None:
                self._hasher = self._algo.new()
            self._hasher.update(b"".join(self._parts))
            self._parts.clear()
            self._size = 0

    def term(self, inline: bool = False) -> Term:
        """End the encoding."""
        if inline:
            return b"".join(self._parts)
        if self._hasher is None:
            return b"#" + self._algo.once(b"".join(self._parts))
        self._hasher.update(b"".join(self._parts))
        return b"#" + bytes(self._hasher.digest())


class Frame:
    """A container on the walk's stack."""

    __slots__ = ("label", "low", "number", "steps", "value")

    def __init__(self, value: Any, steps: Steps, number: int, label: Any) -> None:
        self.value = value
        self.steps = steps
        self.number = number
        self.low = number
        self.label = label


class Walk:
    """One walk over one value: its memo of finished objects and its stack of open ones.

    Parameters
    ----------
    algo
        The hash function.
    coerce_mmap
        Whether a memory-mapped array is taken for the plain array that it holds.
    """

    def __init__(self, algo: Algorithm = XXH3_128, coerce_mmap: bool = False) -> None:
        self.algo = algo
        self.coerce_mmap = coerce_mmap
        self.trace: Any = None  # what a fingerprinting walk notes down (`source`); None for data
        self.kinds: set[type] | None = None  # the classes of instances, where somebody asked for them
        self.pending: StepsOf = _STEPS[list]  # the steps of the object that is about to be entered
        self.heavy = False  # whether a rule has just read a big buffer
        self.label: Any = ""  # where the part that is being walked sits in its parent; for messages
        # The object is kept beside its term: its id must not be given to another object meanwhile.
        self._memo: dict[int, tuple[Term, Any]] = {}
        self._open: dict[int, tuple[int, Any]] = {}
        self._frames: list[Frame] = []
        self._cycles = 0
        self._again = 0

    def digest(self, value: Any) -> bytes:
        """Return the digest of a value: the hash of its encoding."""
        term = self.term(value)
        return term[1:] if term[:1] == b"#" else self.algo.once(term)

    def path(self) -> str:
        """Say where in the whole the walk is, as Python would: ``[0].model['lock']``."""
        values = [None, *(frame.value for frame in self._frames)]
        labels = [*(frame.label for frame in self._frames[1:]), self.label]
        return "".join(map(_step, values[1:], values, labels))

    def term(self, value: Any) -> Term:
        """Return the term of a value; rules may call it again for parts that they made."""
        term = self._leaf(value)
        if term is not None:
            return term
        base = len(self._frames)
        frames = self._frames
        if not self._enter(value):
            return self._refer(value, frames[-1] if frames else None)
        send: Term | None = None
        try:
            while True:
                frame = frames[-1]
                try:
                    part = frame.steps.send(send)  # type: ignore[arg-type]  # the first send must be None
                except StopIteration as stop:
                    send = self._finish(frame, stop.value)
                    if len(frames) == base:
                        return send
                    continue
                send = self._leaf(part)
                if send is None and not self._enter(part):
                    send = self._refer(part, frame)
        except BaseException:
            # The frames tell the message of the error where it happened: drop them only when it is made.
            del frames[base:]
            raise

    def part(self, value: Any) -> Term:
        """Return the term of a part at once, so that its error can be caught and the walk go on."""
        opened, label = len(self._open), self.label
        try:
            return self.term(value)
        except BaseException:
            while len(self._open) > opened:
                self._open.popitem()
            raise
        finally:
            self.label = label

    def _leaf(self, value: Any) -> Term | None:
        kind = type(value)
        if kind in ATOMS:
            if (kind is str or kind is bytes) and len(value) > LONG:
                return self._long(value, kind)
            return atom(value, kind, self.algo)
        known = self._memo.get(id(value))
        if known is not None:
            return known[0]
        if kind is dict or kind is tuple or kind is list:
            encoding = quick(value, self.algo, 1)
            if encoding is None:
                return None
            return encoding if is_inline(value, kind) else b"#" + self.algo.once(encoding)
        if kind in _STEPS or id(value) in self._open:
            return None
        return _objects(value, kind, self)

    def _long(self, value: Any, kind: type) -> Term:
        known = self._memo.get(id(value))
        if known is None:
            known = self._memo[id(value)] = (atom(value, kind, self.algo), value)
        return known[0]

    def _enter(self, value: Any) -> bool:
        """Open a value and put it on the stack; False where it is open already."""
        if id(value) in self._open:
            return False
        steps = (_STEPS.get(type(value)) or self.pending)(value, self)
        number = len(self._open)
        self._open[id(value)] = (number, value)
        self._frames.append(Frame(value, steps, number, self.label))
        self.label = ""
        return True

    def _refer(self, value: Any, frame: Frame | None) -> Term:
        number = self._open[id(value)][0]
        if frame is not None:
            frame.low = min(frame.low, number)
        self._cycles += 1
        return count(b"^", len(self._open) - number)

    def _finish(self, frame: Frame, term: Term) -> Term:
        """Close what is complete: the object itself, and with it the cycle that it is the first of."""
        frames = self._frames
        frames.pop()
        self.label = frame.label
        if frame.low < frame.number:
            parent = frames[-1]
            parent.low = min(parent.low, frame.low)
            return term
        while len(self._open) > frame.number + 1:
            key, (number, member) = self._open.popitem()
            # Whoever meets this member later names it by the cycle's first object and its place in it.
            self._memo[key] = (b"@" + term + pack(number - frame.number), member)
        self._open.popitem()
        self._memo[id(frame.value)] = (term, frame.value)
        return term

    def keep(self, value: Any, term: Term) -> None:
        """Remember the term of an object that was not entered."""
        self._memo[id(value)] = (term, value)

    def mark(self) -> tuple[int, int, int]:
        """Note the state before the parts of something without order."""
        return len(self._open), len(self._memo), self._cycles

    def rewind(self, mark: tuple[int, int, int]) -> None:
        """Forget what a part without order taught about cycles, so that its siblings do not depend on it."""
        opened, known, cycles = mark
        if self._cycles == cycles:
            return
        while len(self._open) > opened:
            self._open.popitem()
            self._again += 1
        while len(self._memo) > known:
            self._memo.popitem()
        if self._again > _TANGLED:
            raise refuse(
                self,
                self._frames[-1].value,
                "its elements refer to each other in too many ways to order them",
            )


class _Cell(NamedTuple):
    """A place in a list of records."""

    row: Any
    key: str


def _step(parent: Any, grandparent: Any, label: Any) -> str:
    if label is KEY:
        return " (a key of it)" if type(parent) is dict else " (an element of it)"
    if label is VALUE:
        return " (a value of it)"
    if type(label) is _Cell:
        return f"[{label.row!r:.60}][{label.key!r:.60}]"
    kind = type(parent)
    if kind is dict and parent is getattr(grandparent, "__dict__", None):
        return f".{label}"
    return f"[{label!r:.60}]" if kind in _STEPS else str(label)


def refuse(walk: Walk, value: object, why: str) -> Exception:
    """Make the error for a value that has no digest."""
    from lightwork.errors import HashError

    return HashError(f"cannot hash value{walk.path()} ({name_of(type(value))}): {why}")


def name_of(kind: type) -> str:
    """Return the name under which a class is known in encodings and messages."""
    module = kind.__module__
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"


# --- containers -----------------------------------------------------------------------------------


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
                yield from _terms(out, column, walk, map(_Cell, labels[start : start + SLICE], repeat(key)))


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
    digests: list[bytes] = []
    once, pairs = XXH3_128.once, isinstance(items, dict)
    parts = iter(items.items() if pairs else items)
    while piece := list(islice(parts, SLICE)):  # each slice is done with while it is in the processor's cache
        keys, values = zip(*piece, strict=True) if pairs else (piece, ())
        if set(map(type, keys)) != _ONLY_TUPLE or max(map(len, keys)) > INLINE:
            return None
        # Slices come in the order of insertion, so what is decided here must be a property of each item by itself:
        # the quick checks, which look at a slice as a whole, may turn it down wrongly, and then each atom is asked.
        if not are_plain_rows(keys) and not all(map(is_plain_atom, chain.from_iterable(keys))):
            return None
        if pairs and not is_plain(values, set(map(type, values))) and not all(map(is_plain_atom, values)):
            return None
        digests.append(b"".join([once(dumps(each, 2)) for each in piece]))
    return b"M" + _added_up(b"".join(digests)).to_bytes(16, "little")


def _added_up(digests: bytes) -> int:
    """Add digests of 16 bytes up, modulo 2**128 - 1: as one long number, which is folded until it is short."""
    total, length = int.from_bytes(digests, "little"), len(digests) // 16
    while length > 4:
        half = (length + 1) // 2
        total = (total & ((1 << 128 * half) - 1)) + (total >> 128 * half)
        length = half + 1  # with the carry
    return total % _MODULUS


_ONLY_TUPLE = frozenset({tuple})
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


_STEPS: dict[type, StepsOf] = {
    list: _sequence(b"["),
    tuple: _sequence(b"("),
    dict: _mapping,
    set: _unordered(b"<"),
    frozenset: _unordered(b">"),
}


def install(kind: type, steps: StepsOf) -> None:
    """Say how a type is encoded; subclasses follow where `take_apart` says so."""
    _STEPS[kind] = steps


def _not_installed(value: Any, kind: type, walk: Walk) -> Term | None:
    raise AssertionError("lightwork.hashing.rules was not imported")  # pragma: no cover


_objects: Callable[[Any, type, Walk], Term | None] = _not_installed


def install_objects(objects: Callable[[Any, type, Walk], Term | None]) -> None:
    """Say who encodes all other types: at once, or by leaving steps in `Walk.pending`."""
    global _objects
    _objects = objects
