"""Digests: a small call's arguments, big buffers, big containers, tables, models, and what hashing takes of memory.

`hash` has the same name on both sides. The data is made from fixed seeds, and keys are shuffled, since an order that
happens to be right would flatter whoever sorts.
"""

from __future__ import annotations

import itertools
import marshal
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from bench.harness import Case, Figure, Prepare, Work, at_most, faster

_COUNT = 100_000
_ARRAY = 200_000_000  # bytes
_ROWS = 200_000  # of the frame: 12 MB of numbers and some texts


def hashing(make: Callable[[], object]) -> Prepare:
    """Prepare a case that hashes one value, again and again."""

    def prepare(lib: ModuleType, folder: Path) -> Work:
        value = make()
        return lambda: lib.hash(value)

    return prepare


def _is_digest(result: object) -> None:
    assert isinstance(result, str)
    assert len(result) == 32


# --- values -------------------------------------------------------------------------------------------


def call() -> object:
    return {"alpha": 1, "path": "data/x.csv", "beta": 2.5, "flag": True, "name": "hello"}


def floats() -> object:
    import numpy

    return numpy.random.default_rng(0).random(_ARRAY // 8)


def strided() -> object:
    import numpy

    return numpy.random.default_rng(0).random((5000, 5000))[:, ::2]


def texts() -> object:
    return [f"string number {place}" for place in range(_COUNT)]


def tuple_keys() -> object:
    items = [((place, f"k{place}"), place / 2) for place in range(_COUNT)]
    random.Random(0).shuffle(items)
    return dict(items)


def records() -> object:
    return [{"a": i, "b": str(i), "c": i / 2, "d": None, "e": True} for i in range(_COUNT)]


def frame(texts_as: str) -> Callable[[], object]:
    def make() -> object:
        import numpy
        import pandas

        rng = numpy.random.default_rng(0)
        numbers = {name: rng.random(_ROWS) for name in ("a", "b", "c")}
        return pandas.DataFrame(
            {
                **numbers,
                "d": rng.integers(0, 9, _ROWS),
                "e": rng.integers(0, 9, _ROWS).astype("i4"),
                "f": pandas.date_range("2020", periods=_ROWS, freq="s"),
                "g": pandas.Series([f"name {place % 1000}" for place in range(_ROWS)], dtype=texts_as),
                "h": pandas.Categorical.from_codes(rng.integers(0, 3, _ROWS), ["a", "b", "c"]),
            }
        )

    return make


def forest() -> object:
    import numpy
    from sklearn.ensemble import RandomForestClassifier

    x = numpy.random.default_rng(0).normal(size=(5000, 20))
    return RandomForestClassifier(100, random_state=0).fit(x, x[:, 0] + x[:, 1] ** 2 > 1)


# --- memory -------------------------------------------------------------------------------------------


def peak(lib: ModuleType, folder: Path) -> Work:
    """Measure what hashing allocates at most, for each value of the other cases."""
    values = [
        call(),
        floats(),
        strided(),
        texts(),
        tuple_keys(),
        records(),
        frame("str")(),
        frame("object")(),
        forest(),
    ]

    def work() -> Figure:
        highest = 0
        for value in values:
            tracemalloc.start()
            result = lib.hash(value)
            highest = max(highest, tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        return Figure(highest / 1e6, result)

    return work


# --- bandwidth ----------------------------------------------------------------------------------------


def reading(lib: ModuleType, folder: Path) -> Work:
    """Read 200 MB and do next to nothing: what this machine's memory gives to one thread."""
    numbers = floats().view("i8")  # type: ignore[attr-defined]
    return lambda: (numbers.max(), "0" * 32)[1]


# --- code ---------------------------------------------------------------------------------------------


def fingerprint(lib: ModuleType, folder: Path) -> Work:
    """Look again at a function with 20 helpers, none of which changed."""
    from lightwork.hashing import fingerprint

    space: dict[str, Callable[[object], object]] = {}
    helpers = "".join(f"def h{i}(x): return x + {i}\n" for i in range(20))
    exec(f"{helpers}def f(x): return {' + '.join(f'h{i}(x)' for i in range(20))}\n", space)
    f = space["f"]
    return lambda: (fingerprint(f), "0" * 32)[1]


_HELPER = """
def h{0}(x, scale={0}, *, flag=False):
    # Return something.
    total = 0
    for k in range(x):
        if k % 3 == 0 and flag:
            total += k * scale
        elif k > 10:
            total -= RATE
        else:
            total = max(total, min(k, {0}))
    return [total, math.sqrt(abs(total)), f"{{total:>10}}"]
"""


def first_look(lib: ModuleType, folder: Path) -> Work:
    """Look for the first time at a function with 20 helpers of ten lines, in a file that was not read before."""
    from lightwork.hashing import fingerprint

    text = "import math\nRATE = 3\n" + "".join(_HELPER.format(i) for i in range(20))
    text += f"def f(x): return {' + '.join(f'h{i}(x)' for i in range(20))}\n"
    compiled = []
    for copy in range(40):  # more than are kept in memory
        path = folder / f"helpers{copy}.py"
        path.write_text(text)
        compiled.append(marshal.dumps(compile(text, str(path), "exec")))
    copies = itertools.cycle(compiled)

    def look() -> str:
        space: dict[str, Callable[[object], object]] = {}
        exec(marshal.loads(next(copies)), space)
        fingerprint(space["f"])
        return "0" * 32

    return look


CASES = [
    Case("200 MB array", hashing(floats), _is_digest, faster(30), work=_ARRAY, unit="B"),
    Case(
        "200 MB array, against reading it",
        hashing(floats),
        _is_digest,
        faster(0.8),
        peer="numpy",
        prepare_peer=reading,
    ),
    Case("arguments of a small call", hashing(call), _is_digest, at_most(2e-6), calls=2000),
    Case("100k strings", hashing(texts), _is_digest, at_most(9e-3), calls=2),
    Case("100k tuple keys", hashing(tuple_keys), _is_digest, faster(12)),
    Case("100k dicts of 5", hashing(records), _is_digest, faster(10)),
    Case("DataFrame, Arrow or NumPy strings", hashing(frame("str")), _is_digest, faster(15)),
    Case("DataFrame, strings as objects", hashing(frame("object")), _is_digest, faster(15)),
    Case("fitted forest of 100 trees", hashing(forest), _is_digest, faster(8)),
    Case("100 MB slice with strides", hashing(strided), _is_digest, faster(12)),
    Case("memory while hashing", peak, _is_digest, at_most(16), unit="MB", repeats=1),
    Case(
        "fingerprint, 20 helpers, first look", first_look, _is_digest, at_most(6e-3), peer="numpy", calls=10
    ),
    Case(
        "fingerprint, 20 helpers, unchanged", fingerprint, _is_digest, at_most(2e-6), peer="numpy", calls=2000
    ),
]
