"""Running code finds its syntax again: for whole modules of the standard library, and case by case."""

from __future__ import annotations

import argparse
import ast
import difflib
import email.message
import inspect
import linecache
import logging
import marshal
import pickle
import sys
import tarfile
import types
import typing

import pytest

from lightwork.hashing import codes, definitions
from lightwork.hashing.chains import Names
from lightwork.hashing.codes import digest_code, inner_codes, same_code
from lightwork.hashing.definitions import definition_of
from lightwork.hashing.libraries import NO_FILE

MODULES = [argparse, difflib, email.message, inspect, logging, tarfile, typing]


def functions(module):
    """Yield the functions that a module's file defines, methods too."""
    spaces = [vars(module), *(vars(each) for each in vars(module).values() if isinstance(each, type))]
    for space in spaces:
        for value in list(space.values()):
            plain = getattr(value, "__func__", getattr(value, "fget", value))
            if isinstance(plain, types.FunctionType) and plain.__code__.co_filename == module.__file__:
                yield plain


@pytest.mark.parametrize("module", MODULES, ids=lambda each: each.__name__)
def test_all_functions_of_a_module_are_found(module):
    found = [definition_of(each.__code__, each.__globals__) for each in functions(module)]
    assert len(found) > 20
    assert [each for each in found if each.changed_file is not None] == []


@pytest.mark.skipif(
    not getattr(sys, "_is_gil_enabled", lambda: True)(),
    reason="without the interpreter's lock, Python 3.13 never lets go of code",
)
def test_caches_let_go_of_code():
    import gc

    space: dict = {"__name__": "executed"}
    exec("def f(): return 1", space)
    code = space.pop("f").__code__
    definition_of(code, space)
    key = id(code)
    assert key in definitions._known
    del code
    gc.collect()
    assert key not in definitions._known


def code_of(text, name="<string>"):
    space: dict = {}
    exec(compile(text, name, "exec"), space)
    return space["f"].__code__


SAME = [
    ("def f(x): return x + 1", "\n\ndef f(x):\n    return (x +\n        1)"),
    ("def f(): return {1, 2, 3}", "def f():\n    return {1, 2, 3}"),
]
DIFFERENT = [
    ("def f(): return 1", "def f(): return 1.0"),
    ("def f(): return 1", "def f(): return True"),
    ("def f(): return 0.0", "def f(): return -0.0"),
    ("def f(x): return x in {1, 2}", "def f(x): return x in {1, 2.0}"),
    ("def f(): return (1, 'a')", "def f(): return (1, b'a')"),
    ("def f(): return a", "def f(): return b"),
    ("def f(x): return x", "def f(*x): return x"),
    ("def f(): return lambda: 1", "def f(): return lambda: 2"),
    ("def f():\n    try: a()\n    except E: pass", "def f():\n    try: a()\n    except F: pass"),
]


@pytest.mark.parametrize("pair", SAME, ids=range(len(SAME)))
def test_same_code(pair):
    one, other = map(code_of, pair)
    assert same_code(one, other)
    assert digest_code(one) == digest_code(other)


@pytest.mark.parametrize("pair", DIFFERENT, ids=range(len(DIFFERENT)))
def test_different_code(pair):
    one, other = map(code_of, pair)
    assert not same_code(one, other)
    assert digest_code(one) != digest_code(other)


def test_code_that_ran_is_still_the_same():
    text = "def f(n):\n    total = 0\n    for i in range(n):\n        total += i * 2.5\n    return total"
    ran, fresh = code_of(text), code_of(text)
    call = types.FunctionType(ran, {})
    for _ in range(2000):
        call(3)
    assert same_code(ran, fresh)


TRICKY = """
import os, sys as system
from json import dumps

if True:
    def one(x):
        return os.path.join(x, system.prefix), dumps(x)

class Outer:
    __private = 1

    class Inner:
        def two(self):
            return self.__private, super().__init__, __class__

    def three(self):
        def four():
            return [self.__private for _ in range(3) if (lambda: self)()]
        return four

def five(x, /, y=lambda: 1, *z, **w): return lambda: (yield x)

async def six():
    async with six() as a, six():
        return [b async for b in a]

seven = lambda x: (lambda y: (lambda z: x + y + z))
"""


def test_tricky_places(tmp_path):
    path = tmp_path / "tricky.py"
    path.write_text(TRICKY)
    space: dict = {"__name__": "tricky"}
    exec(compile(TRICKY, str(path), "exec"), space)
    outer = space["Outer"]
    found = [
        space["one"],
        outer.Inner.two,
        outer.three,
        outer().three(),
        space["five"],
        space["six"],
    ]
    found += [space["five"].__defaults__[0], space["five"](1)]
    found += [space["seven"], space["seven"](1), space["seven"](1)(2)]
    for each in found:
        definition = definition_of(each.__code__, space)
        assert definition.changed_file is None, each
        assert isinstance(definitions._find(each.__code__, str(path), space), ast.AST), each
    linecache.checkcache(str(path))


def test_instructions_that_are_searched_for_are_those_that_reading_all_finds():
    many = "\n".join(f"    name{i}, x{i}" for i in range(400))
    text = f"def f():\n    global z\n    import a, b, c.d\n    z = 1\n{many}\n    return last(x399)\n"
    long = compile(text, "<string>", "exec").co_consts[0]
    every = [long]
    for module in MODULES:
        for function in functions(module):
            every += [function.__code__, *inner_codes(function.__code__)]
    assert len(every) > 500
    for each in every:
        read = list(codes._instructions(each))
        for operation in (codes._IMPORT_NAME, codes._LOAD_GLOBAL, *codes._BY_NAME):
            expected = [argument for found, argument in read if found == operation]
            assert list(codes._arguments(each, operation)) == expected
    assert {"name399", "last", "z"} <= codes.global_names(long)
    assert codes.imported_by(long) == ("a", "b", "c.d")


