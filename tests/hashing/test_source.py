"""Fingerprints of code: what runs counts, not what is on disk; what it uses counts, not how it looks."""

from __future__ import annotations

import decimal
import doctest
import fractions
import importlib
import importlib.util
import io
import linecache
import os
import pickle
import re
import subprocess
import sys
import textwrap
import threading
import types
import warnings
import zipfile

import numpy as np
import pytest

from lightwork.errors import CodeChangedWarning, NotFollowedWarning, OptionTypeError
from lightwork.hashing import digest, explain, fingerprint, survey


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module's text, import it, and forget it in the end."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    names = []

    def make(text, name="features"):
        path = tmp_path / f"{name}.py"
        path.write_text(textwrap.dedent(text))
        linecache.checkcache(str(path))
        spec = importlib.util.spec_from_file_location(name, path)
        made = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, made)
        spec.loader.exec_module(made)
        names.append(name)
        return made

    yield make
    linecache.clearcache()


def same(module, one, other, name="f"):
    """Whether two texts of a module give `name` the same fingerprint."""
    first = fingerprint(getattr(module(one), name)).digest
    return first == fingerprint(getattr(module(other), name)).digest


# --- what does not count, what does -----------------------------------------------------------------


LOOKS = [
    (
        "def f(x):\n    return x + 1\n",
        "# comment\ndef f(x):\n\n    # more\n    return (x +\n            1)\n",
    ),
    ("def f(x):\n    return x\n", 'def f(x):\n    """Say."""\n    return x\n'),
    ("def f(x):\n    return x\n", "def f(x: int) -> int:\n    return x\n"),
    ("def f(x):\n    y = 1\n    return y\n", "def f(x):\n    y: int = 1\n    return y\n"),
    ("def f(x):\n    return 'a'\n", 'def f(x):\n    return "a"\n'),
    ("def f(x):\n    return f'{x}a'\n", "def f(x):\n    return f'{x}' 'a'\n"),
    ("def f(x):\n    return 255\n", "def f(x):\n    return 0xff\n"),
    ("f = lambda x: x + 1\n", "f = (lambda x:\n     x + 1)\n"),
    ("def f(x):\n    return x\n", "import os\nZ = 3\ndef g(): pass\ndef f(x):\n    return x\n"),
    (
        "def g(x):\n    return x\ndef f(x):\n    return g(x)\n",
        "def f(x):\n    return g(x)\ndef g(x):\n    'doc'\n    return x\n",
    ),
    (
        "class C:\n    def m(self): return 1\ndef f(x):\n    return C().m()\n",
        "class C:\n"
        "    'doc'\n"
        "    def m(self):\n"
        "        # why\n"
        "        return 1\n"
        "def f(x):\n"
        "    return C().m()\n",
    ),
]

