"""A pickle followed with symbols in place of objects: nothing is imported, nothing is executed.

A class is its name, an instance is a `Node` with the name of its class and the symbols of its members; what the
functions that arrays are made by would return is told from their arguments. The table at the end says what
each opcode does to the stack.
"""

from __future__ import annotations

import math
import os
import pickletools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any, Final

_DEEPEST: Final = 6


class Unfollowed(Exception):  # noqa: N818 - not for users: `inspection` turns it into DamagedFileError
    """The opcodes make no sense."""


@dataclass
class Node:
    """One object of a file: the name of its type, what is known of it, and its named members."""

    kind: str
    detail: str = ""
    members: list[tuple[str, Node]] = field(default_factory=list)
    nbytes: int = 0
    value: Any = None

    def lines(self, name: str = "", depth: int = 0) -> Iterator[str]:
        """The tree, one line for each object, as deep as is readable."""
        label = f"{name}: " if name else ""
        size = f"  {readable(self.nbytes)}" if self.nbytes else ""
        yield f"{'  ' * depth}{label}{self.kind}{' ' if self.detail else ''}{self.detail}{size}"
        if depth < _DEEPEST:
            for member_name, member in self.members:
                yield from member.lines(member_name, depth + 1)


def readable(size: int) -> str:
    """A size with three digits and a unit."""
    number = float(size)
    for unit in ("B", "KB", "MB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB"


# --- the machine ----------------------------------------------------------------------------------

_MARK: Final = Node("mark")
JOBLIB: Final = "joblib.numpy_pickle.NumpyArrayWrapper"


class Machine:
    """Follows the opcodes of a pickle with symbols."""

    def __init__(self, buffers: list[tuple[str, int]]) -> None:
        self._buffers = iter(buffers)
        self._stack: list[Node] = []
        self._memo: dict[int, Node] = {}
        self._globals: dict[str, None] = {}

    def globals(self) -> tuple[str, ...]:
        """Every name that was pushed, in the order of the file."""
        return tuple(self._globals)

    def run(self, file: IO[bytes]) -> Node:
        """The symbol of the object in a file; raises `Unfollowed` where the opcodes make no sense."""
        try:
            for opcode, argument, _ in pickletools.genops(file):
                self._step(opcode.name, argument)
                if opcode.name == "BUILD" and self.top().kind == JOBLIB:
                    self._joblib_array(file)
            return self._stack[-1]
        except (ValueError, IndexError, KeyError, StopIteration, AttributeError, TypeError) as error:
            if JOBLIB in self._globals and self._stack:
                return self._rest()
            raise Unfollowed(repr(error)) from error

    def _joblib_array(self, file: IO[bytes]) -> None:
        """Put the array in place of joblib's wrapper, and pass over its bytes; ValueError for an array of objects."""
        known = dict(self.pop().members)
        shape, dtype = known[".shape"].value, _dtype_text(known[".dtype"])
        size = re.fullmatch(r"[a-zA-Z](\d+)", dtype)
        if size is None or dtype.startswith("O"):
            self.push(Node("numpy.ndarray", f"{shape} {dtype}"))
            raise ValueError("the bytes of such an array cannot be told from what follows")
        nbytes = int(size[1]) * math.prod(shape) * (4 if dtype.startswith("U") else 1)
        self.push(Node("numpy.ndarray", f"{shape} {dtype}", nbytes=nbytes))
        if ".numpy_array_alignment_bytes" in known:
            file.seek(file.read(1)[0], os.SEEK_CUR)
        file.seek(nbytes, os.SEEK_CUR)

    def _rest(self) -> Node:
        """What is known when the opcodes could not be followed to their end."""
        while _MARK in self._stack:
            items = self.pop_to_mark()
            if self._stack and self.top().kind == "dict":
                _set_items(self.top(), items[: len(items) // 2 * 2])
            elif self._stack:
                _append(self.top(), items)
        return Node("object", "(known in part)", [("", node) for node in self._stack])

    def _step(self, name: str, argument: Any) -> None:
        action = _ACTIONS.get(name)
        if action is not None:
            action(self, argument)
        elif name in _CONSTANTS:
            self.push(_constant(_CONSTANTS[name]))
        elif name in _LITERALS:
            self.push(_constant(argument))
        elif name not in _IGNORED:
            raise ValueError(f"unknown opcode {name}")

    def push(self, node: Node) -> None:
        """Put a symbol on the stack."""
        self._stack.append(node)

    def pop(self) -> Node:
        """Take the last symbol."""
        return self._stack.pop()

    def top(self) -> Node:
        """Look at the last symbol."""
        return self._stack[-1]

    def pop_to_mark(self) -> list[Node]:
        """Take what lies above the last mark, and the mark."""
        found = []
        while (node := self._stack.pop()) is not _MARK:
            found.append(node)
        return found[::-1]

    def remember(self, index: int | None) -> None:
        """Keep the last symbol under an index, or the next free one."""
        self._memo[len(self._memo) if index is None else index] = self._stack[-1]

    def recall(self, index: int) -> None:
        """Put a kept symbol on the stack."""
        self._stack.append(self._memo[index])

    def name_global(self, module: Any, name: Any) -> None:
        """Put a name on the stack that unpickling would import."""
        self._globals[f"{module}.{name}"] = None
        self.push(Node("global", f"{module}.{name}", value=(str(module), str(name))))

    def next_buffer(self, _: object) -> None:
        """Put the next buffer from outside on the stack."""
        kind, size = next(self._buffers)
        self.push(Node(kind, nbytes=size))

    def call(self, func: Node, args: Node) -> None:
        """Put what a call returns on the stack."""
        self.push(_called(func, [member for _, member in args.members]))


def _constant(value: Any) -> Node:
    kind = type(value).__name__
    if isinstance(value, bytes | bytearray):
        return Node(kind, f"of {len(value)}", nbytes=len(value))
    if isinstance(value, str) and len(value) > 60:
        return Node(kind, f"of {len(value)}", nbytes=len(value), value=value)
    return Node("None" if value is None else kind, "" if value is None else repr(value), value=value)


def _sequence(kind: str, items: list[Node]) -> Node:
    node = Node(kind, f"of {len(items)}", [(f"[{i}]", item) for i, item in enumerate(items)])
    node.value = tuple(item.value for item in items)
    return node


def _append(node: Node, items: list[Node]) -> None:
    start = len(node.members)
    node.members += [(f"[{start + i}]", item) for i, item in enumerate(items)]
    node.detail = f"of {len(node.members)}"


def _set_items(node: Node, items: list[Node]) -> None:
    for key, value in zip(items[::2], items[1::2], strict=True):
        node.members.append((f"[{key.value!r}]" if key.value is not None else f"[{key.kind}]", value))
    node.detail = f"of {len(node.members)}"


def _build(node: Node, state: Node) -> None:
    """Members from a state: of a dict its items, of a pair (dict, slots) those of both."""
    for part in [state, *(member for _, member in state.members if state.kind == "tuple")]:
        if part.kind == "dict":
            node.members += [(f".{name.strip('[]').strip(chr(39))}", member) for name, member in part.members]


def _called(func: Node, args: list[Node]) -> Node:
    """What a call returns, by the names of the functions that our own pickles and NumPy's use."""
    name = ".".join(func.value) if func.kind == "global" else func.kind
    known = _CALLS.get(name)
    if known is not None:
        return known(args)
    node = Node(name, "", [(f"({i})", arg) for i, arg in enumerate(args) if arg.members or arg.nbytes])
    node.nbytes = sum(arg.nbytes for arg in args)
    return node


def _dtype_text(node: Node) -> str:
    return str(node.value) if isinstance(node.value, str) else node.detail or node.kind


def _zeros(args: list[Node]) -> Node:
    return Node("numpy.ndarray", f"{args[0].value} {_dtype_text(args[1])}", value=_dtype_text(args[1]))


def _ndarray(args: list[Node]) -> Node:
    nbytes = args[2].nbytes if len(args) > 2 else 0
    order = ", Fortran order" if len(args) > 5 and args[5].value == "F" else ""
    return Node("numpy.ndarray", f"{args[0].value} {_dtype_text(args[1])}{order}", nbytes=nbytes)


def _numpys_own(args: list[Node]) -> Node:
    """How NumPy itself pickles an array, in the files of others."""
    return Node("numpy.ndarray", f"{args[2].value} {_dtype_text(args[1])}", nbytes=args[0].nbytes)


def _same(args: list[Node]) -> Node:
    return Node(args[0].kind, args[0].detail, args[0].members, args[0].nbytes, args[0].value)


def _dtype(args: list[Node]) -> Node:
    return Node("numpy.dtype", _dtype_text(args[0]), value=_dtype_text(args[0]))


_CALLS: Final[dict[str, Callable[[list[Node]], Node]]] = {
    "numpy._core.numeric._frombuffer": _numpys_own,
    "numpy.core.numeric._frombuffer": _numpys_own,
    "numpy.zeros": _zeros,
    "numpy.ndarray": _ndarray,
    "numpy.dtype": _dtype,
    "numpy.swapaxes": _same,
    "numpy.ascontiguousarray": _same,
}

_CONSTANTS: Final = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS: Final = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
}
_IGNORED: Final = {"PROTO", "FRAME", "STOP", "READONLY_BUFFER"}

_Action = Callable[[Machine, Any], None]


def _take(*counts: int) -> Callable[[Machine], list[Node]]:
    return lambda m: [m.pop() for _ in range(*counts)][::-1]


def _two(action: Callable[[Machine, Node, Node], None]) -> _Action:
    def step(machine: Machine, _: Any) -> None:
        second, first = machine.pop(), machine.pop()
        action(machine, first, second)

    return step


def _onto(action: Callable[[Node, list[Node]], None], count: int | None) -> _Action:
    """Take so many, or all down to the mark, and add them to what lies below."""

    def step(machine: Machine, _: Any) -> None:
        items = machine.pop_to_mark() if count is None else _take(count)(machine)
        action(machine.top(), items)

    return step


def _made(kind: str, count: int | None) -> _Action:
    def step(machine: Machine, _: Any) -> None:
        items = machine.pop_to_mark() if count is None else _take(count)(machine)
        machine.push(_sequence(kind, items))

    return step


def _dict_of(machine: Machine, items: list[Node]) -> None:
    node = Node("dict", "of 0")
    _set_items(node, items)
    machine.push(node)


def _new_with_keywords(machine: Machine, _: Any) -> None:
    keywords, args, cls = machine.pop(), machine.pop(), machine.pop()
    machine.call(cls, args)
    machine.top().members += [(name, member) for name, member in keywords.members if member.nbytes]
    machine.top().nbytes += sum(member.nbytes for _, member in keywords.members)


def _pop(machine: Machine, _: Any) -> None:
    machine.pop()


_ACTIONS: Final[dict[str, _Action]] = {
    "MARK": lambda m, _: m.push(_MARK),
    "POP": _pop,
    "POP_MARK": lambda m, _: m.pop_to_mark().clear(),
    "DUP": lambda m, _: m.push(m.top()),
    "PUT": lambda m, i: m.remember(i),
    "BINPUT": lambda m, i: m.remember(i),
    "LONG_BINPUT": lambda m, i: m.remember(i),
    "MEMOIZE": lambda m, _: m.remember(None),
    "GET": lambda m, i: m.recall(i),
    "BINGET": lambda m, i: m.recall(i),
    "LONG_BINGET": lambda m, i: m.recall(i),
    "GLOBAL": lambda m, text: m.name_global(*text.split(" ", 1)),
    "STACK_GLOBAL": _two(lambda m, module, name: m.name_global(module.value, name.value)),
    "EMPTY_TUPLE": _made("tuple", 0),
    "TUPLE": _made("tuple", None),
    "TUPLE1": _made("tuple", 1),
    "TUPLE2": _made("tuple", 2),
    "TUPLE3": _made("tuple", 3),
    "EMPTY_LIST": _made("list", 0),
    "LIST": _made("list", None),
    "EMPTY_SET": _made("set", 0),
    "FROZENSET": _made("frozenset", None),
    "EMPTY_DICT": lambda m, _: _dict_of(m, []),
    "DICT": lambda m, _: _dict_of(m, m.pop_to_mark()),
    "APPEND": _onto(_append, 1),
    "APPENDS": _onto(_append, None),
    "ADDITEMS": _onto(_append, None),
    "SETITEM": _onto(_set_items, 2),
    "SETITEMS": _onto(_set_items, None),
    "BUILD": _onto(lambda node, items: _build(node, items[0]), 1),
    "REDUCE": _two(lambda m, func, args: m.call(func, args)),
    "NEWOBJ": _two(lambda m, cls, args: m.call(cls, args)),
    "NEWOBJ_EX": _new_with_keywords,
    "NEXT_BUFFER": Machine.next_buffer,
}
