"""Each way in which a function can depend on code and data counts: by what it gives, not by when it was looked at."""

from __future__ import annotations

import importlib
import linecache
import sys

import pytest
from tests.hashing.ways import WAYS

from lightwork import Memory
from lightwork.hashing import fingerprint


@pytest.fixture
def versions(tmp_path, monkeypatch):
    """Write and import the modules of a way, in one version or the other."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(tmp_path)

    def make(way, value):
        for name in ("features", "other"):
            monkeypatch.delitem(sys.modules, name, raising=False)
            (tmp_path / f"{name}.py").unlink(missing_ok=True)
        if way.other is not None:
            (tmp_path / "other.py").write_text(way.other.replace("VALUE", str(value)))
        text = f"{way.text}\n\ndef f(x):\n    return {way.result}\n"
        (tmp_path / "features.py").write_text(text.replace("VALUE", str(value)))
        linecache.clearcache()
        importlib.invalidate_caches()
        return importlib.import_module("features").f

    yield make
    for name in ("features", "other"):
        sys.modules.pop(name, None)
    linecache.clearcache()


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_change_counts_and_going_back_is_going_back(versions, tmp_path, way):
    memory = Memory(tmp_path / "cache", verbose=0)
    for value, known in ((1, False), (2, False), (1, True)):
        expected = versions(way, value)(3)  # what some of them use is used up
        remembered = memory.cache(versions(way, value))
        assert remembered.check_call_in_cache(3) is known
        assert repr(remembered(3)) == repr(expected)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_what_ran_makes_no_difference(versions, way):
    """The ways that are used up by a call are those of state."""
    function = versions(way, 1)
    before = fingerprint(function).digest
    function(3)
    assert fingerprint(function).digest == before


def test_the_two_versions_are_two(versions):
    same = [way.name for way in WAYS if repr(versions(way, 1)(3)) == repr(versions(way, 2)(3))]
    assert same == []
