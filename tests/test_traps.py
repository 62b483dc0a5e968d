"""The silent failures that the design names, tried from outside, through the public names only."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lightwork import Memory, Parallel, delayed, dump, hash, load
from lightwork.errors import CodeChangedWarning, DamagedFileError, WorkerDied


def meet(folder: Path, me: int, others: int) -> None:
    """Come back when all tasks are here: each is then in a worker of its own."""
    (folder / str(me)).touch()
    deadline = time.monotonic() + 30
    while len(os.listdir(folder)) < others:
        assert time.monotonic() < deadline, "the tasks did not run side by side"


def draw(folder: Path, me: int) -> tuple[int, float, float]:
    meet(folder, me, 2)
    return os.getpid(), random.random(), float(np.random.random())


def test_two_workers_never_draw_equal_random_numbers(tmp_path: Path) -> None:
    drawn = Parallel(n_jobs=2, batch_size=1)(delayed(draw)(tmp_path, i) for i in range(2))
    for column in zip(*drawn, strict=True):
        assert len(set(column)) == 2


def write(array: np.ndarray) -> float:
    array += 1
    return float(array.max())


@pytest.mark.parametrize("count", [1_000, 500_000])
def test_a_task_never_sees_the_writes_of_another(count: int) -> None:
    shared = np.zeros(count)
    assert set(Parallel(n_jobs=2)(delayed(write)(shared) for _ in range(40))) == {1.0}
    assert shared.max() == 0


def test_an_array_never_hashes_like_its_bytes() -> None:
    array = np.arange(6.0).reshape(2, 3)
    alike = [
        array,
        array.tobytes(),
        bytearray(array.tobytes()),
        array.tolist(),
        array.reshape(3, 2),
        array.astype("f4"),
        array.view("i8"),
        np.asfortranarray(array),
        list(array),
        tuple(array),
    ]
    digests = [hash(value) for value in alike]
    assert len(set(digests)) == len(alike)
    assert hash(array.copy()) == digests[0]


class Trace:
    """Leaves a trace when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("compress", [0, 3])
def test_a_damaged_file_executes_nothing(tmp_path: Path, compress: int) -> None:
    whole, cut, trace = tmp_path / "whole", tmp_path / "cut", tmp_path / "trace"
    dump([Trace(trace), np.arange(20_000.0), "text" * 100], whole, compress=compress)
    data = whole.read_bytes()
    rng = random.Random(0)
    damaged = [
        data[:length] for length in {0, 1, 2, *range(0, len(data), max(1, len(data) // 200))} - {len(data)}
    ]
    for place in rng.sample(range(len(data)), 300):
        flipped = bytearray(data)
        flipped[place] ^= 1 << rng.randrange(8)
        damaged.append(bytes(flipped))
    loaded = 0
    for content in damaged:
        cut.write_bytes(content)
        try:
            load(cut)
        except DamagedFileError:
            assert not trace.exists()
        else:
            # A flipped bit may lie where nothing depends on it (the filler before an array).
            loaded += 1
            trace.rmdir()
    assert loaded <= len(damaged) // 20
    load(whole)
    assert trace.exists()


EDITED = """
import sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import features
if "edit" in sys.argv:
    source = Path("features.py")
    source.write_text(source.read_text().replace("old", "new"))
from lightwork import Memory
print(Memory("cache", verbose=0).cache(features.f)(1))
"""


def test_the_old_code_of_an_edited_module_never_stores_its_result_as_the_new_ones(tmp_path: Path) -> None:
    (tmp_path / "features.py").write_text("def f(x):\n    return ['old', x]\n")
    (tmp_path / "script.py").write_text(EDITED)

    def run(*arguments: str) -> str:
        command = [sys.executable, "-B", "script.py", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    assert run("edit") == "['old', 1]\n"  # what runs is still the old code
    assert run() == "['new', 1]\n"


def test_the_user_is_told_that_a_module_was_edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "features_edited.py"
    source.write_text("def f(x):\n    return ['old', x]\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    import features_edited  # type: ignore[import-not-found]

    source.write_text("def f(x):\n    return ['new', x]\n")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert Memory(tmp_path / "cache", verbose=0).cache(features_edited.f)(1) == ["old", 1]
    del sys.modules["features_edited"]
    assert [warning.category for warning in caught] == [CodeChangedWarning]
    assert "features_edited" in str(caught[0].message)


@pytest.mark.parametrize("size", [60_000, 200_000, 300_000, 3_000_000])
def test_big_messages_that_cross_never_dead_lock(size: int) -> None:
    tasks = (delayed(bytes.upper)(bytes([97 + i % 26]) * size) for i in range(60))
    results = Parallel(n_jobs=2, batch_size=1, pre_dispatch="all")(tasks)
    assert [result[:1] for result in results] == [bytes([65 + i % 26]) for i in range(60)]
    assert {len(result) for result in results} == {size}


def die(i: int) -> int:
    if i == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return i


def test_a_dead_worker_is_told_with_its_task_and_the_next_call_is_whole() -> None:
    with Parallel(n_jobs=2, batch_size=1) as parallel:
        with pytest.raises(WorkerDied, match="SIGKILL") as caught:
            parallel(delayed(die)(i) for i in range(20))
        assert caught.value.index == 3
        assert parallel(delayed(abs)(-i) for i in range(100)) == list(range(100))


INTERRUPTED = """
import os, time
from lightwork import Parallel, delayed

def wait(i):
    os.write(1, b"r")
    time.sleep(600)

Parallel(n_jobs=2)(delayed(wait)(i) for i in range(20))
"""


def test_an_interrupt_returns_the_prompt(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(INTERRUPTED)
    with subprocess.Popen(
        [sys.executable, "script.py"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as script:
        assert script.stdout is not None
        assert script.stdout.read(1) == b"r"
        script.send_signal(signal.SIGINT)
        began = time.monotonic()
        assert script.wait(30) != 0
        # Half a second on a quiet machine; that no worker is left is looked at by `nothing_left`.
        assert time.monotonic() - began < 3
        assert script.stderr is not None
        assert script.stderr.read().rstrip().endswith(b"KeyboardInterrupt")
