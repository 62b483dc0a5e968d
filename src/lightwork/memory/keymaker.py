"""The shell around `key`: fingerprints and digests, from which the path of an entry is made.

    path = label and xxh3_128(digest of (module, name, parameters) + fingerprint of the code
                              + digest of the arguments + fingerprints of the user's classes among them)

One `KeyMaker` serves a function and all its bound methods. It is cheap to make; the binder is compiled at
the first call, and again when the function gets other code while it lives (IPython's ``autoreload`` does that).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from operator import is_
from types import FunctionType
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from lightwork.memory.entry import Code
from lightwork.memory.function import is_generator_function
from lightwork.memory.key import PLAIN, Identity, Values
from lightwork.observe.messages import shorten

if TYPE_CHECKING:
    from lightwork.hashing import Fingerprint
    from lightwork.hashing.definitions import Sent
    from lightwork.hashing.scope import Followed
    from lightwork.hashing.source import Record
    from lightwork.memory.binding import Binder
    from lightwork.memory.options import Options
    from lightwork.memory.stores.local import LocalStore

__all__ = ["Key", "KeyMaker", "script"]


_new: Final = tuple.__new__


def script() -> str | None:
    """The file that runs as ``__main__``: a script or, where the notebook's server says so, a notebook."""
    main = sys.modules.get("__main__")
    for name in ("__file__", "__session__", "__vsc_ipynb_file__"):
        if isinstance(path := getattr(main, name, None), str):
            return os.path.abspath(path)
    return None


class Key(NamedTuple):
    """What a call is known by, and what of it is worth telling."""

    path: str
    values: Values
    code: Fingerprint
    classes: tuple[Fingerprint, ...]
    stream: bytes = b""
    """The random numbers that the result depends on too, by a token; see `KeyMaker.streamed`."""


class _ByName:
    """The fingerprint of a function whose code is not to count: another object, but the same digest, for other code."""

    def __init__(self) -> None:
        self._inside: list[object] = []
        self._made: Fingerprint | None = None

    def __call__(self, function: object) -> Fingerprint:
        """Return the one that was made for what is in the function now, or make one."""
        inside = [each for part in _signers(function) for each in _inside(part)]
        if self._made is None or len(inside) != len(self._inside) or not all(map(is_, inside, self._inside)):
            from lightwork.hashing import Fingerprint

            self._inside, self._made = inside, Fingerprint(bytes(16), (), ())
        return self._made


def _signers(function: object) -> Iterator[object]:
    """The function and what it wraps: each may have a say in how calls are spelled."""
    seen: list[object] = []
    while function is not None and not any(function is each for each in seen):
        yield function
        seen.append(function)
        function = getattr(function, "__wrapped__", None)


def _inside(function: object) -> tuple[object, ...]:
    """What a function is called by: its code and its defaults, of which those by keyword can be changed in place."""
    keywords: Mapping[str, object] = getattr(function, "__kwdefaults__", None) or {}
    code, defaults = getattr(function, "__code__", None), getattr(function, "__defaults__", None)
    return function, code, defaults, *keywords, *keywords.values()


def _fingerprints(
    kinds: Iterable[Followed], fingerprint: Callable[[Followed], Fingerprint]
) -> tuple[Fingerprint, ...]:
    """The code of the user's classes and modules among the arguments: it runs too. In an order of their own."""
    found = {code.digest: code for code in map(fingerprint, kinds)}
    return tuple(found[digest] for digest in sorted(found))


def _is_data(value: object) -> bool:
    """Whether a value is an atom or an array of numbers."""
    if type(value) in PLAIN:
        return True
    dtype = getattr(value, "dtype", None)
    return type(value).__module__ == "numpy" and dtype is not None and not dtype.hasobject


class _Made(NamedTuple):
    """What was made for one fingerprint: how calls are bound, and what is digested before their arguments."""

    code: Fingerprint
    binder: Binder
    bind: Callable[..., Values]
    head: bytes


