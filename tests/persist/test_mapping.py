"""Mapped loading: no mode empties a file, writes go where they should, and checks stay truthful."""

from __future__ import annotations

import gc
import os
import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from lightwork import errors
from lightwork.persist import dump, load, verify_file

N = 20_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    dump({"deep": [np.arange(N)], "small": np.arange(4)}, tmp_path / "f")
    return tmp_path / "f"


@pytest.mark.parametrize("mode", ["r+", "w+"])
def test_writes_reach_the_file_and_are_no_damage(mode: str, path: Path) -> None:
    with pytest.warns(errors.MappingWarning, match=r"small arrays \(4 x int64\)") as caught:
        loaded = load(path, mmap_mode=mode)
    assert [warning.filename for warning in caught] == [__file__]
    array = loaded["deep"][0]
    assert (type(array), array.mode, array.filename) == (np.memmap, "r+", str(path))
    assert array.tolist() == list(range(N))
    array[5] = -1
    array.flush()
    loaded["small"][0] = 99
    again = load(path)
    assert again["deep"][0][5] == -1
    assert again["small"][0] == 0


def test_private_writes_stay_private(path: Path) -> None:
    before = path.read_bytes()
    loaded = load(path, mmap_mode="c")
    loaded["deep"][0][:] = 0
    loaded["small"][:] = 0
    assert path.read_bytes() == before


