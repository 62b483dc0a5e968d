"""The user's classes among the arguments of a call: their methods run too, so their code is part of the key.

A pickler finds them, because it visits all that makes a value at the speed of C and asks us about whatever is not
a plain container or atom. What it writes goes nowhere; buffers are not even looked at. Classes of
libraries are known by their names, which the digest of the arguments holds already.
"""

from __future__ import annotations

import pickle
from contextlib import suppress
from types import FunctionType
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from lightwork.memory.key import PLAIN

if TYPE_CHECKING:
    from lightwork.hashing import Fingerprint
    from lightwork.memory.key import Values

__all__ = ["classes_in"]

_of_libraries: WeakSet[type] = WeakSet()


def classes_in(values: Values) -> tuple[Fingerprint, ...]:
    """The fingerprints of the user's classes that values hold, each once, in an order of their own."""
    if PLAIN.issuperset(map(type, values)):
        return ()
    visitor = _Visitor()
    # What refuses to be pickled has no digest or will be told by the loop; what was met until then counts.
    with suppress(Exception):
        visitor.dump(values)
    if not visitor.met:
        return ()
    from lightwork.hashing import fingerprint

    found = {}
    for kind in visitor.met:
        code = fingerprint(kind)
        if code.tokens:
            found[code.digest] = code
        else:
            _of_libraries.add(kind)
    return tuple(found[digest] for digest in sorted(found))


class _Nowhere:
    def write(self, data: object) -> None: ...


class _Visitor(pickle.Pickler):
    def __init__(self) -> None:
        super().__init__(_Nowhere(), 5, buffer_callback=lambda buffer: None)
        self.met: set[type] = set()

    def reducer_override(self, obj: object) -> Any:
        kind = obj if isinstance(obj, type) else type(obj)
        if kind not in _of_libraries:
            self.met.add(kind)
        if isinstance(obj, type | FunctionType):
            return len, ()  # anything that pickles: local classes and lambdas would end the visit
        return NotImplemented
