"""What may be said about a remembered function, in one value that travels with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar, cast

from lightwork.errors import OptionError, OptionTypeError
from lightwork.memory.entry import READ_MODES, Compress

if TYPE_CHECKING:
    from lightwork.hashing.scope import Scope
    from lightwork.memory.freshness import Lifetime
    from lightwork.settings import MmapMode

__all__ = [
    "Options",
    "Track",
    "Validation",
    "Versions",
    "check_callable",
    "check_compress",
    "check_ignored",
    "check_mode",
    "check_packages",
    "check_track",
    "check_verbose",
    "check_versions",
]

F = TypeVar("F")
Validation = Callable[[dict[str, object]], bool]
Track = Literal["deps", "function", "none"]
Versions = Literal["minor", "exact", "none"]


class Options(NamedTuple):
    """The options of one function; `Memory.cache` says what they mean."""

    ignore: tuple[str, ...] = ()
    verbose: int = 1
    mmap_mode: MmapMode | None = None
    compress: Compress = False
    cache_validation_callback: Validation | None = None
    expires: float | Callable[[dict[str, object]], Lifetime] | None = None
    version: object = None
    depends_on: tuple[object, ...] = ()
    key: Callable[..., object] | None = None
    store_if: Callable[..., object] | None = None
    track: Track = "deps"
    ignore_deps: tuple[str, ...] = ()
    track_packages: tuple[str, ...] = ()
    library_versions: Versions = "minor"

    @property
    def scope(self) -> Scope:
        """How far the function's code is followed."""
        from lightwork.hashing.scope import EVERYTHING, Scope

        said = Scope(self.track, self.ignore_deps, self.track_packages, self.library_versions)
        return EVERYTHING if said == EVERYTHING else said


def check_mode(mmap_mode: object) -> MmapMode | None:
    """A mode that `load` knows, or None."""
    for known in READ_MODES:
        if mmap_mode is None or mmap_mode == known:
            return known if mmap_mode is not None else None
    listed = ", ".join(repr(known) for known in READ_MODES)
    raise OptionError(f"mmap_mode={mmap_mode!r}: use one of {listed}")


def check_callable(option: str, given: F) -> F:
    """A function, or None: what is neither would be noticed only by the first call that finds an entry."""
    if given is None or callable(given):
        return given
    raise OptionError(f"{option}={given!r}: use a function, or None")


def check_compress(compress: Compress) -> Compress:
    """What `dump` would refuse at the first result is told where it is said."""
    if compress:
        from lightwork.persist.codecs import choose

        choose(compress, None)
    return compress


def check_verbose(verbose: object) -> int:
    """A whole number."""
    if isinstance(verbose, int):
        return int(verbose)
    raise OptionTypeError(f"verbose={verbose!r}: use a whole number; 0 is silent, 1 says what is computed")


def check_track(track: str) -> Track:
    """What of the code is part of the key."""
    if track in ("deps", "function", "none"):
        return cast(Track, track)
    raise OptionError(
        f"track={track!r}: use 'deps' (all of the user's code that the function runs), 'function' (its own code) "
        f"or 'none' (go by version=)"
    )


def check_versions(library_versions: str) -> Versions:
    """How much of a library's version is part of the key."""
    if library_versions in ("minor", "exact", "none"):
        return cast(Versions, library_versions)
    raise OptionError(
        f"library_versions={library_versions!r}: use 'minor' (the first two numbers), 'exact' or 'none'"
    )


def check_ignored(ignore_deps: Iterable[object]) -> tuple[str, ...]:
    """The names of code that is not to count."""
    if ignore_deps == ():
        return ()
    from lightwork.hashing.named import dependencies

    return dependencies(ignore_deps)


def check_packages(track_packages: Iterable[object]) -> tuple[str, ...]:
    """The names of libraries that are to count like the user's own code."""
    if track_packages == ():
        return ()
    from lightwork.hashing.named import packages

    return packages(track_packages)
