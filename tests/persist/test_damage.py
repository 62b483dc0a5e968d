"""Damaged and foreign files are named, and nothing in them is executed."""

from __future__ import annotations

import io
import os
import pickle
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from lightwork import errors
from lightwork.persist import codecs, dump, layout, load, read_bytes, sealed, verify_file


class Bomb:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = str(trace)

    def __reduce__(self) -> tuple:
        return os.mkdir, (self.trace,)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return tmp_path / "executed"


def contents(trace: Path, name: str) -> object:
    bomb = Bomb(trace)
    return {
        "small": [bomb, {"a": 1, "b": "text"}],
        "buffers": [bomb, b"x" * layout.HANDED_OVER, bytearray(layout.HANDED_OVER), np.arange(9000.0), "end"],
    }[name]


def test_the_trap_springs_when_the_file_is_whole(tmp_path: Path, trace: Path) -> None:
    dump(contents(trace, "small"), tmp_path / "f")
    load(tmp_path / "f")
    assert trace.exists()


@pytest.mark.parametrize("compress", [0, 3, "zlib", "gzip"])
@pytest.mark.parametrize("way", ["path", "mapped", "file", "bytes"])
def test_cut_off_at_every_byte(compress: int | str, way: str, tmp_path: Path, trace: Path) -> None:
    dump(contents(trace, "small"), tmp_path / "whole", compress=compress, metadata={"k": "v"})
    whole = (tmp_path / "whole").read_bytes()
    path = tmp_path / "cut"
    # Cut between its last frame and the table of frames, a zstd file is what the zstd tool would have written.
    complete = len(whole) - 25 if compress == 3 else None
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        if size == complete:
            continue
        with pytest.raises(errors.DamagedFileError, match="cut"):
            open_by(way, path)
    assert not trace.exists()


def open_by(way: str, path: Path) -> object:
    if way == "path":
        return load(path)
    if way == "mapped":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", errors.MappingWarning)
            return load(path, mmap_mode="r")
    if way == "file":
        with open(path, "rb") as file:
            return load(file)
    return read_bytes(path.read_bytes(), str(path))


@pytest.mark.parametrize("way", ["path", "file", "bytes"])
def test_every_flipped_bit(way: str, tmp_path: Path, trace: Path) -> None:
    dump(contents(trace, "small"), tmp_path / "f", metadata={"k": "v"})
    whole = (tmp_path / "f").read_bytes()
    for position in range(len(whole)):
        for bit in range(8) if way == "bytes" else (position % 8,):
            data = bytearray(whole)
            data[position] ^= 1 << bit
            if way == "bytes":
                with pytest.raises(errors.DamagedFileError):
                    read_bytes(bytes(data), "f")
                continue
            (tmp_path / "f").write_bytes(data)
            with pytest.raises(errors.DamagedFileError):
                open_by(way, tmp_path / "f")
    assert not trace.exists()


def test_flipped_bits_among_buffers(tmp_path: Path, trace: Path) -> None:
    dump(contents(trace, "buffers"), tmp_path / "f", metadata={"k": "v"})
    whole = (tmp_path / "f").read_bytes()
    near_edges = [p for p in range(len(whole)) if p % 65_536 in range(400) or p > len(whole) - 900]
    for position in [*near_edges, *range(0, len(whole), 977)]:
        data = bytearray(whole)
        data[position] ^= 1 << position % 8
        (tmp_path / "f").write_bytes(data)
        with pytest.raises(errors.DamagedFileError):
            load(tmp_path / "f")
    assert not trace.exists()


def edges(whole: bytes) -> list[int]:
    """Places near the borders of the parts of a file with buffers, and some in between."""
    near = [p for p in range(len(whole)) if p % 65_536 in range(0, 400, 7) or p > len(whole) - 900]
    return sorted({*near, *range(0, len(whole), 4001)})


