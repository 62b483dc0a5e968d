"""`dedupe=True`: memory that arrays share is written once, and shared again after loading."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightwork.persist import dump, load

N = 40_000
base = np.arange(N)


def views() -> dict[str, np.ndarray]:
    return {
        "whole": base,
        "half": base[: N // 2],
        "strided": base[::3],
        "reversed": base[::-1],
        "shaped": base.reshape(200, 200).T,
        "bytes": base.view("u1"),
        "alone": np.arange(10_000),
    }


@pytest.mark.parametrize("compress", [0, 3])
def test_views_of_one_base_are_written_once_and_share_memory_again(compress: int, tmp_path: Path) -> None:
    dump(views(), tmp_path / "f", compress=compress, dedupe=True)
    if not compress:
        assert (tmp_path / "f").stat().st_size < base.nbytes + 10_000 * 8 + 5_000
    data = load(tmp_path / "f")
    for name, value in views().items():
        assert np.array_equal(data[name], value)
        assert data[name].dtype == value.dtype
        assert data[name].strides == value.strides
        assert data[name].flags.writeable
    data["half"][0] = 7
    assert data["whole"][0] == data["reversed"][-1] == data["shaped"][0, 0] == 7
    assert data["alone"][0] == 0


def test_is_a_plain_pickle_and_maps(tmp_path: Path) -> None:
    dump(views(), tmp_path / "f", dedupe=True)
    for loaded in (pickle.loads((tmp_path / "f").read_bytes()), load(tmp_path / "f", mmap_mode="r")):
        for name, value in views().items():
            assert np.array_equal(loaded[name], value)


def test_parts_that_do_not_overlap_do_not_drag_their_base_along(tmp_path: Path) -> None:
    dump([base[:9000], base[20_000:29_000]], tmp_path / "f", dedupe=True)
    assert (tmp_path / "f").stat().st_size < 2 * 9000 * 8 + 5_000


def test_without_it_each_view_is_written(tmp_path: Path) -> None:
    dump([base, base[1:]], tmp_path / "f")
    assert (tmp_path / "f").stat().st_size > 2 * base.nbytes - 100


@settings(max_examples=80, deadline=None)
@given(
    slices=st.lists(
        st.tuples(st.integers(0, 8000), st.integers(0, 8000), st.sampled_from([1, 2, -1, -3, 7])), max_size=8
    )
)
def test_any_slices(slices: list[tuple[int, int, int]], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "slices"
    memory = np.arange(8000, dtype="i4")
    value = [memory[start:stop:step] for start, stop, step in slices]
    dump(value, path, dedupe=True)
    for loaded in (load(path), pickle.loads(path.read_bytes())):
        assert [part.tolist() for part in loaded] == [part.tolist() for part in value]
    path.unlink()