ACTS = [
    ("def f(x):\n    return x + 1\n", "def f(x):\n    return x + 2\n"),
    ("def f(x):\n    return x + 1\n", "def f(x):\n    return x - 1\n"),
    ("def f(x):\n    return 1\n", "def f(x):\n    return 1.0\n"),
    ("def f(x):\n    return 1\n", "def f(x):\n    return True\n"),
    ("def f(x):\n    return 'a'\n", "def f(x):\n    return b'a'\n"),
    ("def f(x):\n    return 0.0\n", "def f(x):\n    return -0.0\n"),
    ("def f(x=1):\n    return x\n", "def f(x=2):\n    return x\n"),
    ("def f(*, x=1):\n    return x\n", "def f(*, x=2):\n    return x\n"),
    ("def f(x):\n    return x\n", "def f(x, y=1):\n    return x\n"),
    ("def f(x):\n    return x\n", "def f(*x):\n    return x\n"),
    ("def f(x):\n    return x\n", "async def f(x):\n    return x\n"),
    ("def f(x):\n    return x\n", "def f(x):\n    yield x\n"),
    ("K = 1\ndef f(x):\n    return x * K\n", "K = 2\ndef f(x):\n    return x * K\n"),
    ("K = 1\ndef f(x):\n    return x * K\n", "K = 1.0\ndef f(x):\n    return x * K\n"),
    ("K = (1, 'a')\ndef f(x):\n    return K\n", "K = (1, 'b')\ndef f(x):\n    return K\n"),
    ("K = {'a': [1]}\ndef f(x):\n    return K\n", "K = {'a': [2]}\ndef f(x):\n    return K\n"),
    (
        "def g(x):\n    return 1\ndef f(x):\n    return g(x)\n",
        "def g(x):\n    return 2\ndef f(x):\n    return g(x)\n",
    ),
    (
        "def h():\n    return 1\ndef g(x):\n    return h()\ndef f(x):\n    return g(x)\n",
        "def h():\n    return 2\ndef g(x):\n    return h()\ndef f(x):\n    return g(x)\n",
    ),
    (
        "class C:\n    def m(self): return 1\ndef f(x):\n    return C().m()\n",
        "class C:\n    def m(self): return 2\ndef f(x):\n    return C().m()\n",
    ),
    ("class C:\n    k = 1\ndef f(x):\n    return C.k\n", "class C:\n    k = 2\ndef f(x):\n    return C.k\n"),
    (
        "class B:\n    def m(self): return 1\nclass C(B): pass\ndef f(x):\n    return C().m()\n",
        "class B:\n    def m(self): return 2\nclass C(B): pass\ndef f(x):\n    return C().m()\n",
    ),
    (
        "class C:\n    @property\n    def m(self): return 1\ndef f(x):\n    return C().m\n",
        "class C:\n    @property\n    def m(self): return 2\ndef f(x):\n    return C().m\n",
    ),
    (
        "class C:\n    @staticmethod\n    def m(): return 1\ndef f(x):\n    return C.m()\n",
        "class C:\n    @staticmethod\n    def m(): return 2\ndef f(x):\n    return C.m()\n",
    ),
    (
        "class C:\n    @staticmethod\n    def m(): return 1\ndef f(x):\n    return C.m()\n",
        "class C:\n    @classmethod\n    def m(cls): return 1\ndef f(x):\n    return C.m()\n",
    ),
    (
        "import functools\ndef g(a, x): return a\nh = functools.partial(g, 1)\ndef f(x):\n    return h(x)\n",
        "import functools\ndef g(a, x): return a\nh = functools.partial(g, 2)\ndef f(x):\n    return h(x)\n",
    ),
    (
        "import functools\ndef g(a, x): return a\nh = functools.partial(g, 1)\ndef f(x):\n    return h(x)\n",
        "import functools\ndef g(a, x): return x\nh = functools.partial(g, 1)\ndef f(x):\n    return h(x)\n",
    ),
    (
        "import functools\n@functools.lru_cache\ndef g(x): return 1\ndef f(x):\n    return g(x)\n",
        "import functools\n@functools.lru_cache\ndef g(x): return 2\ndef f(x):\n    return g(x)\n",
    ),
    (
        "def a(x): return 1\nTABLE = {'a': a}\ndef f(x):\n    return TABLE['a'](x)\n",
        "def a(x): return 2\nTABLE = {'a': a}\ndef f(x):\n    return TABLE['a'](x)\n",
    ),
    (
        "def a(x): return 1\nTABLE = [(a,)]\ndef f(x):\n    return TABLE[0][0](x)\n",
        "def a(x): return 2\nTABLE = [(a,)]\ndef f(x):\n    return TABLE[0][0](x)\n",
    ),
    (
        "def make(k):\n    def f(x): return x * k\n    return f\nf = make(1)\n",
        "def make(k):\n    def f(x): return x * k\n    return f\nf = make(2)\n",
    ),
    (
        "def make(g):\n    def f(x): return g(x)\n    return f\nf = make(lambda x: 1)\n",
        "def make(g):\n    def f(x): return g(x)\n    return f\nf = make(lambda x: 2)\n",
    ),
    (
        "def deco(g):\n    def w(x): return g(x)\n    return w\n@deco\ndef f(x): return 1\n",
        "def deco(g):\n    def w(x): return g(x)\n    return w\n@deco\ndef f(x): return 2\n",
    ),
    (
        "def deco(g):\n    def w(x): return g(x)\n    return w\n@deco\ndef f(x): return 1\n",
        "def deco(g):\n    def w(x): return g(x) + 1\n    return w\n@deco\ndef f(x): return 1\n",
    ),
    (
        "from math import sin as g\ndef f(x): return g(x)\n",
        "from math import cos as g\ndef f(x): return g(x)\n",
    ),
    ("import math as g\ndef f(x): return g.sqrt(x)\n", "import cmath as g\ndef f(x): return g.sqrt(x)\n"),
    ("def f(x):\n    'a'\n    return f.__doc__\n", "def f(x):\n    'b'\n    return f.__doc__\n"),
    (
        "from dataclasses import dataclass\n@dataclass\nclass C:\n    a: int = 1\ndef f(x): return C()\n",
        "from dataclasses import dataclass\n@dataclass\nclass C:\n    a: int = 2\ndef f(x): return C()\n",
    ),
    (
        "from dataclasses import dataclass\n@dataclass\nclass C:\n    a: int\ndef f(x): return C(1)\n",
        "from dataclasses import dataclass\n@dataclass\nclass C:\n    a: float\ndef f(x): return C(1)\n",
    ),
    (
        "from dataclasses import dataclass\n@dataclass\nclass C:\n    a: int\ndef f(x): return C(1)\n",
        "from dataclasses import dataclass\n"
        "@dataclass(frozen=True)\n"
        "class C:\n"
        "    a: int\n"
        "def f(x): return C(1)\n",
    ),
    (
        "class C:\n"
        "    def __init__(self): self.a = 1\n"
        "    def m(self): return 1\n"
        "c = C()\n"
        "def f(x): return c.m()\n",
        "class C:\n"
        "    def __init__(self): self.a = 1\n"
        "    def m(self): return 2\n"
        "c = C()\n"
        "def f(x): return c.m()\n",
    ),
    (
        "class C:\n    def __init__(self): self.a = 1\nc = C()\ndef f(x): return c.a\n",
        "class C:\n    def __init__(self): self.a = 2\nc = C()\ndef f(x): return c.a\n",
    ),
    (
        "import enum\nclass E(enum.Enum):\n    A = 1\ndef f(x): return E.A.value\n",
        "import enum\nclass E(enum.Enum):\n    A = 2\ndef f(x): return E.A.value\n",
    ),
    (
        "class Base:\n    def __call__(self, x): return 1\nb = Base()\ndef f(x): return b(x)\n",
        "class Base:\n    def __call__(self, x): return 2\nb = Base()\ndef f(x): return b(x)\n",
    ),
    ("def f(x):\n    return [lambda: 1][0]()\n", "def f(x):\n    return [lambda: 2][0]()\n"),
    ("def len(x): return 1\ndef f(x): return len(x)\n", "def f(x): return len(x)\n"),
    ("SEP = ','\ndef f(x): return SEP.partition(x)\n", "SEP = ';'\ndef f(x): return SEP.partition(x)\n"),
]


@pytest.mark.parametrize("pair", LOOKS, ids=range(len(LOOKS)))
def test_looks_do_not_count(module, pair):
    assert same(module, *pair)


@pytest.mark.parametrize("pair", ACTS, ids=range(len(ACTS)))
def test_what_acts_counts(module, pair):
    assert not same(module, *pair)
    assert same(module, pair[0], pair[0])


