"""`verify_file` and `reseal_file`: they tell damage from changes that were wanted, and execute nothing."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from lightwork import errors
from lightwork.persist import FileCheck, dump, layout, load, reseal_file, verify_file, verify_objects

N = 20_000


class Bomb:
    def __init__(self, trace: Path) -> None:
        self.trace = str(trace)

    def __reduce__(self) -> tuple:
        return os.mkdir, (self.trace,)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    dump({"bomb": Bomb(tmp_path / "executed"), "x": np.arange(N), "y": np.ones(N)}, tmp_path / "f")
    return tmp_path / "f"


@pytest.mark.parametrize("compress", [0, 1, "gzip"])
def test_a_sound_file_is_checked_whole_and_not_executed(compress: int | str, tmp_path: Path) -> None:
    dump([Bomb(tmp_path / "executed"), np.arange(N)], tmp_path / "f", compress=compress)
    check = verify_file(tmp_path / "f")
    assert check.modified == ()
    assert check.checked > N * 8
    assert not (tmp_path / "executed").exists()
    data = bytearray((tmp_path / "f").read_bytes())
    data[len(data) // 2] ^= 4
    (tmp_path / "f").write_bytes(data)
    with pytest.raises(errors.DamagedFileError):
        verify_file(tmp_path / "f")
    (tmp_path / "f").write_bytes(data[:-7])
    with pytest.raises(errors.DamagedFileError):
        verify_file(str(tmp_path / "f"))


def test_damage_in_what_was_mapped_for_reading_is_found_on_demand(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-50_000] ^= 1
    path.write_bytes(data)
    with pytest.raises(errors.DamagedFileError, match="buffer 1"):
        verify_file(path)


def change(path: Path) -> None:
    os.rmdir(path.parent / "executed") if (path.parent / "executed").exists() else None
    array = load(path, mmap_mode="r+")["x"]
    array[3] = -3
    array.flush()


def test_changes_are_unprotected_until_resealed(path: Path) -> None:
    change(path)
    # Every buffer of the file was handed out writable.
    assert verify_file(path).modified == ("buffer 0", "buffer 1")
    assert verify_file(path).checked < N * 8
    assert reseal_file(path) == 2
    assert verify_file(path) == FileCheck(str(path), path.stat().st_size, ())
    (path.parent / "executed").rmdir()
    assert load(path)["x"][3] == -3
    assert reseal_file(path) == 0
    data = bytearray(path.read_bytes())
    data[-50_000] ^= 1
    path.write_bytes(data)
    with pytest.raises(errors.DamagedFileError):
        load(path)


@pytest.mark.parametrize("writes", range(5))
def test_a_reseal_that_is_interrupted_never_looks_like_damage(
    writes: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(path)
    real, left = os.pwrite, [writes]

    def pwrite(fd: int, data: bytes, offset: int) -> int:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return real(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    if writes < 4:
        with pytest.raises(KeyboardInterrupt):
            reseal_file(path)
    else:
        assert reseal_file(path) == 2
    monkeypatch.undo()
    assert len(verify_file(path).modified) == 2 - writes // 2
    assert reseal_file(path) == 2 - writes // 2
    assert verify_file(path).modified == ()


def test_a_word_that_is_no_state_is_damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    at = data.rindex(layout.SEALED)
    for bit in range(64):
        flipped = data.copy()
        flipped[at + bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(errors.DamagedFileError):
            verify_file(path)


def test_what_has_no_checksums_says_so(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(pickle.dumps([1] * 100))
    with pytest.raises(errors.DamagedFileError, match="ordinary pickle"):
        verify_file(tmp_path / "f")
    (tmp_path / "f").write_text("hello")
    with pytest.raises(errors.DamagedFileError, match="text"):
        verify_file(tmp_path / "f")
    with pytest.raises(FileNotFoundError):
        verify_file(tmp_path / "absent")
    dump(1, tmp_path / "f", compress=1)
    with pytest.raises(errors.OptionError, match="compressed"):
        reseal_file(tmp_path / "f")


def test_many_large_buffers_are_checked_in_threads(tmp_path: Path) -> None:
    dump([np.full(1_000_000, i, float) for i in range(3)], tmp_path / "f")
    assert verify_file(tmp_path / "f").checked == (tmp_path / "f").stat().st_size


def test_objects_one_behind_the_other_are_all_checked(tmp_path):
    path = tmp_path / "objects"
    with path.open("wb") as file:
        for value in (1, np.arange(N), "abc", [np.arange(N), 2.0]):
            dump(value, file)
    assert verify_objects(path) == 4
    data = path.read_bytes()
    for at in range(5, len(data), len(data) // 17):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(errors.DamagedFileError):
            verify_objects(path)
    for length in (0, 10, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(errors.DamagedFileError):
            verify_objects(path)
