"""An object into the chunks of its pickle: which pickler, with which reducers, and who is to blame where it fails.

The plain C pickler comes first. cloudpickle, which is slower and writes code into the file, is only called where
the plain one refuses (lambdas, local classes), and for what `__main__` defines, which no other program could
find by name. Nothing is written to a place from here: a failure leaves it as it was.
"""

from __future__ import annotations

import pickle
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from lightwork.persist.arrays import Reducers
from lightwork.persist.layout import HANDED_OVER, Piece
from lightwork.persist.sharing import Stretches

if TYPE_CHECKING:
    from lightwork.errors import PicklingFailedError

PROTOCOL: Final = 5
# Bytes looked through at a time: below 30,000 CPython's search takes its short way (11 MB: 3.2 -> 2.5 ms, 3.11-3.13).
_SCANNED: Final = 29_900
# Bytes that are looked through in the time that one slot of a pickler's memo takes (0.21 ns a byte, 90 ns a slot).
_A_SLOT: Final = 430
_SLOT: Final = 16  # bytes of a slot, by which the memo makes `sys.getsizeof` of the C pickler larger
_FOLLOWED: Final = 20  # levels that are followed into what is nested too deeply: each is pickled anew
_FIELD: Final[Any] = pickle.Pickler.__dict__.get("dispatch_table")


class Pickled(NamedTuple):
    """The chunks of a pickle in order, and what the pickler learned."""

    pieces: list[Piece]
    reducers: Reducers
    by_value: bool  # cloudpickle wrote code into it
    held: list[memoryview | pickle.PickleBuffer]

    def fill(self, pickler: pickle.Pickler, value: object) -> None:
        """Pickle `value`; nothing is held where that fails."""
        try:
            pickler.dump(value)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Let go of what is in the pieces, which have been written, or will not be: others may resize it again."""
        for view in self.held:
            view.release()
        self.reducers.release()


class _Recorder:
    """The file of a pickler: keeps what is written.

    While a bytearray or an `array.array` waits to be written, a view holds it at the size that the pickle states:
    whoever would resize it (another thread, or a ``__reduce__`` that comes later) gets a BufferError, as from
    ``file.write``.
    """

    __slots__ = ("held", "pieces")

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.held: list[memoryview | pickle.PickleBuffer] = []

    def write(self, piece: Any) -> None:
        kind = type(piece)
        if kind is bytearray:
            self.held.append(memoryview(piece))
        # The pure-Python pickler writes views of a buffer that it reuses.
        self.pieces.append(bytes(piece) if kind is memoryview else piece)


def _plain(
    value: object,
    protocol: int,
    shuffle: bool = False,
    stretches: Stretches | None = None,
    by_name: bool = True,
) -> tuple[Pickled, bool]:
    """A pickle by C, and whether it needs what `__main__` defines (if it matters: not `by_name`)."""
    recorder = _Recorder()
    pickler = pickle.Pickler(recorder, protocol)
    reducers = Reducers(handed_over=hands_over(), shuffle=shuffle, stretches=stretches, held=recorder.held)
    if protocol >= PROTOCOL:
        pickler.dispatch_table = reducers
    made = Pickled(recorder.pieces, reducers, by_value=False, held=recorder.held)
    made.fill(pickler, value)
    return made, not by_name and _mentions_main(recorder.pieces, protocol, pickler)


def _by_value(
    value: object, protocol: int, shuffle: bool = False, stretches: Stretches | None = None
) -> Pickled:
    import cloudpickle

    recorder = _Recorder()
    pickler = cloudpickle.Pickler(recorder, protocol)
    reducers = Reducers(
        pickler.dispatch_table,
        handed_over=hands_over(),
        shuffle=shuffle,
        stretches=stretches,
        held=recorder.held,
    )
    if protocol >= PROTOCOL:
        # cloudpickle's class attribute of this name hides the C pickler's own field from assignment.
        _FIELD.__set__(pickler, reducers)
    made = Pickled(recorder.pieces, reducers, by_value=True, held=recorder.held)
    made.fill(pickler, value)
    pickler.clear_memo()  # it refers to itself, and would keep all objects until the next collection of garbage
    return made


def pickled(
    value: object, protocol: int, *, shuffle: bool = False, dedupe: bool = False, by_name: bool = False
) -> Pickled:
    """Pickle `value`; raises PicklingFailedError with the path to the member that cannot be pickled.

    With `shuffle`, arrays may be written in the order of bytes that compresses better; with `dedupe`, memory that
    arrays share is written once; with `by_name`, what `__main__` defines is written by its name: for a file that
    the same program reads, whose objects must be of its own classes.
    """
    if not dedupe:
        return _pickled(value, protocol, shuffle, None, by_name)
    stretches = Stretches()
    _pickled(value, protocol, shuffle, stretches, by_name).release()
    stretches.settle()
    return _pickled(value, protocol, shuffle, stretches, by_name)


def _pickled(
    value: object, protocol: int, shuffle: bool, stretches: Stretches | None, by_name: bool
) -> Pickled:
    plain, too_deep = None, False
    try:
        plain, mentions_main = _plain(value, protocol, shuffle, stretches, by_name)
        if not mentions_main:
            return plain
    except MemoryError:
        raise
    except Exception as error:  # whatever a __reduce__ may raise: cloudpickle may know better
        too_deep = isinstance(error, RecursionError)
    try:
        made = _by_value(value, protocol, shuffle, stretches)
        if plain is not None:
            plain.release()
        return made
    except MemoryError:
        raise
    except Exception as error:
        if plain is not None:  # by name it works, if only for programs that define the same
            return plain
        raise _failure(value, protocol, None if too_deep else str(error)) from error


def _mentions_main(pieces: list[Piece], protocol: int, pickler: pickle.Pickler) -> bool:
    """Whether the name of a module that was written is that of the script."""
    if protocol >= 4 and len(pieces) > 1:
        # Such names are in the memo. Where it is small beside the bytes (arrays), to go through it takes less time.
        size = sum([len(piece) for piece in pieces if type(piece) is bytes])
        if size > _A_SLOT * (sys.getsizeof(pickler) // _SLOT):
            known = pickler.memo.copy().values()
            return any(type(object_) is str and object_ == "__main__" for _, object_ in known)
    # As the name of a module is written; a longer needle is found faster.
    needle = b"\x8c\x08__main__\x94" if protocol >= 4 else b"c__main__\n"
    for piece in pieces:  # noqa: SIM110 - a generator adds 0.12 us to each small object
        if type(piece) is bytes and _holds(piece, needle):
            return True
    return False


def _holds(piece: bytes, needle: bytes) -> bool:
    if len(piece) <= _SCANNED:
        return needle in piece
    beyond = len(needle) - 1  # a needle may lie across a cut
    return any(
        piece.find(needle, start, start + _SCANNED + beyond) >= 0 for start in range(0, len(piece), _SCANNED)
    )


_hands_over: bool | None = None


def hands_over() -> bool:
    """Whether this interpreter's pickler gives big buffers to `write()` as they are; found out once."""
    global _hands_over
    if _hands_over is None:
        recorder = _Recorder()
        buffer = pickle.PickleBuffer(bytearray(HANDED_OVER))
        pickle.Pickler(recorder, PROTOCOL).dump(buffer)
        _hands_over = any(piece is buffer for piece in recorder.pieces)
    return _hands_over


