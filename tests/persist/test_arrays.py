"""Every kind of NumPy array, through every reader: `load`, mapped, `pickle`, and joblib."""

from __future__ import annotations

import array
import pickle
import pickletools
import re
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from lightwork import errors
from lightwork.persist import dump, layout, load, pickling

N = 20_000  # elements: more than 64 KiB in every dtype of two bytes and more


class Plain(np.ndarray):
    pass


class WithOwnNew(np.ndarray):
    def __new__(cls, data: object, note: str) -> WithOwnNew:
        return np.asarray(data).view(cls)


class WithOwnState(np.ndarray):
    def __reduce__(self) -> tuple:
        return WithOwnState.make, (self.tobytes(), self.dtype.str)

    @classmethod
    def make(cls, raw: bytes, dtype: str) -> WithOwnState:
        return np.frombuffer(bytearray(raw), dtype).view(cls)


def readonly(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


numbers = np.arange(N, dtype=float)
structured = np.zeros(N, [("a", "<i4"), ("b", "<f8"), ("s", "S3")])
structured["b"] = numbers
ARRAYS = {
    "C": numbers.reshape(100, 200),
    "Fortran": np.asfortranarray(numbers.reshape(100, 200)),
    "one axis": numbers,
    "small": np.arange(6).reshape(2, 3),
    "strided": np.arange(4.0 * N)[::3],
    "reversed": numbers[::-1],
    "transposed 3-d": np.arange(3.0 * N).reshape(30, 20, 100).transpose(1, 2, 0),
    "wide rows, strided": np.arange(400_000.0).reshape(2, 200_000)[:, ::2],
    "small strided": np.arange(10)[::2],
    "small strided 2-d": np.arange(24).reshape(4, 6)[:, ::2],
    "broadcast": np.broadcast_to(np.arange(300.0), (100, 300)),
    "read-only": readonly(numbers.copy()),
    "small read-only": readonly(np.arange(3)),
    "structured": structured,
    "datetime64": np.arange(N).astype("M8[us]"),
    "timedelta64": np.arange(N).astype("m8[D]"),
    "bool": numbers % 2 == 0,
    "half": numbers.astype("f2"),
    "complex": numbers + 1j,
    "text": numbers.astype("U8"),
    "bytes": numbers.astype("S8"),
    "void": np.zeros(N, "V7"),
    "long double": numbers.astype(np.longdouble),
    "0-d": np.array(3.5),
    "0-d date": np.array("2020-01-01", "M8[D]"),
    "empty": np.zeros((0, 3)),
    "empty structured": np.zeros(0, structured.dtype),
    "no bytes a piece": np.zeros(5, "S0"),
    "object": np.array([1, "a", None, [2]], dtype=object),
    "object 2-d": np.array([[1, "a"], [None, 2.5]], dtype=object, order="F"),
    "structured with objects": np.array([(1, "x")], [("a", int), ("o", object)]),
    "subarray fields": np.zeros(N, [("m", "<f4", (2, 2))]),
    "subclass": numbers.view(Plain),
    "subclass with __new__": WithOwnNew(numbers, "note"),
    "subclass with __reduce__": WithOwnState((N,), float, numbers.tobytes()),
    "matrix": numbers.reshape(100, 200).view(np.matrix),
    "recarray": structured.view(np.recarray),
    "masked": np.ma.masked_greater(numbers, 7),
    "masked, nothing": np.ma.array(numbers),
    "masked, filled, hard": np.ma.array(numbers, mask=numbers > 5, fill_value=-1.0, hard_mask=True),
    "masked structured": np.ma.array(structured, mask=structured["b"] > 5),
    "strings": np.array(["a", "bb" * 40, ""], dtype=np.dtypes.StringDType()),
}
every_array = pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)


