"""What people say about a scope: names of what they give, and errors for what could have no effect."""

from __future__ import annotations

import functools
import json
import sys
import types

import numpy as np
import pytest

from lightwork.errors import OptionError, OptionTypeError
from lightwork.hashing.named import dependencies, packages


class Model:
    rate = 1

    def fit(self):
        return 1

    @classmethod
    def of(cls):
        return 1


def helper():
    def inner():
        return 1

    return inner


@functools.wraps(helper)
def wrapper():
    return 1


@pytest.fixture
def features(monkeypatch):
    made = types.ModuleType("features_that_are_there")
    made.scale, made.Model, made.RATE = helper, Model, 3
    made.__spec__ = types.SimpleNamespace(_initializing=False)
    monkeypatch.setitem(sys.modules, made.__name__, made)
    return made


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (helper, f"{__name__}.helper"),
        (helper(), f"{__name__}.helper.<locals>.inner"),
        (wrapper, f"{__name__}.helper"),
        (Model, f"{__name__}.Model"),
        (Model.fit, f"{__name__}.Model.fit"),
        (Model().fit, f"{__name__}.Model.fit"),
        (Model.of, f"{__name__}.Model.of"),
        (functools.lru_cache(helper), f"{__name__}.helper"),
        (np, "numpy"),
        (np.linalg, "numpy.linalg"),
        ("numpy.linalg.norm", "numpy.linalg.norm"),
        ("numpy", "numpy"),
        ("__main__.defined_further_down", "__main__.defined_further_down"),
        ("features_that_are_there.RATE", "features_that_are_there.RATE"),
        ("features_that_are_there.Model.rate", "features_that_are_there.Model.rate"),
        ("features_that_are_there.scale.<locals>.inner", "features_that_are_there.scale.<locals>.inner"),
        ("email.mime.not_imported_yet", "email.mime.not_imported_yet"),
    ],
)
def test_names(features, monkeypatch, given, name):
    monkeypatch.delitem(sys.modules, "email.mime", raising=False)
    assert dependencies([given, given]) == (name,)


def test_names_are_in_one_order():
    assert dependencies(["numpy", "json"]) == dependencies([json, np]) == ("json", "numpy")
    assert dependencies([]) == packages(()) == ()


def test_what_is_being_imported_may_yet_define_a_name(features):
    features.__spec__._initializing = True
    assert dependencies(["features_that_are_there.later"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["features_that_are_there.scael"], r"has no 'scael'; did you mean 'scale'\?"),
        (["features_that_are_there.Model.ratte"], r"Model has no 'ratte'; did you mean 'rate'\?"),
        (["features_that_are_there.RATE.real"], r"RATE is of type int, and counts whole or not at all"),
        (
            ["feature_that_are_there.scale"],
            r"no module 'feature_that_are_there'; did you mean 'features_that_are",
        ),
        (["numpyy"], r"no module 'numpyy'; did you mean 'numpy'\?"),
        (["email.mimee"], "email has no 'mimee'"),
        (["a b"], "'a b' is not a dotted name"),
        ([""], "'' is not a dotted name"),
        ([lambda: 1], "all lambdas of .* define it with `def`"),
    ],
)
def test_names_that_lead_nowhere_are_told(features, given, message):
    import email  # noqa: F401 - so that what it holds is known

    with pytest.raises(OptionError, match=message):
        dependencies(given)


@pytest.mark.parametrize("given", [[3], [functools.partial(helper)], [None], "numpy", helper, 3])
def test_what_has_no_name_is_told(given):
    with pytest.raises(OptionTypeError, match="ignore_deps"):
        dependencies(given)


def test_packages():
    assert packages(["numpy", np, np.linalg]) == ("numpy", "numpy.linalg")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["numpi"], r"no module 'numpi'; did you mean 'numpy'\?"),
        (["scikit-learn"], "the distribution 'scikit-learn' holds the package 'sklearn'"),
        (["json"], "'json' is part of Python"),
        (["lightwork.hashing"], "part of lightwork"),
        ([""], "no module ''"),
    ],
)
def test_packages_that_are_nowhere_are_told(given, message):
    with pytest.raises(OptionError, match=message):
        packages(given)


@pytest.mark.parametrize("given", ["numpy", 3, [3], [helper]])
def test_packages_without_a_name_are_told(given):
    with pytest.raises(OptionTypeError, match="track_packages"):
        packages(given)
