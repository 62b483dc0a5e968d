"""Tables and their like: what their own equality tells apart counts, and not how they lie in memory."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import types

import numpy as np
import pytest

from lightwork.hashing import digest

pd = pytest.importorskip("pandas")


def same(*made):
    return len({digest(each) for each in made}) == 1


def all_differ(*made):
    return len({digest(each) for each in made}) == len(made)


def frame():
    return pd.DataFrame(
        {
            "a": [1, 2, 3],
            "b": ["x", "y", None],
            "c": [1.5, np.nan, 3],
            "d": pd.Categorical(["u", "v", "u"]),
            "e": pd.to_datetime(["2020-01-01", None, "2020-01-03"]),
            "f": pd.array([1, None, 3], dtype="Int64"),
            "g": pd.Series(["x", 1, None], dtype=object),
            "h": [1, 2, 3],
        }
    )


def test_round_trips_and_copies():
    made = frame()
    assert same(
        made, pickle.loads(pickle.dumps(made)), copy.deepcopy(made), made.copy(), made[list(made)], frame()
    )


def test_hidden_state_does_not_count():
    used = frame()
    assert used.index.is_unique
    assert used.a.max() == 3
    _ = used.columns.get_loc("a"), used.values, used.describe()
    split, whole = frame(), frame()
    split["i"] = 1.5
    split["j"] = 2.5
    whole[["i", "j"]] = np.array([[1.5, 2.5]] * 3)
    assert same(used, frame())
    assert same(split, whole, split.copy())
    assert same(frame()[frame().a > 1], frame().iloc[1:].copy())


def test_layout_of_blocks_does_not_count():
    data = np.arange(12.0).reshape(4, 3)
    one = pd.DataFrame(data, columns=list("abc"))
    other = pd.DataFrame(np.asfortranarray(data), columns=list("abc"))
    third = pd.DataFrame({name: data[:, place].copy() for place, name in enumerate("abc")})
    assert same(one, other, third, one.iloc[::1], one[["a", "b", "c"]])


def test_what_a_frame_says_counts():
    def changed(change):
        made = frame()
        result = change(made)
        return made if result is None else result

    assert all_differ(
        frame(),
        changed(lambda f: f.rename(columns={"a": "z"})),
        changed(lambda f: f[list(f)[::-1]]),
        changed(lambda f: f.set_index("a")),
        changed(lambda f: f.iloc[::-1]),
        changed(lambda f: f.astype({"a": "i4"})),
        changed(lambda f: f.astype({"a": float})),
        changed(lambda f: f.assign(a=[1, 2, 4])),
        changed(lambda f: f.assign(b=["x", "y", "z"])),
        changed(lambda f: f.assign(c=[1.5, 2, 3])),
        changed(lambda f: f.assign(d=pd.Categorical(["u", "v", "v"]))),
        changed(lambda f: f.assign(d=pd.Categorical(["u", "v", "u"], ordered=True))),
        changed(lambda f: f.assign(d=pd.Categorical(["u", "v", "u"], categories=["u", "v", "w"]))),
        changed(lambda f: f.assign(e=f.e.dt.tz_localize("UTC"))),
        changed(lambda f: f.assign(f=pd.array([1, 2, 3], dtype="Int64"))),
        changed(lambda f: f.assign(f=pd.array([1, None, 3], dtype="Int32"))),
        changed(lambda f: f.assign(g=["x", 1.0, None])),
        changed(lambda f: f.attrs.update(source="x")),
        changed(lambda f: f.set_flags(allows_duplicate_labels=False)),
        frame().a,
        frame()[["a"]],
        frame().to_dict(),
    )


def test_series_and_indexes():
    assert same(pd.Series([1, 2], name="a"), pd.Series([1, 2], name="a").copy())
    assert all_differ(
        pd.Series([1, 2]),
        pd.Series([1, 2], name="a"),
        pd.Series([1, 2], index=[1, 2]),
        pd.Series([1, 2], dtype="i4"),
        pd.Index([1, 2]),
        pd.Index([1, 2], name="a"),
        pd.RangeIndex(1, 3),
        pd.RangeIndex(0, 2),
        pd.Index([1.0, 2.0]),
        pd.date_range("2020", periods=2),
        pd.date_range("2020", periods=2, freq="h"),
        pd.date_range("2020", periods=2, tz="UTC"),
        pd.timedelta_range("1s", periods=2),
        pd.period_range("2020", periods=2, freq="D"),
        pd.interval_range(0, 2),
        pd.interval_range(0, 2, closed="left"),
        pd.CategoricalIndex(["a", "b"]),
        pd.MultiIndex.from_tuples([(1, "a"), (2, "b")]),
        pd.MultiIndex.from_tuples([(1, "a"), (2, "b")], names=["x", "y"]),
        pd.arrays.SparseArray([0, 1]),
        pd.arrays.SparseArray([0, 0, 1]),
        pd.arrays.SparseArray([0, 1], fill_value=1),
        pd.Timestamp("2020"),
        pd.Timestamp("2020", tz="UTC"),
        pd.Timedelta("1s"),
        pd.NaT,
        pd.NA,
    )


def test_levels_that_are_not_used_do_not_count():
    whole = pd.MultiIndex.from_product([[1, 2], ["a", "b"]])
    assert same(whole[:2], pd.MultiIndex.from_product([[1], ["a", "b"]]))
    assert same(whole, pd.MultiIndex.from_tuples(list(whole)))


def test_data_under_missing_values_does_not_count():
    one = pd.arrays.IntegerArray(np.array([1, 5]), np.array([False, True]))
    other = pd.arrays.IntegerArray(np.array([1, 9]), np.array([False, True]))
    assert same(one, other)
    assert all_differ(one, pd.array([1, 0], dtype="Int64"), pd.array([2, None], dtype="Int64"))


class Special(pd.DataFrame):
    _metadata = ("unit",)
    unit = None

    @property
    def _constructor(self):
        return Special


def test_subclasses_and_their_metadata():
    one, other = Special({"a": [1]}), Special({"a": [1]})
    assert same(one, other)
    other.unit = "m"
    assert all_differ(one, other, pd.DataFrame({"a": [1]}))


# --- SciPy, scikit-learn -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["csr", "csc", "coo", "bsr", "dia", "lil", "dok"])
def test_sparse_matrices(name):
    sparse = pytest.importorskip("scipy.sparse")
    dense = np.array([[0, 1, 0], [2, 0, 3]])

    def made(data, kind="matrix"):
        return getattr(sparse, f"{name}_{kind}")(data)

    used = made(dense)
    if name in ("csr", "csc", "bsr"):
        assert used.has_sorted_indices
        assert used.has_canonical_format
    assert same(used, made(dense), pickle.loads(pickle.dumps(used)), used.copy())
    assert all_differ(
        made(dense),
        made(dense, "array"),
        made(dense * 2),
        made(dense.astype(float)),
        made(dense[:, :2]),
        dense,
    )


def test_formats_of_sparse_matrices_differ():
    sparse = pytest.importorskip("scipy.sparse")
    assert all_differ(
        *[
            getattr(sparse, f"{name}_array")(np.eye(3))
            for name in ("csr", "csc", "coo", "bsr", "dia", "lil", "dok")
        ]
    )


def test_estimators():
    pytest.importorskip("sklearn")
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = np.random.default_rng(0).normal(size=(60, 4)), np.arange(60) % 2
    assert same(LogisticRegression(), LogisticRegression())
    assert all_differ(
        LogisticRegression(), LogisticRegression(C=2), StandardScaler(), RandomForestClassifier()
    )
    for make in (
        lambda seed=0: RandomForestClassifier(5, random_state=seed),
        lambda seed=0: make_pipeline(StandardScaler(), LogisticRegression(C=1 + seed)),
    ):
        fitted = make().fit(x, y)
        assert same(fitted, make().fit(x, y), pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted))
        assert all_differ(fitted, make(), make(1).fit(x, y), make().fit(x, 1 - y))


# --- Arrow ----------------------------------------------------------------------------------------------


def arrow_arrays(pa):
    yield [1, 2, None], pa.int64()
    yield [1, 2, None], pa.int8()
    yield [1.5, None, 2.0], pa.float64()
    yield [True, None, False], pa.bool_()
    yield ["a", None, "bcd", ""], pa.string()
    yield ["a", None, "bcd", ""], pa.large_string()
    yield [b"a", None, b"bcd"], pa.binary()
    yield [b"ab", None, b"cd"], pa.binary(2)
    yield [1, None, 3], pa.timestamp("s")
    yield [1, None, 3], pa.date32()
    yield [None, None], pa.null()
    yield [[1], None, [], [2, None]], pa.list_(pa.int64())
    yield [["a"], None, ["b", "c"]], pa.large_list(pa.string())
    yield (
        [{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}],
        pa.struct([("a", pa.int64()), ("b", pa.string())]),
    )
    yield ["a", "b", None, "b"], pa.dictionary(pa.int8(), pa.string())
    yield [[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())
    yield [[1, 2], None, [3, 4]], pa.list_(pa.int64(), 2)
    yield ["a", None, "bcd" * 10, ""], pa.string_view()
    yield [b"a", None, b"bcd" * 10], pa.binary_view()


def test_arrow():
    pa = pytest.importorskip("pyarrow")
    made = [(pa.array(items, kind), items, kind) for items, kind in arrow_arrays(pa)]
    assert all_differ(*[array for array, _, _ in made])
    for array, items, kind in made:
        parent = pa.array([*items[:2], *items, *items[:2]], kind)
        part = parent.slice(2, len(items))
        assert same(array, part, pickle.loads(pickle.dumps(part)), pa.array(items, kind)), kind
        if not pa.types.is_null(kind):
            assert all_differ(array, pa.array([*items[:-1], items[0]], kind), array.slice(1)), kind
        chunked = pa.chunked_array([array.slice(0, 1), array.slice(1)], kind)
        assert same(
            chunked,
            pa.chunked_array([array], kind),
            pa.chunked_array([array.slice(0, 2), array.slice(2)], kind),
        ), kind
        assert all_differ(chunked, array)


def test_garbage_under_nulls_does_not_count():
    pa = pytest.importorskip("pyarrow")

    def made(under):
        valid = pa.py_buffer(b"\x05")
        return pa.Array.from_buffers(pa.int32(), 3, [valid, pa.py_buffer(np.array([1, under, 3], "i4"))])

    def texts(under):
        places = pa.py_buffer(np.array([0, 1, 1 + len(under), 2 + len(under)], "i4"))
        return pa.Array.from_buffers(
            pa.string(), 3, [pa.py_buffer(b"\x05"), places, pa.py_buffer(b"a" + under + b"c")]
        )

    assert made(2).equals(made(9))
    assert same(made(2), made(9), pa.array([1, None, 3], pa.int32()))
    assert same(texts(b""), texts(b"zzz"), pa.array(["a", None, "c"]))


def test_arrow_tables():
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"a": [1, 2, None], "b": ["x", "y", "z"]})
    assert same(
        table, pickle.loads(pickle.dumps(table)), pa.concat_tables([table.slice(0, 1), table.slice(1)])
    )
    assert all_differ(
        table,
        table.rename_columns(["a", "c"]),
        table.select(["b", "a"]),
        table.slice(1),
        table.replace_schema_metadata({"k": "v"}),
        table.to_batches()[0],
        table.column("a"),
        table.column("a").chunk(0),
        table.schema,
        pa.array([1])[0],
    )


def test_pandas_over_arrow():
    pytest.importorskip("pyarrow")
    made = pd.DataFrame(
        {
            "a": pd.array(["x", None], dtype="string[pyarrow]"),
            "b": pd.array([1, None], dtype="int64[pyarrow]"),
        }
    )
    assert same(
        made, pickle.loads(pickle.dumps(made)), made.copy(), pd.concat([made.iloc[:1], made.iloc[1:]])
    )
    assert all_differ(
        made,
        made.iloc[::-1],
        made.astype({"a": object}),
        made.assign(b=pd.array([1, 2], dtype="int64[pyarrow]")),
    )


# --- polars, PIL, torch ---------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def pl():
    pytest.importorskip("pyarrow")
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"a": [1]})
    frame.select("a")  # starts its threads, which stay
    return polars


def test_polars(pl):

    def made(**columns):
        return pl.DataFrame({"a": [1, 2, None], "b": ["x", None, "z"], **columns})

    parts = pl.concat([made().slice(0, 1), made().slice(1)], rechunk=False)
    assert same(
        made(),
        made().clone(),
        parts,
        pickle.loads(pickle.dumps(made())),
        pl.concat([made(), made()]).slice(3),
    )
    assert all_differ(
        made(),
        made(a=[1, 2, 3]),
        made(c=[1, 2, 3]),
        made(a=[1.0, 2.0, None]),
        made().select("b", "a"),
        made().rename({"a": "z"}),
        made()["a"],
        made()["a"].rename("z"),
        made()["a"].cast(pl.Int32),
        pl.Series([["a"], []]),
        pl.Series(["a", "b"], dtype=pl.Categorical),
    )


def test_images(tmp_path):
    image = pytest.importorskip("PIL.Image")
    made = image.new("RGB", (4, 3), (1, 2, 3))
    other = made.copy()
    other.putpixel((0, 0), (1, 2, 4))
    assert same(made, made.copy(), pickle.loads(pickle.dumps(made)))
    assert all_differ(made, other, made.convert("L"), made.resize((3, 4)), np.asarray(made))
    made.save(tmp_path / "a.png")
    with image.open(tmp_path / "a.png") as opened, image.open(tmp_path / "a.png") as again:
        opened.load()
        assert same(opened, again)


@pytest.fixture
def torch(monkeypatch):
    """Give torch, or where it is missing a stand-in for what the rule asks of a tensor."""
    if "torch" in sys.modules:
        return sys.modules["torch"]
    module = types.ModuleType("torch")
    module.uint8 = "uint8"

    class Tensor:
        layout, requires_grad = "torch.strided", False

        def __init__(self, array, name="torch.float32"):
            self.array, self.dtype, self.shape = array, name, array.shape

        def detach(self):
            return self

        cpu = detach

        def contiguous(self):
            return Tensor(np.ascontiguousarray(self.array), self.dtype)

        def reshape(self, *shape):
            return Tensor(self.array.reshape(*shape), self.dtype)

        def view(self, dtype):
            return Tensor(self.array.view(dtype), dtype)

        def numpy(self):
            return self.array

        def numel(self):
            return self.array.size

    Tensor.__module__, Tensor.__qualname__ = "torch", "Tensor"
    module.Tensor = Tensor
    module.from_numpy = Tensor
    monkeypatch.setitem(sys.modules, "torch", module)
    return module


def test_tensors(torch):
    def made(array):
        return torch.from_numpy(array)

    array = np.arange(6, dtype="f4").reshape(2, 3)
    assert same(made(array), made(array.copy()), made(np.asfortranarray(array)))
    wants = made(array.copy())
    wants.requires_grad = True
    assert all_differ(
        made(array), made(array + 1), made(array.reshape(3, 2)), wants, array, made(np.zeros((0, 3), "f4"))
    )


PROGRAM = """
import sys
from lightwork.hashing import hash
hash([object(), {"a": (1, {2: 3.5})}, type, len, {1, "a"}])
print([name for name in ("numpy", "pandas", "pyarrow", "cloudpickle", "ast") if name in sys.modules])
"""


def test_no_library_is_imported_by_a_look_at_its_types():
    """The rules go by names: a value of an ordinary class brings no library in."""
    env = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, env=env
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
