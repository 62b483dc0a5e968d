"""Compressed files: plain pickles inside, shuffled where that pays, in bounded memory, on all cores."""

from __future__ import annotations

import gzip
import os
import pickle
import pickletools
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from lightwork import errors
from lightwork.persist import arrays, codecs, dump, load

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

smooth = np.sin(np.linspace(0, 50, 300_001))
ARRAYS = {
    "smooth": smooth,
    "2-d": smooth[:300_000].reshape(300, 1000),
    "Fortran": np.asfortranarray(smooth[:300_000].reshape(300, 1000)),
    "half": smooth.astype("f2"),
    "complex": smooth + 1j,
    "dates": np.arange(100_000).astype("M8[s]"),
    "counts": np.arange(100_000, dtype="i4"),
    "strided": smooth[::2],
    "reversed": smooth[::-1],
    "strided 2-d": smooth[:300_000].reshape(300, 1000)[:, 1::2],
    "wide rows, strided": np.repeat(smooth, 2)[:600_000].reshape(2, 300_000)[:, ::2],
    "transposed 3-d": smooth[:300_000].reshape(30, 100, 100).transpose(1, 2, 0),
    "dates, strided": np.arange(300_000).astype("M8[s]")[::3],
    "structured field": np.rec.fromarrays([np.arange(100_000), np.arange(100_000.0)])["f1"],
    "read-only": np.frombuffer(smooth.tobytes()),
    "masked": np.ma.masked_greater(smooth, 0.5),
    "other byte order": smooth.astype(smooth.dtype.newbyteorder()),
    "noise": np.random.default_rng(0).integers(0, 2**63, 100_000),
    "bytes": np.arange(100_000, dtype="u1"),
    "one frame and a bit": np.arange((2 << 20) // 8 + 1, dtype=float),
}


@pytest.mark.parametrize("compress", [1, "gzip", "zlib"])
@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_round_trip_and_plain_pickle_inside(array: np.ndarray, compress: int | str, tmp_path: Path) -> None:
    dump({"x": array, "again": array}, tmp_path / "f", compress=compress)
    loaded = load(tmp_path / "f")
    assert loaded["x"] is loaded["again"]
    data = (tmp_path / "f").read_bytes()
    plain = {1: zstd.decompress, "gzip": gzip.decompress, "zlib": __import__("zlib").decompress}[compress](
        data
    )
    for result in (loaded["x"], pickle.loads(plain)["x"]):
        assert type(result) is type(array)
        assert result.shape == array.shape
        assert np.array_equal(np.asarray(result), np.asarray(array))
        assert result.flags.writeable
        assert result.flags.f_contiguous == array.flags.f_contiguous or not array.flags.forc
    assert loaded["x"].dtype == array.dtype.newbyteorder("=")


def test_shuffling_is_for_what_gains_by_it() -> None:
    assert arrays._worth_shuffling(smooth)
    assert not arrays._worth_shuffling(ARRAYS["noise"])
    assert not arrays._worth_shuffling(ARRAYS["bytes"])
    assert not arrays._worth_shuffling(np.zeros(100_000))


@pytest.mark.parametrize(
    "name", ["strided", "reversed", "strided 2-d", "wide rows, strided", "transposed 3-d"]
)
def test_what_is_not_contiguous_is_shuffled_too(name: str, tmp_path: Path) -> None:
    dump(ARRAYS[name], tmp_path / "f", compress=True)
    dump(np.ascontiguousarray(ARRAYS[name]), tmp_path / "g", compress=True)
    assert abs((tmp_path / "f").stat().st_size - (tmp_path / "g").stat().st_size) < 100
    assert arrays._worth_shuffling(ARRAYS[name])
    assert b"swapaxes" in zstd.decompress((tmp_path / "f").read_bytes())


def test_shuffled_pickles_name_public_functions_only(tmp_path: Path) -> None:
    dump(smooth, tmp_path / "f", compress=3)
    plain = zstd.decompress((tmp_path / "f").read_bytes())
    names = {argument for _, argument, _ in pickletools.genops(plain) if isinstance(argument, str)}
    assert {"swapaxes", "ascontiguousarray", "ndarray"} <= names
    assert not any(name.startswith("_") for name in names)


def test_smooth_floats_get_much_smaller_than_with_zlib(tmp_path: Path) -> None:
    import joblib

    noisy = smooth + np.random.default_rng(0).normal(0, 1e-6, smooth.size)
    joblib.dump(noisy, tmp_path / "joblib", compress=3)
    dump(noisy, tmp_path / "ours", compress=True)
    assert (tmp_path / "ours").stat().st_size < 0.8 * (tmp_path / "joblib").stat().st_size


@pytest.mark.parametrize("cache_size", [None, 0, 4, 100])
def test_the_result_does_not_depend_on_the_memory_allowed(cache_size: float | None, tmp_path: Path) -> None:
    value = np.random.default_rng(0).integers(0, 50, 2_000_000)
    dump(value, tmp_path / "f", compress=1, cache_size=cache_size)
    assert np.array_equal(load(tmp_path / "f"), value)


def test_frames_on_their_way_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "cores", lambda: 8)
    block = bytes(codecs.FRAME)
    for cache_size, bound in ((None, 16), (0, 1), (12, 3), (1000, 16)):
        stream = codecs.compressor(codecs.Compression("zstd", 1), cache_size)
        for _ in range(20):
            stream.compress(block)
            assert len(stream._frames) <= bound
        stream.flush()
        stream.close()


def test_a_failure_half_way_leaves_no_thread_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    before = threading.active_count()
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(errors.TargetError, match="No space"):
        dump(np.random.default_rng(0).random(3_000_000), tmp_path / "f", compress=1)
    monkeypatch.undo()
    assert threading.active_count() == before
    assert os.listdir(tmp_path) == []


def test_a_damaged_frame_is_named_with_its_place(tmp_path: Path) -> None:
    dump(np.random.default_rng(0).random(1_000_000), tmp_path / "f", compress=1)
    whole = (tmp_path / "f").read_bytes()
    for position in (len(whole) // 2, len(whole) - 100_000):
        data = bytearray(whole)
        data[position] ^= 16
        (tmp_path / "f").write_bytes(data)
        with pytest.raises(
            errors.DamagedFileError, match=r"/f: its zstd data is damaged: .*frame at byte \d+"
        ):
            load(tmp_path / "f")


def test_a_table_that_lies_costs_neither_memory_nor_the_object(tmp_path: Path) -> None:
    value = np.random.default_rng(0).random(1_000_000)
    dump(value, tmp_path / "f", compress=1)
    whole = (tmp_path / "f").read_bytes()
    for position in range(len(whole) - 60, len(whole)):
        data = bytearray(whole)
        data[position] ^= 1 << position % 8
        (tmp_path / "f").write_bytes(data)
        try:
            assert np.array_equal(load(tmp_path / "f"), value)
        except errors.DamagedFileError:
            continue


def test_a_file_of_the_zstd_tool_loads(tmp_path: Path) -> None:
    dump({"x": smooth}, tmp_path / "f")
    (tmp_path / "g").write_bytes(zstd.compress((tmp_path / "f").read_bytes()))
    assert np.array_equal(load(tmp_path / "g")["x"], smooth)
    (tmp_path / "h").write_bytes(zstd.compress(pickle.dumps({"x": 1})))
    assert load(tmp_path / "h") == {"x": 1}
    (tmp_path / "h").write_bytes(zstd.compress(b"not a pickle"))
    with pytest.raises(errors.DamagedFileError, match="text"):
        load(tmp_path / "h")