@pytest.mark.parametrize("way", ["path", "mapped", "file", "bytes"])
@pytest.mark.parametrize("compress", [0, 3])
def test_cut_off_among_buffers(compress: int, way: str, tmp_path: Path, trace: Path) -> None:
    value = contents(trace, "buffers") if compress == 0 else [Bomb(trace), os.urandom(3 << 20)]  # two frames
    dump(value, tmp_path / "f", compress=compress, metadata={"k": "v"})
    whole = (tmp_path / "f").read_bytes()
    places = (
        edges(whole)
        if compress == 0
        else [*range(0, len(whole), 100_003), *range(len(whole) - 32, len(whole))]
    )
    without_table = len(whole) - 33  # see above; 8 bytes more for the second frame
    for size in set(places) - ({without_table} if compress else set()):
        (tmp_path / "f").write_bytes(whole[:size])
        with pytest.raises(errors.DamagedFileError, match=r"cut|empty|ends"):
            open_by(way, tmp_path / "f")
    assert not trace.exists()


def test_flipped_bits_in_a_mapped_file(tmp_path: Path) -> None:
    """Refused where what is read was hit; where an array was hit, only that is changed, and a check finds it."""
    value = [b"x" * layout.HANDED_OVER, bytearray(layout.HANDED_OVER), np.arange(9000.0), "end"]
    dump(value, tmp_path / "f", metadata={"k": "v"})
    whole = (tmp_path / "f").read_bytes()
    first = whole.index(value[2].tobytes())
    refused = passed = 0
    for position in edges(whole):
        data = bytearray(whole)
        data[position] ^= 1 << position % 8
        (tmp_path / "f").write_bytes(data)
        if first <= position < first + value[2].nbytes:
            loaded = load(tmp_path / "f", mmap_mode="r")
            assert (loaded[0], loaded[1], loaded[3]) == (value[0], value[1], value[3])
            assert (loaded[2].view("i8") != value[2].view("i8")).sum() == 1
            passed += 1
        else:
            with pytest.raises(errors.DamagedFileError):
                load(tmp_path / "f", mmap_mode="r")
            refused += 1
        with pytest.raises(errors.DamagedFileError):
            verify_file(tmp_path / "f")
    assert refused > 300
    assert passed > 10


@pytest.mark.parametrize("compress", [3, "zlib", "gzip"])
def test_flipped_bits_in_compressed_files(compress: int | str, tmp_path: Path) -> None:
    """Some bits of these formats mean nothing (a time, a name): then the object is whole, never another one."""
    value = {"numbers": np.arange(30_000), "text": "x" * 100}
    dump(value, tmp_path / "f", compress=compress)
    whole = (tmp_path / "f").read_bytes()
    for position in [*range(60), *range(60, len(whole), 101), *range(len(whole) - 60, len(whole))]:
        data = bytearray(whole)
        data[position] ^= 1 << position % 8
        (tmp_path / "f").write_bytes(data)
        try:
            loaded = load(tmp_path / "f")
        except errors.DamagedFileError:
            continue
        assert loaded["numbers"].tolist() == value["numbers"].tolist()
        assert loaded["text"] == value["text"]


def test_the_message_names_file_part_and_place(tmp_path: Path) -> None:
    dump([np.arange(9000.0), np.arange(9000.0)], tmp_path / "f")
    data = bytearray((tmp_path / "f").read_bytes())
    data[-20_000] ^= 1
    (tmp_path / "f").write_bytes(data)
    with pytest.raises(errors.DamagedFileError, match=r"/f: .*checksum.*buffer 1, at byte \d+"):
        load(tmp_path / "f")


def npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, x=np.arange(3))
    return file.getvalue()


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.arange(3))
    return file.getvalue()


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", "b")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "look"),
    [
        (b"", "empty"),
        (b"a,b,c\n1,2,3\n", "text"),
        (b"cos\nmkdir\n(S'/tmp/never'\ntR", "text"),  # the beginning of an old pickle
        (b"I am the text of a letter.", "text"),
        ("größer".encode(), "text"),
        (b"<!DOCTYPE html><html>Not found</html>", "HTML"),
        (b"\n  <html>", "HTML"),
        (npz(), "numpy.load"),
        (npy(), "numpy.load"),
        (zipped(), "zip"),
        (b"\0" * 5000, "zeros"),
        (b"\xff\xfe\x00\x01" * 50, "neither"),
        (b"BZh91AY&SY", "bzip2"),
        (b"\x80", "neither"),
        (b"\x80\x05", "cut off|damaged"),
        (b"\x80\x04garbage.", "cannot be read"),
        (b"\x80\x04]", "cut off"),
        (b"x" * 200_000, "text"),
    ],
)
@pytest.mark.parametrize("way", ["path", "file", "bytes"])
def test_foreign_files_are_named_for_what_they_look_like(
    content: bytes, look: str, way: str, tmp_path: Path
) -> None:
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(errors.DamagedFileError, match=look):
        open_by(way, tmp_path / "f")


@pytest.mark.parametrize("protocol", range(6))
def test_ordinary_pickles_load(protocol: int, tmp_path: Path) -> None:
    value = {"a": [1, 2.5, "x"], "b": (None, True)}
    (tmp_path / "f").write_bytes(pickle.dumps(value, protocol))
    assert load(tmp_path / "f") == value
    with open(tmp_path / "f", "rb") as file:
        assert load(file) == value


def test_damage_is_what_users_of_pickle_and_joblib_catch() -> None:
    assert issubclass(errors.DamagedFileError, pickle.UnpicklingError)
    assert issubclass(errors.DamagedFileError, ValueError)


def test_a_class_that_is_gone_is_an_import_error_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"\x80\x04\x8c\x0bgone_module\x8c\x01X\x93.")
    with pytest.raises(ModuleNotFoundError) as caught:
        load(tmp_path / "f")
    assert any("/f" in note for note in caught.value.__notes__)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file") as caught:
        load(tmp_path / "absent")
    assert isinstance(caught.value, errors.FileMissingError)
    with pytest.raises(errors.LightworkError, match="folder"):
        load(tmp_path)


class Refusing:
    def __setstate__(self, state: object) -> None:
        raise ValueError("not with this state")

    def __getstate__(self) -> dict:
        return {"a": 1}


@pytest.mark.parametrize("ours", [True, False])
def test_an_error_of_the_object_itself_is_not_called_damage(ours: bool, tmp_path: Path) -> None:
    if ours:
        dump(Refusing(), tmp_path / "f")
    else:
        (tmp_path / "f").write_bytes(pickle.dumps(Refusing()))
    with pytest.raises(ValueError, match="not with this state") as caught:
        load(tmp_path / "f")
    assert not isinstance(caught.value, errors.DamagedFileError)
    assert any("/f" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("cores", [1, 2, 5])
def test_large_buffers_are_checked_however_many_threads_read(
    cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codecs, "cores", lambda: cores)
    value = np.random.default_rng(0).random(2_500_001)  # 20 MB: no whole number of portions
    dump(value, tmp_path / "f")
    assert np.array_equal(load(tmp_path / "f"), value)
    data = bytearray((tmp_path / "f").read_bytes())
    for position in (100, len(data) // 2, len(data) - 5000):
        data[position] ^= 1
        (tmp_path / "f").write_bytes(data)
        with pytest.raises(errors.DamagedFileError, match="checksum"):
            load(tmp_path / "f")
        data[position] ^= 1


@pytest.mark.parametrize("failing", [0, 1, 3, 4])
@pytest.mark.parametrize("cores", [2, 4])
def test_an_error_of_one_of_the_threads_that_read_is_raised(
    cores: int, failing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dump(np.zeros(2_500_001), tmp_path / "f")
    fill = sealed.FileBytes._fill

    def fail(self: sealed.FileBytes, offset: int, view: memoryview) -> None:
        if len(view) > 1 << 19 and offset // sealed._PORTION == failing:
            raise OSError(5, "Input/output error")
        fill(self, offset, view)

    monkeypatch.setattr(codecs, "cores", lambda: cores)
    monkeypatch.setattr(sealed.FileBytes, "_fill", fail)
    with pytest.raises(OSError, match="Input/output"):
        load(tmp_path / "f")
