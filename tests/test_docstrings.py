"""The examples in docstrings are run, as after ``from lightwork import *``; every public name has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import warnings
from pathlib import Path

import pytest

import lightwork

PACKAGE = Path(lightwork.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if path.stem != "__main__"
)
PUBLIC = sorted({*lightwork.__all__, "hash", "map"} - {"__version__"})


def examples(name: str) -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    module = importlib.import_module(name)
    found = finder.find(module, extraglobs={public: getattr(lightwork, public) for public in PUBLIC})
    return [test for test in found if test.examples]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_can_be_imported_and_its_examples_are_true(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    said: list[str] = []
    with warnings.catch_warnings():
        for test in examples(name):
            runner.run(test, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_has_an_example(name: str) -> None:
    assert ">>> " in (inspect.getdoc(getattr(lightwork, name)) or "")
