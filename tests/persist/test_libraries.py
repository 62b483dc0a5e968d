"""Arrow, polars and torch, where they are installed: small slices stay small, tensors are aligned arrays."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest

from lightwork.persist import dump, inspect_file, load

N = 100_000


def dumped(value: object, path: Path) -> object:
    dump(value, path)
    return load(path)


def test_arrow_slices_do_not_write_their_parent(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    table = pa.table(
        {
            "a": np.arange(N),
            "s": [str(i) for i in range(N)],
            "d": pa.array(["x", "y"] * (N // 2)).dictionary_encode(),
        }
    )
    chunked = pa.chunked_array([table["s"].chunk(0), table["s"].chunk(0)])
    for part in (
        table.slice(5, 10),
        table["s"].slice(5, 10),
        table["s"].chunk(0).slice(5, 10),
        table.to_batches()[0].slice(5, 10),
        table["d"].chunk(0).slice(5, 10),
        chunked.slice(N - 5, 10),
        table.slice(5, 0),
    ):
        loaded = dumped(part, tmp_path / "f")
        assert (tmp_path / "f").stat().st_size < 5_000
        assert type(loaded) is type(part)
        assert loaded.equals(part)
        assert pickle.loads((tmp_path / "f").read_bytes()).equals(part)
    for mode in (None, "r"):
        dump(table, tmp_path / "f")
        assert load(tmp_path / "f", mmap_mode=mode).equals(table)


def test_polars_and_arrow_backed_pandas(tmp_path: Path) -> None:
    pl = pytest.importorskip("polars")
    pd = pytest.importorskip("pandas")
    frame = pl.DataFrame({"a": np.arange(N), "s": [str(i) for i in range(N)]})
    assert dumped(frame, tmp_path / "f").equals(frame)
    assert dumped(frame[5:15], tmp_path / "f").equals(frame[5:15])
    assert (tmp_path / "f").stat().st_size < 5_000
    backed = pd.DataFrame({"a": pd.array(np.arange(N), dtype="int64[pyarrow]")})
    assert dumped(backed, tmp_path / "f").equals(backed)
    assert dumped(backed[5:15], tmp_path / "f").equals(backed[5:15])
    assert (tmp_path / "f").stat().st_size < 5_000


def test_tensors_are_aligned_arrays_that_a_plain_pickle_reads_back(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    x = torch.arange(N, dtype=torch.float32).reshape(100, -1)
    for tensor in (
        x,
        x.t(),
        x[:3, :4],
        x.to(torch.bfloat16),
        x.to(torch.bool),
        torch.tensor(3),
        torch.nn.Parameter(x.clone()),
        torch.nn.Parameter(x.clone(), requires_grad=False),
        x.clone().requires_grad_(),
        torch.zeros(0, 3),
        x.to_sparse(),
        (x + 1j).conj(),
    ):
        loaded = dumped([tensor, tensor], tmp_path / "f")
        assert loaded[0] is loaded[1]
        for result in (loaded[0], pickle.loads((tmp_path / "f").read_bytes())[0]):
            assert type(result) is type(tensor)
            assert (result.dtype, result.shape, result.requires_grad) == (
                tensor.dtype,
                tensor.shape,
                tensor.requires_grad,
            )
            assert torch.equal(result.to_dense(), tensor.to_dense())
    dumped(x[:3, :4], tmp_path / "f")
    assert (tmp_path / "f").stat().st_size < 2_000
    dumped(x, tmp_path / "f")
    assert inspect_file(tmp_path / "f", show=False).globals == ("torch.from_numpy", "numpy.ndarray")
    mapped = load(tmp_path / "f", mmap_mode="c")
    assert mapped.data_ptr() % 64 == 0
    mapped += 1
    assert torch.equal(load(tmp_path / "f"), x)


@pytest.mark.parametrize("shape", [(), (3,), (100, 1000)])
def test_registered_dtypes_stay_what_they_are(shape: tuple[int, ...], tmp_path: Path) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    for dtype in (ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.int4):
        array = np.ones(shape).astype(dtype)
        for strides in (slice(None), slice(None, None, 2)):
            part = array[strides] if shape else array
            for compress in (0, 1):
                dump(part, tmp_path / "f", compress=compress)
                loaded = load(tmp_path / "f")
                assert loaded.dtype == part.dtype
                assert loaded.astype(float).tolist() == part.astype(float).tolist()


def test_modules_train_on(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(200, 200), torch.nn.BatchNorm1d(200))
    model[0].weight.requires_grad_(False)
    loaded = dumped(model, tmp_path / "f")
    x = torch.ones(4, 200)
    assert torch.equal(loaded(x), model(x))
    loaded(x).sum().backward()
    assert loaded[0].weight.grad is None
    assert loaded[0].bias.grad is not None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(tmp_path / "f")