def test_other_modules_are_followed(module):
    module("K = 1\ndef g(x): return K\n", "helpers")
    user = "import helpers\ndef f(x): return helpers.g(x)\n"
    direct = "from helpers import g\ndef f(x): return g(x)\n"
    before = fingerprint(module(user).f).digest, fingerprint(module(direct).f).digest
    module("K = 2\ndef g(x): return K\n", "helpers")
    after = fingerprint(module(user).f).digest, fingerprint(module(direct).f).digest
    assert before[0] != after[0]
    assert before[1] != after[1]


def test_an_attribute_that_is_not_used_does_not_count(module):
    module("K = 1\ndef g(x): return 0\n", "helpers")
    user = "import helpers\ndef f(x): return helpers.g(x)\n"
    before = fingerprint(module(user).f).digest
    module("K = 2\ndef g(x): return 0\n", "helpers")
    assert fingerprint(module(user).f).digest == before


def test_cycles_end(module):
    text = "def f(x): return g(x) + f(x)\ndef g(x): return f(x) + h(x)\ndef h(x): return {}\n"
    assert same(module, text.format(1), text.format(1))
    assert not same(module, text.format(1), text.format(2))


def test_a_long_chain_of_helpers(module):
    def text(last):
        return (
            "".join(f"def h{i}(x): return h{i + 1}(x)\n" for i in range(2000))
            + f"def h2000(x): return {last}\ndef f(x): return h0(x)\n"
        )

    assert not same(module, text(1), text(2))


# --- state --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "CACHE = {}\ndef f(x):\n    CACHE[x] = 1\n    return x\n",
        "SEEN = []\ndef f(x):\n    SEEN.append(x)\n    return x\n",
        "N = 0\ndef f(x):\n    global N\n    N += 1\n    return x\n",
        "SEEN = set()\ndef note(x):\n    SEEN.add(x)\ndef f(x):\n    note(x)\n    return len(SEEN)\n",
        "class C:\n    n = 0\ndef f(x):\n    C.n += 1\n    return x\n",
    ],
)
def test_what_code_changes_is_state_and_does_not_count(module, text):
    made = module(text)
    before = fingerprint(made.f)
    made.f(1)
    made.f(2)
    assert fingerprint(made.f).digest == before.digest


def test_changes_from_outside_are_noticed_on_the_next_call(module):
    made = module(
        "K = 1\nT = {'a': [1]}\ndef g(x): return 1\ndef f(x): return g(x) * K + T['a'][0] + len(x)\n"
    )
    seen = [fingerprint(made.f).digest]

    def changed():
        now = fingerprint(made.f).digest
        seen.append(now)
        return now not in seen[:-1]

    assert not changed()
    made.K = 2
    assert changed()
    made.T["a"].append(2)
    assert changed()
    made.g = lambda x: 2
    assert changed()
    made.len = lambda x: 3
    assert changed()
    made.f.__defaults__ = (4,)
    assert changed()
    made.K, made.T["a"] = 1, [1]
    del made.len
    made.f.__defaults__ = None
    made.g = module("def g(x): return 1\n", "again").g
    assert fingerprint(made.f).digest == seen[0]


def test_a_rebound_method_is_noticed(module):
    made = module("class C:\n    def m(self): return 1\ndef f(x): return C().m()\n")
    before = fingerprint(made.f).digest
    made.C.m = lambda self: 2
    assert fingerprint(made.f).digest != before


def test_what_a_class_gains_is_noticed(module):
    made = module(
        "class Base:\n    def run(self): return 1\n"
        "class Other:\n    def run(self): return 2\n"
        "class Child(Base): pass\n"
        "class Small: pass\n"
        "class Open(Small): pass\n"
        "def f(x): return Child().run(), Small(), Open()\n"
    )
    digests = [fingerprint(made.f).digest]
    made.Child.run = lambda self: 3
    digests.append(fingerprint(made.f).digest)
    made.Small.rate = 1
    digests.append(fingerprint(made.f).digest)
    made.Open.__bases__ = (made.Other,)
    digests.append(fingerprint(made.f).digest)
    assert len(set(digests)) == 4
    del made.Child.run, made.Small.rate
    made.Open.__bases__ = (made.Small,)
    assert fingerprint(made.f).digest == digests[0]
    assert fingerprint(made.f) is fingerprint(made.f)
    made.Child().__reduce_ex__(2)  # leaves something in the class that does not count
    assert fingerprint(made.f).digest == digests[0]
    assert fingerprint(made.f) is fingerprint(made.f)


def test_a_closure_that_is_rebound_is_noticed(module):
    made = module(
        "def make():\n"
        "    k = 1\n"
        "    def f(x): return k\n"
        "    def put(v):\n"
        "        nonlocal k\n"
        "        k = v\n"
        "    return f, put\n"
        "f, put = make()\n"
    )
    before = fingerprint(made.f).digest
    made.put(2)
    assert fingerprint(made.f).digest != before
    made.put(1)
    assert fingerprint(made.f).digest == before


def test_large_data_is_not_followed_and_one_warning_says_so(module):
    made = module("DF = list(range(100_000))\ndef f(x): return DF[x]\n")
    with pytest.warns(NotFollowedWarning, match=r"f: DF \(list\)") as caught:
        fingerprint(made.f)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    made.f.__defaults__ = (1,)
    fingerprint(made.f)  # silent: said once


@pytest.mark.parametrize("value", ["threading.Lock()", "logging.getLogger('x')", "sys.stdout"])
def test_handles_are_left_out(module, value):
    text = f"import threading, logging, sys\nH = {value}\ndef f(x): return H\n"
    assert same(module, text, text)


# --- what runs ----------------------------------------------------------------------------------------


