"""`Memory`: the folder that results go to, and how; it makes remembered functions.

A `Memory` is a handful of settings. It opens nothing, writes nothing and imports nothing heavy until a function
that it remembers is called. Its options are checked here, so that a wrong one is told where it is said.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from lightwork.errors import CacheWarning, OptionError, OptionTypeError
from lightwork.memory.entry import Compress
from lightwork.memory.freshness import lifetime
from lightwork.memory.function import (
    CachedFunc,
    NotMemorizedFunc,
    is_async_generator_function,
    is_coroutine_function,
    is_generator_function,
)
from lightwork.memory.memorized import MemorizedFunc
from lightwork.memory.options import (
    Options,
    Track,
    Validation,
    Versions,
    check_callable,
    check_compress,
    check_ignored,
    check_mode,
    check_packages,
    check_track,
    check_verbose,
    check_versions,
)
from lightwork.memory.stores.local import LocalStore, remove
from lightwork.memory.telling import tell
from lightwork.observe.notices import warn
from lightwork.settings import Default, MmapMode, cache_folder, default, parse_size

if TYPE_CHECKING:
    from datetime import timedelta

    from lightwork.memory.freshness import Expires
    from lightwork.memory.inquiry import EntryRecord, Stats
    from lightwork.memory.quota import Limits

__all__ = ["Memory"]

P = ParamSpec("P")
R = TypeVar("R")


class Memory:
    """Remembers what functions return, in files, across runs of the program.

    Parameters
    ----------
    location : str or path-like, optional
        The folder that results are kept below. With nothing said, the user's cache folder
        (``LIGHTWORK_CACHE_DIR`` overrides it). None remembers nothing.
    backend : {"local"}
        What kind of place that is.
    mmap_mode : {None, "r", "c", "r+", "w+"}
        Map arrays of results from the file instead of reading them: ``"r"`` read-only, ``"c"`` writable, with
        what is written kept from the file. ``"r+"`` and ``"w+"`` act as ``"c"``: what a caller writes into a
        result never changes what is remembered.
    compress : bool, int, str or tuple
        How entries are compressed, as in `dump`. Compressed entries are read, never mapped.
    verbose : int
        0 is silent; 1 says when a function is computed and how long it took; above 1 also when a result
        was loaded; above 10 from where. The lines go to standard output and to the logger ``lightwork.memory``,
        which does not propagate.
    backend_options : dict, optional
        Options of the backend; a folder has none.
    bytes_limit, items_limit, age_limit : optional
        How many bytes and results are kept, and for how long one may go unused (see `reduce_size` for how to say
        it). Whoever stores more than that removes what was not used for longest.
    track : {"deps", "function", "none"}
        Which code is part of the key. ``"deps"``: all of your code that the function runs, and the constants that it
        names. ``"function"``: its own code, with its defaults and what it closes over; nothing is followed.
        ``"none"``: its name and `version` stand for it; lambdas and local functions count by their own code.
    ignore_deps : list, optional
        Functions, classes and modules, or their dotted names (``"features.log"``), and names of constants
        (``"features.BATCH"``), whose changes do not count; what only they use does not count either.
    track_packages : list of str, optional
        Installed packages whose code is followed like your own, instead of counting by name and version.
    library_versions : {"minor", "exact", "none"}
        How much of the version of other libraries counts: the first two numbers, all of it, nothing.
    shared : bool, default False
        For a team's folder: what is made there can be read and replaced by the group of the folder (files 0660,
        folders 2770), whatever each one's umask is. Otherwise folders are made for their owner alone.

    Attributes
    ----------
    store_backend : LocalStore or None
        Where the entries lie; None where nothing is remembered.

    Examples
    --------
    >>> from lightwork import Memory
    >>> memory = Memory("cache", verbose=0)
    >>> @memory.cache
    ... def area(width, height=2):
    ...     print("computing")
    ...     return width * height
    >>> area(3)
    computing
    6
    >>> area(width=3, height=2)
    6
    >>> memory.clear()
    """

    def __init__(
        self,
        location: str | os.PathLike[str] | None = default(None),  # noqa: B008 - an immutable marker
        backend: str = "local",
        mmap_mode: MmapMode | None = None,
        compress: Compress = False,
        verbose: int = 1,
        backend_options: Mapping[str, object] | None = None,
        *,
        bytes_limit: int | str | None = None,
        items_limit: int | None = None,
        age_limit: timedelta | float | str | None = None,
        track: Track = "deps",
        ignore_deps: Iterable[object] = (),
        track_packages: Iterable[object] = (),
        library_versions: Versions = "minor",
        shared: bool = False,
    ) -> None:
        if backend != "local":
            raise OptionTypeError(f"backend={backend!r}: there is no such backend; use 'local', a folder")
        self.location = _folder(location)
        self.backend = backend
        self.mmap_mode = check_mode(mmap_mode)
        self.compress = check_compress(compress)
        self.verbose = check_verbose(verbose)
        self.backend_options = dict(backend_options or {})
        self.timestamp = time.time()
        self.track = check_track(track)
        self.ignore_deps = check_ignored(ignore_deps)
        self.track_packages = check_packages(track_packages)
        self.library_versions = check_versions(library_versions)
        limits = _limits(bytes_limit, items_limit, age_limit)
        self.store_backend = (
            None if self.location is None else LocalStore(self.location, limits, bool(shared))
        )

    @overload
    def cache(
        self,
        func: Callable[P, R],
        ignore: Sequence[str] | None = None,
        verbose: int | None = None,
        mmap_mode: MmapMode | bool | None = False,
        cache_validation_callback: Validation | None = None,
        *,
        expires: Expires | None = None,
        version: object = None,
        depends_on: Iterable[object] = (),
        key: Callable[..., object] | None = None,
        store_if: Callable[..., object] | None = None,
        track: Track | None = None,
    ) -> CachedFunc[P, R]: ...
    @overload
    def cache(
        self,
        func: None = None,
        ignore: Sequence[str] | None = None,
        verbose: int | None = None,
        mmap_mode: MmapMode | bool | None = False,
        cache_validation_callback: Validation | None = None,
        *,
        expires: Expires | None = None,
        version: object = None,
        depends_on: Iterable[object] = (),
        key: Callable[..., object] | None = None,
        store_if: Callable[..., object] | None = None,
        track: Track | None = None,
    ) -> Callable[[Callable[P, R]], CachedFunc[P, R]]: ...
    def cache(
        self,
        func: Callable[..., Any] | None = None,
        ignore: Sequence[str] | None = None,
        verbose: int | None = None,
        mmap_mode: MmapMode | bool | None = False,
        cache_validation_callback: Validation | None = None,
        *,
        expires: Expires | None = None,
        version: object = None,
        depends_on: Iterable[object] = (),
        key: Callable[..., object] | None = None,
        store_if: Callable[..., object] | None = None,
        track: Track | None = None,
    ) -> Any:
        """Make a function remember; as a decorator, with or without arguments, or by a call.

        Parameters
        ----------
        func : callable
            A function, a method, a partial, or any other callable. What a generator function yields is kept item by
            item, once it was read to its end.
        ignore : list of str, optional
            Parameters that make no difference: ``ignore=["verbose"]``. ``"*"`` and ``"**"`` stand for those that take
            the rest. ``"config.verbose"`` names what lies in one: an attribute or a key of a dict, however deep;
            a value that has nothing there counts whole.
        verbose : int, optional
            How much is said; by default as the `Memory` does.
        mmap_mode : {"r", "c", "r+", "w+", None}, optional
            How arrays of results are mapped; by default (False) as the `Memory` does.
        cache_validation_callback : callable, optional
            Takes the metadata of an entry (``duration``, ``input_args``, ``time``) and returns whether it may be
            used; if not, the function is computed again.
        expires : float, timedelta, str or callable, optional
            How long a result may be used: seconds, a `timedelta`, text such as ``"7d"``, or a function that takes
            the metadata of an entry and returns one of these.
        version : optional
            Any value; results of another version are others.
        depends_on : list, optional
            Functions (their code counts) and values that the result depends on besides.
        key : callable, optional
            Takes the arguments of a call and returns what stands for them in the key.
        store_if : callable, optional
            Takes a result and returns whether it is to be kept. One with a parameter ``error`` is asked about what the
            function raised too, as ``store_if(None, error=error)``; otherwise errors are not kept.
        track : {"deps", "function", "none"}, optional
            Which code is part of the key; by default as the `Memory` does.

        Returns
        -------
        MemorizedFunc
            The function, remembering; `NotMemorizedFunc` where the `Memory` has no location.

        Raises
        ------
        OptionError
            `ignore` names what is not a parameter, or what must be a function is none.

        Examples
        --------
        >>> from lightwork import Memory
        >>> memory = Memory("cache", verbose=0)
        >>> @memory.cache(ignore=["verbose"])
        ... def double(x, verbose=False):
        ...     return 2 * x
        >>> double(4), double(4, verbose=True)
        (8, 8)
        >>> memory.clear()
        """
        options = Options(
            ignore=_names(ignore),
            verbose=self.verbose if verbose is None else check_verbose(verbose),
            mmap_mode=self.mmap_mode if mmap_mode is False else check_mode(mmap_mode),
            compress=self.compress,
            cache_validation_callback=check_callable("cache_validation_callback", cache_validation_callback),
            expires=lifetime(expires),
            version=version,
            depends_on=tuple(depends_on),
            key=check_callable("key", key),
            store_if=check_callable("store_if", store_if),
            track=self.track if track is None else check_track(track),
            ignore_deps=self.ignore_deps,
            track_packages=self.track_packages,
            library_versions=self.library_versions,
        )
        if func is None:
            return lambda func: self._remember(func, options)
        return self._remember(func, options)

    def _remember(self, func: Any, options: Options) -> Any:
        if isinstance(func, staticmethod | classmethod):
            return type(func)(self._remember(func.__func__, options))
        if isinstance(func, CachedFunc):
            func = func.func
        if not callable(func):
            raise OptionTypeError(f"cache() takes a function, not {func!r}")
        if is_coroutine_function(func):
            from lightwork.memory.asynchronous import AsyncMemorizedFunc, AsyncNotMemorizedFunc

            if self.store_backend is None:
                return AsyncNotMemorizedFunc(func)
            return AsyncMemorizedFunc(func, self.store_backend, options)
        if self.store_backend is None:
            return NotMemorizedFunc(func)
        if is_generator_function(func):
            from lightwork.memory.generators import GeneratorMemorizedFunc

            return GeneratorMemorizedFunc(func, self.store_backend, options)
        if is_async_generator_function(func):
            name = getattr(func, "__qualname__", func)
            raise OptionTypeError(
                f"{name} is an asynchronous generator, which cannot be remembered; remember a coroutine function "
                f"that returns a list of what it yields"
            )
        return MemorizedFunc(func, self.store_backend, options)

    def eval(self, func: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function, or take what it returned for these arguments earlier.

        Examples
        --------
        >>> from lightwork import Memory
        >>> Memory("cache", verbose=0).eval(pow, 2, 10)
        1024
        """
        return self.cache(func)(*args, **kwargs)

    def reduce_size(
        self,
        bytes_limit: int | str | None = None,
        items_limit: int | None = None,
        age_limit: timedelta | float | str | None = None,
    ) -> None:
        """Remove results, those first that were not used for longest, until what is left keeps the limits.

        Parameters
        ----------
        bytes_limit : int or str, optional
            How many bytes may be taken: a number, or text such as ``"500M"``.
        items_limit : int, optional
            How many results may be kept.
        age_limit : timedelta, float or str, optional
            How long a result may go unused: a `timedelta`, seconds, or text such as ``"7d"``.
        """
        if self.store_backend is None:
            return
        from lightwork.memory.quota import Limits, victims

        limits = _limits(bytes_limit, items_limit, age_limit) or Limits()
        gone = victims(
            self.store_backend.held(),
            bytes_limit=limits.bytes,
            items_limit=limits.items,
            unused_since=None if limits.age is None else time.time() - limits.age,
        )
        for path in gone:
            remove(path)
        self.store_backend.recount()

    def entries(self) -> list[EntryRecord]:
        """What is kept of all functions; see `MemorizedFunc.entries`."""
        from lightwork.memory.inquiry import records

        return [] if self.store_backend is None else records(self.store_backend)

    def stats(self) -> Stats:
        """How many results are kept, and their bytes."""
        from lightwork.memory.inquiry import count

        return {"items": 0, "bytes": 0} if self.store_backend is None else count(self.store_backend)

    def verify(self) -> list[str]:
        """Check every byte of all entries, executing nothing; remove the damaged ones.

        What limits count is made anew from what is there.

        Returns
        -------
        list of str
            The files that were removed.
        """
        if self.store_backend is None:
            return []
        from lightwork.memory.inquiry import damaged

        gone = damaged(self.store_backend)
        for path in gone:
            remove(path)
        self.store_backend.recount()
        return gone

    def clear(self, warn: bool = True) -> None:
        """Forget all results below this location, those of other programs too.

        Parameters
        ----------
        warn : bool, default True
            Say so, if `verbose` is not 0.
        """
        if self.store_backend is None:
            return
        if warn and self.verbose:
            tell(f"[Memory] Clearing all results below {self.store_backend.folder}")
        self.store_backend.clear()

    def __repr__(self) -> str:
        return f"Memory(location={self.location})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Memory) and self._settings() == other._settings()

    def __hash__(self) -> int:
        return hash(self.store_backend)

    def _settings(self) -> tuple[object, ...]:
        code = self.track, self.ignore_deps, self.track_packages, self.library_versions
        return self.store_backend, self.backend, self.mmap_mode, self.compress, self.verbose, code