# --- who is to blame ------------------------------------------------------------------------------


def _failure(value: object, protocol: int, reason: str | None) -> PicklingFailedError:
    from lightwork.errors import PicklingFailedError

    path, culprit = culprit_in(
        value, _callers_name(value), protocol, _FOLLOWED if reason is None else sys.maxsize
    )
    reason = reason or "it is nested too deeply"
    kind = f"{type(culprit).__module__}.{type(culprit).__qualname__}".removeprefix("builtins.")
    message = (
        f"{path} (of type {kind}) cannot be pickled: {reason}. Nothing was written; leave this member out "
    )
    return PicklingFailedError(
        message + "(__getstate__), or replace it by something that can be pickled.", path
    )


def _fails(value: object, protocol: int) -> bool:
    for by_value in (False, True):
        try:
            made = _by_value(value, protocol) if by_value else _plain(value, protocol)[0]
        except Exception:
            continue
        made.release()
        return False
    return True


def culprit_in(
    value: object, path: str, protocol: int = PROTOCOL, levels: int = _FOLLOWED
) -> tuple[str, object]:
    """The innermost member that does not pickle, and its path: the first that fails, for as long as there is one.

    Parameters
    ----------
    value : object
        What does not pickle.
    path : str
        Its name.
    protocol : int
        The protocol of the pickle.
    levels : int
        How many levels to go down at most.
    """
    seen: set[int] = set()
    while id(value) not in seen and len(seen) < levels:
        seen.add(id(value))
        for name, member in _members(value):
            if id(member) not in seen and _fails(member, protocol):
                path, value = path + name, member
                break
        else:
            break
    return path, value


def _members(value: object) -> list[tuple[str, object]]:
    if isinstance(value, dict):
        keys = [(f".keys()[{i}]", key) for i, key in enumerate(value)]
        return [(f"[{key!r}]", member) for key, member in value.items()] + keys
    if isinstance(value, list | tuple):
        return [(f"[{i}]", member) for i, member in enumerate(value)]
    if isinstance(value, set | frozenset):
        return [(f"{{{i}}}", member) for i, member in enumerate(value)]
    found: list[tuple[str, object]] = []
    if (closure := getattr(value, "__closure__", None)) and (code := getattr(value, "__code__", None)):
        cells = zip(code.co_freevars, closure, strict=False)
        found += [(f".{name}", cell.cell_contents) for name, cell in cells if _filled(cell)]
    if hasattr(value, "func") and hasattr(value, "args") and hasattr(value, "keywords"):  # functools.partial
        found += [(".func", value.func), (".args", value.args), (".keywords", value.keywords)]
    if (owner := getattr(value, "__self__", None)) is not None and not isinstance(owner, type(sys)):
        found.append((".__self__", owner))
    try:
        state = value.__getstate__() if type(value).__getstate__ is not object.__getstate__ else None
    except Exception:
        state = None  # its failure is this object's own
    if isinstance(state, dict):
        return found + [(f".{name}", member) for name, member in state.items()]
    found += [(f".{name}", member) for name, member in getattr(value, "__dict__", {}).items()]
    slots = [slot for cls in type(value).__mro__ for slot in _slots(cls)]
    return found + [(f".{slot}", getattr(value, slot)) for slot in slots if hasattr(value, slot)]


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _slots(cls: type) -> list[str]:
    slots = cls.__dict__.get("__slots__", ())
    names = [slots] if isinstance(slots, str) else list(slots)
    return [name for name in names if not name.startswith("__")]


def _callers_name(value: object) -> str:
    """The name that the caller of `dump` has for the object, so that the path reads like their code."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("lightwork."):
        frame = frame.f_back
    for name, local in frame.f_locals.items():
        if local is value and not name.startswith("_"):
            return name
    return "value"