def test_an_edited_module_keeps_the_fingerprint_of_what_runs(module, tmp_path):
    made = module("def f(x):\n    return x + 1\n")
    (tmp_path / "features.py").write_text("def f(x):\n    return x + 2\n")
    with pytest.warns(CodeChangedWarning, match=r"features\.py changed since it was imported") as caught:
        old = fingerprint(made.f)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    new = fingerprint(module("def f(x):\n    return x + 2\n").f)
    assert old.digest != new.digest
    assert old.tokens != new.tokens


def test_an_edit_elsewhere_in_the_file_is_no_matter(module, tmp_path):
    made = module("K = 1\ndef f(x):\n    return x + 1\n")
    before = fingerprint(made.f).digest
    other = module("K = 1\ndef f(x):\n    return x + 1\n", "other").f
    (tmp_path / "other.py").write_text("K = 1\ndef f(x):\n    return x + 1\n\n\ndef g(x):\n    return 3\n")
    assert fingerprint(other).digest == before


def test_a_stale_linecache_is_seen_through(module, tmp_path):
    made = module("def f(x):\n    return 1\n")
    linecache.getlines(str(tmp_path / "features.py"))
    (tmp_path / "features.py").write_text("def f(x):\n    return 2  # longer\n")
    spec = made.__spec__
    spec.loader.exec_module(made)  # a reload, while linecache holds the old text
    assert fingerprint(made.f).digest == fingerprint(module("def f(x):\n    return 2\n", "plain").f).digest


def test_code_that_runs_while_linecache_holds_its_text_is_found(module, tmp_path):
    """The file has been edited, yet what linecache kept is what runs: no reason to warn."""
    made = module("def f(x):\n    return 1\n")
    before = fingerprint(made.f).digest
    made.f.__defaults__ = (1,)
    fingerprint(made.f)
    made.f.__defaults__ = None
    (tmp_path / "features.py").write_text("def f(x):\n    return 2\n")
    assert fingerprint(made.f).digest == before


def test_a_stale_pyc(tmp_path, monkeypatch):
    """The bytecode is of an older text of the same size and time: Python runs it, so it counts."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "stale_module.py"
    path.write_text("def f(x):\n    return 1\n")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    importlib.invalidate_caches()
    first = importlib.import_module("stale_module")
    assert first.f(0) == 1
    del sys.modules["stale_module"]
    path.write_text("def f(x):\n    return 2\n")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    linecache.clearcache()
    second = importlib.import_module("stale_module")
    monkeypatch.delitem(sys.modules, "stale_module")
    assert second.f(0) == 1
    with pytest.warns(CodeChangedWarning):
        assert fingerprint(second.f).tokens == fingerprint(first.f).tokens


def test_exec_counts_by_its_code():
    def made(text):
        space: dict = {"__name__": "executed"}
        exec(text, space)
        return fingerprint(space["f"]).digest

    assert made("def f(x): return 1") == made("def f(x):\n\n    return 1")
    assert made("def f(x): return 1") != made("def f(x): return 2")
    assert made("K = 1\ndef f(x): return K") != made("K = 2\ndef f(x): return K")
    assert made("def g(x): return 1\ndef f(x): return g(x)") != made(
        "def g(x): return 2\ndef f(x): return g(x)"
    )


def test_two_lambdas_on_a_line(module):
    made = module(
        "a, b = lambda x: x + 1, lambda x: x + 2\n"
        "c = [lambda: 1 + 1, lambda: 2]\n"
        "d = (lambda: (lambda: 3)())\n"
        "e = (lambda x: (x and\n"
        "   2), lambda x: (x and\n"
        "   3))\n"
    )
    digests = [fingerprint(each).digest for each in (made.a, made.b, *made.c, made.d, *made.e)]
    assert len(set(digests)) == 6
    assert digests[2] == digests[3]  # they compile to the same
    alone = module("a = lambda x: x + 1\nb = lambda x: x + 2\nc = lambda: 1 + 1\nd = lambda: 2\n", "alone")
    assert digests[:2] == [fingerprint(alone.a).digest, fingerprint(alone.b).digest]
    assert digests[2] in (fingerprint(alone.c).digest, fingerprint(alone.d).digest)


def test_zip_files(tmp_path, monkeypatch):
    archive = tmp_path / "code.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("zipped_module.py", "def f(x):\n    'doc'\n    return 1\n")
    monkeypatch.syspath_prepend(str(archive))
    zipped = importlib.import_module("zipped_module")
    monkeypatch.delitem(sys.modules, "zipped_module")
    plain = types.ModuleType("plain")
    path = tmp_path / "plain.py"
    path.write_text("def f(x):\n    return 1\n")
    exec(compile(path.read_text(), str(path), "exec"), vars(plain))
    assert fingerprint(zipped.f).digest == fingerprint(plain.f).digest


def test_functions_of_rewritten_test_modules_warn_about_nothing():
    def f(x):
        assert x, "pytest rewrites this"
        return x

    assert fingerprint(f).digest == fingerprint(f).digest


def test_methods_nested_functions_and_mangled_names(module):
    text = (
        "class C:\n"
        "    def __init__(self): self.__a = 1\n"
        "    def m(self):\n"
        "        def inner(): return self.__a, __class__\n"
        "        return inner\n"
    )
    made = module(text)
    bound = made.C().m
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fingerprint(made.C.m).digest == fingerprint(module(text).C.m).digest
        fingerprint(bound)
        fingerprint(made.C().m())


# --- other processes and Pythons ------------------------------------------------------------------------

_PROGRAM = """
import functools, math, enum
from dataclasses import dataclass, field
import sys
{first}
import numpy as np
from lightwork.hashing import fingerprint

K = ("a", 1.5)
TABLE = {{"b": [1], "a": None}}

@dataclass
class Point:
    x: int
    y: list = field(default_factory=list)
    def norm(self):
        return math.hypot(self.x, *self.y)

