"""The canonical walk: a value into an unambiguous run of bytes, and that into a digest.

The law: the bytes depend on the value and its types alone; never on the route taken, on which objects are
shared, interned or already seen, nor on the order inside dicts and sets. Each value has an *encoding*: a tag,
the number of its parts, and the *terms* of its parts. The term of a part is its encoding where that is a few atoms
(at most `INLINE`), else ``#`` and the digest of its encoding; so each shared container is walked once however often
it is used. No term is the beginning of another, so no two values share a run of bytes.

Atoms are encoded as `marshal` version 2 writes them (`atoms`); tags of our own are letters that marshal does not use.

The walk keeps its own stack (`Walk.term`), so nesting has no limit; what is neither deep nor tangled goes by
recursion (`shallow`). How containers are written is said by `containers`, how all other types by `objects`.

Cycles: an object that is met again while its own encoding is being made is written as its distance among the *open*
objects; an object is open until the cycle through it is complete (Tarjan's strongly connected components). Inside a
cycle, then, which objects are shared is part of the value; outside, it is not.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, NamedTuple

from lightwork.hashing.atoms import ATOMS, LONG, Term, atom, count, is_inline, pack, quick
from lightwork.hashing.buffers import XXH3_128, Algorithm

_TANGLED = 10_000  # objects walked again for an order inside cycles of sets before we give up; by guess

# Labels of parts that no index leads to.
KEY = object()
VALUE = object()

Steps = Generator[Any, Term, Term]
Body = Generator[Any, Term, None]
StepsOf = Callable[[Any, "Walk"], Steps]


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


class Apart:
    """An object taken apart: the steps that write its parts."""

    __slots__ = ("head", "labels", "parts", "tail")

    def __init__(
        self, head: bytes, parts: tuple[Any, ...], labels: tuple[str, ...], tail: bytes = b""
    ) -> None:
        self.head = head
        self.parts = parts
        self.labels = labels
        self.tail = tail  # the terms of more parts

    def __call__(self, value: Any, walk: Walk) -> Steps:
        """Walk the parts."""
        out, labels = Encoding(walk.algo, self.head), self.labels
        for place, part in enumerate(self.parts):
            walk.label = labels[place] if place < len(labels) else ""
            out.add((yield part))
        out.add(self.tail)
        return out.term(not self.tail and is_inline(self.parts, tuple))


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
        self.kinds: set[Any] | None = (
            None  # the classes of instances, and modules, where somebody asked for them
        )
        self.pending: StepsOf = Apart(b"", (), ())  # the steps of the object that is about to be entered
        self.heavy = False  # whether a rule has just read a big buffer
        self.label: Any = ""  # where the part that is being walked sits in its parent; for messages
        # The object is kept beside its term: its id must not be given to another object meanwhile.
        self.memo: dict[int, tuple[Term, Any]] = {}
        self._open: dict[int, tuple[int, Any]] = {}
        self._frames: list[Frame] = []
        self._cycles = 0
        self._again = 0

    def digest(self, value: Any) -> bytes:
        """Return the digest of a value: the hash of its encoding."""
        return self.digest_of(self.term(value))

    def digest_of(self, term: Term) -> bytes:
        """Return the digest that a term stands for."""
        return term[1:] if term[:1] == b"#" else self.algo.once(term)

    def path(self) -> str:
        """Say where in the whole the walk is, as Python would: ``[0].model['lock']``."""
        values = [None, *(frame.value for frame in self._frames)]
        labels = [*(frame.label for frame in self._frames[1:]), self.label]
        return "".join(map(_step, values[1:], values, labels))

    def term(self, value: Any) -> Term:
        """Return the term of a value; rules may call it again for parts that they made."""
        term = self._at_once(value)
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
                send = self._at_once(part)
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

    def _at_once(self, value: Any) -> Term | None:
        kind = type(value)
        if kind in ATOMS:
            return self.leaf(value, kind)
        known = self.memo.get(id(value))
        if known is not None:
            return known[0]
        if kind is dict or kind is tuple or kind is list:
            encoding = quick(value, self.algo, 1)
            if encoding is None:
                return None
            return encoding if is_inline(value, kind) else b"#" + self.algo.once(encoding)
        if kind in STEPS or id(value) in self._open:
            return None
        return OBJECTS[0](value, kind, self)

    def leaf(self, value: Any, kind: type) -> Term:
        """Return the term of an atom; that of a long one is remembered."""
        if (kind is not str and kind is not bytes) or len(value) <= LONG:
            return atom(value, kind, self.algo)
        known = self.memo.get(id(value))
        if known is None:
            known = self.memo[id(value)] = (atom(value, kind, self.algo), value)
        return known[0]

    def _enter(self, value: Any) -> bool:
        """Open a value and put it on the stack; False where it is open already."""
        if id(value) in self._open:
            return False
        steps = (STEPS.get(type(value)) or self.pending)(value, self)
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
            self.memo[key] = (b"@" + term + pack(number - frame.number), member)
        self._open.popitem()
        self.memo[id(frame.value)] = (term, frame.value)
        return term

    def keep(self, value: Any, term: Term) -> None:
        """Remember the term of an object that was not entered."""
        self.memo[id(value)] = (term, value)

    def mark(self) -> tuple[int, int, int]:
        """Note the state before the parts of something without order."""
        return len(self._open), len(self.memo), self._cycles

    def rewind(self, mark: tuple[int, int, int]) -> None:
        """Forget what a part without order taught about cycles, so that its siblings do not depend on it."""
        opened, known, cycles = mark
        if self._cycles == cycles:
            return
        while len(self._open) > opened:
            self._open.popitem()
            self._again += 1
        while len(self.memo) > known:
            self.memo.popitem()
        if self._again > _TANGLED:
            raise refuse(
                self,
                self._frames[-1].value,
                "its elements refer to each other in too many ways to order them",
            )


class Cell(NamedTuple):
    """A place in a list of records."""

    row: Any
    key: str


def _step(parent: Any, grandparent: Any, label: Any) -> str:
    if label is KEY:
        return " (a key of it)" if type(parent) is dict else " (an element of it)"
    if label is VALUE:
        return " (a value of it)"
    if type(label) is Cell:
        return f"[{label.row!r:.60}][{label.key!r:.60}]"
    kind = type(parent)
    if kind is dict and parent is getattr(grandparent, "__dict__", None):
        return f".{label}"
    return f"[{label!r:.60}]" if kind in STEPS else str(label)


def refuse(walk: Walk, value: object, why: str) -> Exception:
    """Make the error for a value that has no digest."""
    from lightwork.errors import HashError

    return HashError(f"cannot hash value{walk.path()} ({name_of(type(value))}): {why}")


def name_of(kind: type) -> str:
    """Return the name under which a class is known in encodings and messages."""
    module = kind.__module__
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"


# --- what the other files install ----------------------------------------------------------------


STEPS: dict[type, StepsOf] = {}
OBJECTS: list[Callable[[Any, type, Walk], Term | None]] = []


def install(kind: type, steps: StepsOf) -> None:
    """Say by which steps a type is encoded."""
    STEPS[kind] = steps


def install_objects(objects: Callable[[Any, type, Walk], Term | None]) -> None:
    """Say who encodes all other types: at once, or by leaving steps in `Walk.pending`."""
    OBJECTS[:] = [objects]
