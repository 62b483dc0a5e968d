"""Values, and near misses of each other, that tests of several modules share.

`TABLE` names each value by the expression that makes it; the committed digests (`digests.txt`) go by these names.
All of them are different from each other, so their digests must be.
"""

# ruff: noqa: F401 - the expressions use these

from __future__ import annotations

import array
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import math
import operator
import pathlib
import re
import types
import uuid
import zoneinfo

import numpy as np


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Mode(enum.Flag):
    READ = 1
    WRITE = 2


class Size(enum.IntEnum):
    ONE = 1


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    x: float


Pair = collections.namedtuple("Pair", "left right")


class Plain:
    def __init__(self, **state):
        self.__dict__.update(state)


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a):
        self.a = a


class Names(list):
    pass


class Text(str):
    pass


def cyclic(depth):
    outer = inner = []
    for _ in range(depth):
        inner.append([])
        inner = inner[0]
    inner.append(outer)
    return outer


def twice():
    value = []
    value += [value, value]
    return value


def strided():
    return np.arange(24, dtype="i4").reshape(4, 6)[:, ::2]


def padded():
    value = np.zeros(2, np.dtype([("a", "i1"), ("b", "<i4")], align=True))
    value["a"], value["b"] = [1, 2], [3, 4]
    return value


EXPRESSIONS = """
None
True
False
...
NotImplemented
0
1
-1
2**31
-2**31
2**63
-2**63
2**1000
2**20000
0.0
-0.0
1.0
1.5
1e308
math.inf
-math.inf
math.nan
0j
1j
complex(0.0, -0.0)
complex(math.nan, 1.0)
''
'a'
'1'
'\\x00'
'é'
'\\ud800'
'😀'
'a' * 1024
'a' * 1025
'é' * 1025
'a' * 3_000_000
b''
b'a'
b'1'
b'a' * 1024
b'a' * 1025
b'a' * (4 << 20)
b'a' * ((4 << 20) + 1)
bytearray(b'a')
bytearray()
memoryview(b'a')
()
(1,)
(1, 2)
(2, 1)
((1,), 2)
(1, (2,))
(1.0,)
(True,)
(None,)
((),)
('a', 'b')
('ab', '')
[]
[1]
[1, 2]
[[1], 2]
[1, [2]]
[[]]
[[], []]
[()]
[None] * 32
[None] * 33
[None] * 1024
[None] * 1025
list(range(5000))
[float(i) for i in range(5000)]
[str(i) for i in range(5000)]
[math.nan] * 40
[math.inf, -math.inf] * 40
[1, 'a', 2.0, None] * 100
[[i] for i in range(2000)]
['a' * 2000, 'b']
{}
{'a': 1}
{'a': 1.0}
{'a': True}
{'b': 1}
{1: 'a'}
{True: 'a'}
{1.0: 'a'}
{b'a': 1}
{(1, 2): 3}
{((1,), 2): 3}
{None: 1, 'a': 2, 3: 4, 5.0: 6, (7, b'x'): 8}
{'a': {'b': {'c': [1, 2, {'d': 3}]}}}
{str(i): i for i in range(2000)}
{i: str(i) for i in range(2000)}
{(i, str(i)): i for i in range(2000)}
{(i, str(i)): [i] for i in range(200)}
{'a' * 2000: 1}
{'a': 'b' * 2000}
{math.nan: 1}
set()
{1}
{'a'}
{1, 'a', 2.0, None}
{frozenset({1}), frozenset({2})}
set(range(2000))
{str(i) for i in range(2000)}
{str(i) * 600 for i in range(40)}
frozenset()
frozenset({1})
frozenset({'a', 'b'})
range(3)
range(0, 6, 2)
range(0)
slice(1)
slice(1, 2, 3)
slice(None, 1, 2.0)
cyclic(0)
cyclic(1)
cyclic(2)
twice()
Colour.RED
Colour.BLUE
Mode.READ
Mode.READ | Mode.WRITE
Size.ONE
Point(1.0, 2.0)
Point(2.0, 1.0)
Point(1, 2)
Frozen(1.0)
Pair(1, 2)
Pair(2, 1)
Plain()
Plain(a=1)
Plain(a=1, b=Plain())
Slotted(1)
Names()
Names([1])
Text('a')
datetime.date(2020, 1, 1)
datetime.datetime(2020, 1, 1)
datetime.datetime(2020, 1, 1, fold=1)
datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))
datetime.datetime(2020, 1, 1, tzinfo=zoneinfo.ZoneInfo('UTC'))
datetime.time(1, 2, 3, 4)
datetime.timedelta(1)
datetime.timedelta(seconds=1)
datetime.timezone.utc
datetime.timezone(datetime.timedelta(hours=1), 'name')
decimal.Decimal('1.0')
decimal.Decimal('1.00')
decimal.Decimal('NaN')
fractions.Fraction(1, 3)
fractions.Fraction(1)
uuid.UUID(int=1)
pathlib.PurePosixPath('a')
pathlib.PureWindowsPath('a')
pathlib.PosixPath('a')
re.compile('a')
re.compile('a', re.I)
re.compile(b'a')
array.array('i', [1, 2])
array.array('h', [1, 2])
collections.OrderedDict(a=1, b=2)
collections.OrderedDict(b=2, a=1)
collections.defaultdict(list, a=[1])
collections.defaultdict(int, a=[1])
collections.Counter('aab')
collections.deque([1, 2])
collections.deque([1, 2], 5)
types.SimpleNamespace(a=1)
types.MappingProxyType({'a': 1})
ValueError('a')
ValueError('b')
KeyError('a')
int
float
collections.OrderedDict
len
max
operator.add
operator.itemgetter(1)
operator.attrgetter('a')
operator.methodcaller('a', 1)
[].append
[1].append
str.upper
functools.partial(max, 1)
functools.partial(max, 2)
functools.partial(max, key=len)
list[int]
math
re
np.arange(3)
np.arange(3, dtype='i4')
np.arange(3, dtype='>i4')
np.arange(3, dtype='u8')
np.arange(3.0)
np.arange(3, dtype='f4')
np.arange(3, dtype='c16')
np.arange(3)[::-1]
np.array(0)
np.array([0])
np.array([[0]])
np.array([])
np.zeros((0, 3))
np.zeros((3, 0))
np.zeros((2, 3))
np.zeros((2, 3), order='F')
np.zeros((3, 2))
np.zeros(6)
-np.zeros(6)
np.full(6, np.nan)
np.arange(6).reshape(2, 3)
np.asfortranarray(np.arange(6).reshape(2, 3))
np.arange(6).reshape(2, 3).T
strided()
np.arange(1_000_000)
np.arange(24).reshape(2, 3, 4).transpose(2, 0, 1)
np.array(['a', 'bc'])
np.array(['a', 'bc'], dtype='U5')
np.array([b'a', b'bc'])
np.array(['2020-01-01'], dtype='M8[D]')
np.array(['2020-01-01'], dtype='M8[s]')
np.array([1], dtype='m8[s]')
np.array([1, 'a', None], dtype=object)
np.array([[1], ['a']], dtype=object)
np.array([True, False])
np.array([1], 'i1')
np.array([1], 'u1')
padded()
np.array([(1, 2)], dtype=[('a', 'i4'), ('b', 'i4')])
np.array([(1, 2)], dtype=[('b', 'i4'), ('a', 'i4')])
np.array([(1, [2, 3])], dtype=[('a', 'i4'), ('b', 'i4', 2)])
np.array([(1, 'x')], dtype=[('a', 'i4'), ('b', 'O')])
np.rec.array([(1, 2)], dtype=[('a', 'i4'), ('b', 'i4')])
np.ma.array([1, 2, 3])
np.ma.array([1, 2, 3], mask=[0, 1, 0])
np.ma.array([1, 2, 3], mask=[0, 1, 0], fill_value=7)
np.ma.array([1.0, 2.0], mask=[0, 1])
np.ma.masked
np.int64(1)
np.int32(1)
np.uint8(1)
np.float64(1)
np.float32(1)
np.bool_(True)
np.str_('a')
np.bytes_(b'a')
np.complex128(1)
np.datetime64('2020-01-01')
np.timedelta64(1, 's')
np.dtype('i4')
np.dtype('f8')
np.dtype([('a', 'i4')])
np.float64
np.sin
np.cos
""".strip().splitlines()

TABLE = {expression: (lambda expression=expression: eval(expression)) for expression in EXPRESSIONS}