@dataclass(frozen=True, slots=True)
class Solid:
    x: int | None = None

class Colour(enum.Enum):
    RED = 1
    def nice(self): return self.name

class Base:
    limit = 3
    def run(self, x): return [x for _ in range(self.limit)]

class Child(Base):
    def run(self, x):
        return super().run(x) + [f"{{x!r:>{{self.limit}}}} {{x = }}"]

def helper(x, *, k=K):
    match x:
        case [1, *rest]: return rest
        case Point(x=0): return 1
    try:
        with open(x) as f, open(x): pass
    except* ValueError: pass
    return lambda: (yield x)

@functools.lru_cache
def cached(x): return x

add = functools.partial(helper, k=2)

def f(x, y=(1, 2)):
    global STATE
    STATE = x
    p = Point(1).norm() + Solid(1).x
    return helper(x), cached(y), add(x), np.sin(p), Colour.RED.nice(), Child().run(x), TABLE, f

if __name__ == "__main__":
    import warnings
    warnings.simplefilter("error")
    print(fingerprint(f).digest.hex())
    print(*[token.hex() for token in fingerprint(f).tokens])
    print(*fingerprint(f).names)
"""


def _run(path, python=sys.executable, seed="random"):
    import lightwork

    root = os.path.dirname(os.path.dirname(lightwork.__file__))
    env = dict(os.environ, PYTHONHASHSEED=seed, PYTHONPATH=root)
    done = subprocess.run([python, str(path)], env=env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_equal_in_another_process_whatever_was_imported_before(tmp_path):
    one, other = tmp_path / "one.py", tmp_path / "other.py"
    one.write_text(_PROGRAM.format(first=""))
    other.write_text(_PROGRAM.format(first="import json, decimal, email.message"))
    assert _run(one) == _run(other) == _run(one)


def _pythons():
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    for version in ("3.11", "3.12", "3.13", "3.14"):
        for place in (f"/tmp/peer/v{version}/bin/python", os.environ.get(f"LIGHTWORK_PYTHON_{version}", "")):
            if version != here and place and os.path.exists(place):
                yield place


def test_equal_on_other_pythons(tmp_path):
    pythons = list(_pythons())
    if not pythons:
        pytest.skip("no other Python with NumPy was found (LIGHTWORK_PYTHON_3.12 and so on name them)")
    path = tmp_path / "program.py"
    path.write_text(_PROGRAM.format(first=""))
    here = _run(path)
    for python in pythons:
        there = _run(path, python)
        assert there[0] == here[0], python
        assert there[2] == here[2]


def test_the_fingerprint_of_a_program_is_committed(tmp_path):
    """Each Python checks it by itself; NumPy's version is part of it, so it is left out here."""
    path = tmp_path / "program.py"
    path.write_text(
        _PROGRAM.format(first="").replace("import numpy as np\n", "").replace("np.sin(p)", "math.sin(p)")
    )
    assert _run(path)[0] == "83981c1fb3d3116933b90079d6e24ae9"


# --- the object -----------------------------------------------------------------------------------------


def test_tokens_and_names(module):
    made = module("def g(x): return 1\ndef f(x): return g(x)\n")
    print_ = fingerprint(made.f)
    assert print_.names == ("features.f", "features.g")
    assert len(print_.tokens) == 2
    assert print_ is fingerprint(made.f)
    assert pickle.loads(pickle.dumps(print_)) == print_


def test_what_can_be_called(module):
    made = module(
        "import functools\n"
        "class C:\n"
        "    def __call__(self): return 1\n"
        "    def m(self): return 2\n"
        "c = C()\n"
        "p = functools.partial(C.m, c)\n"
    )
    digests = {
        fingerprint(each).digest for each in (made.C, made.c, made.C.m, made.c.m, made.p, len, int, print)
    }
    assert len(digests) == 8
    with pytest.raises(OptionTypeError, match="only what can be called"):
        fingerprint(3)


def test_functions_as_data(module):
    made = module("def f(x): return 1\ndef g(x): return 2\nclass C: pass\nclass D:\n    k = 1\n")
    again = module("def f(x): return 1\n", "again")
    values = [made.f, made.g, made.C, made.D, [made.f], {"a": made.f}, (made.f, made.g), (made.g, made.f)]
    assert len({digest(each) for each in values}) == len(values)
    assert digest(made.f) == digest(again.f)
    assert digest({made.f: 1, made.g: 2}) == digest({made.g: 2, made.f: 1})


def test_records_do_not_keep_functions_alive():
    import gc
    import weakref

    def make(k):
        return lambda x: x + k

    func = make(3)
    fingerprint(func)
    gone = weakref.ref(func)
    del func
    gc.collect()
    assert gone() is None


def test_a_decorator_of_lightworks_own_does_not_count(module):
    text = (
        "class M:\n"
        "    def cache(self, **k): return lambda f: f\n"
        "M.__module__ = 'lightwork.memory'\n"
        "m = M()\n"
        "@m.cache(verbose={})\n"
        "def f(x): return 1\n"
    )
    assert same(module, text.format(0), text.format(1))


# --- what is noted ----------------------------------------------------------------------------------------


def test_default_factories_of_fields_count(module):
    text = (
        "from dataclasses import dataclass, field\n"
        "def make(): return {}\n"
        "@dataclass\n"
        "class C:\n"
        "    a: list = field(default_factory=make)\n"
        "def f(x): return C()\n"
    )
    assert same(module, text, text)
    assert not same(module, text, text.replace("{}", "[]"))


def test_defaults_of_all_kinds(module):
    text = (
        "import threading, random\n"
        "def f(x, lock=threading.Lock(), *, rng=random.Random(1), k=[{}]):\n"
        "    return rng.random()\n"
    )
    assert same(module, text.format(1), text.format(1))
    assert not same(module, text.format(1), text.format(2))


