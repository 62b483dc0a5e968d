"""Writing and reading take little memory beyond the object's own; each measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_SCRIPT = """
import array, sys
import numpy as np
from lightwork.persist import dump, load
path, size, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3]

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024

dump(np.arange(300_000)[::2], path)  # everything is imported now
value = {
    "plain": lambda: np.ones(size // 8),
    "array": lambda: array.array("d", [1.5]) * (size // 8),
    "read-only": lambda: np.broadcast_to(np.ones(size // 8), (1, size // 8)),
    "strided": lambda: np.ones(size // 4)[::2],
    "transposed": lambda: np.ones((2, size // 16)).T[::-1],
    "masked": lambda: np.ma.array(np.ones(size // 8), mask=np.zeros(size // 8, bool)),
    "dates": lambda: np.zeros(size // 8, "M8[s]") + np.timedelta64(1, "s"),
    "compressed": lambda: np.ones(size // 8),
    "compressed, strided": lambda: np.arange(size // 4, dtype="i8")[::2],
}[kind]()
open("/proc/self/clear_refs", "w").write("5")
before = peak()
dump({"x": [value]}, path, compress=1 if kind.startswith("compressed") else 0)
print(peak() - before)
"""


def extra(path: Path, size: int, kind: str) -> float:
    command = [sys.executable, "-c", _SCRIPT, path, str(size), kind]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


kinds = pytest.mark.parametrize(
    "kind",
    [
        "plain",
        "array",
        "read-only",
        "strided",
        "transposed",
        "masked",
        "dates",
        "compressed",
        "compressed, strided",
    ],
)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@kinds
def test_dump_copies_no_array(kind: str, tmp_path: Path) -> None:
    assert extra(tmp_path / "f", 160 << 20, kind) < 64


@pytest.mark.slow
@pytest.mark.timeout(900)  # gigabytes through a disk that others use too
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@kinds
def test_dump_of_two_gigabytes_raises_the_peak_by_64_mb_at_most(kind: str, tmp_path: Path) -> None:
    assert extra(tmp_path / "f", 2 << 30, kind) < 64


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_array_of_more_than_four_gigabytes(tmp_path: Path) -> None:
    script = """
import sys, pickle
import numpy as np
from lightwork.persist import dump, load, verify_file
path = sys.argv[1]
big = np.zeros((5 << 30) // 8)  # pages of zeros take no memory until they are written to
big[-1] = 7
dump({"big": big, "after": "text"}, path)
del big
assert verify_file(path).checked > 5 << 30
mapped = load(path, mmap_mode="r")
assert mapped["after"] == "text" and mapped["big"][-1] == 7 and mapped["big"].nbytes == 5 << 30
read = load(path)
assert read["big"][-1] == 7 and read["big"][0] == 0 and read["after"] == "text"
"""
    subprocess.run([sys.executable, "-c", script, tmp_path / "f"], check=True)
    (tmp_path / "f").unlink()
