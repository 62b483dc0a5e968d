"""Paths in ``ignore``: what lies in an argument and makes no difference."""

from __future__ import annotations

import collections
import copy
import dataclasses
import threading
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from lightwork.errors import HashError
from lightwork.hashing import digest
from lightwork.memory import Memory
from lightwork.memory.ignoring import without

calls: list[object] = []


@pytest.fixture
def memory(tmp_path):
    calls.clear()
    return Memory(tmp_path, verbose=0)


@dataclasses.dataclass
class Config:
    verbose: object = False
    alpha: float = 0.1


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    verbose: object = False
    alpha: float = 0.1


class Slotted:
    __slots__ = ("alpha", "verbose")

    def __init__(self, verbose=False, alpha=0.1):
        self.verbose, self.alpha = verbose, alpha


class Named(NamedTuple):
    verbose: object = False
    alpha: float = 0.1


class Strict:
    def __init__(self, verbose=False, alpha=0.1):
        self.__dict__.update(verbose=verbose, alpha=alpha)

    def __setattr__(self, name, value):
        raise AttributeError(name)


class Reduced:
    """Pickles in its own way."""

    def __init__(self, verbose=False, alpha=0.1):
        self.verbose, self.alpha = verbose, alpha

    def __getstate__(self):
        return {"state": (self.verbose, self.alpha)}

    def __setstate__(self, state):
        self.verbose, self.alpha = state["state"]


KINDS = [Config, Frozen, Slotted, Named, Strict, Reduced, SimpleNamespace, dict, collections.OrderedDict]


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_path_leads_to_makes_no_difference_and_all_else_does(memory, kind):
    @memory.cache(ignore=["config.verbose"])
    def fit(config, x):
        calls.append(x)
        return x

    def make(**said):
        return kind(**{"verbose": False, "alpha": 0.1, **said})

    first = make()
    before = copy.deepcopy(first)
    fit(first, 1)
    assert digest(first) == digest(before)
    fit(make(verbose=True), x=1)
    fit(make(verbose=threading.Lock()), 1)  # what is left out need not have a value
    assert calls == [1]
    fit(make(alpha=0.2), 1)
    fit(first, 2)
    assert calls == [1, 1, 2]


@pytest.mark.parametrize(
    "held", [{"log": {"level": 3, "to": "a"}}, {"log": Config(3)}, {"log": {}}, {}, None, 7]
)
def test_paths_lead_deep_and_what_is_not_there_is_passed_over(memory, held):
    same = memory.cache(lambda config: calls.append(0), ignore=["config.log.level", "config.log.verbose"])
    other = copy.deepcopy(held)
    if isinstance(held, dict) and isinstance(held.get("log"), dict):
        other["log"]["level"] = 4
    elif isinstance(held, dict) and held:
        other["log"].verbose = 4
    same(held)
    same(other)
    assert calls == [0]
    same({"log": {"level": 3, "to": "b"}})
    assert len(calls) == 2


def test_a_place_that_is_empty_and_one_that_holds_something_are_one(memory):
    same = memory.cache(lambda **options: calls.append(0), ignore=["options.verbose"])
    same(a=1)
    same(a=1, verbose=True)
    same(verbose=2, a=1)
    assert len(calls) == 1
    same(a=2)
    assert len(calls) == 2


def test_the_object_of_a_method(memory):
    class Model:
        def __init__(self, rate):
            self.rate, self.lock = rate, threading.Lock()

        @memory.cache(ignore=["self.lock"])
        def fit(self, x):
            calls.append(x)
            return self.rate * x

    assert [Model(2).fit(3), Model(2).fit(x=3), Model(3).fit(3)] == [6, 6, 9]
    assert calls == [3, 3]


def test_ignoring_a_part_and_ignoring_the_whole_are_others(memory):
    def f(config):
        calls.append(config)

    for ignore in (None, ["config.a"], ["config.b"], ["config"]):
        memory.cache(f, ignore=ignore)({"a": 1, "b": 2})
    assert len(calls) == 4
    memory.cache(f, ignore=["config", "config.a"])({})  # the whole, then
    assert len(calls) == 4


@pytest.mark.parametrize("name", ["*", "args", "*args"])
def test_positional_rest(memory, name):
    rest = memory.cache(lambda *args, **options: calls.append(args), ignore=[name])
    rest(1, 2, a=1)
    rest(3, a=1)
    assert len(calls) == 1
    rest(1, 2, a=2)
    assert len(calls) == 2


@pytest.mark.parametrize("name", ["**", "options", "**options"])
def test_keyword_rest(memory, name):
    rest = memory.cache(lambda *args, **options: calls.append(args), ignore=[name])
    rest(1, a=1)
    rest(1, b=1)
    assert len(calls) == 1
    rest(2, a=1)
    assert len(calls) == 2


@pytest.mark.parametrize("name", ["confg.verbose", "verbose.config", "*.verbose", "**"])
def test_a_wrong_first_name_is_told_by_the_decorator(memory, name):
    with pytest.raises(ValueError, match=r"has no parameter .*; it has config, x"):
        memory.cache(lambda config, x: 0, ignore=[name])


@pytest.mark.parametrize("name", ["config.", "config..verbose", ".", "", ".verbose"])
def test_a_path_without_a_name_is_told_by_the_decorator(memory, name):
    with pytest.raises(ValueError, match="lacks a name before or behind a dot"):
        memory.cache(lambda config, x: 0, ignore=[name])


def test_what_is_no_name_is_told(memory):
    with pytest.raises(TypeError, match="give names, not 3"):
        memory.cache(lambda config: 0, ignore=[3])


class Single:
    def __copy__(self):
        return self


def test_what_cannot_be_copied_is_told_and_never_written_into(memory):
    single = Single()
    with pytest.raises(
        HashError, match=r"ignore=\['config.verbose'\] cannot be left out .*no copy of its own"
    ):
        memory.cache(lambda config: 0, ignore=["config.verbose"])(single)
    assert not vars(single)


def test_the_class_still_counts(memory, module):
    source = "class Config:\n    verbose = 1\n    def scale(self): return 2\n"
    results = []
    for text in (source, source.replace("2", "3")):
        kind = module(text).Config
        kind.__module__ = "features"
        scaled = memory.cache(lambda config: config.scale(), ignore=["config.verbose"])
        results.append(scaled(kind()))
    assert results == [2, 3]


def test_what_is_told_of_a_call_is_what_it_got(memory):
    f = memory.cache(lambda config: 0, ignore=["config.verbose"])
    f({"verbose": 7, "a": 1})
    assert f.entries()[0]["arguments"] == {"config": "{'verbose': 7, 'a': 1}"}


def test_several_paths_of_one_value():
    config = Config({"a": 1, "b": 2})
    found = without((config,), [(0, ("verbose", "a")), (0, ("alpha",))])[0]
    assert found.verbose["b"] == 2
    assert digest(found) == digest(
        without((Config({"a": 9, "b": 2}, 7.0),), [(0, ("verbose", "a")), (0, ("alpha",))])[0]
    )
    assert config == Config({"a": 1, "b": 2})
