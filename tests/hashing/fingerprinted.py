"""Code whose fingerprints are committed (`fingerprints.txt`): each kind of thing that a fingerprint follows, once.

`TABLE` names what is fingerprinted. Nothing here depends on the version of a library, nor on the Python that runs it.
"""

# ruff: noqa - each kind of code is here as people write it

from __future__ import annotations

import abc
import collections
import contextlib
import decimal
import enum
import fractions
import functools
import logging
import math
import operator
import random
import re
import threading
import typing
from dataclasses import dataclass, field

NUMBER = 3
RATE = 2.5
TEXT = "a"
PAIR = ("a", 1.5, None)
TABLE_OF = {"b": [1], "a": None}
NAMES = {"x", "y"}
PATTERN = re.compile(r"\d+", re.ASCII)
EXACT = decimal.Decimal("1.0")
THIRD = fractions.Fraction(1, 3)
LOG = logging.getLogger("fingerprinted")
LOCK = threading.Lock()
DICE = random.Random(1)
SEEN: list[object] = []
COUNT = 0


def plain(x):
    return x + 1


def documented(x: int) -> int:
    """Return one more."""
    y: int = x  # a comment
    return y + 1


def tells_its_doc(x):
    """Count: `__doc__` is read."""
    return tells_its_doc.__doc__, x


def defaults(x, y=(1, 2), *rest, k=NUMBER, s=[1], **more):
    return x, y, rest, k, s, more


def positional(x, /, y, *, z=None):
    return x, y, z


def constants(x):
    return x * NUMBER * RATE, TEXT, PAIR, TABLE_OF, NAMES


def values(x):
    return PATTERN, EXACT, THIRD, x


def handles(x):
    LOG.info("x")
    with LOCK:
        return DICE.random() * x


def state(x):
    global COUNT
    COUNT += 1
    SEEN.append(x)
    return COUNT


def helper(x, *, k=PAIR):
    match x:
        case [1, *rest] | (1, _, *rest):
            return rest
        case Point(x=0) | {"a": None}:
            return 1
        case str() as text if text:
            return text
    return lambda: (yield x)


def uses_helpers(x):
    return helper(x), plain(x), state(x)


def recursive(n):
    return n if n < 2 else recursive(n - 1) + other_half(n - 2)


def other_half(n):
    return recursive(n)


def f_strings(x):
    return f"{x!r:>{NUMBER}} {x = } {'a'}b{x:0.{NUMBER}f}c"


def formats(x):
    return "%s %r" % (x, x), "{:>3}".format(x), b"bytes", 1e300, 1j, ..., -0.0, 10**20, 0x_FF


def comprehends(xs):
    return [x for x in xs if x], {x: y for x, y in xs}, {*xs}, (x async for x in xs), [y := 1, y]


def handles_errors(x):
    try:
        with open(x) as file, contextlib.suppress(OSError):
            return file.read()
    except (ValueError, TypeError) as error:
        raise RuntimeError from error
    else:
        pass
    finally:
        del x


def handles_groups(x):
    try:
        return x
    except* ValueError:
        pass


def branches(x):
    for i in range(x):
        if i > 2 and not x < i <= 9 or x in (1, 2):
            continue
        while True:
            break
    else:
        assert x, "no"
    return x if x else -x


def generates(xs):
    got = yield from xs
    yield got


async def awaits(x):
    async with x as y:
        async for z in y:
            await z


def unpacks(x):
    a, *b = x
    (c, d), e = x
    b[0], b[1:2], b[::2], c.d = x
    return [*a, *b], dict(**x, k=1), a @ b


def nested(x):
    def inner(y):
        nonlocal x
        x += y
        return lambda z=x: z + y

    return inner(NUMBER)


def makes(k, table):
    def made(x):
        return x + k, table["a"]

    return made


def counts_calls():
    calls = 0

    def counted(x):
        nonlocal calls
        calls += 1
        return x

    return counted


lambdas = [lambda x: x + 1, lambda x: x + 2]  # two on a line


def imports_inside(x):
    import json
    from os import path as p

    return json.dumps(p.join(x, "a"))


def libraries(x):
    return (
        math.sin(x),
        operator.add(x, 1),
        collections.OrderedDict(x),
        functools.reduce(max, x),
        re.sub("a", "b", x),
    )


