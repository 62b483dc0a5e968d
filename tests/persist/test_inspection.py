"""`inspect_file` tells what is inside and executes nothing."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import joblib
import numpy as np
import pytest

from lightwork import errors
from lightwork.persist import dump, inspect_file

N = 20_000


class Bomb:
    def __init__(self, trace: Path) -> None:
        self.trace = str(trace)

    def __reduce__(self) -> tuple:
        return os.mkdir, (self.trace,)


class Model:
    def __init__(self) -> None:
        self.weights = np.zeros((100, 200), order="F")
        self.names = ["a", "b"]


def tree(path: Path) -> list[str]:
    return list(inspect_file(path, show=False).tree.lines())


@pytest.mark.parametrize("compress", [0, 1, "gzip"])
def test_types_shapes_sizes_and_metadata(compress: int | str, tmp_path: Path) -> None:
    value = {
        "model": Model(),
        "mask": np.ma.array([1, 2]),
        "raw": b"x" * 70_000,
        "n": 5,
        3: {1, 2},
        "z": (None, 1.5),
    }
    dump(value, tmp_path / "f", compress=compress, metadata={"run": 7})
    report = inspect_file(tmp_path / "f", show=False)
    assert (report.layout, report.metadata, report.size) == (
        "lightwork",
        {"run": 7},
        (tmp_path / "f").stat().st_size,
    )
    assert report.compression == {0: None, 1: "zstd", "gzip": "gzip"}[compress]
    assert report.versions["numpy"] == np.__version__
    assert report.about["pickler"] == "pickle"
    assert f"{Model.__module__}.Model" in report.globals
    text = str(report)
    for expected in (
        f"['model']: {Model.__module__}.Model",
        ".weights: numpy.ndarray (100, 200) <f8, Fortran order",
        "160 KB",
        ".names: list of 2",
        "numpy.ma.MaskedArray",
        "['raw']: bytes  70 KB",
        "['n']: int 5",
        "[3]: set of 2",
        "['z']: tuple of 2",
    ):
        assert expected in text


def test_nothing_is_executed_or_imported(tmp_path: Path) -> None:
    dump([Bomb(tmp_path / "executed")], tmp_path / "f")
    report = inspect_file(tmp_path / "f", show=False)
    assert not (tmp_path / "executed").exists()
    assert report.globals == ("posix.mkdir",)
    (tmp_path / "f").write_bytes(b"\x80\x04\x8c\x0bgone_module\x8c\x01X\x93.")
    assert inspect_file(tmp_path / "f", show=False).globals == ("gone_module.X",)


def test_shared_and_cyclic_objects(tmp_path: Path) -> None:
    loop: list = [1]
    loop.append(loop)
    dump(loop, tmp_path / "f")
    assert len(tree(tmp_path / "f")) < 20
    tree_of_shared: object = 1
    for _ in range(60):
        tree_of_shared = [tree_of_shared] * 10
    dump(tree_of_shared, tmp_path / "f")
    assert "at least" in str(inspect_file(tmp_path / "f", show=False))
    shared = np.arange(N)
    dump([shared, shared], tmp_path / "f")
    assert tree(tmp_path / "f")[1:] == [
        "  [0]: numpy.ndarray (20000,) <i8  160 KB",
        "  [1]: numpy.ndarray (20000,) <i8  160 KB",
    ]


@pytest.mark.parametrize("protocol", range(2, 6))
def test_ordinary_pickles(protocol: int, tmp_path: Path) -> None:
    value = {"a": [1, 2], "b": {"c": (1, 2, 3, 4)}, "s": frozenset([1]), "t": True, "o": Model()}
    (tmp_path / "f").write_bytes(pickle.dumps(value, protocol))
    report = inspect_file(tmp_path / "f", show=False)
    assert report.layout == "pickle"
    lines = list(report.tree.lines())
    assert lines[0] == "dict of 5"
    assert "  ['a']: list of 2" in lines
    assert any("Model" in line for line in lines)


def test_joblibs_files(tmp_path: Path) -> None:
    joblib.dump({"a": np.zeros((3, 4)), "b": 1, "u": np.array(["x", "yy"])}, tmp_path / "f")
    assert inspect_file(tmp_path / "f", show=False).layout == "joblib"
    assert tree(tmp_path / "f") == [
        "dict of 3",
        "  ['a']: numpy.ndarray (3, 4) f8  96 B",
        "  ['b']: int 1",
        "  ['u']: numpy.ndarray (2,) U2  16 B",
    ]
    joblib.dump({"a": 1, "o": np.array([None, "x"], dtype=object)}, tmp_path / "f")
    assert any("O8" in line for line in tree(tmp_path / "f"))


def test_it_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dump({"a": 1}, tmp_path / "f")
    inspect_file(tmp_path / "f")
    assert "dict of 1" in capsys.readouterr().out


def test_without_rich_it_prints_plain_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "rich.console", None)
    dump({"a": 1}, tmp_path / "f")
    report = inspect_file(tmp_path / "f")
    assert capsys.readouterr().out == f"{report}\n"


def test_damaged_and_foreign_files(tmp_path: Path) -> None:
    dump(list(range(1000)), tmp_path / "f")
    data = (tmp_path / "f").read_bytes()
    (tmp_path / "f").write_bytes(data[:500])
    with pytest.raises(errors.DamagedFileError):
        inspect_file(tmp_path / "f")
    (tmp_path / "f").write_text("hello")
    with pytest.raises(errors.DamagedFileError, match="text"):
        inspect_file(tmp_path / "f")
    (tmp_path / "f").write_bytes(pickle.dumps([1, 2])[:-4])
    with pytest.raises(errors.DamagedFileError):
        inspect_file(tmp_path / "f")


def test_every_flipped_bit_is_damage_here_too(tmp_path: Path) -> None:
    dump({"a": [1, 2.5], "b": "text"}, tmp_path / "f")
    whole = (tmp_path / "f").read_bytes()
    for position in range(len(whole)):
        data = bytearray(whole)
        data[position] ^= 1 << position % 8
        (tmp_path / "f").write_bytes(data)
        with pytest.raises(errors.DamagedFileError):
            inspect_file(tmp_path / "f", show=False)
    (tmp_path / "f").write_bytes(whole + pickle.dumps("another"))
    assert tree(tmp_path / "f")[0] == "dict of 2"
