"""What is there, and why a call is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lightwork.memory import Memory
from lightwork.memory.inquiry import difference


@pytest.fixture
def memory(tmp_path):
    return Memory(tmp_path, verbose=0)


def fit(x, alpha=0.1, kernel="rbf"):
    return np.zeros(x)


def test_entries_are_records(memory):
    f, g = memory.cache(fit), memory.cache(len)
    f(5), f(50_000, alpha=3), g("abc")
    found = {each["arguments"]["x"]: each for each in f.entries()}
    assert set(found) == {"5", "50000"}
    assert found["50000"]["arguments"] == {"x": "50000", "alpha": "3", "kernel": "'rbf'"}
    assert found["50000"]["size"] > 400_000 > found["5"]["size"]
    for each in found.values():
        assert each["function"] == f"{__name__}.fit"
        assert 0 <= each["age"] < 60
        assert 0 <= each["unused"] < 60
        assert 0 <= each["duration"] < 60
        assert Path(each["path"]).exists()
    assert len(memory.entries()) == 3
    assert len(Memory(memory.location, compress=True).entries()) == 3


def test_a_damaged_entry_is_left_out(memory):
    f = memory.cache(fit)
    f(5)
    path = Path(f.entries()[0]["path"])
    path.write_bytes(path.read_bytes()[:-5])
    assert f.entries() == []
    assert f.stats()["items"] == 1


def test_what_is_damaged_is_found_and_removed(memory):
    f = memory.cache(fit)
    for x in (5, 6, 50_000, 60_000):
        f(x)
    spoilt = [f._key((x,), {}).path for x in (6, 60_000)]
    for path in spoilt:
        data = bytearray(Path(path).read_bytes())
        data[len(data) // 2] ^= 1
        Path(path).write_bytes(data)
    assert sorted(memory.verify()) == sorted(spoilt)
    assert memory.verify() == Memory(None).verify() == []
    assert [f.check_call_in_cache(x) for x in (5, 6, 50_000, 60_000)] == [True, False, True, False]


def test_counts(memory):
    f = memory.cache(fit)
    f(5), f(5), f(6)
    memory.cache(len)("abc")
    size = sum(each["size"] for each in f.entries())
    assert f.stats() == {"hits": 1, "misses": 2, "items": 2, "bytes": size}
    assert memory.stats()["items"] == 3
    assert Memory(None).stats() == {"items": 0, "bytes": 0}
    assert Memory(None).entries() == []


def test_why_a_call_is_not_there(memory, module):
    f = memory.cache(fit)
    assert f.why(5) == "miss: no results of this function are there"
    f(5), f(7, alpha=3, kernel="linear")
    assert f.why(5).startswith(f"hit: the result is in {memory.location}")
    assert f.why(5, 0.2) == "miss: the nearest result differs in alpha: 0.1 there, 0.2 here"
    assert f.why(7, 3) == "miss: the nearest result differs in kernel: 'linear' there, 'rbf' here"
    assert "damaged, has expired" in memory.cache(fit, expires=0).why(5)
    one, two = module("def f(x):\n    return x\n"), module("def f(x):\n    return x + 1\n")
    two.f.__module__ = one.f.__module__
    memory.cache(one.f)(1)
    assert memory.cache(two.f).why(1).endswith("computed by other code")
    assert "differs in x: 1 there, 2 here; and was computed by other code" in memory.cache(two.f).why(2)


def test_arguments_that_look_the_same_are_told_so(memory):
    f = memory.cache(len)
    f(np.zeros(5))
    assert "they differ in what is not shown" in f.why(np.ones(5))


def test_of_equally_near_results_that_by_the_same_code_is_taken():
    record = {"arguments": {"x": "1"}, "fingerprint": "old"}
    other = {"arguments": {"x": "2"}, "fingerprint": "new"}
    assert (
        difference({"x": "3"}, "new", [record, other]) == "the nearest result differs in x: 2 there, 3 here"
    )
    assert difference({"x": "1"}, "new", [other, record]).endswith("by other code")


def test_looking_prints_nothing(memory, capsys):
    f = memory.cache(len)
    f("abc")
    assert "differs" in f.why("abcd")
    assert len(f.entries()) == 1
    assert len(memory.entries()) == 1
    assert capsys.readouterr() == ("", "")