def test_names_of_code_without_source():
    space: dict = {"__name__": "executed"}
    exec(
        "import os\nN = 1\ndef f(x):\n    global N\n    N = os.path.join(x)\n    T.append(1)\n    return U.a.b",
        space,
    )
    names = definition_of(space["f"].__code__, space).names
    assert {("os", "path", "join"), ("T", "append"), ("U", "a", "b")} <= set(names.used)
    assert names.rebound == (("N",),)
    assert names.changed == (("T",),)


def test_imports_in_a_body():
    space: dict = {"__name__": "executed"}
    exec(
        "def f():\n    import os.path\n    from json import dumps\n    return lambda: __import__('x')", space
    )
    assert definition_of(space["f"].__code__, space).imported == ("json", "os.path")


def test_code_that_came_by_value_is_what_it_was_said_to_be(tmp_path, monkeypatch):
    """Without its module neither its source nor what its decorators are is known; a module's own code is looked at."""
    path = tmp_path / "cells.py"
    path.write_text(
        "import lightwork\nmemory = lightwork.Memory(None)\n@memory.cache\ndef f(x):\n    return x\n"
    )
    module = types.ModuleType("cells")
    monkeypatch.setitem(sys.modules, "cells", module)
    exec(compile(path.read_text(), str(path), "exec"), vars(module))
    code = module.f.func.__code__
    known = definitions.definition_of(code, vars(module))
    sent = pickle.loads(pickle.dumps(definitions.to_send([code])))
    monkeypatch.setattr(definitions, "_received", {})
    monkeypatch.setattr(definitions, "_received_without_file", {})

    def look(space):
        return definitions.definition_of(marshal.loads(marshal.dumps(code)), space).digest

    assert look({"__name__": "cells"}) != known.digest
    definitions.receive(sent)
    assert look({"__name__": "cells"}) == known.digest
    line, other = sent[0]
    definitions.receive([(line, other._replace(digest=bytes(16)))])
    assert look({"__name__": "cells"}) == bytes(16)
    assert look(vars(module)) == known.digest


def test_definitions_of_other_processes_are_kept_in_bounds(monkeypatch):
    monkeypatch.setattr(definitions, "_received", {})
    monkeypatch.setattr(definitions, "_received_without_file", {})
    known = definitions.Definition(bytes(16), Names((), (), ()), bytes(16), (), None)
    known = known._replace(filename="file")
    definitions.receive((line, known) for line in range(definitions._RECEIVED + 10))
    assert len(definitions._received) == len(definitions._received_without_file) == definitions._RECEIVED
    assert (bytes(16), "file", 9) not in definitions._received
    assert (bytes(16), 9) not in definitions._received_without_file


def _by_value(code, filename=NO_FILE):
    return marshal.loads(marshal.dumps(code.replace(co_filename=filename)))


def test_code_without_a_file_takes_no_definition_that_may_be_of_other_code(tmp_path, monkeypatch):
    """cloudpickle leaves the file out: nothing tells apart cells of equal code and line, with other decorators."""
    monkeypatch.setattr(definitions, "_received", {})
    monkeypatch.setattr(definitions, "_received_without_file", {})
    sent, made = [], []
    for place, decorator in enumerate(("print", "repr", "print")):
        path = tmp_path / f"cell{place}.py"
        path.write_text(f"def f(x):\n    @{decorator}\n    def g():\n        return 1\n    return x\n")
        whole = compile(path.read_text(), str(path), "exec")
        made.append(next(each for each in inner_codes(whole) if each.co_name == "g"))
        definition_of(made[-1], {"__name__": "__main__"})
        sent.append(definitions.to_send([made[-1]]))
    digests = [each[0][1].digest for each in sent]
    assert (len({*map(digest_code, made)}), len({*digests}), digests[0]) == (1, 2, digests[2])

    def look(**space):
        return definition_of(_by_value(made[0]), {"__name__": "cells", **space})

    nothing = look()
    assert nothing.digest not in digests
    definitions.receive(sent[0])
    assert look() == sent[0][0][1]  # with the file that it is from
    definitions.receive(sent[2])
    assert look().digest == digests[0]  # another cell that agrees
    elsewhere = str(tmp_path / "elsewhere.py")
    assert look(__file__=elsewhere).digest == nothing.digest  # its module is another file
    definitions.receive(sent[1])
    assert look().digest == nothing.digest
    definitions.receive(sent[1])
    assert look().digest == nothing.digest
    assert [look(__file__=each.co_filename).digest for each in made] == digests


def test_code_without_a_file_is_looked_for_in_that_of_its_module(tmp_path):
    path = tmp_path / "script.py"
    path.write_text("def f(x):\n    return 1 + 1\n\ndef g(x):\n    return 3\n")
    space = {"__name__": "script_by_value", "__file__": str(path)}
    whole = compile(path.read_text(), str(path), "exec")
    f, g = inner_codes(whole)
    assert definition_of(_by_value(f), space) == definition_of(f, space)
    sent = definitions.to_send([f])
    assert (sent[0][0], sent[0][1].filename) == (1, str(path))
    changed = compile("def f(x):\n    return 4\n", "other", "exec").co_consts[0]
    found = definition_of(_by_value(changed), space)
    assert (found.changed_file, found.filename) == (None, NO_FILE)
    nowhere = _by_value(g)
    assert definition_of(nowhere, {}).digest != definition_of(g, space).digest
    assert definitions.to_send([nowhere]) == ()
