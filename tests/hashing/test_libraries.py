"""Whose code is whose: the standard library, installed distributions, lightwork itself, and the user."""

from __future__ import annotations

import json
import os
import sys

import numpy as np
import pytest

import lightwork
from lightwork.hashing import libraries


def test_modules():
    for name in (
        "json",
        "json.decoder",
        "builtins",
        "numpy",
        "numpy.linalg",
        "lightwork",
        "lightwork.hashing",
    ):
        assert libraries.is_library_module(name), name
    for name in ("__main__", "", None, "a_module_that_is_not_there", __name__):
        assert not libraries.is_library_module(name), name


def test_files(tmp_path):
    for name in (json.__file__, np.__file__, lightwork.__file__, "<frozen importlib._bootstrap>"):
        assert libraries.is_library_file(name), name
    for name in (
        __file__,
        str(tmp_path / "a.py"),
        "<string>",
        "<ipython-input-1-abc>",
        "site-packages-of-mine.py",
    ):
        assert not libraries.is_library_file(name), name


def test_versions_count_by_their_first_two_numbers(monkeypatch):
    assert libraries.library_name("json") == ""
    major, minor = np.__version__.split(".")[:2]
    assert libraries.library_name("numpy.linalg") == f"numpy {major}.{minor}"
    libraries._version.cache_clear()
    monkeypatch.setattr(np, "__version__", "9.8.7rc1")
    assert libraries.library_name("numpy") == "numpy 9.8"
    libraries._version.cache_clear()


def test_a_wrapper_belongs_to_the_file_that_made_it():
    file = os.path.join(sys.prefix, "lib", "site-packages", "somelib", "wrap.py")
    assert libraries._root_of_file(file) == "somelib"
    assert libraries._root_of_file(os.path.join(sys.prefix, "lib", "site-packages", "single.py")) == "single"


@pytest.mark.parametrize(
    ("root", "library"), [("json", True), ("numpy", True), ("", False), ("not_there_at_all", False)]
)
def test_roots_need_not_be_imported(root, library):
    assert libraries.is_library_root(root) is library
