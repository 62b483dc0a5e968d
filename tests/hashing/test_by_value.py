"""Code that other libraries send by value: cloudpickle, from 3.1.3 on, leaves out the file that it is from."""

from __future__ import annotations

import io
import itertools
import pickle
import sys
from types import CodeType

import cloudpickle
import pytest

from lightwork.hashing import definitions, fingerprint, libraries
from lightwork.hashing.libraries import NO_FILE
from lightwork.hashing.source import definitions_to_send
from lightwork.workers import _by_value


class Nameless(cloudpickle.Pickler):
    """A pickler that leaves out the files of code, whatever the version of cloudpickle."""

    def reducer_override(self, obj):
        if type(obj) is CodeType:
            return cloudpickle.Pickler.dispatch_table[CodeType](obj.replace(co_filename=NO_FILE))
        return super().reducer_override(obj)


def travelled(value):
    file = io.BytesIO()
    Nameless(file).dump(value)
    # A process that made a class itself would find that one again.
    cloudpickle.cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.clear()
    cloudpickle.cloudpickle._DYNAMIC_CLASS_TRACKER_BY_CLASS.clear()
    return pickle.loads(file.getvalue())


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Run a text as a script of its own file does, or a notebook's cell: under the name `__main__`, without one."""
    monkeypatch.setattr(definitions, "_received", {})
    monkeypatch.setattr(definitions, "_received_without_file", {})
    cells = itertools.count()

    def make(text, in_cell=False):
        path = tmp_path / (f"cell{next(cells)}.py" if in_cell else "script.py")
        path.write_text(text)
        space = {"__name__": "__main__"} if in_cell else {"__name__": "__main__", "__file__": str(path)}
        exec(compile(text, str(path), "exec"), space)
        return space

    return make


KINDS = """
import collections, typing
from dataclasses import dataclass

K = 1 + 1

def helper(x):
    "What people read."
    return x * 2 * 3 + K

def slow(x):
    return helper(x)

@dataclass(order=True)
class Point:
    x: int = 1
    def norm(self):
        return helper(abs(self.x))

@dataclass(frozen=True, slots=True)
class Solid:
    x: int = 1

class Pair(typing.NamedTuple):
    a: int
    def both(self): return self.a

Plain = collections.namedtuple("Plain", "a b")

class Reads(typing.Protocol):
    def read(self): ...

class Base:
    limit = 3
    def run(self): return helper(self.limit)

class Child(Base):
    def run(self): return super().run() + 1

def f(x):
    return slow(x), Point, Solid, Pair, Plain, Reads, Child, (lambda y: y + 1)(x)
"""


def test_what_came_from_a_file_is_what_it_was_there(home):
    space = home(KINDS)
    for name in ("helper", "slow", "Point", "Solid", "Pair", "Plain", "Reads", "Child", "f"):
        there, here = space[name], travelled(space[name])
        assert here is not there, name
        assert fingerprint(here).digest == fingerprint(there).digest, name
        assert fingerprint(here).parts == fingerprint(there).parts, name


def test_what_came_from_a_cell_is_what_was_sent_with_it(home):
    space = home(KINDS, in_cell=True)
    known = fingerprint(space["f"])
    sent = definitions_to_send(space["f"])
    sources = {filename for _, (*_, filename) in sent}
    assert len(sent) > 5
    assert len(sources) == 1
    assert fingerprint(travelled(space["f"])).tokens == known.tokens
    assert fingerprint(travelled(space["f"])).digest != known.digest
    definitions.receive(sent)
    here = travelled(space["f"])
    assert fingerprint(here).digest == known.digest
    assert fingerprint(here).parts == known.parts
    # It may go on from there.
    again = definitions_to_send(here)
    assert {each.filename for _, each in again} == sources
    assert {(line, each.token) for line, each in again} == {(line, each.token) for line, each in sent}


@pytest.mark.parametrize(
    "name", ["helper", "slow", "Point", "Pair", "Child", "f"], ids=lambda name: name.casefold()
)
def test_what_came_without_a_file_and_changed_is_noticed(name, home):
    one = fingerprint(travelled(home(KINDS, in_cell=True)[name]))
    edited = KINDS.replace("* 3", "* 4").replace("return self.a", "return -self.a")
    other = fingerprint(travelled(home(edited, in_cell=True)[name]))
    assert one.digest != other.digest


@pytest.mark.parametrize("filename", ["<stdin>", "<ipython-input-1-0123>", NO_FILE])
@pytest.mark.parametrize("base", ["NamedTuple", "object"])
def test_methods_of_declared_classes_count_whatever_their_file(filename, base):
    """What a decorator writes does not, and it has no file either."""
    text = """
from dataclasses import dataclass
from typing import NamedTuple
class C({base}):
    x: int
    def double(self): return {result}
if not hasattr(C, "_fields"):
    C = dataclass(order=True)(C)
"""

    def look(result):
        space: dict = {"__name__": "__main__"}
        exec(compile(text.format(base=base, result=result), filename, "exec"), space)
        return fingerprint(space["C"])

    assert look("2 * self.x").digest == look("2 * self.x").digest != look("3 * self.x").digest
    labels = [label for label, _ in look("self.x").parts]
    assert [each for each in labels if "`C." in each] == ["`C.double` in __main__"]


def test_what_attrs_writes_is_left_out_and_what_a_class_says_is_not():
    """attrs compiles methods in the module of the class, at the top of a text whose file bears its name."""

    def look(filename, text="def __init__(self, x): self.x = x", body="2"):
        space: dict = {"__name__": "__main__"}
        exec(compile(text, filename, "exec"), space)
        said = f"def __repr__(self): return {body}\n    def double(self): return {body}"
        exec(compile(f"class C:\n    __attrs_attrs__ = ()\n    {said}", NO_FILE, "exec"), space)
        space["C"].__init__ = space["__init__"]
        return fingerprint(space["C"]).digest

    there = look("<attrs generated methods __main__.C>")
    assert look(NO_FILE) == there
    assert look(NO_FILE, "def __init__(self, y): self.y = y") == there  # its fields say that
    assert look(NO_FILE, body="3") != there
    assert look("<stdin>") != there  # a function of the user's at a prompt, put into the class


def test_a_library_that_is_not_imported_here_is_one(monkeypatch):
    for name in [each for each in sys.modules if each.partition(".")[0] == "iniconfig"]:
        monkeypatch.delitem(sys.modules, name)
    code = (lambda: 1).__code__.replace(co_filename=NO_FILE)
    assert libraries.is_library_code(code, "iniconfig.exceptions")
    assert (
        libraries.library_name("iniconfig.exceptions", NO_FILE)
        == libraries.library_name("iniconfig.exceptions")
        != ""
    )
    monkeypatch.setitem(sys.modules, "__mp_main__", pytest)  # as under `python -m pytest`
    for user in ("__main__", "__mp_main__", "a_module_of_the_user", None):
        assert not libraries.is_library_code(code, user)


def test_workers_and_hashing_know_the_same_mark():
    assert _by_value._NO_FILE == NO_FILE