def same(a: np.ndarray, b: np.ndarray, *, subclass: bool = True) -> None:
    if subclass:
        assert type(a) is type(b)
    assert a.dtype == b.dtype
    assert a.shape == b.shape
    if isinstance(a, np.ma.MaskedArray):
        assert np.array_equal(np.ma.getmaskarray(a), np.ma.getmaskarray(b))
        assert (np.ma.getmask(a) is np.ma.nomask) == (np.ma.getmask(b) is np.ma.nomask)
        assert a.hardmask == b.hardmask
        assert np.array_equal(a.fill_value, b.fill_value)
        a, b = np.ma.getdata(a), np.ma.getdata(b)
    if a.dtype.names and not a.dtype.hasobject:
        a, b = np.ascontiguousarray(a).view("u1"), np.ascontiguousarray(b).view("u1")
    assert np.asarray(a).tolist() == np.asarray(b).tolist()


@every_array
def test_loads_equal_and_writable(array: np.ndarray, tmp_path: Path) -> None:
    dump({"it": array, "again": array}, tmp_path / "f")
    loaded = load(tmp_path / "f")
    same(loaded["it"], array)
    assert loaded["it"] is loaded["again"]
    assert loaded["it"].flags.writeable
    assert loaded["it"].flags.f_contiguous == array.flags.f_contiguous or not array.flags.forc


@every_array
@pytest.mark.parametrize("reader", ["C", "Python", "joblib"])
def test_is_a_plain_pickle(array: np.ndarray, reader: str, tmp_path: Path) -> None:
    dump([array], tmp_path / "f")
    with open(tmp_path / "f", "rb") as file:
        (loaded,) = {"C": pickle.load, "Python": pickle._load, "joblib": joblib.load}[reader](file)
        assert file.read() == b""
    same(loaded, array)
    assert loaded.flags.writeable


@every_array
@pytest.mark.parametrize("mode", ["r", "c"])
def test_loads_mapped(array: np.ndarray, mode: str, tmp_path: Path) -> None:
    dump({"x": [array]}, tmp_path / "f")
    loaded = load(tmp_path / "f", mmap_mode=mode)["x"][0]
    same(loaded, array, subclass=type(array) is not np.ndarray)
    if type(array) is np.ndarray and not array.dtype.hasobject and array.dtype.kind != "T" and array.nbytes:
        assert type(loaded) is np.memmap
        assert loaded.mode == mode
        assert loaded.flags.writeable == (mode == "c")


@every_array
def test_names_only_what_is_public(array: np.ndarray, tmp_path: Path) -> None:
    dump([array, array[:1] if array.ndim else 0], tmp_path / "f")
    strings = [""]
    for opcode, argument, _ in pickletools.genops((tmp_path / "f").read_bytes()):
        if opcode.name == "STACK_GLOBAL":
            module, name = strings[-2:]
            if module.startswith("numpy"):
                assert not any(part.startswith("_") for part in f"{module}.{name}".split(".")), (module, name)
        elif isinstance(argument, str):
            strings.append(argument)


def test_by_value_too(tmp_path: Path) -> None:
    """Beside a lambda, which needs cloudpickle, arrays are written the same way."""
    dump({"function": lambda: 1, "strided": ARRAYS["strided"], "r": ARRAYS["read-only"]}, tmp_path / "f")
    assert b"_core" not in (tmp_path / "f").read_bytes()
    for loaded in (load(tmp_path / "f"), pickle.loads((tmp_path / "f").read_bytes())):
        same(loaded["strided"], ARRAYS["strided"])
        assert loaded["r"].flags.writeable
    assert type(load(tmp_path / "f", mmap_mode="r")["strided"]) is np.memmap