# --- options --------------------------------------------------------------------------------------


def _folder(location: object) -> str | None:
    if isinstance(location, Default):
        return str(cache_folder())
    if location is None:
        return None
    if isinstance(location, str | os.PathLike):
        return os.fsdecode(location)
    warn(
        f"location={location!r} is neither a path nor None: nothing is remembered. "
        f"Give a folder, or None to say that on purpose",
        CacheWarning,
    )
    return None


def _limits(
    bytes_limit: int | str | None, items_limit: int | None, age_limit: timedelta | float | str | None
) -> Limits | None:
    """The limits that were said; None if none were."""
    if bytes_limit is items_limit is age_limit is None:
        return None
    from lightwork.memory.quota import Limits, seconds_of

    if items_limit is not None and items_limit < 0:
        raise OptionError(f"items_limit={items_limit} is negative; say how many results may be kept")
    return Limits(
        None if bytes_limit is None else parse_size(bytes_limit, "bytes_limit"),
        items_limit,
        None if age_limit is None else seconds_of(age_limit, "age_limit"),
    )


def _names(ignore: Sequence[str] | None) -> tuple[str, ...]:
    if isinstance(ignore, str):
        raise OptionTypeError(f"ignore={ignore!r}: give a list of names, such as ignore=[{ignore!r}]")
    return tuple(ignore or ())
