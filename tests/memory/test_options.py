"""Options of single functions: how long, which version, what else counts, what is kept; and shelved results."""

from __future__ import annotations

import os
import pickle
import threading
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwork.errors import HashError, OptionError, OptionTypeError, ResultMissingError
from lightwork.memory import MemorizedResult, Memory, NotMemorizedResult, expires_after, freshness
from lightwork.memory.quota import Held, seconds_of, victims

calls: list[object] = []


@pytest.fixture
def memory(tmp_path):
    calls.clear()
    return Memory(tmp_path / "cache", verbose=0)


def double(x, unused=None):
    calls.append(x)
    return 2 * x


def other(x, unused=None):
    calls.append(x)
    return 2 * x


# --- time -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "span", [3600, 3600.0, "3600s", "60m", "1h", timedelta(hours=1), lambda metadata: "1h"]
)
def test_a_result_expires(memory, monkeypatch, span):
    now = time.time()
    clock = [now]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    f = memory.cache(double, expires=span)
    for passed, computed in ((0, 1), (3599, 1), (3601, 2), (7000, 2), (7201, 3)):
        clock[0] = now + passed
        assert f.check_call_in_cache(1) == (passed in (3599, 7000))
        assert f(1) == 2
        assert len(calls) == computed


def test_expires_after_says_the_same_as_a_callback(memory):
    assert expires_after(minutes=1, seconds=30).seconds == 90
    old = {"time": time.time() - 100}
    assert not expires_after(seconds=90)(old)
    assert expires_after(days=1)(old)
    f = memory.cache(double, cache_validation_callback=expires_after(seconds=0))
    f(1), f(1)
    assert calls == [1, 1]
    assert pickle.loads(pickle.dumps(f)).cache_validation_callback.seconds == 0


@pytest.mark.parametrize("span", ["7 years", "", "d", "-1s", -1, float("nan")])
def test_what_is_no_span_of_time_is_told(memory, span):
    with pytest.raises(OptionError, match="expires"):
        memory.cache(double, expires=span)


def test_a_span_of_another_type_is_told(memory):
    with pytest.raises(OptionTypeError, match="expires"):
        memory.cache(double, expires=[1])
    assert seconds_of("1w", "x") == 7 * 86400


def test_an_entry_without_a_time_is_old():
    assert not freshness.is_fresh({}, 1e9, time.time())


# --- what counts ------------------------------------------------------------------------------------


def test_versions_are_apart(memory):
    one, two = memory.cache(double, version=1), memory.cache(double, version=2)
    plain = memory.cache(double)
    one(1), two(1), plain(1), one(1), two(1), plain(1)
    assert calls == [1, 1, 1]
    array = memory.cache(double, version=np.arange(3))
    array(1), array(1)
    assert len(calls) == 4


def test_what_is_named_besides_counts(memory, module):
    helper = module("def helper():\n    return 1\n").helper
    changed = module("def helper():\n    return 2\n").helper
    for depends_on in ([helper], [changed], [helper, 3], [helper, 4]):
        f = memory.cache(double, depends_on=depends_on)
        f(1), f(1)
    assert calls == [1] * 4


def test_a_key_of_ones_own(memory):
    f = memory.cache(double, key=lambda x, unused=None: round(x))
    assert [f(1.1), f(0.9), f(x=1.2, unused=3)] == [2.2, 2.2, 2.2]
    assert calls == [1.1]
    g = memory.cache(double, key=lambda x, unused=None: round(x) + 0)
    g(1.1)
    assert calls == [1.1, 1.1]


def test_a_key_without_a_value_is_told(memory):
    with pytest.raises(HashError):
        memory.cache(double, key=lambda x, unused=None: iter([x]).__next__)(1)
    with pytest.raises(HashError, match="argument 'x'"):
        memory.cache(double, version=1)(threading.Lock())


def test_without_tracking_the_name_and_the_version_stand_for_the_code(memory, module, edit):
    source = "from lightwork import Memory\ndef f(x):\n    return [x, {}]\n"
    one, two = module(source.format(1)), module(source.format(2))
    two.f.__module__ = one.f.__module__
    cache = {"track": "none"}
    assert memory.cache(one.f, **cache)(1) == [1, 1]
    assert memory.cache(two.f, **cache)(1) == [1, 1]
    assert memory.cache(two.f, **cache, version=2)(1) == [1, 2]
    assert memory.cache(two.f)(1) == [1, 2]


def test_lambdas_and_local_functions_count_by_their_code_in_any_case(memory):
    one = memory.cache(lambda x: x + 1, track="none")
    two = memory.cache(lambda x: x + 2, track="none")
    assert [one(1), two(1), one(1), two(1)] == [2, 3, 2, 3]


def test_an_unknown_way_of_tracking_is_told(memory):
    with pytest.raises(OptionError, match="track='all'"):
        memory.cache(double, track="all")


def test_what_is_not_wanted_is_not_kept(memory):
    f = memory.cache(double, store_if=lambda value: value > 10)
    f(1), f(1), f(10), f(10)
    assert calls == [1, 1, 10]
    assert isinstance(f.call_and_shelve(1), NotMemorizedResult)


def test_options_travel(memory):
    f = memory.cache(
        double, version=3, expires="1h", store_if=bool, depends_on=[other], key=max, track="none"
    )
    f.verbose = 7
    again = pickle.loads(pickle.dumps(f))
    assert again == f
    assert again._options == f._options._replace(verbose=7)


