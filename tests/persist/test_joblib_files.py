"""Files written by joblib load as joblib loads them, mapped where it maps."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import joblib
import numpy as np
import pytest

from lightwork import errors
from lightwork.persist import load

VALUE = {
    "first": ["text", 1, None],
    "C": np.arange(20_000.0).reshape(100, 200),
    "F": np.asfortranarray(np.arange(12).reshape(3, 4)),
    "object": np.array([1, "x", None], dtype=object),
    "structured": np.zeros(3, [("a", "i4"), ("b", "f8")]),
    "0-d": np.array(5),
    "empty": np.zeros((0, 3)),
    "dates": np.arange(3).astype("M8[D]"),
    "masked": np.ma.masked_greater(np.arange(5), 2),
    "matrix": np.arange(4).reshape(2, 2).view(np.matrix),
    "last": "end",
}


def check(loaded: dict) -> None:
    assert list(loaded) == list(VALUE)
    for name, value in VALUE.items():
        if isinstance(value, np.ndarray):
            assert loaded[name].tolist() == value.tolist()
            assert loaded[name].dtype == value.dtype
            assert loaded[name].flags.f_contiguous == value.flags.f_contiguous
        else:
            assert loaded[name] == value


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3)])
def test_as_a_name_and_as_an_open_file(compress: object, tmp_path: Path) -> None:
    joblib.dump(VALUE, tmp_path / "f", compress=compress)
    check(load(tmp_path / "f"))
    assert load(tmp_path / "f")["C"].flags.writeable
    with open(tmp_path / "f", "rb") as file:
        check(load(file))
    check(load(io.BytesIO((tmp_path / "f").read_bytes())))
    assert type(load(tmp_path / "f")["matrix"]) is np.matrix


@pytest.mark.parametrize("mode", ["r", "c", "r+", "w+"])
def test_mapped_where_joblib_maps(mode: str, tmp_path: Path) -> None:
    joblib.dump(VALUE, tmp_path / "f")
    loaded, theirs = load(tmp_path / "f", mmap_mode=mode), joblib.load(tmp_path / "f", mmap_mode="r")
    check(loaded)
    for name, value in VALUE.items():
        if isinstance(value, np.ndarray) and value.size:
            assert type(loaded[name]) is type(theirs[name]) or name == "matrix"
    assert type(loaded["C"]) is np.memmap
    if mode in ("r+", "w+"):
        loaded["C"][0, 0] = -1
        loaded["C"].flush()
        assert load(tmp_path / "f")["C"][0, 0] == -1


def test_estimators_and_other_byte_orders(tmp_path: Path) -> None:
    from sklearn.ensemble import RandomForestClassifier

    x = np.random.default_rng(0).random((300, 5))
    model = RandomForestClassifier(10, random_state=0).fit(x, x[:, 0] > 0.5)
    swapped = np.arange(5).astype(np.dtype("i4").newbyteorder())
    joblib.dump([model, swapped], tmp_path / "f")
    loaded, numbers = load(tmp_path / "f")
    assert np.array_equal(loaded.predict(x), model.predict(x))
    assert numbers.dtype.isnative
    assert numbers.tolist() == swapped.tolist()
    assert load(tmp_path / "f", ensure_native_byte_order=False)[1].dtype == swapped.dtype


# Written by joblib 1.2.0 under NumPy 1.26.4, whose pickles name numpy.core.
OLD = Path(__file__).parent / "data"


@pytest.mark.parametrize("name", ["joblib-1.2.pkl", "joblib-1.2.pkl.z"])
@pytest.mark.parametrize("mode", [None, "r"])
def test_files_of_joblib_1_2(name: str, mode: str | None) -> None:
    compressed = name.endswith(".z")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if compressed and mode is not None:
            warnings.simplefilter("ignore", errors.MappingWarning)
        loaded = load(OLD / name, mmap_mode=mode)
    assert loaded["text"] == ["a", 1, None]
    assert loaded["C"].tolist() == np.arange(600.0).reshape(20, 30).tolist()
    assert loaded["F"].tolist() == np.arange(12).reshape(3, 4).tolist()
    assert loaded["F"].flags.f_contiguous
    assert loaded["object"].tolist() == [1, "x", None]
    assert loaded["structured"].tolist() == [(1, 2.5)]
    assert loaded["dates"].tolist() == np.arange(3).astype("M8[D]").tolist()
    assert (type(loaded["scalar"]), loaded["scalar"]) == (np.float64, 0.5)
    assert type(loaded["C"]) is (np.memmap if mode and not compressed else np.ndarray)


def test_joblib_itself_is_not_needed(tmp_path: Path) -> None:
    joblib.dump(VALUE, tmp_path / "f")
    code = (
        "import sys; sys.modules['joblib'] = None; from lightwork.persist import load;"
        f"assert load({str(tmp_path / 'f')!r})['C'][1, 0] == 200"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_cut_off_files_are_damaged(tmp_path: Path) -> None:
    joblib.dump(VALUE, tmp_path / "f")
    whole = (tmp_path / "f").read_bytes()
    for size in [*range(2, 2000, 37), *range(2000, len(whole), 5003)]:
        (tmp_path / "f").write_bytes(whole[:size])
        with pytest.raises(errors.DamagedFileError):
            load(tmp_path / "f")


def test_ordinary_pickles_cannot_be_mapped_and_say_so(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(pickle.dumps(np.arange(3)))
    with pytest.warns(errors.MappingWarning, match="ordinary pickle") as caught:
        assert load(tmp_path / "f", mmap_mode="r").tolist() == [0, 1, 2]
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(tmp_path / "f")
