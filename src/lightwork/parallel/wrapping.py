"""`wrap_non_picklable_objects`, for programs that come from joblib: an object that pickles by cloudpickle anywhere.

Loops here need no such thing, since what the plain pickler refuses goes through cloudpickle anyway. It serves where
something else pickles: `pickle.dumps`, a `multiprocessing.Pool`, another library's executor.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Generic, TypeVar, cast

__all__ = ["wrap_non_picklable_objects"]

T = TypeVar("T")


class _Wrapped(Generic[T]):
    """Stands for an object; what it is asked for, the object answers."""

    def __init__(self, obj: T, keep_wrapper: bool) -> None:
        self._obj = obj
        self._keep_wrapper = keep_wrapper

    def __reduce__(self) -> tuple[object, ...]:
        import cloudpickle

        data = cloudpickle.dumps(self._obj, 5)
        return (_rewrapped if self._keep_wrapper else _bare), (data,)

    def __getattr__(self, name: str) -> object:
        if name.startswith("__") or name in ("_obj", "_keep_wrapper"):
            raise AttributeError(name)  # asked for while this object is made, or by pickle and copy
        return getattr(self._obj, name)

    def __repr__(self) -> str:
        return f"wrap_non_picklable_objects({self._obj!r})"


class _WrappedCallable(_Wrapped[T]):
    def __call__(self, *args: object, **kwargs: object) -> object:
        return cast("Callable[..., object]", self._obj)(*args, **kwargs)


def _rewrapped(data: bytes) -> object:
    import cloudpickle

    return wrap_non_picklable_objects(cloudpickle.loads(data))


def _bare(data: bytes) -> object:
    import cloudpickle

    return cloudpickle.loads(data)


def wrap_non_picklable_objects(obj: T, keep_wrapper: bool = True) -> T:
    """Wrap an object so that `pickle` can pickle it: lambdas, local functions, classes of ``__main__``.

    Parameters
    ----------
    obj : object
        A function or another object; of a class, the instances are wrapped.
    keep_wrapper : bool, default True
        Whether what is unpickled is wrapped again, so that it can be pickled once more.

    Returns
    -------
    object
        What behaves as `obj` when it is called or asked for its attributes.

    Examples
    --------
    >>> import pickle
    >>> from lightwork import wrap_non_picklable_objects
    >>> double = wrap_non_picklable_objects(lambda x: 2 * x)
    >>> pickle.loads(pickle.dumps(double))(4)
    8
    """
    if isinstance(obj, type):

        @functools.wraps(obj, updated=())
        def made(*args: object, **kwargs: object) -> object:
            return wrap_non_picklable_objects(obj(*args, **kwargs), keep_wrapper)

        return cast(T, made)
    kind = _WrappedCallable if callable(obj) else _Wrapped
    wrapped = kind(obj, keep_wrapper)
    if callable(obj):
        functools.update_wrapper(cast("Callable[..., object]", wrapped), obj)
    return cast(T, wrapped)
