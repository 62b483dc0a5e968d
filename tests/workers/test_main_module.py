"""What children of a worker get of its ``__main__``: by pickles alone, without a process."""

import pickle
import sys
import types

import pytest

from lightwork.workers import main_module
from lightwork.workers.payload import Definitions


@pytest.fixture
def main(monkeypatch):
    """A `__main__` that may be changed, and nothing told."""
    module = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    monkeypatch.setitem(sys.modules, "__mp_main__", module)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    yield module
    main_module.forget()


def define(module, source):
    exec(source, vars(module))


def told(module, *names):
    definitions = Definitions()
    for name in names:
        definitions.note(vars(module)[name])
    return definitions.take_new()


def become_a_child(monkeypatch):
    """Have another `__main__`, as another process would; returns it."""
    main_module.forget()
    child = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", child)
    return child


def test_the_pickled_name_of_main_makes_it_again(main, monkeypatch):
    define(main, "FACTOR = 3\ndef times(x): return helper(x)\ndef helper(x): return x * FACTOR\n")
    main_module.install(told(main, "times"))
    name = pickle.dumps(main.__spec__.name)
    for _ in range(2):  # a child's child
        child = become_a_child(monkeypatch)
        assert pickle.loads(name) == "__main__"  # which means that nothing is to be run
        assert (child.times(2), child.helper.__module__) == (6, "__main__")
        assert sys.modules["__mp_main__"] is child
        name = pickle.dumps(child.__spec__.name)


def test_modules_that_only_the_worker_can_find_are_found(main, monkeypatch, tmp_path):
    (tmp_path / "only_there.py").write_text("class Base: pass\n")
    monkeypatch.chdir(tmp_path)
    sys.path[:] = ["", *sys.path]
    define(main, "from only_there import Base\nclass Special(Base): pass\n")
    main_module.install(told(main, "Special"))
    name = pickle.dumps(main.__spec__.name)
    child = become_a_child(monkeypatch)
    monkeypatch.chdir("/")
    sys.path.remove("")
    monkeypatch.delitem(sys.modules, "only_there")
    pickle.loads(name)
    assert child.Special.__mro__[1].__module__ == "only_there"
    monkeypatch.delitem(sys.modules, "only_there")


def test_a_call_tells_nothing_of_those_before(main, monkeypatch):
    define(main, "def old(): pass\ndef new(): pass\n")
    main_module.install(told(main, "old"))
    main_module.forget()
    main_module.install(told(main, "new"))
    name = pickle.dumps(main.__spec__.name)
    child = become_a_child(monkeypatch)
    pickle.loads(name)
    assert hasattr(child, "new")
    assert not hasattr(child, "old")