def timed(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


def bare(function):
    def wrapper(*args):
        return function(*args) * NUMBER

    return wrapper


@timed
def decorated(x):
    return x


@timed
@bare
def decorated_twice(x):
    return x


@bare
@timed
def decorated_the_other_way(x):
    return x


@functools.lru_cache(maxsize=None)
def cached(x):
    return plain(x)


@functools.singledispatch
def dispatches(x: object) -> object:
    return x


@contextlib.contextmanager
def manages(x):
    yield x


add = functools.partial(helper, k=2)
reverse = functools.partial(sorted, reverse=True)


def partials(x):
    return add(x), reverse(x), cached(x), decorated(x)


@dataclass
class Point:
    x: int
    y: list = field(default_factory=list)

    def norm(self):
        return math.hypot(self.x, *self.y)


@dataclass(frozen=True, slots=True)
class Solid:
    x: typing.Optional[int] = None


class Colour(enum.Enum):
    RED = 1
    BLUE = "b"

    def nice(self):
        return self.name


class Mode(enum.Flag):
    READ = 1
    WRITE = 2


class Pair(typing.NamedTuple):
    left: int
    right: str = "r"

    def both(self):
        return self.left, self.right


class Base(abc.ABC):
    limit = 3
    __slots__ = ("a", "_b")

    @abc.abstractmethod
    def run(self, x):
        return [x for _ in range(self.limit)]

    @property
    def size(self):
        return self.limit

    @size.setter
    def size(self, value):
        self._b = value


class Child(Base):
    table = {"k": NUMBER}

    def run(self, x):
        return super().run(x) + [f"{x!r:>{self.limit}}"]

    @staticmethod
    def still(x):
        return plain(x)

    @classmethod
    def of(cls, x):
        return cls().run(x)

    @functools.cached_property
    def slow(self):
        return self.__private(NUMBER)

    def __private(self, x):
        return x

    def __call__(self, x):
        return self.run(x)


class Meta(type):
    def __call__(cls, *args):
        return super().__call__(*args)


class WithMeta(metaclass=Meta):
    pass


T = typing.TypeVar("T")


class Box(typing.Generic[T]):
    def __init__(self, item: T) -> None:
        self.item = item

    def __init_subclass__(cls, **options):
        super().__init_subclass__()

    def __class_getitem__(cls, item):
        return super().__class_getitem__(item)


class Closed(Box[int]):
    def __len__(self):
        return self.item


@typing.runtime_checkable
class Runs(typing.Protocol):
    speed: int

    def run(self, x: int) -> int: ...


class Options(typing.TypedDict, total=False):
    colour: str
    size: typing.Required[int]


Metres = typing.NewType("Metres", float)


class Dispatches:
    @functools.singledispatchmethod
    def show(self, x):
        return x

    @functools.partialmethod
    def odd(self, x):
        return x

    @typing.overload
    def over(self, x: int) -> int: ...
    @typing.overload
    def over(self, x: str) -> str: ...
    def over(self, x):
        return x


class Raises(ValueError):
    def __reduce__(self):
        return Raises, (NUMBER,)


class Counter(collections.Counter):
    def top(self):
        return self.most_common(1)


class Lazy:
    __slots__ = ()

    def __getattr__(self, name):
        return name

    def __set_name__(self, owner, name):
        pass

    def __get__(self, instance, owner=None):
        return self

    __iter__ = None
    __hash__ = None


def newer_classes(x):
    return (
        Box[int](x),
        Closed(x),
        isinstance(x, Runs),
        Options(size=1),
        Metres(1.0),
        Dispatches(),
        Raises(),
        Counter(),
    )


ORIGIN = Point(0)
child = Child()


def classes(x):
    return Point(x).norm() + Solid(1).x, Colour.RED.nice(), Mode.READ | Mode.WRITE, Pair(1).both(), WithMeta()


def instances(x):
    return ORIGIN, child.run(x), Child.of(x), Child.still(x)


def containers(x):
    return REGISTRY["plain"](x), OPERATIONS[0](x)


REGISTRY = {"plain": plain, "helper": helper, "class": Point}
OPERATIONS = (plain, lambda x: x - 1, cached)

TABLE = {
    name: value
    for name, value in sorted(globals().items())
    if callable(value) and getattr(value, "__module__", None) == __name__ and name != "child"
} | {
    "makes(1)": makes(1, {"a": 1}),
    "makes(2)": makes(2, {"a": 1}),
    "counts_calls()": counts_calls(),
    "lambdas[0]": lambdas[0],
    "lambdas[1]": lambdas[1],
    "add": add,
    "child": child,
    "child.run": child.run,
    "Child.of": Child.of,
    "len": len,
    "math.sin": math.sin,
    "json": functools.partial(sorted, key=len),
}
