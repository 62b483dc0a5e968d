"""A value into a digest: the same value, the same digest, in any process and on any run.

`hash` and `digest` walk a value (`shallow`, `walk`, `objects`, `buffers`); `fingerprint` says what code a function
runs and depends on (`source`, `definitions`, `syntax`). What counts as the same value is one table, in the docs
under "The law of equality".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightwork.errors import OptionError
from lightwork.hashing import containers as containers  # it says how containers are walked
from lightwork.hashing import shallow
from lightwork.hashing.atoms import plain_tuple, quick
from lightwork.hashing.buffers import XXH3_128, algorithm
from lightwork.hashing.objects import register_hash
from lightwork.hashing.scope import EVERYTHING, Followed, Scope, ScopedWalk
from lightwork.hashing.walk import Walk

if TYPE_CHECKING:
    from lightwork.hashing.source import Fingerprint as Fingerprint
    from lightwork.hashing.source import explain as explain
    from lightwork.hashing.source import fingerprint as fingerprint

__all__ = [
    "Fingerprint",
    "digest",
    "digest_small",
    "explain",
    "fingerprint",
    "hash",
    "register_hash",
    "survey",
]


_once = XXH3_128.once


def digest(obj: object) -> bytes:
    """Return the 16 bytes that stand for a value: its xxh3_128 digest.

    Examples
    --------
    >>> from lightwork.hashing import digest
    >>> digest([1, "a"]) == digest([1, "a"]), digest([1]) == digest((1,)), digest(1) == digest(True)
    (True, False, False)
    """
    encoding = quick(obj, XXH3_128)
    if encoding is not None:
        return XXH3_128.once(encoding)
    return shallow.digest(obj, Walk())


def digest_small(obj: tuple[object, ...]) -> bytes | None:
    """Return the `digest` of a small tuple of atoms and small containers; None for whatever needs a closer look.

    Examples
    --------
    >>> from lightwork.hashing import digest, digest_small
    >>> digest_small((1, "a")) == digest((1, "a")), digest_small(tuple(range(100)))
    (True, None)
    """
    encoding = plain_tuple(obj) or quick(obj, XXH3_128)
    return None if encoding is None else _once(encoding)


def survey(obj: object, scope: Scope = EVERYTHING) -> tuple[bytes, tuple[Followed, ...]]:
    """Return the digest of a value, and the user's classes and modules in it, in no order.

    An instance's methods run where the instance is used. So where it is an argument of a remembered call, its
    class should count by what it does (`fingerprint`); its digest has only the name of the class. So it is with
    modules. Functions and classes that are values themselves count as far as `scope` says; what it leaves out is not
    returned.

    Examples
    --------
    >>> from lightwork.hashing import survey
    >>> survey((1, "a"))[1]
    ()
    """
    encoding = quick(obj, XXH3_128)
    if encoding is not None:
        return XXH3_128.once(encoding), ()
    walk = Walk() if scope is EVERYTHING else ScopedWalk(scope)
    walk.kinds = set()
    found = shallow.digest(obj, walk)
    return found, tuple([kind for kind in walk.kinds if scope.counts(kind)])


def hash(obj: object, hash_name: str = "xxh3_128", coerce_mmap: bool = False) -> str:
    """Return a text of hexadecimal digits that two values share when they are the same.

    Parameters
    ----------
    obj : object
        Any value: built-in types, NumPy arrays, functions, and what can be pickled.
    hash_name : str, optional
        The hash function: ``"xxh3_128"`` (fast), ``"blake3"`` (if installed), or one of the standard
        library's such as ``"sha256"``, ``"md5"`` and ``"sha1"``.
    coerce_mmap : bool, optional
        Whether a memory-mapped array (`numpy.memmap`) and an array in memory with the same data count as the same.

    Returns
    -------
    str
        The digest, in hexadecimal digits.

    Raises
    ------
    HashError
        The value holds something that has no value of its own, such as an open file or a lock.
    OptionError
        There is no such hash function.

    Examples
    --------
    >>> import lightwork
    >>> lightwork.hash({"a": 1, "b": [2.0]})
    '...'
    >>> lightwork.hash({"b": [2.0], "a": 1}) == lightwork.hash({"a": 1, "b": [2.0]})
    True
    """
    if hash_name == "xxh3_128":
        algo = XXH3_128
        encoding = quick(obj, algo)
        if encoding is not None:
            return algo.once(encoding).hex()
    elif isinstance(hash_name, str):
        algo = algorithm(hash_name)
    else:
        raise OptionError(
            f"hash_name must be the name of a hash function, such as 'sha256', not {hash_name!r}"
        )
    return shallow.digest(obj, Walk(algo, coerce_mmap)).hex()


def __getattr__(name: str) -> object:
    """Bind what reads code when it is first asked for: values alone are hashed without `ast` and its like."""
    if name in ("Fingerprint", "explain", "fingerprint"):
        from lightwork.hashing import source

        found: object = getattr(source, name)
        globals()[name] = found
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
