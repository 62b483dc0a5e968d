"""What is there, and why a call is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lightwork.hashing import explain
from lightwork.memory import Memory
from lightwork.memory.entry import Code
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


def test_why_a_call_is_not_there_when_code_changed(memory, module):
    made = module("RATE = 3\ndef scale(x):\n    return x\n\ndef f(x):\n    return scale(x) * RATE\n")
    name = made.__name__
    f = memory.cache(made.f)
    f(1)
    made.RATE = 4
    assert f.why(1).endswith(f"look the same, computed by other code: `RATE` in {name}.py: 3 → 4")
    made.scale = module("def scale(x):\n    return x + 1\n").scale
    made.scale.__module__ = name
    said = f"differs in x: 1 there, 2 here; and was computed by other code: `RATE` in {name}.py: 3 → 4, `scale` in "
    assert said in f.why(2)


def test_why_a_call_is_not_there_when_a_class_of_an_argument_changed(memory, module):
    made = module("class Model:\n    rate = 1\n\ndef f(model):\n    return model.rate\n")
    f = memory.cache(made.f)
    f(made.Model())
    made.Model.rate = 2
    assert f.why(made.Model()).endswith(f"computed by other code: `Model.rate` in {made.__name__}.py: 1 → 2")


def test_why_a_call_is_not_there_when_what_was_named_changed(memory, module):
    helper = module("K = 1\ndef helper():\n    return K\n")
    memory.cache(fit, version=1, depends_on=["v1", helper.helper])(5)
    helper.K = 2
    said = memory.cache(fit, version=2, depends_on=["v2", helper.helper]).why(5)
    assert said.endswith(
        f"other code: `K` in {helper.__name__}.py: 1 → 2, `depends_on`: ['v1'] → ['v2'], `version`: 1 → 2"
    )


def test_entries_without_parts_tell_that_the_code_is_another():
    record = {"arguments": {"x": "1"}, "fingerprint": "old", "code": {}, "besides": {}}
    assert difference({"x": "1"}, Code("new", {"a": "0"}), [record]).endswith("computed by other code")


def test_what_changed_since_an_entry_can_be_explained(memory, module, capsys):
    made = module("RATE = 3\ndef f(x):\n    return x * RATE\n")
    f = memory.cache(made.f)
    f(1)
    explain(f, since=f.entries()[0])
    made.RATE = 4
    explain(f, since=f.entries()[0])
    assert capsys.readouterr().out == f"f: nothing changed\n`RATE` in {made.__name__}.py changed: 3 → 4\n"


def test_explain_goes_as_far_as_the_memory(tmp_path, module, capsys):
    made = module("def g(x):\n    return x\n\ndef f(x):\n    return g(x)\n")
    explain(Memory(tmp_path, ignore_deps=[made.g]).cache(made.f))
    name = made.__name__
    assert (
        capsys.readouterr().out == f"f depends on\n  functions: {name}.f\n  left out, as you said: {name}.g\n"
    )


def test_arguments_that_look_the_same_are_told_so(memory):
    f = memory.cache(len)
    f(np.zeros(5))
    assert "they differ in what is not shown" in f.why(np.ones(5))


def test_of_equally_near_results_that_by_the_same_code_is_taken():
    record = {"arguments": {"x": "1"}, "fingerprint": "old", "code": {}, "besides": {}}
    other = {"arguments": {"x": "2"}, "fingerprint": "new", "code": {}, "besides": {}}
    found = difference({"x": "3"}, Code("new"), [record, other])
    assert found == "the nearest result differs in x: 2 there, 3 here"
    assert difference({"x": "1"}, Code("new"), [other, record]).endswith("by other code")


def test_of_results_by_other_code_that_by_the_nearest_is_taken(memory, module):
    made = module("A = 1\nB = 1\ndef f(x):\n    return A, B, x\n")
    f = memory.cache(made.f)
    for made.A, made.B in [(1, 1), (2, 1), (2, 2)]:
        f(0)
    made.A, made.B = 1, 2
    assert f.why(0).endswith((f"`A` in {made.__name__}.py: 2 → 1", f"`B` in {made.__name__}.py: 1 → 2"))


def test_looking_prints_nothing(memory, capsys):
    f = memory.cache(len)
    f("abc")
    assert "differs" in f.why("abcd")
    assert len(f.entries()) == 1
    assert len(memory.entries()) == 1
    assert capsys.readouterr() == ("", "")
