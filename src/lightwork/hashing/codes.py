"""Code objects: what can be known of one without its source.

The law: two code objects are the same if they do the same, wherever their lines are; their digest holds on one version
of Python only. Names are read from the instructions; what a call of a method changes is seen where the method bears the
name of one that changes a container.

Pure: code objects in, values out.
"""

from __future__ import annotations

import opcode
import sys
import types
from collections.abc import Iterator
from marshal import dumps
from operator import attrgetter
from typing import Any

from lightwork.hashing.atoms import atom
from lightwork.hashing.buffers import XXH3_128
from lightwork.hashing.chains import MUTATING, Chain, Names

_plain = attrgetter(
    "co_code",
    "co_names",
    "co_varnames",
    "co_freevars",
    "co_cellvars",
    "co_argcount",
    "co_posonlyargcount",
    "co_kwonlyargcount",
    "co_flags",
    "co_exceptiontable",
    "co_qualname",
)


def same_code(one: types.CodeType, other: types.CodeType) -> bool:
    """Whether two code objects do the same, wherever their lines are."""
    return bool(_plain(one) == _plain(other)) and digest_code(one) == digest_code(other)


def digest_code(code: types.CodeType) -> bytes:
    """Digest a code object, positions aside. `co_code` is free of what the interpreter learnt while running it."""
    # All that `_plain` gives is bytes, texts, numbers and tuples of texts: what marshal writes as the walk would.
    return XXH3_128.once(b"code" + dumps(_plain(code), 2) + _constant(code.co_consts))


def _constant(value: Any) -> bytes:
    """Write a constant of code: like the walk, but for code objects, and cheap."""
    kind = type(value)
    if kind is types.CodeType:
        return b"c" + digest_code(value)
    if kind is tuple:
        return b"(" + str(len(value)).encode() + b"," + b"".join(map(_constant, value))
    if kind is frozenset:
        return b">" + str(len(value)).encode() + b"," + b"".join(sorted(map(_constant, value)))
    if kind is slice:  # constants from 3.14 on
        return b"s" + _constant((value.start, value.stop, value.step))
    return atom(value, kind, XXH3_128)


_IMPORT_NAME = opcode.opmap["IMPORT_NAME"]
_LOAD_GLOBAL = opcode.opmap["LOAD_GLOBAL"]
_BY_NAME = {
    opcode.opmap[name]
    for name in ("LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS")
    if name in opcode.opmap
}
_ATTRIBUTE = {opcode.opmap[name] for name in ("LOAD_ATTR", "LOAD_METHOD") if name in opcode.opmap}
_ATTRIBUTE_SHIFT = 0 if "LOAD_METHOD" in opcode.opmap and sys.version_info < (3, 12) else 1


def _instructions(code: types.CodeType) -> Iterator[tuple[int, int]]:
    """Yield operation and argument; `dis` would take ten times as long."""
    raw, high = code.co_code, 0
    for place in range(0, len(raw), 2):
        operation = raw[place]
        argument = raw[place + 1] | high
        high = argument << 8 if operation == opcode.EXTENDED_ARG else 0
        if operation:
            yield operation, argument


def _arguments(code: types.CodeType, operation: int) -> Iterator[int]:
    """Yield the arguments of one operation; to search for it takes a tenth of the time that reading all would."""
    raw = code.co_code
    operations = raw[::2]
    place = operations.find(operation)
    while place >= 0:
        argument, before = raw[2 * place + 1], place
        while before and operations[before - 1] == opcode.EXTENDED_ARG:
            before -= 1
            argument |= raw[2 * before + 1] << 8 * (place - before)
        yield argument
        place = operations.find(operation, place + 1)


def imported_by(code: types.CodeType) -> tuple[str, ...]:
    """Return the modules that code, and all code in it, imports."""
    found = {
        each.co_names[argument]
        for each in (code, *inner_codes(code))
        for argument in _arguments(each, _IMPORT_NAME)
    }
    return tuple(sorted(found))


def global_names(code: types.CodeType) -> set[str]:
    """Return the names that code, and all code in it, looks up among its globals."""
    found = set()
    for each in (code, *inner_codes(code)):
        names = each.co_names
        found.update([names[argument >> 1] for argument in _arguments(each, _LOAD_GLOBAL)])
        for operation in _BY_NAME:
            found.update([names[argument] for argument in _arguments(each, operation)])
    return found


def inner_codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield the code objects inside of one, at any depth."""
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield constant
            yield from inner_codes(constant)


def names_of_code(code: types.CodeType) -> Names:
    """Read the names from the instructions, where there is no syntax. Changes by method call are not seen here."""
    used: set[Chain] = set()
    changed: set[Chain] = set()
    rebound: set[Chain] = set()
    for each in (code, *inner_codes(code)):
        chain: Chain = ()
        for operation, argument in _instructions(each):
            if operation == _LOAD_GLOBAL or operation in _BY_NAME:
                used.add(chain)
                chain = (each.co_names[argument >> 1 if operation == _LOAD_GLOBAL else argument],)
                if opcode.opname[operation] in ("STORE_GLOBAL", "DELETE_GLOBAL"):
                    rebound.add(chain)
            elif operation in _ATTRIBUTE and chain:
                chain = (*chain, each.co_names[argument >> _ATTRIBUTE_SHIFT])
                if chain[-1] in MUTATING:
                    changed.add(chain[:-1])
            else:
                used.add(chain)
                chain = ()
    used.discard(())
    return Names(tuple(sorted(used)), tuple(sorted(changed)), tuple(sorted(rebound)))
