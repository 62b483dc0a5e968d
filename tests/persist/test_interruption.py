"""Real signals and really full disks: what is on the disk afterwards is the old file, or the new one, whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lightwork import errors
from lightwork.persist import dump, load, reseal_file, verify_file

# Sends a real signal to itself at a call of `os.write`, or of `os.replace`: before it, or after.
_SCRIPT = """
import os, signal, sys
import numpy as np
from lightwork.persist import dump

path, number, where, compress = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
write, replace, writes = os.write, os.replace, 0

def strike():
    os.kill(os.getpid(), number)

def writing(fd, data):
    global writes
    writes += 1
    if where == f"write {writes}":
        strike()
    return write(fd, data)

def replacing(old, new):
    if where == "before":
        strike()
    replace(old, new)
    if where == "after":
        strike()

os.write, os.replace = writing, replacing
dump({"new": np.random.default_rng(0).random(3_000_000)}, path, compress=compress)
"""


def strike(path: Path, number: int, where: str, compress: int) -> str:
    command = [sys.executable, "-c", _SCRIPT, str(path), str(int(number)), where, str(compress)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == -number, done.stderr
    return done.stderr


@pytest.mark.parametrize("compress", [0, 1])
@pytest.mark.parametrize("where", ["write 1", "write 5", "before", "after"])
def test_ctrl_c_leaves_one_whole_file_and_no_other(where: str, compress: int, tmp_path: Path) -> None:
    dump("old", tmp_path / "f")
    assert "KeyboardInterrupt" in strike(tmp_path / "f", signal.SIGINT, where, compress)
    assert os.listdir(tmp_path) == ["f"]
    verify_file(tmp_path / "f")
    loaded = load(tmp_path / "f")
    assert loaded == "old" if where != "after" else loaded["new"].size == 3_000_000


@pytest.mark.parametrize("compress", [0, 1])
@pytest.mark.parametrize("where", ["write 1", "write 5", "before", "after"])
def test_a_killed_process_leaves_one_whole_file(where: str, compress: int, tmp_path: Path) -> None:
    dump("old", tmp_path / "f")
    strike(tmp_path / "f", signal.SIGKILL, where, compress)
    verify_file(tmp_path / "f")
    loaded = load(tmp_path / "f")
    assert loaded == "old" if where != "after" else loaded["new"].size == 3_000_000
    left = [name for name in os.listdir(tmp_path) if name != "f"]
    assert [name.startswith(".lightwork-") for name in left] == ([] if where == "after" else [True])


# --- full disks -----------------------------------------------------------------------------------

full_disk = pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="mounts a file system")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of 20 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def fill(folder: Path) -> None:
    """Take all room that is left."""
    with open(folder / "filler", "wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        for size in (1 << 20, 4096):
            while file.write(b"\xff" * size) == size:
                continue
        file.write(b"\xff")


@full_disk
@pytest.mark.parametrize("mode", ["r", "r+", "c", None])
def test_a_file_on_a_full_disk_is_read_and_mapped(mode: str | None, disk: Path) -> None:
    value = np.arange(1_000_000)
    dump([value], disk / "f")
    fill(disk)
    [loaded] = load(disk / "f", mmap_mode=mode)
    assert np.array_equal(loaded, value)


# The pages of a file of ours all have room of their own, so that no write through a map meets a full disk (SIGBUS).
_CHANGING = """
import sys
from lightwork.persist import load, reseal_file, verify_file
[array] = load(sys.argv[1], mmap_mode="r+")
array += 1
array.flush()
del array
assert reseal_file(sys.argv[1]) == 1
assert verify_file(sys.argv[1]).modified == ()
"""


@full_disk
@pytest.mark.parametrize("value", [np.arange(1_000_000), np.zeros(1_000_000, "i8")], ids=["numbers", "zeros"])
def test_every_page_of_a_map_can_be_changed_on_a_full_disk(value: np.ndarray, disk: Path) -> None:
    dump([value], disk / "f")
    fill(disk)
    done = subprocess.run([sys.executable, "-c", _CHANGING, disk / "f"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr  # -7 were a SIGBUS
    assert np.array_equal(load(disk / "f")[0], value + 1)


@full_disk
def test_a_map_of_the_old_file_outlives_a_write_that_found_the_disk_full(disk: Path) -> None:
    dump([np.arange(1_000_000)], disk / "f")
    [mapped] = load(disk / "f", mmap_mode="r+")
    with pytest.raises(errors.TargetError, match="No space left"):
        dump([np.arange(3_000_000)], disk / "f")
    mapped[0] = 7
    mapped.flush()
    assert load(disk / "f")[0][:2].tolist() == [7, 1]
    assert reseal_file(disk / "f") == 1
    assert os.listdir(disk) == ["f"]
