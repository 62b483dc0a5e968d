"""The listings that people know, as they would type them, with only the import changed."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import warnings
from math import sqrt
from pathlib import Path

import numpy as np
import pytest

from lightwork import Memory, Parallel, delayed, dump, load
from lightwork.errors import MappingWarning, OptionError

# What remembered functions note down when they run.
RAN: list[object] = []


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The listings name files without a folder."""
    monkeypatch.chdir(tmp_path)
    RAN.clear()
    return tmp_path


def test_a_bare_memory_ignores_the_argument_it_is_told_to(capfd: pytest.CaptureFixture[str]) -> None:
    memory = Memory()

    @memory.cache(ignore=["verbose"])
    def f(x, verbose=0):
        RAN.append((x, verbose))
        return x + 1

    assert [f(1), f(1, verbose=1), f(1, verbose=2), f(2)] == [2, 2, 2, 3]
    assert len(RAN) == 2
    assert capfd.readouterr().out.count("f(") >= 2  # verbose=1: it says when it computes
    assert any(path.is_file() for path in Path(os.environ["LIGHTWORK_CACHE_DIR"]).rglob("*"))


SCRIPT = """
from lightwork import Memory
memory = Memory()

@memory.cache(ignore=['verbose'])
def f(x, verbose=0):
    print('computing', x)
    return x + 1

print(f(1, verbose=3))
"""


def test_the_next_process_finds_the_result(here: Path) -> None:
    (here / "script.py").write_text(SCRIPT)

    def run() -> str:
        return subprocess.run(
            [sys.executable, "script.py"], capture_output=True, text=True, check=True
        ).stdout

    first, second = run(), run()
    assert "computing 1" in first
    assert first.endswith("2\n")
    assert second == "2\n"


def test_dump_and_load() -> None:
    x = {"a": [1, 2, 3], "b": np.arange(10.0)}
    assert dump(x, "file") == ["file"]
    y = load("file")
    assert y["a"] == x["a"]
    np.testing.assert_array_equal(y["b"], x["b"])
    with open("file", "rb") as file:
        assert pickle.load(file)["a"] == x["a"]


@pytest.mark.parametrize("level", range(10))
def test_dump_compressed(level: int) -> None:
    x = np.zeros(100_000)
    x[::7] = 1
    dump(x, "file", compress=level, cache_size=100)
    np.testing.assert_array_equal(load("file"), x)
    assert (os.path.getsize("file") < x.nbytes / 10) == (level > 0)


@pytest.fixture
def stored() -> np.ndarray:
    x = np.arange(20_000.0)
    dump(x, "file")
    return x


def test_load_mapped_for_reading(stored: np.ndarray) -> None:
    y = load("file", mmap_mode="r")
    assert isinstance(y, np.memmap)
    np.testing.assert_array_equal(y, stored)
    with pytest.raises(ValueError, match="read-only"):
        y[0] = 1


@pytest.mark.parametrize(("mode", "reaches_the_file"), [("r+", True), ("w+", True), ("c", False)])
def test_load_mapped_for_writing(stored: np.ndarray, mode: str, reaches_the_file: bool) -> None:
    y = load("file", mmap_mode=mode)
    assert isinstance(y, np.memmap)
    np.testing.assert_array_equal(y, stored)
    y[0] = 42
    y.flush()
    del y
    assert load("file")[0] == (42 if reaches_the_file else 0)
    np.testing.assert_array_equal(load("file")[1:], stored[1:])


def test_a_mapping_mode_that_is_none() -> None:
    dump(np.arange(10.0), "file")
    with pytest.raises(OptionError, match="x"):
        load("file", mmap_mode="x")


def test_a_compressed_file_cannot_be_mapped_and_says_so_once() -> None:
    x = {"a": np.arange(20_000.0), "b": np.arange(20_000.0)}
    dump(x, "file", compress=3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        y = load("file", mmap_mode="r")
    assert [warning.category for warning in caught] == [MappingWarning]
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(y["a"], x["a"])
    np.testing.assert_array_equal(y["b"], x["b"])


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("mmap_mode", [None, "r", "c"])
@pytest.mark.parametrize("verbose", [0, 1, 10])
def test_a_memory_with_options(
    compress: bool, mmap_mode: str | None, verbose: int, capfd: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        # A compressed entry cannot be mapped: how often that is said is tested with `load` above.
        warnings.simplefilter("ignore", MappingWarning)
        location = "cache"
        memory = Memory(location, mmap_mode=mmap_mode, compress=compress, verbose=verbose)

        @memory.cache
        def squares(n):
            RAN.append(n)
            return np.arange(float(n)) ** 2

        first, second = squares(20_000), squares(20_000)
    np.testing.assert_array_equal(first, np.arange(20_000.0) ** 2)
    np.testing.assert_array_equal(second, first)
    assert RAN == [20_000]
    if not compress and mmap_mode:
        assert isinstance(second, np.memmap)
    said = capfd.readouterr().out
    assert bool(said) == bool(verbose)


def test_a_parallel_loop() -> None:
    assert Parallel(n_jobs=2)(delayed(sqrt)(i**2) for i in range(10)) == [float(i) for i in range(10)]
