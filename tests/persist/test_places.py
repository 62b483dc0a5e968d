"""Names, paths, and open files of every kind, plain and compressed."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lightwork import errors
from lightwork.persist import dump, load

VALUE = {"a": np.arange(30_000), "b": ["x", 1]}


def check(loaded: dict) -> None:
    assert loaded["a"].tolist() == VALUE["a"].tolist()
    assert loaded["a"].flags.writeable
    assert loaded["b"] == VALUE["b"]


class Dribble(io.RawIOBase):
    """A file that cannot seek, takes and gives little at a time."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        part = self.data[: min(len(buffer), 1000)]
        buffer[: len(part)] = part
        del self.data[: len(part)]
        return len(part)

    def write(self, data: bytes) -> int:
        self.data += bytes(data)[:999]
        return min(len(data), 999)


@pytest.mark.parametrize("compress", [None, 0, 3, "zlib", "gzip"])
def test_open_files(compress: int | str | None, tmp_path: Path) -> None:
    memory = io.BytesIO()
    assert dump(VALUE, memory, compress=compress) is None
    memory.seek(0)
    check(load(memory))
    slow = Dribble()
    dump(VALUE, slow, compress=compress)
    check(load(slow))
    with open(tmp_path / "f", "wb") as file:
        dump(VALUE, file, compress=compress)
    check(load(tmp_path / "f"))
    with open(tmp_path / "f", "rb", buffering=0) as file:
        check(load(file))
    with gzip.open(tmp_path / "g", "wb") as file:
        dump(VALUE, file, compress=compress)
    with gzip.open(tmp_path / "g", "rb") as file:
        check(load(file))


def test_several_objects_in_one_file_come_one_after_the_other(tmp_path: Path) -> None:
    with open(tmp_path / "f", "wb") as file:
        dump("one", file)
        dump(VALUE, file)
        pickle.dump("three", file)
        dump("four", file)
    with open(tmp_path / "f", "rb") as file:
        assert load(file) == "one"
        check(load(file))
        assert load(file) == "three"
        assert load(file) == "four"
    assert load(tmp_path / "f") == "one"
    assert load(tmp_path / "f", mmap_mode="r") == "one"


def test_paths_of_every_type(tmp_path: Path) -> None:
    for place in (tmp_path / "f", str(tmp_path / "f"), os.fsencode(tmp_path / "f")):
        dump(1, place)
        assert load(place) == 1


@pytest.mark.parametrize("extension", [".zst", ".z", ".gz", ".ZST"])
def test_the_extension_chooses_unless_something_is_said(extension: str, tmp_path: Path) -> None:
    start = {".zst": b"\x28\xb5\x2f\xfd", ".z": b"\x78", ".gz": b"\x1f\x8b"}[extension.lower()]
    path = tmp_path / f"f{extension}"
    dump(VALUE, path)
    assert path.read_bytes().startswith(start)
    check(load(path))
    dump(VALUE, path, compress=5)
    assert path.read_bytes().startswith(start)
    for none in (0, False):
        dump(VALUE, path, compress=none)
        assert path.read_bytes().startswith(b"\x80\x05")
    dump(VALUE, path, compress="zlib")
    assert path.read_bytes().startswith(b"\x78")
    check(load(path))


@pytest.mark.parametrize("compress", [True, 1, 9, "zstd", ("zstd", 1), ("gzip", 9), ("zlib", 1), np.int64(3)])
def test_compressions(compress: object, tmp_path: Path) -> None:
    dump(VALUE, tmp_path / "f", compress=compress)
    assert (tmp_path / "f").stat().st_size < 150_000
    check(load(tmp_path / "f"))


@pytest.mark.parametrize(
    ("compress", "error"),
    [
        (10, errors.OptionError),
        (-1, errors.OptionError),
        ("rar", errors.OptionError),
        (("zlib", 10), errors.OptionError),
        (("rar", 3), errors.OptionError),
        (("zlib", 3, 3), errors.OptionError),
        (2.5, errors.OptionTypeError),
        ([3], errors.OptionTypeError),
    ],
)
def test_bad_compressions_touch_nothing(compress: object, error: type[Exception], tmp_path: Path) -> None:
    dump("old", tmp_path / "f")
    with pytest.raises(error, match="compress"):
        dump(VALUE, tmp_path / "f", compress=compress)
    assert load(tmp_path / "f") == "old"


def test_a_compressed_file_is_the_plain_pickle(tmp_path: Path) -> None:
    dump(VALUE, tmp_path / "f.gz")
    with gzip.open(tmp_path / "f.gz") as file:
        check(pickle.load(file))
    dump(VALUE, tmp_path / "f.zst")
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    check(pickle.loads(zstd.decompress((tmp_path / "f.zst").read_bytes())))


def test_many_frames(tmp_path: Path) -> None:
    value = np.random.default_rng(0).integers(0, 100, 1_200_000)
    dump(value, tmp_path / "f", compress=1)
    assert np.array_equal(load(tmp_path / "f"), value)
    data = (tmp_path / "f").read_bytes()
    assert data.count(b"\x28\xb5\x2f\xfd") >= 5


def test_compressing_again_with_other_tools(tmp_path: Path) -> None:
    dump(VALUE, tmp_path / "f")
    subprocess.run(["gzip", "-k", tmp_path / "f"], check=True)
    check(load(tmp_path / "f.gz"))


def test_text_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    with open(tmp_path / "f") as file, pytest.raises(TypeError, match="'rb'"):
        load(file)
    with pytest.raises(TypeError, match="file name"):
        load(None)
