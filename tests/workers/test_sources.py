"""Edited modules are noticed, and only those of the user."""

import importlib
import os
import sys

import pytest

from lightwork.workers.sources import Sources


@pytest.fixture
def module(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    name = f"edited_{os.getpid()}"
    path = tmp_path / f"{name}.py"
    path.write_text("VALUE = 1\n")
    yield name, path
    sys.modules.pop(name, None)


def test_a_module_that_was_edited_after_it_was_loaded_is_noticed(module):
    name, path = module
    sources = Sources()
    importlib.import_module(name)
    assert not sources.changed()
    path.write_text("VALUE = 22\n")
    assert sources.changed()


def test_a_module_that_has_gone_is_noticed(module):
    name, path = module
    sources = Sources()
    importlib.import_module(name)
    assert not sources.changed()
    path.unlink()
    assert sources.changed()


def test_library_modules_are_not_looked_at():
    sources = Sources()
    for name in ("colorsys", "wave"):
        sys.modules.pop(name, None)
        importlib.import_module(name)
    assert not sources.changed()
    assert sources._stamps == {}