def test_random_generators_are_left_out(module):
    made = module(
        "import random, numpy as np\n"
        "A, B = random.Random(1), np.random.default_rng(1)\n"
        "def f(x): return A.random() + B.random()\n"
    )
    before = fingerprint(made.f)
    made.f(1)
    assert fingerprint(made.f) == before


def test_an_import_of_users_code_in_a_body_is_said(module):
    made = module(
        "def f(x):\n"
        "    import json\n"
        "    import helpers_elsewhere\n"
        "    return json.dumps(helpers_elsewhere.g(x))\n"
    )
    with pytest.warns(NotFollowedWarning, match="f: import helpers_elsewhere in its body"):
        fingerprint(made.f)


def test_explain(module, capsys):
    made = module(
        "import math, logging\n"
        "K = 3\n"
        "LOG = logging.getLogger('x')\n"
        "SEEN = []\n"
        "class C:\n"
        "    def m(self): return 1\n"
        "def g(x): return math.sin(x)\n"
        "def f(x):\n"
        "    SEEN.append(x)\n"
        "    LOG.info('x')\n"
        "    return g(x) * K + C().m()\n"
    )
    explain(made.f)
    assert capsys.readouterr().out.splitlines() == [
        "f depends on",
        "  functions: features.C.m, features.f, features.g",
        "  classes: features.C",
        "  values: f: K",
        "  libraries, by version: math",
        "  state, left out: this code changes it: features.SEEN",
        "  handles, left out: f: LOG",
    ]


def test_explain_tells_what_may_be_fetched_by_a_computed_name(module, capsys):
    made = module(
        "import importlib, operator\n"
        "def plain(x): return x\n"
        "def f(x, name='plain'):\n"
        "    return globals()[name](x), getattr(x, name), importlib.import_module(name), operator.attrgetter(name)\n"
    )
    explain(made.f)
    assert (
        "  may fetch code by names that are computed, which is not seen: "
        "f: getattr, f: globals, f: importlib.import_module, f: operator.attrgetter"
    ) in capsys.readouterr().out.splitlines()
    explain(made.plain)
    assert "computed" not in capsys.readouterr().out


def test_ufuncs_of_no_library_are_said_to_be_opaque(module):
    made = module(
        "import numpy as np\n"
        "from numpy import sin, abs as size\n"
        "twice = np.frompyfunc(lambda x: 2 * x, 1, 1)\n"
        "def f(x): return sin(x), size(x)\n"
        "def g(x): return twice(x)\n"
    )
    fingerprint(made.f)
    with pytest.warns(NotFollowedWarning, match=r"g: twice \(ufunc, of which only the name is known\)"):
        fingerprint(made.g)


def since(module, text, new_text, name="f"):
    """What `explain` says when a module's text changes."""
    before = fingerprint(getattr(module(text), name))
    out = io.StringIO()
    explain(getattr(module(new_text), name), before, file=out)
    return out.getvalue().splitlines()


def test_explain_since(module):
    text = "K = 1\ndef g(x): return 1\ndef f(x): return g(x) * K\n"
    assert since(module, text, text) == ["f: nothing changed"]
    assert since(module, text, text.replace("return 1", "return 2")) == ["`g` in features.py changed"]
    assert since(module, text, text.replace("K = 1", "K = 2")) == ["`K` in features.py changed: 1 → 2"]
    assert since(module, text, text.replace("g(x)", "h(x)")) == [
        "`f` in features.py changed",
        "`g` in features.py is no longer used",
        "`h` in features.py is used now",
    ]


CHANGED = [
    ("K = [1, 2]\ndef f(x): return K", "[1, 2]", "[1, 3]", ["`K` in features.py changed: [1, 2] → [1, 3]"]),
    (
        "K = 'a' * 100\ndef f(x): return K",
        "* 100",
        "* 101",
        ["`K` in features.py changed: 100 long → 101 long"],
    ),
    ("K = 'a' * 99 + 'b'\ndef f(x): return K", "'b'", "'c'", ["`K` in features.py changed"]),
    (
        "def f(x, a=1, b=2): return a",
        "b=2",
        "b=3",
        ["`f` in features.py changed", "default `b` of `f` in features.py changed: 2 → 3"],
    ),
    (
        "K = 2\ndef f(x, *, b=K): return b",
        "K = 2",
        "K = 3",
        ["default `b` of `f` in features.py changed: 2 → 3"],
    ),
    (
        "def make(k):\n    def f(x): return k\n    return f\nf = make(1)",
        "make(1)",
        "make(2)",
        ["`k` that `make.<locals>.f` in features.py closes over changed: 1 → 2"],
    ),
    (
        "class C:\n    a = 1\n    def m(self): return 1\ndef f(x): return C().m()",
        "a = 1",
        "a = 2",
        ["`C.a` in features.py changed: 1 → 2"],
    ),
    (
        "class C:\n    a = 1\n    def m(self): return 1\ndef f(x): return C().m()",
        "return 1",
        "return 2",
        ["`C.m` in features.py changed"],
    ),
    (
        "class C:\n    a: int = 1\ndef f(x): return C()",
        "a: int",
        "a: str",
        ["class `C` in features.py changed"],
    ),
    (
        "class A: pass\nclass B: pass\nclass C(A): pass\ndef f(x): return C()",
        "C(A)",
        "C(B)",
        [
            "class `A` in features.py is no longer used",
            "class `B` in features.py is used now",
            "class `C` in features.py changed",
        ],
    ),
    (
        "from dataclasses import dataclass\n@dataclass\nclass C:\n    a: int = 1\ndef f(x): return C()",
        "= 1",
        "= 2",
        ["`C.a` in features.py changed: 1 → 2", "default of `C.a` in features.py changed: 1 → 2"],
    ),
    (
        "import functools\ndef g(x, k): return k\np = functools.partial(g, k=1)\ndef f(x): return p(x)",
        "k=1",
        "k=2",
        ["`p` in features.py changed"],
    ),
    (
        "def a(x): return 1\ndef b(x): return 2\nuse = a\ndef f(x): return use(x), a, b",
        "use = a",
        "use = b",
        ["`use` in features.py changed: features.a → features.b"],
    ),
    (
        "K = 1\ndef f(x): return K",
        "def f",
        "def g():\n    global K\n    K = 2\ndef f(x): return g(), K\ndef _",
        [
            "`K` in features.py changed: 1 → state",
            "`f` in features.py changed",
            "`g` in features.py is used now",
        ],
    ),
    (
        "import threading\nL = threading.Lock()\ndef f(x): return L",
        "L = threading.Lock()",
        "L = 3",
        ["`L` in features.py changed: a lock → 3"],
    ),
    (
        "def one(f):\n    def w(x): return f(x)\n    return w\n"
        "def two(f):\n    def v(x): return f(x)\n    return v\n"
        "def g(x): return x\nf = one(two(g))",
        "one(two(g))",
        "two(one(g))",
        [
            "`f` that `one.<locals>.w` in features.py closes over changed: "
            "features.two.<locals>.v → features.g",
            "`f` that `two.<locals>.v` in features.py closes over changed: "
            "features.g → features.one.<locals>.w",
        ],
    ),
    (
        "def one(f): return f\ndef two(f): return f\n@one\n@two\ndef f(x): return x",
        "@one\n@two",
        "@two\n@one",
        ["`f` in features.py changed"],
    ),
]


