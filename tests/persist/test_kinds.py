"""Every kind of object that the libraries of the field have, through every reader; arrays are in `test_arrays`."""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import importlib.util
import pickle
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from lightwork.persist import dump, inspect_file, load, verify_file

N = 30_000
numbers = np.arange(float(N))


def pandas_kinds() -> dict[str, Any]:
    pd = pytest.importorskip("pandas")
    seconds = pd.date_range("2020", periods=N, freq="s")
    frame = pd.DataFrame(
        {
            "number": numbers,
            "when": seconds,
            "zone": seconds.tz_localize("UTC"),
            "text": ["x", "yy"] * (N // 2),
            "category": pd.Categorical(["u", "v"] * (N // 2)),
            "nothing": [None] * N,
            "integer": pd.array([1, None] * (N // 2), dtype="Int64"),
            "object": pd.Series([(1, 2)] * N, dtype=object),
        }
    )
    kinds = {
        "frame": frame,
        "slice": frame[10:20],
        "every second row": frame[::2],
        "series": frame["number"],
        "two indices": frame.set_index(["number", "text"]),
        "periods": pd.period_range("2020", periods=N, freq="D"),
        "intervals": pd.interval_range(0, N),
        "sparse": pd.Series(pd.arrays.SparseArray(numbers * (numbers > 5))),
    }
    if importlib.util.find_spec("pyarrow"):  # has no wheels for each Python
        kinds["Arrow-backed"] = frame[["number", "integer"]].convert_dtypes(dtype_backend="pyarrow")
    return kinds


def arrow_kinds() -> dict[str, Any]:
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"a": numbers, "text": [str(i) for i in range(N)]})
    return {
        "table": table,
        "batch": table.to_batches()[0],
        "chunked": pa.chunked_array([numbers, numbers]),
        "structs": pa.array([{"a": 1, "b": "x"}, None] * (N // 2)),
        "lists": pa.array([[1, 2], None, [3]] * (N // 3)),
        "dictionary": pa.array(["x", "y"] * (N // 2)).dictionary_encode(),
        "bits": pa.array([True, None] * N * 10),
        "views": pa.array(["a long text of more than twelve bytes"] * N, pa.string_view()),
        "schema": table.schema,
        "sliced in the middle of a byte": pa.array([True, False, None] * N)[5:-7],
    }


def polars_kinds() -> dict[str, Any]:
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"a": numbers, "text": ["q", None] * (N // 2), "list": [[1, 2]] * N})
    return {"frame": frame, "slice": frame[10:20], "series": frame["a"], "empty": frame[:0]}


def sparse_kinds() -> dict[str, Any]:
    sparse = pytest.importorskip("scipy.sparse")
    whole = sparse.random(150, 150, 0.1, "csr", random_state=0)
    kinds = {name: whole.asformat(name) for name in ("csr", "csc", "coo", "bsr", "lil", "dok")}
    diagonals = sparse.diags_array([numbers, numbers], offsets=[0, 5], shape=(N, N))
    return {
        **kinds,
        "dia": diagonals,
        "array": sparse.csr_array(whole),
        "large": sparse.csr_array(np.ones((200, 200))),
    }


def estimator_kinds() -> dict[str, Any]:
    pytest.importorskip("sklearn")
    from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    x = np.random.default_rng(0).random((300, 4))
    y = x[:, 0] > 0.5
    made = [
        RandomForestClassifier(5),
        GradientBoostingClassifier(n_estimators=3),
        KNeighborsClassifier(),
        SVC(),
    ]
    return {type(one).__name__: make_pipeline(StandardScaler(), one).fit(x, y) for one in made}


def python_kinds() -> dict[str, Any]:
    point = collections.namedtuple("point", "x y")
    return {
        "numbers": [0, -1, 10**100, 0.1, float("inf"), -0.0, 1j, True, None, ...],
        "text": ["", "é" * 50_000, "\ud800", b"\0" * 70_000, bytearray(70_000)],
        "containers": [(), ((),), {1, 2}, frozenset("a"), {"a": {}}, collections.OrderedDict(a=1)],
        "more containers": [
            collections.Counter("aab"),
            collections.deque([1], 5),
            collections.ChainMap({}, {"a": 1}),
        ],
        "time": [
            datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
            datetime.timedelta(1),
            datetime.date.max,
        ],
        "exact": [decimal.Decimal("1.10"), fractions.Fraction(1, 3), uuid.UUID(int=5), Path("a/b"), range(3)],
        "names": [int, len, np.float32, np.sum, collections.OrderedDict, slice(1, 2)],
        "a local class": [point(1, 2)],
        "an error": [str(ValueError("x", 1))],
    }


KINDS: dict[str, Callable[[], dict[str, Any]]] = {
    "pandas": pandas_kinds,
    "pyarrow": arrow_kinds,
    "polars": polars_kinds,
    "scipy.sparse": sparse_kinds,
    "scikit-learn": estimator_kinds,
    "Python": python_kinds,
}


def same(a: Any, b: Any) -> bool:
    if type(a).__name__ != type(b).__name__:
        return False
    if hasattr(a, "equals"):
        return bool(a.equals(b))
    if hasattr(a, "toarray"):
        return a.shape == b.shape and a.dtype == b.dtype and (a != b).nnz == 0
    if hasattr(a, "predict"):
        rows = np.random.default_rng(1).random((50, 4))
        return np.array_equal(a.predict(rows), b.predict(rows))
    return bool(a == b) or repr(a) == repr(b)


@pytest.mark.parametrize("library", KINDS)
def test_comes_back_equal_from_every_reader(library: str, tmp_path: Path) -> None:
    path = tmp_path / "f"
    for name, value in KINDS[library]().items():
        dump({"it": value, "again": value}, path)
        verify_file(path)
        raw = path.read_bytes()
        results = {
            "load": load(path),
            **{f"mapped {mode}": load(path, mmap_mode=mode) for mode in ("r", "c")},
            "pickle": pickle.loads(raw),
            "Python's unpickler": pickle._loads(raw),
            "joblib": joblib.load(path),
        }
        dump({"it": value, "again": value}, path, compress=True)
        results["compressed"] = load(path)
        for reader, loaded in results.items():
            assert same(loaded["it"], value), (name, reader)
            assert loaded["it"] is loaded["again"], (name, reader)


# NumPy's classes of random bits are public, but say that they are of the modules that define them.
RANDOM = {"numpy.random._mt19937.MT19937", "numpy.random._pcg64.PCG64"}


@pytest.mark.parametrize("library", [name for name in KINDS if name != "Python"])
def test_names_no_private_module_of_numpy(library: str, tmp_path: Path) -> None:
    for name, value in KINDS[library]().items():
        dump([value], tmp_path / "f")
        names = inspect_file(tmp_path / "f", show=False).globals
        private = {one for one in names if one.startswith("numpy.") and "._" in one}
        assert private <= RANDOM, name
