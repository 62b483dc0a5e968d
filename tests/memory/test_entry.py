"""An entry that cannot be read, and a place that cannot be written."""

from __future__ import annotations

import errno
import os
import pickle
import random
import shutil
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest

from lightwork.errors import CacheWarning
from lightwork.memory import Memory, entry
from lightwork.persist import load_path


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path / "cache", verbose=0)


def entry_of(memory: Memory) -> Path:
    (path,) = memory.store_backend.entries()
    return Path(path)


def squares(n):
    return np.arange(n) ** 2


@pytest.mark.parametrize("n", [10, 30_000])
def test_a_damaged_entry_is_computed_and_replaced_with_one_warning(memory, n):
    f = memory.cache(squares)
    f(n)
    path = entry_of(memory)
    whole = path.read_bytes()
    rng = random.Random(n)
    for _ in range(20):
        place = rng.randrange(len(whole))
        damaged = bytearray(whole)
        damaged[place] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        before = path.read_bytes()
        try:
            load_path(str(path))
        except Exception:
            with pytest.warns(CacheWarning, match=path.name) as caught:
                np.testing.assert_array_equal(f(n), squares(n))
            assert [warning.filename for warning in caught] == [__file__]
            assert path.read_bytes() != before
        np.testing.assert_array_equal(f(n), squares(n))


@pytest.mark.parametrize("length", [1, 20, -1])
@pytest.mark.parametrize("compress", [False, True])
def test_a_cut_entry_is_replaced(tmp_path, compress, length):
    memory = Memory(tmp_path, compress=compress, verbose=0)
    f = memory.cache(squares)
    f(10)
    path = entry_of(memory)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.warns(CacheWarning, match=path.name):
        np.testing.assert_array_equal(f(10), squares(10))
    np.testing.assert_array_equal(f(10), squares(10))


def test_an_empty_entry_is_a_silent_miss(memory):
    f = memory.cache(squares)
    f(10)
    path = entry_of(memory)
    path.write_bytes(b"")
    assert not f.check_call_in_cache(10)
    np.testing.assert_array_equal(f(10), squares(10))
    assert path.stat().st_size


def test_an_entry_of_a_class_that_is_gone_is_replaced(memory, module):
    features = module("class Point:\n    pass\n")

    def make():
        return features.Point() if alive else "no points any more"

    alive = True
    path = memory.cache(make)._key((), {}).path
    memory.cache(make)()
    (written,) = memory.store_backend.entries()
    assert written == path
    del features.Point
    with pytest.raises(AttributeError):
        load_path(path)
    text = memory.cache(str.upper)
    text("a")
    os.replace(path, text._key(("a",), {}).path)
    with pytest.warns(CacheWarning, match=r"str\.upper is computed again"):
        assert text("a") == "A"


def test_a_folder_in_the_place_of_an_entry_is_told_and_does_not_end_the_call(memory):
    f = memory.cache(abs)
    os.makedirs(f._key((-1,), {}).path)
    with pytest.warns(CacheWarning) as caught:
        assert f(-1) == 1
    assert len(caught) == 2  # cannot be read, cannot be written


def test_a_full_disk_costs_one_warning_and_no_result(memory, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(entry, "write", full)
    f = memory.cache(abs)
    with pytest.warns(CacheWarning, match="No space left") as caught:
        assert [f(-1), f(-1), f(-2)] == [1, 1, 2]
    assert [warning.filename for warning in caught] == [__file__]


def test_a_place_that_cannot_be_made_costs_one_warning(tmp_path):
    (tmp_path / "file").write_text("")
    f = Memory(tmp_path / "file" / "cache", verbose=0).cache(abs)
    with pytest.warns(CacheWarning, match="not stored") as caught:
        assert [f(-1), f(-1)] == [1, 1]
    assert len(caught) == 1


READ_ONLY = """
import os, sys, warnings
warnings.simplefilter("error")
from lightwork import Memory
from lightwork.errors import CacheWarning

def f(x):
    print("computing", x)
    return [x]

Memory(os.path.join(sys.argv[1], "..", "other"), verbose=0).cache(f)(0)  # imports all that is needed
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)

f = Memory(sys.argv[1], verbose=0).cache(f)
if "read" in sys.argv:
    print(f(1))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        print(f(2), f(2))
    print([w.category.__name__ for w in caught])
else:
    f(1)
"""


@pytest.fixture
def cache_of_all():
    """A folder that another user can reach; pytest's own are private."""
    place = Path(tempfile.mkdtemp(prefix="lightwork-test-", dir="/tmp"))
    place.chmod(0o755)
    cache = place / "cache"
    cache.mkdir()
    cache.chmod(0o777)
    yield cache
    shutil.rmtree(place)


def test_a_folder_that_cannot_be_written_still_hits(run, cache_of_all):
    run(READ_ONLY, str(cache_of_all))
    folders = [Path(folder) for folder, _, _ in os.walk(cache_of_all)]
    for folder in folders:
        folder.chmod(0o555)
    try:
        said = run(READ_ONLY, str(cache_of_all), "read")
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert said == "[1]\ncomputing 2\ncomputing 2\n[2] [2]\n['CacheWarning']\n"


def test_a_result_that_cannot_be_pickled_is_returned(memory):
    f = memory.cache(threading.Lock)
    with pytest.warns(CacheWarning, match="not stored") as caught:
        made = [f(), f()]
    assert made[0].acquire()
    assert len(caught) == 1
    assert list(memory.store_backend.entries()) == []


def test_entries_are_plain_pickles_with_what_is_known_of_the_call(memory):
    memory.cache(squares)(5)
    path = entry_of(memory)
    np.testing.assert_array_equal(pickle.loads(path.read_bytes()), squares(5))
    metadata = load_path(str(path))[1]
    assert metadata["function"] == f"{__name__}.squares"
    assert metadata["input_args"] == {"n": "5"}
    assert len(metadata["fingerprint"]) == 32
    assert set(metadata) == {"function", "input_args", "duration", "time", "fingerprint", "code"}