@every_array
@pytest.mark.parametrize("compress", [0, 1])
def test_where_there_is_no_c_pickler(
    array: np.ndarray, compress: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's own pickler copies a buffer before it hands it over: nothing may rely on stand-ins then."""
    monkeypatch.setattr(pickle, "Pickler", pickle._Pickler)
    monkeypatch.setattr(pickling, "_hands_over", None)
    assert not pickling.hands_over()
    dump({"it": array, "again": array}, tmp_path / "f", compress=compress)
    loaded = load(tmp_path / "f")
    same(loaded["it"], array)
    assert loaded["it"] is loaded["again"]


def test_large_buffers_are_aligned(tmp_path: Path) -> None:
    value = {
        str(n): np.full(n, n % 256, np.uint8) for n in range(layout.HANDED_OVER, layout.HANDED_OVER + 70)
    }
    dump(value, tmp_path / "f")
    for mode in (None, "r"):
        for name, loaded in load(tmp_path / "f", mmap_mode=mode).items():
            assert loaded.tolist() == value[name].tolist()
            assert mode is None or loaded.ctypes.data % layout.ALIGNMENT == 0


def test_a_memory_map_is_written_without_its_file(tmp_path: Path) -> None:
    numbers.tofile(tmp_path / "raw")
    mapped = np.memmap(tmp_path / "raw", float, "r", shape=(100, 200))
    dump(mapped[:, ::2], tmp_path / "f")
    (tmp_path / "raw").unlink()
    same(load(tmp_path / "f"), numbers.reshape(100, 200)[:, ::2])


@pytest.mark.parametrize(
    "scalar",
    [
        np.float64(0.1),
        np.float32(0.1),
        np.int64(-3),
        np.uint8(255),
        np.bool_(True),
        np.float16(0.1),
        np.longdouble("0.1"),
        np.complex128(1 + 2j),
        np.datetime64("2020-01-01T00:00", "s"),
        np.datetime64("NaT"),
        np.timedelta64(3, "h"),
        np.str_("é"),
        np.bytes_(b"x\0"),
        structured[3],
    ],
    ids=lambda scalar: type(scalar).__name__,
)
def test_scalars_keep_type_and_value(scalar: np.generic, tmp_path: Path) -> None:
    dump([scalar], tmp_path / "f")
    for loaded in (load(tmp_path / "f")[0], pickle.loads((tmp_path / "f").read_bytes())[0]):
        assert type(loaded) is type(scalar)
        assert loaded.dtype == scalar.dtype
        assert loaded.tobytes() == scalar.tobytes()
    assert b"_core" not in (tmp_path / "f").read_bytes()


@pytest.mark.parametrize("nbytes", [10, 300_000])
def test_other_buffers(nbytes: int, tmp_path: Path) -> None:
    value = {
        "bytes": b"\x95" * nbytes,
        "bytearray": bytearray(b"x" * nbytes),
        "array": array.array("d", [1.5] * (nbytes // 8)),
        "memoryview": memoryview(b"y" * nbytes),
        "text": "é" * nbytes,
    }
    dump(value, tmp_path / "f")
    for mode in (None, "r"):
        loaded = load(tmp_path / "f", mmap_mode=mode)
        assert loaded == value
        assert [type(part) for part in loaded.values()] == [type(part) for part in value.values()]
    assert pickle.loads((tmp_path / "f").read_bytes()) == value


@pytest.mark.parametrize("code", "bBhHiIlLqQfd")
@pytest.mark.parametrize("compress", [0, 1])
def test_arrays_of_the_standard_library(code: str, compress: int, tmp_path: Path) -> None:
    value = array.array(code, range(100)) * 1000
    dump([value, value, array.array(code)], tmp_path / "f", compress=compress)
    loaded = load(tmp_path / "f")
    assert loaded == [value, value, array.array(code)]
    assert loaded[0] is loaded[1]
    assert loaded[0].typecode == code
    value.append(1)  # nothing holds it any more
    if not compress:
        raw = (tmp_path / "f").read_bytes()
        assert raw.index(value.tobytes()[: -value.itemsize]) % layout.ALIGNMENT == 0
        assert load(tmp_path / "f", mmap_mode="r") == loaded
        for plain in (pickle.loads(raw), pickle._loads(raw)):
            assert plain == loaded
            assert plain[0] is plain[1]


def test_arrays_of_the_standard_library_are_pickled_as_python_does(tmp_path: Path) -> None:
    """Bytes in the order of this machine, and its sizes: another one converts them."""
    value = array.array("l", range(20_000))
    dump(value, tmp_path / "f")
    opcodes = [
        (opcode.name, argument)
        for raw in (pickle.dumps(value, 5), (tmp_path / "f").read_bytes())
        for opcode, argument, _ in pickletools.genops(raw)
        if opcode.name not in ("FRAME", "POP", "SHORT_BINBYTES", "BINBYTES")
        or (isinstance(argument, bytes) and len(argument) > 100_000)
    ]
    half = len(opcodes) // 2
    assert opcodes[:half] == opcodes[half:]


def test_an_array_of_the_standard_library_keeps_its_size_while_it_is_written(tmp_path: Path) -> None:
    value = array.array("d", bytes(160_000))

    class Resizing:
        def __reduce__(self) -> tuple:
            value.append(1.0)
            return int, ()

    with pytest.raises(errors.PicklingFailedError, match="export"):
        dump([value, Resizing()], tmp_path / "f")
    assert not (tmp_path / "f").exists()
    value.append(1.0)
    text = array.array("b", b"x" * 70_000)
    dump({"text": text, "small": value[:3]}, tmp_path / "f", protocol=None)
    assert load(tmp_path / "f") == {"text": text, "small": value[:3]}


def test_memoryviews_keep_format_and_shape(tmp_path: Path) -> None:
    view = memoryview(array.array("d", range(12))).cast("B").cast("d", [3, 4])
    dump(view, tmp_path / "f")
    loaded = load(tmp_path / "f")
    assert (loaded.format, loaded.shape, loaded.tolist()) == ("d", (3, 4), view.tolist())
    dump(memoryview(b"abcdef")[::2], tmp_path / "f")
    assert load(tmp_path / "f") == b"ace"


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data(), compress=st.sampled_from([0, 0, 1]), dedupe=st.booleans())
def test_any_view_of_any_array(data: st.DataObject, compress: int, dedupe: bool, tmp_path: Path) -> None:
    dtype = data.draw(
        st.sampled_from(["u1", "?", "f2", "<i4", ">i4", "f8", "c16", "M8[ns]", "S3", "<U2", "V5", "i1,f8"])
    )
    shape = data.draw(npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=40))
    order = data.draw(st.sampled_from("CF"))
    nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    whole = np.ndarray(shape, dtype, np.arange(nbytes + 1, dtype="u1") % 119, order=order)
    if dtype == "<U2":
        whole = np.full(shape, "xy", order=order)
    view = whole[data.draw(npst.basic_indices(shape, allow_newaxis=True))]
    value = {"view": view, "whole": whole, "again": view}
    dump(value, tmp_path / "f", compress=compress, dedupe=dedupe)
    results = [load(tmp_path / "f", ensure_native_byte_order=False)]
    if not compress:
        raw = (tmp_path / "f").read_bytes()
        results += [pickle.loads(raw), pickle._loads(raw), load(tmp_path / "f", mmap_mode="r")]
    for result in results:
        for name, original in value.items():
            assert result[name].dtype == original.dtype
            assert result[name].shape == original.shape
            assert result[name].tobytes() == original.tobytes()


def test_random_generators_go_on_where_they_were(tmp_path: Path) -> None:
    state, generator = np.random.RandomState(3), np.random.default_rng(3)
    state.normal()  # keeps the second of a pair
    generator.random()
    children = generator.bit_generator.seed_seq.spawn(2)
    others = [
        np.random.Generator(getattr(np.random, name)(5))
        for name in ("MT19937", "Philox", "SFC64", "PCG64DXSM")
    ]
    dump([state, generator, children, others, generator], tmp_path / "f")
    assert not re.search(rb"_pickle|__pyx|_core", (tmp_path / "f").read_bytes())
    one, two = load(tmp_path / "f"), pickle.loads((tmp_path / "f").read_bytes())
    expected = [
        state.normal(),
        state.random_sample(),
        generator.random(),
        *(other.random() for other in others),
    ]
    grandchild = children[0].spawn(1)[0].generate_state(2).tolist()
    sibling = generator.bit_generator.seed_seq.spawn(1)[0].generate_state(2).tolist()
    for first, second, seeds, rest, again in (one, two):
        assert second is again
        drawn = [first.normal(), first.random_sample(), second.random(), *(other.random() for other in rest)]
        assert drawn == expected
        assert seeds[0].spawn(1)[0].generate_state(2).tolist() == grandchild
        assert second.bit_generator.seed_seq.spawn(1)[0].generate_state(2).tolist() == sibling


def test_other_byte_order_is_made_native_unless_mapped_or_unwanted(tmp_path: Path) -> None:
    swapped = np.dtype("f8").newbyteorder()
    value = [np.arange(N, dtype=float).astype(swapped), np.arange(3).astype(np.dtype("i4").newbyteorder())]
    dump(value, tmp_path / "f")
    for loaded, original in zip(load(tmp_path / "f"), value, strict=True):
        assert loaded.dtype.isnative
        assert loaded.tolist() == original.tolist()
        assert loaded.flags.writeable
    for loaded in (
        load(tmp_path / "f", ensure_native_byte_order=False),
        load(tmp_path / "f", mmap_mode="r"),
        pickle.loads((tmp_path / "f").read_bytes()),
    ):
        assert [part.dtype for part in loaded] == [part.dtype for part in value]
    with pytest.raises(ValueError, match="ensure_native_byte_order"):
        load(tmp_path / "f", mmap_mode="r", ensure_native_byte_order=True)


VALUES = {"class": np.ndarray, "list of it": [np.ndarray], "method": np.ndarray.sum, "function": np.zeros}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize("mode", [None, "r", "c", "r+"])
@pytest.mark.filterwarnings("error")
def test_numpys_own_class_as_a_value_stays_itself(value: object, mode: str | None, tmp_path: Path) -> None:
    """Where arrays are made another way (mapped, or with their bytes swapped), the class is found as a stand-in."""
    swapped = np.arange(N, dtype=np.dtype("i4").newbyteorder())
    dump({"value": value, "array": swapped, "view": swapped.view(Plain)}, tmp_path / "f")
    loaded = load(tmp_path / "f", mmap_mode=mode)
    assert loaded["value"] == value
    assert loaded["array"].tolist() == loaded["view"].tolist() == swapped.tolist()
    assert type(loaded["array"]) is (np.memmap if mode else np.ndarray)
    assert type(loaded["view"]) is Plain
    assert loaded["array"].dtype.isnative == (mode is None)


def test_pandas_and_scipy_and_estimators(tmp_path: Path) -> None:
    import pandas as pd
    import scipy.sparse
    from sklearn.linear_model import LogisticRegression

    x = np.random.default_rng(0).random((2_000, 10))
    frame = pd.DataFrame(x).assign(
        text="a", when=pd.Timestamp("2020-01-01"), kind=pd.Categorical(["u"] * 2_000)
    )
    sparse = scipy.sparse.random(500, 500, 0.1, "csr", random_state=0)
    model = LogisticRegression().fit(x, x[:, 0] > 0.5)
    dump({"frame": frame, "sparse": sparse, "model": model}, tmp_path / "f")
    for mode in (None, "r"):
        loaded = load(tmp_path / "f", mmap_mode=mode)
        assert loaded["frame"].equals(frame)
        assert list(loaded["frame"].dtypes) == list(frame.dtypes)
        assert (loaded["sparse"] != sparse).nnz == 0
        assert np.array_equal(loaded["model"].predict(x), model.predict(x))


def test_an_array_that_changes_while_it_is_written_is_stored_as_read(tmp_path: Path) -> None:
    import threading

    changing = np.zeros(4_000_000)
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            changing[:] += 1

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for value in (
            changing,
            changing.reshape(2000, 2000),
            changing[::2],
            changing.reshape(2000, 2000)[:, :1999],
        ):
            dump(value, tmp_path / "f")
            assert load(tmp_path / "f").shape == value.shape
    finally:
        stop.set()
        thread.join()


def test_numpy_is_not_imported_for_its_own_sake(tmp_path: Path) -> None:
    import subprocess

    code = (
        "import sys, lightwork.persist as p;"
        f"p.dump([b'x' * 100_000, memoryview(b'y')], {str(tmp_path / 'f')!r}); p.load({str(tmp_path / 'f')!r});"
        "assert 'numpy' not in sys.modules and 'cloudpickle' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