class KeyMaker:
    """Makes the keys of one function's calls; shared by its bound methods.

    What is made for a fingerprint is made anew for another one, since defaults belong to the code: where a default
    changed and the binder did not, one key would be that of two calls.
    """

    __slots__ = (
        "_besides",
        "_binder",
        "_fingerprint",
        "_folder",
        "_hexdigest",
        "_made",
        "_plain",
        "_prefix",
        "_record",
        "_record_of",
        "_small",
        "_survey",
        "_told",
        "function",
        "hits",
        "identity",
        "label",
        "misses",
        "options",
        "store",
        "told_code",
    )

    def __init__(
        self, function: Callable[..., object], identity: Identity, store: LocalStore, options: Options
    ) -> None:
        self.function = function
        self.identity = identity
        self.store = store
        self.options = options
        self.hits = self.misses = 0
        self.label = ""
        self.told_code = b""  # the code of which it was said what changed
        self._told: tuple[Fingerprint, Code] | None = None
        self._made: _Made | None = None
        self._record: Record | None = None

    def key(self, args: Values, kwargs: Mapping[str, object]) -> Key:
        """The key of a call. This runs on each hit: what is short stands here instead of in a function."""
        record, made = self._record, self._made
        if (
            record is None
            or made is None
            or made.code is not record.fingerprint
            or not record.holds(self.function)
        ):
            made = self._look()
        code = made.code
        try:
            values = made.bind(*args, **kwargs)
        except TypeError:
            values = made.binder(args, kwargs)
        if not self._plain:
            return self._special(made, values, args, kwargs)
        said = self._small(values)
        classes: tuple[Fingerprint, ...] = ()
        # Digests of 16 bytes, of which only the last, the classes, vary in number: none can run into the next.
        if said is not None:
            parts = made.head + said
        else:
            said, kinds = self._surveyed(values)
            parts = made.head + said
            if kinds:
                classes = _fingerprints(kinds, self._fingerprint)
                parts += b"".join([each.digest for each in classes])
        whole = self._hexdigest(parts)
        # As Key(...) makes it, in 0.14 in place of 0.25 us.
        return _new(Key, (f"{self._folder}{whole[:2]}/{self.label}-{whole}", values, code, classes, b""))

    def _special(self, made: _Made, values: Values, args: Values, kwargs: Mapping[str, object]) -> Key:
        """The key of a function with options that have a say in it."""
        from lightwork.hashing import digest, fingerprint

        options, counted = self.options, self._counted(values, args, kwargs)
        followed: list[Callable[..., object]] = [each for each in options.depends_on if callable(each)]
        if options.key is not None:
            followed.append(options.key)
        if options.key is None:
            said, kinds = self._surveyed(counted)
        else:  # an error is about what `key` returned, not about a parameter
            said, kinds = self._survey(counted)
        parts = made.head + said
        parts += digest([each for each in options.depends_on if not callable(each)])
        parts += b"".join([fingerprint(each, self._besides).digest for each in followed])
        classes = _fingerprints(kinds, self._fingerprint)
        parts += b"".join([each.digest for each in classes])
        return Key(self.store.path(self.label, self._hexdigest(parts)), values, made.code, classes)

    def _surveyed(self, values: Values) -> tuple[bytes, tuple[Followed, ...]]:
        """The digest of the values of a call, and the user's classes and modules among them."""
        try:
            return self._survey(values)
        except TypeError as error:
            self._refuse(values, error)

    def _counted(self, values: Values, args: Values, kwargs: Mapping[str, object]) -> Values:
        """What of a call counts: its values, or what the user's own `key` makes of them."""
        own = self.options.key
        if own is not None:
            return (own(*args, **kwargs),)
        try:
            return self._binder.counted(values)
        except Exception as error:
            from lightwork.errors import HashError

            raise HashError(
                f"{self.identity}: ignore={list(self.options.ignore)!r} cannot be left out of an argument: {error}. "
                f"Ignore the whole argument, or give key="
            ) from error

    def streamed(self, key: Key, stream: bytes) -> Key:
        """The key of a call whose result depends on the random numbers of a stream as well."""
        path = self.store.path(self.label, self._hexdigest(key.path[-32:].encode() + stream))
        return key._replace(path=path, stream=stream)

    def code(self, key: Key) -> Code:
        """By which code a call is computed, in words."""
        known = self._told
        if known is not None and known[0] is key.code:
            code = known[1]
        else:
            from lightwork.hashing.parts import stored

            code = Code(key.code.digest.hex(), stored(key.code.parts))
            self._told = key.code, code
        return code._replace(besides=self._besides_of(key)) if key.classes or not self._plain else code

    def _besides_of(self, key: Key) -> dict[str, str]:
        """What else counts: classes of arguments, and what the user said."""
        from lightwork.hashing import digest, fingerprint
        from lightwork.hashing.parts import stored, text

        options, parts = self.options, [part for each in key.classes for part in each.parts]
        for each in options.depends_on:
            if callable(each):
                parts += fingerprint(each, self._besides).parts
        values = [each for each in options.depends_on if not callable(each)]
        if values:
            parts.append(("`depends_on`", text(digest(values), shorten(values))))
        if options.version is not None:
            parts.append(("`version`", text(digest(options.version), shorten(options.version))))
        return stored(parts)

    def key_at(self, path: str, args: Values, kwargs: Mapping[str, object], stream: bytes) -> Key:
        """The key of a call whose path another process made."""
        made = self._look()
        values = made.binder(args, kwargs)
        classes: tuple[Fingerprint, ...] = ()
        if self.options.track == "deps":
            # Only the classes are wanted: what holds none for certain is not digested again.
            rest = [each for each in self._counted(values, args, kwargs) if not _is_data(each)]
            classes = _fingerprints(self._survey(rest)[1], self._fingerprint)
        return Key(path, values, made.code, classes, stream)

    def definitions(self) -> tuple[Sent, ...]:
        """What another process cannot read of the code that goes there by value, if the function does."""
        from lightwork.errors import HashError
        from lightwork.hashing.source import definitions_to_send

        try:
            return definitions_to_send(self.function, self.options.scope)
        except HashError:
            return ()  # calls will raise it, and say where

    def _look(self) -> _Made:
        """Look at the code of the function, and make what depends on it, unless that is there."""
        if self._made is None:
            self._set_up()
        code, made = self._fingerprint(self.function), self._made
        if made is None or made.code is not code:
            if made is None or type(self.function) is FunctionType:
                self._compile()
            made = self._made = _Made(code, self._binder, self._binder.bind, self._prefix + code.digest)
        self._record = self._record_of(self.function, self.options.scope)
        return made

    def _set_up(self) -> None:
        """Import what keys are made with; an import in `key` would cost each call 0.6 µs."""
        from xxhash import xxh3_128_hexdigest

        from lightwork.hashing import digest_small, fingerprint, survey
        from lightwork.hashing.scope import EVERYTHING
        from lightwork.hashing.source import record_of

        self._small, self._hexdigest, self._record_of = digest_small, xxh3_128_hexdigest, record_of
        # By name alone go only functions that have one; a lambda or a local function is known by its code.
        by_name = self.options.track == "none" and "<" not in self.identity.name
        self._fingerprint = _ByName() if by_name else fingerprint
        self._survey = survey
        scope = self.options.scope
        # What is named in `depends_on` counts with all that it uses.
        self._besides = EVERYTHING if scope is EVERYTHING else scope._replace(track="deps")
        if scope is not EVERYTHING:
            self._survey = partial(survey, scope=scope)
            if not by_name:
                self._fingerprint = partial(fingerprint, scope=scope)
        self.label = self.identity.label
        self._folder = f"{self.store.folder}/"

    def _compile(self) -> None:
        """Compile the binder, and digest what all calls have in common."""
        from lightwork.hashing import digest
        from lightwork.memory.binding import binder

        options = self.options
        self._binder = binder(self.function, options.ignore)
        place: tuple[object, ...] = (self.identity.module, self.identity.name, self._binder.names)
        if is_generator_function(self.function):
            place += ("generator",)  # its entries look otherwise, and under track="none" only the name tells
        ignored = self._binder.ignored
        special = (options.version, ignored, len(options.depends_on), options.key is not None, options.track)
        # `is`, because a version may be an array, whose `==` is no answer.
        self._plain = options.version is None and special[1:] == ((), 0, False, "deps")
        self._prefix = digest(place if self._plain else (*place, *special))

    def told(self, values: Values) -> dict[str, str]:
        """The parameters of a call with their values, shortened."""
        return {name: shorten(value) for name, value in self._binder.named(values).items()}

    def _refuse(self, values: Values, error: TypeError) -> NoReturn:
        """Raise the error of `digest` again, with the parameter that it is about."""
        from lightwork.errors import HashError
        from lightwork.hashing import digest

        for name, value in self._binder.named(values).items():
            try:
                digest(value)
            except HashError as inner:
                raise HashError(
                    f"{self.identity}: argument {name!r} cannot be part of a key: {inner}. "
                    f"Pass something else, or leave it out of the key with ignore=[{name!r}]"
                ) from inner
        raise error
