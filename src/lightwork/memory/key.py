"""Which function a call is of, and what it is called with: values in, values out.

`unwrap` looks through partials, bound methods and callable objects, to the function that runs and what they
put before its arguments: ``partial(f, 1)(2)`` is a call of ``f`` with ``(1, 2)``, and has its key. `identify` names the
function's place in the program; two scripts have two ``__main__``. How arguments are made one is in
`binding`, how all becomes a path in `keymaker`.

Nothing here touches a file, the clock or the state of the process, and nothing slow is imported: decorators run
when a program starts.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import BuiltinFunctionType, FunctionType, MethodType, NoneType
from typing import Final, NamedTuple

__all__ = ["PLAIN", "Callee", "Identity", "Values", "identify", "unwrap"]

Values = tuple[object, ...]
PLAIN: Final = frozenset({NoneType, bool, int, float, complex, str, bytes})
"""Types whose values hold nothing but themselves."""

LABEL_BYTES: Final = 80
_PLAIN: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.")


class Identity(NamedTuple):
    """A function's place in the program: its module (for ``__main__`` also the script) and qualified name."""

    module: str
    name: str

    @property
    def label(self) -> str:
        """The name as part of a file's name: at most 80 bytes of letters, digits, ``_``, ``.`` and ``~``.

        Where it does not tell all, four digits of a hash follow, so that two functions share a label
        (and with it `clear`) only by an accident of one in 65,536.
        """
        module = self.module.rpartition("/")[2].removesuffix(".py")
        plain = f"{module}.{self.name}"
        label = "".join(filter(_PLAIN.__contains__, plain.replace(".<locals>", "")))
        if label == f"{self.module}.{self.name}" and len(label) <= LABEL_BYTES:
            return label
        from xxhash import xxh3_64_hexdigest

        mark = "~" + xxh3_64_hexdigest(f"{self.module}\0{self.name}".encode("utf-8", "surrogatepass"))[:4]
        return label[-(LABEL_BYTES - len(mark)) :] + mark

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


def identify(function: Callable[..., object], script: str | None) -> Identity:
    """The identity of a function; `script` is the file that runs as ``__main__``, if there is one."""
    name = getattr(function, "__qualname__", None) or getattr(function, "__name__", None)
    module = getattr(function, "__module__", None)
    if not isinstance(name, str):
        name = type(function).__qualname__
    if not isinstance(module, str):
        module = type(function).__module__
    if module == "__main__" and script is not None:
        module = f"__main__:{script}"
    return Identity(module, name)


class Callee(NamedTuple):
    """The function that runs when a callable is called, and the arguments that the callable puts before."""

    function: Callable[..., object]
    args: Values = ()
    kwargs: Mapping[str, object] | None = None

    def arguments(self, args: Values, kwargs: Mapping[str, object]) -> tuple[Values, Mapping[str, object]]:
        """What the function gets when the callable is called with these arguments."""
        if self.args:
            args = self.args + args if _PLACEHOLDER is None else _fill(self.args, args)
        if self.kwargs:
            kwargs = {**self.kwargs, **kwargs}
        return args, kwargs

    def bound_to(self, instance: object) -> Callee:
        """The callee of this one as a method of an object."""
        return Callee(self.function, (*self.args, instance), self.kwargs)


_PLACEHOLDER: Final[object] = getattr(functools, "Placeholder", None)  # from Python 3.14


def _fill(leading: Values, args: Values) -> Values:
    """Arguments after those of a partial, the first of them in the places that it left open."""
    rest = iter(args)
    return (*[next(rest, value) if value is _PLACEHOLDER else value for value in leading], *rest)


def unwrap(func: Callable[..., object]) -> Callee:
    """Look through partials, bound methods and callable objects."""
    if isinstance(func, functools.partial):
        inner = unwrap(func.func)
        kwargs = {**(inner.kwargs or {}), **func.keywords}
        return Callee(inner.function, inner.args + func.args, kwargs or None)
    if isinstance(func, MethodType):
        return unwrap(func.__func__).bound_to(func.__self__)
    if isinstance(func, FunctionType | BuiltinFunctionType | type):
        return Callee(func)
    for kind in type(func).__mro__:
        call = vars(kind).get("__call__")
        if call is not None:
            return Callee(call, (func,)) if isinstance(call, FunctionType) else Callee(func)
    return Callee(func)
