"""Files: dump and load beside joblib, NumPy and pickle; every case writes to a new name, on the same disk."""

from __future__ import annotations

import itertools
import os
import pickle
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from types import ModuleType
from typing import Any

from bench.harness import Case, Figure, Prepare, Work, at_most, faster

_FLOATS = 25_000_000  # 200 MB
_MB = 1 << 20

Value = Callable[[], Any]
Write = Callable[[ModuleType, Any, str], object]
Read = Callable[[ModuleType, str], Any]


# --- what is written ------------------------------------------------------------------------------


def numbers() -> Any:
    import numpy as np

    return np.random.default_rng(0).random(_FLOATS)


def smooth() -> Any:
    import numpy as np

    steps = np.random.default_rng(0).normal(0, 1e-6, _FLOATS // 4)
    return np.sin(np.linspace(0, 1000, _FLOATS // 4)) + steps


def strided() -> Any:
    import numpy as np

    return np.random.default_rng(0).random((5000, 10_000))[:, ::2]


def masked() -> Any:
    import numpy as np

    values = numbers()
    return np.ma.masked_array(values, values < 0.1)


def dates() -> Any:
    return (numbers() * 1e15).astype("M8[us]")


def dicts() -> Any:
    return [{"id": i, "name": f"n{i}", "score": i * 0.5, "tags": ["a", "b"]} for i in range(100_000)]


def frame() -> Any:
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(0)
    count = 500_000
    columns: dict[str, Any] = {f"x{i}": rng.random(count) for i in range(10)}
    return pd.DataFrame(
        {**columns, "key": rng.integers(0, 100, count), "text": rng.choice(["red", "green"], count)}
    )


def forest() -> Any:
    from sklearn.datasets import load_digits
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(200, random_state=0).fit(*load_digits(return_X_y=True))


def small() -> Any:
    return {"a": 1, "b": 2.5, "c": "text", "d": [1, 2, 3], "e": None}


# --- how ------------------------------------------------------------------------------------------


def write(lib: ModuleType, value: Any, path: str) -> object:
    if lib.__name__ == "numpy":
        lib.save(path + ".npy", value)
        os.rename(path + ".npy", path)
    elif lib.__name__ == "pickle":
        with open(path, "wb") as file:
            lib.dump(value, file, 5)
    else:
        return lib.dump(value, path)
    return None


def read(lib: ModuleType, path: str) -> Any:
    if lib.__name__ == "pickle":
        with open(path, "rb") as file:
            return lib.load(file)
    return lib.load(path)


def write_compressed(lib: ModuleType, value: Any, path: str) -> object:
    return lib.dump(value, path, compress=3 if lib.__name__ == "joblib" else True)


def dumping(value: Value, how: Write = write) -> Prepare:
    """Seconds to write to a new name; what was written is removed after the clock has stopped."""

    def prepare(lib: ModuleType, folder: Path) -> Work:
        data = value()
        path = str(folder / "file")

        def work() -> Figure:
            started = perf_counter()
            how(lib, data, path)
            seconds = perf_counter() - started
            size = os.path.getsize(path)
            os.unlink(path)
            return Figure(seconds, size)

        return work

    return prepare


def loading(value: Value, how: Read = read, by: Write = write) -> Prepare:
    def prepare(lib: ModuleType, folder: Path) -> Work:
        path = str(folder / "file")
        by(lib, value(), path)
        return lambda: how(lib, path)

    return prepare


def mapping(megabytes: int) -> Prepare:
    def prepare(lib: ModuleType, folder: Path) -> Work:
        import numpy as np

        path = str(folder / "file")
        lib.dump({"deep": [np.zeros(megabytes * _MB // 8)]}, path)
        return lambda: lib.load(path, mmap_mode="r")["deep"][0]

    return prepare


def extra_memory(value: Value) -> Prepare:
    """By how many MB writing raises the peak of a process that has not written before."""

    def prepare(lib: ModuleType, folder: Path) -> Work:
        data = value()
        path = str(folder / "file")

        def work() -> Figure:
            Path("/proc/self/clear_refs").write_text("5")  # the peak is what is used now
            before = _status("VmHWM")
            lib.dump(data, path)
            return Figure(_status("VmHWM") - before)

        return work

    return prepare


def _status(name: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise LookupError(name)


def unverified(lib: ModuleType, folder: Path) -> Work:
    """What `load` would cost without digests: the same memory, filled by the same calls."""
    from lightwork.persist import dump, sealed

    path = str(folder / "file")
    dump(numbers(), path)

    def work() -> object:
        size = os.path.getsize(path)
        room = sealed.private(size)
        fd = os.open(path, os.O_RDONLY)
        try:
            with memoryview(room) as view:
                for start in range(0, size, sealed._BLOCK):
                    os.preadv(fd, [view[start : start + sealed._BLOCK]], start)
        finally:
            os.close(fd)
        return room

    return work


def on_one_core(lib: ModuleType, folder: Path) -> Work:
    """Compressing with a single core allowed: what two are compared with."""
    import lightwork

    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    return dumping(numbers, write_compressed)(lightwork, folder)


def round_trip(where: str | None) -> Prepare:
    def prepare(lib: ModuleType, folder: Path) -> Work:
        if where is not None:
            place = tempfile.TemporaryDirectory(dir=where)
            folder = Path(place.name)
            folder.joinpath("keep").symlink_to(".")
            sys.modules[__name__].__dict__.setdefault("_places", []).append(place)
        value, fresh, base = small(), itertools.count(), str(folder)

        def work() -> Any:
            path = f"{base}/{next(fresh)}"
            lib.dump(value, path)
            return lib.load(path)

        return work

    return prepare


def raw_pickle(lib: ModuleType, folder: Path) -> Work:
    """`pickle.load` of 200 buffers, from our file or from an ordinary pickle.

    Both sides write both files before: what was allocated and freed until then decides whether malloc hands out fresh
    pages for each buffer (28 or 36 ms here), and that is no matter of the file.
    """
    import numpy as np

    from lightwork.persist import dump

    value = [np.full(50_000, float(i)) for i in range(200)]
    paths = {"lightwork": folder / "ours", "pickle": folder / "plain"}
    dump(value, paths["lightwork"])
    paths["pickle"].write_bytes(pickle.dumps(value, 5))
    path = paths[lib.__name__]

    def work() -> Any:
        with open(path, "rb") as file:
            return pickle.load(file)

    return work


# --- what has to come out -------------------------------------------------------------------------


def _written(least: float) -> Callable[[object], None]:
    def check(size: object) -> None:
        assert isinstance(size, int)
        assert size > least

    return check


def _check_numbers(array: Any) -> None:
    assert array.shape == (_FLOATS,)
    assert array.flags.writeable
    assert abs(float(array[::1000].mean()) - 0.5) < 0.01


def _check_smooth(array: Any) -> None:
    assert array.shape == (_FLOATS // 4,)
    assert abs(array).max() < 1.1


def _check_mapped(array: Any) -> None:
    assert type(array).__name__ == "memmap"
    assert array[0] == array[-1] == 0


def _check_dicts(value: Any) -> None:
    assert len(value) == 100_000
    assert value[77] == {"id": 77, "name": "n77", "score": 38.5, "tags": ["a", "b"]}


def _check_frame(value: Any) -> None:
    assert value.shape == (500_000, 12)


def _check_forest(value: Any) -> None:
    assert len(value.estimators_) == 200


def _check_small(value: object) -> None:
    assert value == small()


def _check_buffers(value: Any) -> None:
    assert [array[0] for array in value] == list(range(200))


def _check_room(room: Any) -> None:
    assert len(room) >= _FLOATS * 8


def _anything(_: object) -> None:
    return None


_BIG: dict[str, Any] = {"unit": "B", "work": _FLOATS * 8, "repeats": 9}
_dump, _load = dumping(numbers), loading(numbers)

CASES = [
    Case("dump 200 MB", _dump, _written(2e8), faster(1.8), **_BIG),
    Case("dump 200 MB, np.save", _dump, _written(2e8), faster(0.9), peer="numpy", **_BIG),
    Case("dump 200 MB, pickle 5", _dump, _written(2e8), faster(1.3), peer="pickle", **_BIG),
    Case("load 200 MB", _load, _check_numbers, faster(1.3), **_BIG),
    Case("load 200 MB, np.load", _load, _check_numbers, faster(1.0), peer="numpy", **_BIG),
    Case("load 200 MB, pickle", _load, _check_numbers, faster(2.5), peer="pickle", **_BIG),
    Case(
        "load 200 MB, unverified read",
        loading(numbers),
        _anything,
        faster(0.87),
        prepare_peer=unverified,
        **_BIG,
    ),
    *(
        case
        for megabytes in (10, 200, 4000)
        for case in (
            Case(f"map {megabytes} MB", mapping(megabytes), _check_mapped, at_most(0.0002), calls=200),
        )
    ),
    Case("map 200 MB, ratio", mapping(200), _check_mapped, faster(2), calls=200),
    Case("dump 100k dicts", dumping(dicts), _written(1e6), faster(15), repeats=3),
    Case("dump 100k dicts, pickle 5", dumping(dicts), _written(1e6), faster(1.0), peer="pickle"),
    Case("load 100k dicts", loading(dicts), _check_dicts, faster(5), repeats=3),
    Case("load 100k dicts, pickle", loading(dicts), _check_dicts, faster(1.0), peer="pickle"),
    Case("dump DataFrame, 50 MB", dumping(frame), _written(4e7), faster(1.1)),
    Case("dump DataFrame, pickle 5", dumping(frame), _written(4e7), faster(1.0), peer="pickle"),
    Case("load DataFrame", loading(frame), _check_frame, faster(1.0)),
    Case("load DataFrame, pickle", loading(frame), _check_frame, faster(1.0), peer="pickle"),
    Case("dump forest of 200", dumping(forest), _written(1e6), faster(1.1)),
    Case("dump forest, pickle 5", dumping(forest), _written(1e6), faster(1.0), peer="pickle"),
    Case("load forest of 200", loading(forest), _check_forest, faster(3)),
    Case("load forest, pickle", loading(forest), _check_forest, faster(1.0), peer="pickle"),
    Case("dump 200 MB, strided", dumping(strided), _written(1.9e8), faster(2), **_BIG),
    Case("dump 200 MB, masked", dumping(masked), _written(2e8), faster(2), **_BIG),
    Case("dump 200 MB, datetime64", dumping(dates), _written(2e8), faster(2), **_BIG),
    *(
        Case(f"memory of that, {name}", extra_memory(value), _anything, at_most(64), unit="MB", repeats=3, fresh=True)
        for name, value in {"plain": numbers, "strided": strided, "masked": masked, "datetime64": dates}.items()
    ),
    Case("compress=True, smooth", dumping(smooth, write_compressed), _written(1e6), faster(5), repeats=3),
    Case("load that", loading(smooth, by=write_compressed), _check_smooth, faster(2), repeats=3),
    Case("two cores against one", dumping(numbers, write_compressed), _written(1e6), faster(1.7),
         prepare_peer=on_one_core, repeats=3),
    Case("small object, tmpfs", round_trip("/dev/shm"), _check_small, at_most(40e-6), calls=500),
    Case("small object, tmpfs, ratio", round_trip("/dev/shm"), _check_small, faster(2), calls=500),
    Case("small object, disk", round_trip(None), _check_small, None, calls=200),
    Case("pickle.load of 200 buffers", raw_pickle, _check_buffers, faster(1 / 1.1), peer="pickle"),
]  # fmt: skip
