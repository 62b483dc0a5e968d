"""A file that was written with other versions says so once, naming both."""

from __future__ import annotations

import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest

from lightwork import errors
from lightwork.persist import dump, load, versions


class Estimator:
    def __init__(self, size: int) -> None:
        self.weights = np.zeros(size)


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    module = types.ModuleType("some_models")
    module.__version__ = "1.6.1"
    module.Estimator = Estimator
    monkeypatch.setitem(sys.modules, "some_models", module)
    monkeypatch.setattr(Estimator, "__module__", "some_models")
    return module


@pytest.mark.parametrize("size", [3, 20_000])
@pytest.mark.parametrize("mode", [None, "r"])
def test_drift_is_told_once_a_load(
    size: int, mode: str | None, package: types.ModuleType, tmp_path: Path
) -> None:
    dump([Estimator(size), Estimator(size)], tmp_path / "f")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(tmp_path / "f", mmap_mode=mode)
        package.__version__ = "1.6.2"
        load(tmp_path / "f", mmap_mode=mode)
    package.__version__ = "1.9.0"
    versions._known.clear()  # a process knows its packages: they do not change while it runs
    with pytest.warns(
        errors.VersionWarning, match=r"/f was written by some_models 1\.6\.1, read under 1\.9\.0"
    ) as told:
        load(tmp_path / "f", mmap_mode=mode)
    assert [warning.filename for warning in told] == [__file__]


def test_arrays_alone_are_no_cause_for_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dump(np.arange(3), tmp_path / "f")
    monkeypatch.setattr(np, "__version__", "99.0")
    load(tmp_path / "f")