def test_read_only_maps_refuse_writes(path: Path) -> None:
    loaded = load(path, mmap_mode="r")
    for array in (loaded["deep"][0], loaded["small"]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_views_know_their_file(path: Path) -> None:
    array = load(path, mmap_mode="r")["deep"][0]
    part = array[10:20]
    assert part.filename == str(path)
    raw = np.memmap(path, array.dtype, "r", offset=array.offset, shape=array.shape)
    assert raw.tolist() == array.tolist()


def test_a_map_outlives_its_file(path: Path) -> None:
    array = load(path, mmap_mode="r")["deep"][0]
    dump("another", path)
    assert array.tolist() == list(range(N))
    path.unlink()
    assert array[-1] == N - 1


@pytest.mark.parametrize("mode", ["r", "r+", "w+", "c"])
@pytest.mark.parametrize("compress", [1, "zlib", "gzip"])
def test_a_compressed_file_is_read_with_one_warning(mode: str, compress: int | str, tmp_path: Path) -> None:
    dump({"a": np.arange(N), "b": np.arange(3)}, tmp_path / "f", compress=compress)
    with pytest.warns(UserWarning, match=str(tmp_path / "f")) as caught:
        loaded = load(tmp_path / "f", mmap_mode=mode)
    assert [(type(w.message), w.filename) for w in caught] == [(errors.MappingWarning, __file__)]
    assert loaded["a"].tolist() == list(range(N))
    assert type(loaded["a"]) is np.ndarray


def test_open_files_are_read_with_one_warning(path: Path) -> None:
    with open(path, "rb") as file, pytest.warns(errors.MappingWarning, match="open file") as caught:
        load(file, mmap_mode="r")
    assert [w.filename for w in caught] == [__file__]


@pytest.mark.parametrize("mode", ["w", "rw", "R", 1, True, "x" * 1000])
def test_bad_modes(mode: object, path: Path) -> None:
    with pytest.raises(ValueError, match="mmap_mode"):
        load(path, mmap_mode=mode)


def test_what_has_no_arrays_maps_silently(tmp_path: Path) -> None:
    dump({"a": 1, "b": b"x" * 100_000}, tmp_path / "f")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for mode in ("r", "r+", "c"):
            assert load(tmp_path / "f", mmap_mode=mode)["a"] == 1


@pytest.mark.parametrize("mode", ["r", "c"])
def test_small_arrays_do_not_claim_to_lie_in_the_file(mode: str, path: Path) -> None:
    """Whoever sends a map as a name and an offset would send other data in their place."""
    small = load(path, mmap_mode=mode)["small"]
    assert (type(small), small.filename, small.mode) == (np.memmap, str(path), mode)
    assert small.offset is None
    assert small._mmap is None
    assert getattr(small[1:], "offset", None) is None
    small.flush()
    dump(load(path, mmap_mode=mode), path)
    assert load(path)["small"].tolist() == [0, 1, 2, 3]


def test_a_map_of_many_small_arrays_needs_no_maps_of_their_own(tmp_path: Path) -> None:
    """Linux allows a process 65,530 maps."""
    dump([np.full(3, i) for i in range(70_000)], tmp_path / "f")
    loaded = load(tmp_path / "f", mmap_mode="c")
    assert [array[0] for array in loaded[::1000]] == list(range(0, 70_000, 1000))
    assert {type(array) for array in loaded} == {np.memmap}


@pytest.mark.parametrize("mode", ["r", "c", "r+"])
def test_views_written_once_are_maps_of_their_place(mode: str, tmp_path: Path) -> None:
    base = np.arange(N)
    dump([base, base[100:], base[::2]], tmp_path / "f", dedupe=True)
    whole, part, strided = load(tmp_path / "f", mmap_mode=mode)
    for array in (whole, part, strided):
        assert (type(array), array.filename, array.mode) == (np.memmap, str(tmp_path / "f"), mode)
    raw = np.memmap(tmp_path / "f", part.dtype, "r", offset=part.offset, shape=part.shape)
    assert raw.tolist() == part.tolist() == base[100:].tolist()
    if mode != "r":
        part[0] = -1
        assert whole[100] == strided[50] == -1


def test_shared_and_fortran_arrays_map(tmp_path: Path) -> None:
    array = np.asfortranarray(np.arange(N).reshape(100, 200))
    dump([array, array], tmp_path / "f")
    first, second = load(tmp_path / "f", mmap_mode="r")
    assert first is second
    assert first.flags.f_contiguous
    assert np.array_equal(first, array)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("mode", ["r", "r+", "c"])
@pytest.mark.filterwarnings("ignore:.*small arrays:lightwork.errors.MappingWarning")
def test_a_map_ends_with_its_last_array(mode: str, path: Path) -> None:
    """Not with the next collection of garbage: nothing of ours is left in a cycle."""
    gc.collect()
    gc.disable()
    try:
        loaded = load(path, mmap_mode=mode)
        assert str(path) in Path("/proc/self/maps").read_text()
        del loaded
        assert str(path) not in Path("/proc/self/maps").read_text()
    finally:
        gc.enable()


@pytest.mark.parametrize("mode", ["r+", "w+"])
def test_a_file_replaced_while_it_is_opened_is_mapped_as_the_one_it_is_now(
    mode: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_open, replaced = os.open, []

    def replace_first(name: object, flags: int, *args: object, **options: object) -> int:
        if name == str(path) and flags & os.O_RDWR and not replaced:
            replaced.append(name)
            dump([np.zeros(3 * N, "i2"), np.ones(N)], path)
        return really_open(name, flags, *args, **options)

    monkeypatch.setattr(os, "open", replace_first)
    zeros, ones = load(path, mmap_mode=mode)
    monkeypatch.undo()
    assert replaced
    assert (zeros.shape, zeros.dtype, ones.shape) == ((3 * N,), "i2", (N,))
    ones[0] = 5
    ones.flush()
    assert [array.sum() for array in load(path)] == [0, N + 4]
    assert verify_file(path).modified == ("buffer 0", "buffer 1")


@pytest.mark.parametrize("mode", ["r", "r+", "w+", "c"])
@pytest.mark.parametrize("payload", [b"x" * 100_000, bytearray(b"y" * 100_000)], ids=["bytes", "bytearray"])
def test_what_is_read_even_though_arrays_are_mapped_is_checked(
    mode: str, payload: bytes | bytearray, tmp_path: Path
) -> None:
    dump([payload, np.arange(N)], tmp_path / "f")
    assert load(tmp_path / "f", mmap_mode=mode)[0] == payload
    data = bytearray((tmp_path / "f").read_bytes())
    data[data.index(payload[:1000]) + 500] ^= 1
    (tmp_path / "f").write_bytes(data)
    with pytest.raises(errors.DamagedFileError, match=r"/f: .*buffer 0, at byte \d+"):
        load(tmp_path / "f", mmap_mode=mode)


def test_the_marks_reach_the_disk_before_any_change_can(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_ino))
    with pytest.warns(errors.MappingWarning, match="small arrays"):
        load(path, mmap_mode="r+")
    assert synced == [path.stat().st_ino]
    with pytest.warns(errors.MappingWarning, match="small arrays"):
        load(path, mmap_mode="r+")  # marked already
    load(path, mmap_mode="r")
    assert len(synced) == 1


def resident(path: Path) -> int:
    """How many kB of the maps of a file this process has touched."""
    maps = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text(), flags=re.MULTILINE)
    found = [re.search(r"^Rss: +(\d+) kB", text, re.MULTILINE) for text in maps if str(path) in text]
    assert found, "it is not mapped"
    return sum(int(match[1]) for match in found if match)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("mode", ["r", "r+", "w+", "c"])
def test_a_mapped_load_touches_no_page_of_an_array(mode: str, tmp_path: Path) -> None:
    value = {
        "plain": np.arange(1_000_000.0),
        "square": np.ones((1000, 1000), order="F"),
        "masked": np.ma.masked_array(np.arange(1_000_000), np.zeros(1_000_000, bool)),
        "dates": np.zeros(500_000, "M8[s]"),
        "bytes": b"x" * 5_000_000,
    }
    dump(value, tmp_path / "f")
    loaded = load(tmp_path / "f", mmap_mode=mode)
    assert loaded["bytes"] == value["bytes"]
    assert resident(tmp_path / "f") == 0
    assert loaded["plain"][999_999] == 999_999
    assert 0 < resident(tmp_path / "f") < 4096  # the kernel maps some pages around
