"""Every misuse gets one clear error of our own, that the built-in people catch also catches; nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lightwork import Memory, Parallel, delayed, dump, errors, hash, load


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    dump("old", "file")
    Path("text").write_text("not a pickle\n")
    Path("cut").write_bytes(Path("file").read_bytes()[:-10])
    Path("folder").mkdir()
    return tmp_path


def loop(*tasks: object, **options: object) -> object:
    return Parallel(n_jobs=2, **options)(tasks)


# what is done -> our error, the built-in, what the message must say
MISUSES: dict[str, tuple[Callable[[], object], str, type[Exception], str]] = {
    "a loop over what is no task": (lambda: loop(3), "TaskFormatError", TypeError, "delayed"),
    "a call of what cannot be called": (lambda: delayed(3), "OptionTypeError", TypeError, "3"),
    "no workers": (lambda: Parallel(n_jobs=0), "OptionError", ValueError, "n_jobs"),
    "an unknown backend": (lambda: Parallel(backend="lokki"), "OptionError", ValueError, "lokki"),
    "an unknown return_as": (lambda: Parallel(return_as="tuple"), "OptionError", ValueError, "tuple"),
    "a batch of nothing": (lambda: Parallel(batch_size=0), "OptionError", ValueError, "batch_size"),
    "an argument that cannot be sent": (
        lambda: loop(delayed(divmod)(1, threading.Lock())),
        "PicklingFailedError",
        Exception,
        "task 0, .* argument 1",
    ),
    "remembering what cannot be called": (lambda: Memory("c").cache(3), "OptionTypeError", TypeError, "3"),
    "ignoring an argument that is none": (
        lambda: Memory("c", verbose=0).cache(ignored, ignore=["z"])(1),
        "OptionError",
        ValueError,
        "z",
    ),
    "writing into no folder": (
        lambda: dump(1, "none/file"),
        "TargetMissingError",
        FileNotFoundError,
        "none",
    ),
    "writing over a folder": (lambda: dump(1, "folder"), "TargetIsFolderError", IsADirectoryError, "folder"),
    "writing to a number": (lambda: dump(1, 3.5), "OptionTypeError", TypeError, "float"),
    "writing what cannot be pickled": (
        lambda: dump({"a": [threading.Lock()]}, "file"),
        "PicklingFailedError",
        Exception,
        "a",
    ),
    "too high a level": (lambda: dump(1, "file", compress=10), "OptionError", ValueError, "10"),
    "a level below zero": (lambda: dump(1, "file", compress=-1), "OptionError", ValueError, "-1"),
    "an unknown method": (lambda: dump(1, "file", compress="zap"), "OptionError", ValueError, "zap"),
    "reading no file": (lambda: load("none"), "FileMissingError", FileNotFoundError, "none"),
    "reading a text": (lambda: load("text"), "DamagedFileError", ValueError, "text"),
    "reading half a file": (lambda: load("cut"), "DamagedFileError", ValueError, "cut"),
    "a mode that is none": (lambda: load("file", mmap_mode="x"), "OptionError", ValueError, "x"),
    "a digest of what has no value": (
        lambda: hash({"a": [threading.Lock()]}),
        "HashError",
        TypeError,
        "lock",
    ),
    "a digest by an unknown name": (lambda: hash(1, "md7"), "OptionError", ValueError, "md7"),
}


def ignored(x: int, y: int = 0) -> int:
    return x


@pytest.mark.parametrize("misuse", MISUSES)
def test_a_misuse_has_its_error(misuse: str, here: Path) -> None:
    act, name, builtin, said = MISUSES[misuse]
    before = sorted(path.name for path in here.iterdir() if path.name != "c")
    with pytest.raises(getattr(errors, name), match=said) as caught:
        act()
    assert isinstance(caught.value, (errors.LightworkError,))
    assert isinstance(caught.value, builtin)
    assert load("file") == "old"
    assert sorted(path.name for path in here.iterdir() if path.name != "c") == before


@pytest.mark.parametrize("compress", [0, 3])
def test_a_failed_write_leaves_the_old_file_whole(compress: int, here: Path) -> None:
    class Fails:
        def __reduce__(self) -> str:
            raise ZeroDivisionError("on purpose")

    with pytest.raises((ZeroDivisionError, errors.PicklingFailedError)):
        dump([np.zeros(1_000_000), Fails()], "file", compress=compress)
    assert load("file") == "old"
    assert sorted(path.name for path in here.iterdir()) == ["cut", "file", "folder", "text"]