@pytest.mark.parametrize(("text", "old", "new", "lines"), CHANGED)
def test_what_changed_is_named(module, text, old, new, lines):
    assert text.count(old) == 1
    said = since(module, text, text.replace(old, new))
    assert [re.sub("'a{50}'... ", "", line) for line in said] == lines


def test_a_new_version_of_a_library_is_named(module, monkeypatch):
    from lightwork.hashing import libraries, source

    made = module("import numpy as np\ndef f(x): return np.mean(x)\ndef g(x): return np.sin(x), np.ndarray\n")
    for name in ("f", "g"):
        libraries._version.cache_clear()
        before, out = fingerprint(getattr(made, name)), io.StringIO()
        libraries._version.cache_clear()
        source._records.clear()
        with monkeypatch.context() as patch:
            patch.setattr(np, "__version__", "9.8.7")
            explain(getattr(made, name), before, file=out)
        libraries._version.cache_clear()
        source._records.clear()
        assert out.getvalue() == f"numpy changed: {'.'.join(np.__version__.split('.')[:2])} → 9.8\n"


def test_a_change_since_an_entry_is_named(module):
    before = fingerprint(module("K = 1\ndef f(x): return K\n").f)
    entry = {"fingerprint": before.digest.hex(), "code": dict(before.parts)}
    after, out = module("K = 2\ndef f(x): return K\n").f, io.StringIO()
    explain(after, entry, file=out)
    assert out.getvalue() == "`K` in features.py changed: 1 → 2\n"
    with pytest.raises(OptionTypeError, match="since= takes a fingerprint or an entry"):
        explain(after, {"fingerprint": "0"})


def test_an_entry_that_does_not_tell_is_told_so(module):
    f, out = module("def f(x): return 1\n").f, io.StringIO()
    explain(f, {"fingerprint": "0", "code": dict(fingerprint(f).parts)}, file=out)
    assert out.getvalue() == "f: it changed in what is not told\n"


# --- what ran before ---------------------------------------------------------------------------------------


def test_instances_that_were_pickled_make_no_difference_to_their_class(module):
    text = "class C:\n    def m(self): return 1\ndef f(x): return C()\n"
    digests = set()
    for run in (lambda c: None, lambda c: c().__reduce_ex__(2), lambda c: pickle.dumps(c())):
        made = module(text)
        run(made.C)
        digests.add(fingerprint(made.f).digest)
    assert len(digests) == 1


DISPATCHER = """
import functools
@functools.singledispatch
def show(x): return {0}
@show.register
def _(x: int): return {1}
def f(x): return show(x)
class C:
    @functools.singledispatchmethod
    def show(self, x): return {0}
    @show.register
    def _(self, x: int): return {1}
def g(x): return C().show(x)
"""


@pytest.mark.parametrize("name", ["f", "g"])
def test_functions_that_dispatch_count_by_what_is_registered(module, name):
    made = module(DISPATCHER.format(1, 2))
    func = getattr(made, name)
    before = fingerprint(func).digest
    func(1), func("a")
    assert fingerprint(func).digest == before
    found = {before}
    for text in ("def other(x): return 3\n", "def other(x): return 4\n"):
        elsewhere = module(text, "elsewhere").other
        made.show.register(float, elsewhere)
        vars(made.C)["show"].register(float, elsewhere)
        found.add(fingerprint(func).digest)
    assert len(found) == 3
    assert fingerprint(getattr(module(DISPATCHER.format(1, 3)), name)).digest != before
    assert fingerprint(getattr(module(DISPATCHER.format(2, 2)), name)).digest != before