# --- one entry --------------------------------------------------------------------------------------


def test_one_result_is_forgotten_or_made_anew(memory):
    f = memory.cache(double)
    f(1), f(2)
    f.forget(x=1)
    f.forget(5)
    assert not f.check_call_in_cache(1)
    assert f.check_call_in_cache(2)
    assert f.refresh(2) == 4
    assert calls == [1, 2, 2]


def test_counts_have_the_names_of_lru_cache(memory):
    f = memory.cache(double)
    f(1), f(1), f(2)
    assert f.cache_info() == (1, 2, None, 2)
    assert f.cache_info().currsize == 2
    f.cache_clear()
    assert f.cache_info() == (0, 0, None, 0)


# --- shelved ----------------------------------------------------------------------------------------


def test_a_shelved_result_is_read_when_asked(memory):
    f = memory.cache(lambda n: np.arange(n), mmap_mode="r")
    for _ in range(2):
        shelved = f.call_and_shelve(5)
        assert isinstance(shelved, MemorizedResult)
        np.testing.assert_array_equal(shelved.get(), np.arange(5))
        assert isinstance(shelved.get(), np.memmap)
    assert f.cache_info().currsize == 1
    assert shelved.metadata["input_args"] == {"n": "5"}


def test_a_shelved_result_pickles_and_can_be_written_down(memory):
    shelved = memory.cache(double).call_and_shelve(4)
    again = pickle.loads(pickle.dumps(shelved))
    assert again == shelved
    assert hash(again) == hash(shelved)
    assert again.get() == 8
    assert eval(repr(shelved)).get() == 8
    assert MemorizedResult(memory.location, (shelved.func_id, shelved.args_id)).get() == 8


def test_a_shelved_result_that_is_gone_is_a_key_error(memory):
    f = memory.cache(double)
    shelved = f.call_and_shelve(4)
    shelved.clear()
    with pytest.raises(ResultMissingError, match="call the function again") as caught:
        shelved.get()
    assert isinstance(caught.value, KeyError)
    assert not str(caught.value).startswith('"')
    assert not f.check_call_in_cache(4)
    shelved = f.call_and_shelve(4)
    path = Path(next(memory.store_backend.entries()))
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ResultMissingError, match="damaged"):
        shelved.get()


def test_a_result_that_is_not_kept_is_held():
    shelved = Memory(None).cache(double).call_and_shelve(3)
    assert isinstance(shelved, NotMemorizedResult)
    assert shelved.get() == 6
    assert shelved.valid
    assert pickle.loads(pickle.dumps(shelved)).get() == 6
    shelved.clear()
    assert not shelved.valid
    with pytest.raises(KeyError):
        shelved.get()
    assert repr(shelved) == "NotMemorizedResult()"


# --- limits -----------------------------------------------------------------------------------------


def used(memory, ages):
    """Keep a result for each age, and make it that old."""
    f = memory.cache(double)
    for x, age in enumerate(ages):
        f(x)
        when = time.time() - age
        os.utime(f._key((x,), {}).path, (when, when))
    return lambda: [x for x in range(len(ages)) if f.check_call_in_cache(x)]


def test_the_longest_unused_go_first(memory):
    left = used(memory, [300, 100, 200, 0])
    size = sum(each.size for each in memory.store_backend.held())
    memory.reduce_size(items_limit=3)
    assert left() == [1, 2, 3]
    memory.reduce_size(bytes_limit=int(size * 0.6))
    assert left() == [1, 3]
    memory.reduce_size(age_limit=timedelta(seconds=50))
    assert left() == [3]
    memory.reduce_size(bytes_limit="1M", items_limit=1, age_limit="1d")
    assert left() == [3]
    memory.reduce_size(bytes_limit=0)
    assert left() == []
    memory.reduce_size()
    Memory(None).reduce_size(items_limit=0)


@pytest.mark.parametrize(
    "limits", [{"items_limit": -1}, {"bytes_limit": "lots"}, {"age_limit": timedelta(-1)}]
)
def test_limits_that_cannot_be_are_told(memory, limits):
    with pytest.raises(OptionError, match=next(iter(limits))):
        memory.reduce_size(**limits)


_LIMIT = st.none() | st.integers(0, 200)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 100))), _LIMIT, _LIMIT, _LIMIT)
def test_what_stays_keeps_the_limits_and_no_more_goes_than_must(
    sizes_and_uses, bytes_limit, items_limit, since
):
    held = [Held(str(i), size, float(use)) for i, (size, use) in enumerate(sizes_and_uses)]
    gone = victims(held, bytes_limit=bytes_limit, items_limit=items_limit, unused_since=since)
    stays = [each for each in held if each.path not in gone]
    assert len(gone) == len(set(gone))

    def keeps(entries):
        return (
            (bytes_limit is None or sum(each.size for each in entries) <= bytes_limit)
            and (items_limit is None or len(entries) <= items_limit)
            and (since is None or all(each.used >= since for each in entries))
        )

    assert keeps(stays)
    removed = [each for each in held if each.path in gone]
    assert all(one.used <= two.used for one in removed for two in stays)
    if removed:
        last = next(each for each in removed if each.path == gone[-1])
        assert not keeps([*stays, last])
