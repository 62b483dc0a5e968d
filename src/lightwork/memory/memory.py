"""`Memory`: the folder that results go to, and how; it makes remembered functions.

A `Memory` is a handful of settings. It opens nothing, writes nothing and imports nothing heavy until a function
that it remembers is called. Its options are checked here, so that a wrong one is told where it is said.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar, overload

from lightwork.errors import CacheWarning, OptionError, OptionTypeError
from lightwork.memory.entry import READ_MODES, Compress
from lightwork.memory.function import CachedFunc, NotMemorizedFunc
from lightwork.memory.memorized import MemorizedFunc, Validation
from lightwork.memory.notices import warn
from lightwork.memory.stores.local import LocalStore
from lightwork.observe.messages import say
from lightwork.settings import Default, MmapMode, cache_folder, default

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
        was loaded; above 10 from where.
    backend_options : dict, optional
        Options of the backend; a folder has none.

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
    ) -> None:
        if backend != "local":
            raise OptionTypeError(f"backend={backend!r}: there is no such backend; use 'local', a folder")
        self.location = _folder(location)
        self.backend = backend
        self.mmap_mode = _mode(mmap_mode)
        self.compress = _compression(compress)
        self.verbose = _number(verbose)
        self.backend_options = dict(backend_options or {})
        self.timestamp = time.time()
        self.store_backend = None if self.location is None else LocalStore(self.location)

    @overload
    def cache(
        self,
        func: Callable[P, R],
        ignore: Sequence[str] | None = None,
        verbose: int | None = None,
        mmap_mode: MmapMode | bool | None = False,
        cache_validation_callback: Validation | None = None,
    ) -> CachedFunc[P, R]: ...
    @overload
    def cache(
        self,
        func: None = None,
        ignore: Sequence[str] | None = None,
        verbose: int | None = None,
        mmap_mode: MmapMode | bool | None = False,
        cache_validation_callback: Validation | None = None,
    ) -> Callable[[Callable[P, R]], CachedFunc[P, R]]: ...
    def cache(
        self,
        func: Callable[..., Any] | None = None,
        ignore: Sequence[str] | None = None,
        verbose: int | None = None,
        mmap_mode: MmapMode | bool | None = False,
        cache_validation_callback: Validation | None = None,
    ) -> Any:
        """Make a function remember; as a decorator, with or without arguments, or by a call.

        Parameters
        ----------
        func : callable
            A function, a method, a partial, or any other callable.
        ignore : list of str, optional
            Parameters that make no difference: ``ignore=["verbose"]``. ``"*"`` and ``"**"`` stand for those
            that take the rest.
        verbose : int, optional
            How much is said; by default as the `Memory` does.
        mmap_mode : {"r", "c", "r+", "w+", None}, optional
            How arrays of results are mapped; by default (False) as the `Memory` does.
        cache_validation_callback : callable, optional
            Takes the metadata of an entry (``duration``, ``input_args``, ``time``) and returns whether it may be
            used; if not, the function is computed again.

        Returns
        -------
        MemorizedFunc
            The function, remembering; `NotMemorizedFunc` where the `Memory` has no location.

        Raises
        ------
        OptionError
            `ignore` names what is not a parameter.

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
        if func is None:

            def decorate(func: Callable[P, R]) -> CachedFunc[P, R]:
                return self.cache(func, ignore, verbose, mmap_mode, cache_validation_callback)

            return decorate
        if isinstance(func, staticmethod | classmethod):
            inner = self.cache(func.__func__, ignore, verbose, mmap_mode, cache_validation_callback)
            return type(func)(inner)
        if isinstance(func, CachedFunc):
            func = func.func
        if not callable(func):
            raise OptionTypeError(f"cache() takes a function, not {func!r}")
        if self.store_backend is None:
            return NotMemorizedFunc(func)
        return MemorizedFunc(
            func,
            self.store_backend,
            ignore=ignore or (),
            verbose=self.verbose if verbose is None else _number(verbose),
            mmap_mode=self.mmap_mode if mmap_mode is False else _mode(mmap_mode),
            compress=self.compress,
            cache_validation_callback=cache_validation_callback,
        )

    def eval(self, func: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function, or take what it returned for these arguments earlier.

        Examples
        --------
        >>> from lightwork import Memory
        >>> Memory("cache", verbose=0).eval(pow, 2, 10)
        1024
        """
        return self.cache(func)(*args, **kwargs)

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
            say(f"[Memory] Clearing all results below {self.store_backend.folder}", output=True)
        self.store_backend.clear()

    def __repr__(self) -> str:
        return f"Memory(location={self.location})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Memory) and self._settings() == other._settings()

    def __hash__(self) -> int:
        return hash(self.store_backend)

    def _settings(self) -> tuple[object, ...]:
        return self.store_backend, self.backend, self.mmap_mode, self.compress, self.verbose


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


def _mode(mmap_mode: object) -> MmapMode | None:
    for known in READ_MODES:
        if mmap_mode is None or mmap_mode == known:
            return known
    listed = ", ".join(repr(known) for known in READ_MODES)
    raise OptionError(f"mmap_mode={mmap_mode!r}: use one of {listed}")


def _compression(compress: Compress) -> Compress:
    if compress:  # what `dump` would refuse at the first result is told where it is said
        from lightwork.persist.codecs import choose

        choose(compress, None)
    return compress


def _number(verbose: object) -> int:
    if isinstance(verbose, int):
        return int(verbose)
    raise OptionTypeError(f"verbose={verbose!r}: use a whole number; 0 is silent, 1 says what is computed")