def test_of_a_librarys_dispatching_function_the_users_part_counts(module, tmp_path, monkeypatch):
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "generics.py").write_text(
        "import functools\n@functools.singledispatch\ndef show(x): return 0\n"
        "def plugin(x): return 1\ndef register(): show.register(str, plugin)\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    text = "import generics\nshow = generics.show\n@show.register\ndef _(x: int): return {}\ndef f(x): return show(x)\n"
    digests = []
    for value in (1, 2, 2):
        digests.append(fingerprint(module(text.format(value)).f).digest)
        sys.modules["generics"].register()
    sys.modules.pop("generics")
    assert digests[0] != digests[1] == digests[2]


def test_data_that_gets_to_hold_what_has_no_value_is_looked_at_again(module):
    made = module("TABLE = {}\ndef f(x): return TABLE\n")
    before = fingerprint(made.f)
    made.TABLE["lock"] = threading.Lock()
    with pytest.warns(NotFollowedWarning, match="f: TABLE"):
        assert fingerprint(made.f) != before
    del made.TABLE["lock"]
    assert fingerprint(made.f) in (before, fingerprint(made.f))


# --- other places where code lives ----------------------------------------------------------------------


def test_cells_of_a_notebook_that_are_run_again():
    """As IPython does: each cell is compiled under a name of its own, its text kept by linecache."""

    def cell(space, number, text):
        name = f"<ipython-input-{number}-abc>"
        linecache.cache[name] = (len(text), None, text.splitlines(True), name)
        exec(compile(text, name, "exec"), space)

    space: dict = {"__name__": "__main__"}
    cell(space, 1, "def g(x):\n    return 1\n")
    cell(space, 2, "def f(x):\n    return g(x)\n")
    before = fingerprint(space["f"]).digest
    cell(space, 3, "def g(x):\n    # the same, run again\n    return 1\n")
    assert fingerprint(space["f"]).digest == before
    cell(space, 4, "def g(x):\n    return 2\n")
    assert fingerprint(space["f"]).digest != before
    linecache.clearcache()


DOCTEST = """
>>> from lightwork.hashing import fingerprint
>>> def f(x):
...     'doc'
...     return 1
>>> seen.append(fingerprint(f).digest)
"""


def test_doctests():
    seen: list[bytes] = []
    for text in (DOCTEST, DOCTEST.replace("'doc'", "'other'"), DOCTEST.replace("return 1", "return 2")):
        test = doctest.DocTestParser().get_doctest(text, {"seen": seen}, "name", None, 0)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert doctest.DocTestRunner(verbose=False).run(test).failed == 0
    assert seen[0] == seen[1] != seen[2]


def test_a_prompt_that_keeps_no_source():
    program = "def f(x): return 1\nfrom lightwork.hashing import fingerprint\nprint(fingerprint(f).names)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
    )
    assert (done.stdout.strip(), done.stderr) == ("('__main__.f',)", "")


def test_many_threads_look_at_once(module):
    helpers = "".join(f"def h{i}(x): return {i}\n" for i in range(30))
    made = module(helpers + "def f(x): return " + "+".join(f"h{i}(x)" for i in range(30)) + "\n")
    digests = []
    looks = [threading.Thread(target=lambda: digests.append(fingerprint(made.f).digest)) for _ in range(8)]
    for look in looks:
        look.start()
    for look in looks:
        look.join()
    assert len(digests) == 8
    assert len(set(digests)) == 1


# --- arguments ------------------------------------------------------------------------------------------


def test_a_survey_finds_the_classes_of_instances(module):
    text = (
        "import enum, dataclasses\n"
        "class C:\n"
        "    def m(self): return 1\n"
        "class E(enum.Enum):\n"
        "    A = 1\n"
        "    def m(self): return 1\n"
        "@dataclasses.dataclass\n"
        "class D:\n"
        "    a: int\n"
        "    def m(self): return 1\n"
    )

    made = module(text)
    values = [made.C(), [made.C(), {"a": (made.C(),)}], made.E.A, made.D(1), {made.D: [made.D(2), made.E.A]}]
    classes = [{made.C}, {made.C}, {made.E}, {made.D}, {made.D, made.E}]
    assert [(digest(each), kinds) for each, kinds in zip(values, classes, strict=True)] == [
        (found, set(kinds)) for found, kinds in map(survey, values)
    ]


def test_classes_of_libraries_are_none_of_the_users():
    for value in (
        1,
        [1, {"a": (2,)}],
        decimal.Decimal(1),
        [fractions.Fraction(1, 3), ValueError("x")],
        np.arange(3),
    ):
        assert survey(value) == (digest(value), ())


def test_defaults_that_a_helper_gains_are_noticed(module):
    features = module(
        "def g(x, y):\n    return x\ndef h(*, z):\n    return z\ndef f(x):\n    return g(x), h(z=1)\n"
    )
    before = fingerprint(features.f)
    assert fingerprint(features.f) is before
    features.g.__defaults__ = (3,)
    gained = fingerprint(features.f)
    assert gained.digest != before.digest
    features.h.__kwdefaults__ = {"z": 2}
    assert fingerprint(features.f).digest not in (before.digest, gained.digest)
    features.g.__defaults__ = features.h.__kwdefaults__ = None
    assert fingerprint(features.f).digest == before.digest


def test_a_default_that_is_changed_in_place_is_noticed(module):
    features = module("def h(*, z=1):\n    return z\ndef f(*, y=1):\n    return h(), y\n")
    before = fingerprint(features.f)
    assert fingerprint(features.f) is before
    features.h.__kwdefaults__["z"] = 2
    helpers = fingerprint(features.f)
    features.f.__kwdefaults__["y"] = 2
    both = fingerprint(features.f)
    assert len({each.digest for each in (before, helpers, both)}) == 3
    features.f.__kwdefaults__["y"] = features.h.__kwdefaults__["z"] = 1
    assert fingerprint(features.f).digest == before.digest
    features.f.__kwdefaults__.clear()
    cleared = fingerprint(features.f)
    assert cleared.digest != before.digest
    features.f.__kwdefaults__["y"] = 1  # an empty dictionary may gain some
    assert fingerprint(features.f).digest == before.digest
