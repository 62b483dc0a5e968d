"""How far a fingerprint goes: own code alone, less than all, more than all, and versions of libraries."""

from __future__ import annotations

import importlib
import importlib.util
import linecache
import pickle
import sys
import textwrap
import warnings

import numpy as np
import pytest

from lightwork.hashing import digest, fingerprint, libraries, survey
from lightwork.hashing.scope import EVERYTHING, Scope

OWN = Scope(track="function")


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module's text, import it under one name, and forget it in the end."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def make(text, name="features", folder="."):
        path = tmp_path / folder / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text))
        linecache.checkcache(str(path))
        spec = importlib.util.spec_from_file_location(name, path)
        made = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, made)
        spec.loader.exec_module(made)
        return made

    yield make
    linecache.clearcache()


def same(module, scope, one, other, name="f"):
    """Whether two texts of a module give `name` the same fingerprint under a scope."""
    first = fingerprint(getattr(module(one), name), scope).digest
    return first == fingerprint(getattr(module(other), name), scope).digest


TEXT = """
K = 1
def g(x): return x + 1
class Model:
    rate = 1
    def fit(self, x): return g(x)
def f(x): return g(x) * K + Model().fit(x)
"""
CHANGES = {
    "K": ("K = 1", "K = 2"),
    "g": ("return x + 1", "return x + 2"),
    "Model.rate": ("rate = 1", "rate = 2"),
    "Model.fit": ("return g(x)\ndef f", "return g(x) + 1\ndef f"),
    "f": ("return g(x) * K", "return g(x) / K"),
}


def noticed(module, scope):
    """The names whose change is noticed under a scope."""
    return {name for name, change in CHANGES.items() if not same(module, scope, TEXT, TEXT.replace(*change))}


# --- records ----------------------------------------------------------------------------------------------


def test_fingerprints_of_two_scopes_are_never_taken_for_each_other(module):
    f = module(TEXT).f
    for _ in range(2):
        whole, own = fingerprint(f), fingerprint(f, OWN)
        assert whole.digest != own.digest
        assert (whole.names, own.names) == (
            ("features.Model.fit", "features.f", "features.g"),
            ("features.f",),
        )
        assert fingerprint(f) is whole
        assert fingerprint(f, Scope(track="function")) is own
        assert fingerprint(f, pickle.loads(pickle.dumps(EVERYTHING))) == whole


def test_a_change_is_noticed_under_each_scope(module):
    made = module(TEXT)
    scopes = [EVERYTHING, Scope(ignore_deps=("features.g",)), Scope(library_versions="exact"), OWN]
    before = [fingerprint(made.f, scope).digest for scope in scopes]
    made.K = 5
    after = [fingerprint(made.f, scope).digest for scope in scopes]
    assert [one != other for one, other in zip(before, after, strict=True)] == [True, True, True, False]
    made.f.__defaults__ = (9,)
    assert all(fingerprint(made.f, scope).digest not in after for scope in scopes)


def test_a_scope_that_makes_no_difference_makes_no_other_fingerprint(module):
    made = module(TEXT)
    for scope in (
        Scope(ignore_deps=("elsewhere", "features.h", "feature", "features.Mode")),
        Scope(track_packages=("numpy",)),
        Scope(library_versions="exact"),
    ):
        assert fingerprint(made.f, scope).digest == fingerprint(made.f).digest


# --- track ------------------------------------------------------------------------------------------------


def test_own_code_alone(module):
    assert noticed(module, EVERYTHING) == set(CHANGES)
    assert noticed(module, OWN) == {"f"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def f(x, k=1): return k", "def f(x, k=2): return k"),
        ("K = 1\ndef f(x, k=K): return k", "K = 2\ndef f(x, k=K): return k"),
        ("def f(x, *, k=[1]): return k", "def f(x, *, k=[2]): return k"),
        ("f = lambda x: 1", "f = lambda x: 2"),
        (
            "def make(k):\n    return lambda x: x + k\nf = make(1)",
            "def make(k):\n    return lambda x: x + k\nf = make(2)",
        ),
        (
            "def deco(f):\n    def w(x): return f(x)\n    return w\n@deco\ndef f(x): return 1",
            "def deco(f):\n    def w(x): return f(x)\n    return w\n@deco\ndef f(x): return 2",
        ),
        (
            "import functools\n@functools.lru_cache\ndef f(x): return 1",
            "import functools\n@functools.lru_cache\ndef f(x): return 2",
        ),
        ("class f:\n    def run(self): return 1", "class f:\n    def run(self): return 2"),
        ("class f:\n    rate = 1", "class f:\n    rate = 2"),
        (
            "class A:\n    def run(self): return super().x(1)\nf = A.run",
            "class A:\n    def run(self): return super().x(2)\nf = A.run",
        ),
    ],
)
def test_what_is_a_functions_own(module, one, other):
    assert not same(module, OWN, one, other)
    assert same(module, OWN, one, one + "\n# a comment\n")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "class A:\n    def m(self): return 1\n    def run(self): return super().x(1)\nf = A.run",
            "class A:\n    def m(self): return 2\n    def run(self): return super().x(1)\nf = A.run",
        ),
        (
            "class A:\n    def m(self): return 1\ndef f(x, a=A()): return a",
            "class A:\n    def m(self): return 2\ndef f(x, a=A()): return a",
        ),
        (
            "class B:\n    def m(self): return 1\nclass f(B): pass",
            "class B:\n    def m(self): return 2\nclass f(B): pass",
        ),
    ],
)
def test_what_is_not_a_functions_own(module, one, other):
    assert same(module, OWN, one, other)
    assert not same(module, EVERYTHING, one, other)


def test_own_code_alone_warns_about_nothing_that_is_not_followed(module):
    made = module(
        "import numpy as np\nDF = np.zeros(1_000_000)\ndef f(x):\n    import elsewhere\n    return DF\n"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fingerprint(made.f, OWN)


def test_by_name_alone(module):
    none = Scope(track="none")
    one, other = module("def f(x): return 1"), module("def f(x): return 2\ndef g(x): return 2")
    assert fingerprint(one.f, none) == fingerprint(other.f, none)
    assert fingerprint(other.f, none) != fingerprint(other.g, none)
    assert fingerprint(lambda x: 1, none) != fingerprint(lambda x: 2, none)
    assert fingerprint(np.sin, none) != fingerprint(np.cos, none)


# --- what is left out -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ignored", "left"),
    [
        (("features.K",), {"g", "Model.rate", "Model.fit", "f"}),
        (("features.g",), {"K", "Model.rate", "Model.fit", "f"}),
        (("features.Model",), {"K", "g", "f"}),
        (("features.Model.rate",), {"K", "g", "Model.fit", "f"}),
        (("features.Model.fit",), {"K", "g", "Model.rate", "f"}),
        (("features.g", "features.K"), {"Model.rate", "Model.fit", "f"}),
        (("features",), {"f"}),  # what is remembered always counts
        (("features.f",), set(CHANGES)),
        (("features.ff", "eatures", "g"), set(CHANGES)),
    ],
)
def test_what_is_ignored_does_not_count_and_all_else_does(module, ignored, left):
    assert noticed(module, Scope(ignore_deps=ignored)) == left


def test_parts_below_what_is_ignored_are_not_followed(module):
    text = "K = 1\ndef deep(x): return K\ndef g(x): return deep(x)\ndef f(x): return g(x)\n"
    scope = Scope(ignore_deps=("features.g",))
    assert same(module, scope, text, text.replace("K = 1", "K = 2"))
    assert same(module, scope, text, text.replace("return K", "return -K"))
    assert fingerprint(module(text).f, scope).names == ("features.f",)
    # By another way they count all the same.
    text += "def f(x): return g(x) + deep(x)\n"
    assert not same(module, scope, text, text.replace("K = 1", "K = 2"))


def test_another_thing_in_the_place_of_what_was_ignored_counts(module):
    text = "def g(x): return 1\ndef h(x): return 2\nuse = {}\ndef f(x): return use(x)\n"
    scope = Scope(ignore_deps=("features.g",))
    assert not same(module, scope, text.format("g"), text.format("h"))
    assert same(module, Scope(ignore_deps=("features.use",)), text.format("g"), text.format("h"))


def test_a_decorated_function_of_an_ignored_module_counts_with_what_it_wraps(module):
    module(
        "import functools\ndef timed(f):\n    @functools.wraps(f)\n    def w(x): return f(x)\n    return w\n",
        "deco",
    )
    text = "from deco import timed\n@timed\ndef f(x): return {}\n"
    assert not same(module, Scope(ignore_deps=("features",)), text.format(1), text.format(2))
    assert not same(module, Scope(ignore_deps=("features", "deco")), text.format(1), text.format(2))


def test_what_is_ignored_gives_no_warning(module):
    made = module(
        "import numpy as np\nDF = np.zeros(1_000_000)\ndef f(x):\n    import elsewhere\n    return DF\n"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fingerprint(made.f, Scope(ignore_deps=("features.DF", "elsewhere")))


def test_an_ignored_constant_that_changes_all_the_time_costs_no_new_look(module):
    made = module("TICK = 0\ndef f(x): return TICK\n")
    scope = Scope(ignore_deps=("features.TICK",))
    before = fingerprint(made.f, scope)
    made.TICK = 1
    assert fingerprint(made.f, scope) is before


def test_functions_and_classes_that_are_values_count_as_far_as_the_scope_says(module):
    ignoring = Scope(ignore_deps=("features.g",))

    def surveyed(text):
        made = module(text)
        values = [made.f, made.g, made.Model]
        return [[survey([each], scope)[0] for each in values] for scope in (EVERYTHING, ignoring, OWN)]

    one, other = surveyed(TEXT), surveyed(TEXT.replace("x + 1", "x + 2"))
    assert [a != b for a, b in zip(one[0], other[0], strict=True)] == [True, True, True]
    assert [a != b for a, b in zip(one[1], other[1], strict=True)] == [False, False, False]
    assert [a != b for a, b in zip(one[2], other[2], strict=True)] == [False, True, False]
    assert len(set(one[1])) == 3
    g = sys.modules["features"].g
    assert survey([g])[0] == survey([g], Scope(track_packages=("numpy",)))[0] == digest([g])


def test_ignored_classes_of_instances_are_not_told(module):
    made = module(TEXT)
    assert survey(made.Model())[1] == (made.Model,)
    assert survey(made.Model(), Scope(ignore_deps=("features.Model",)))[1] == ()
    assert survey(made.Model(), OWN)[1] == ()


# --- libraries --------------------------------------------------------------------------------------------


def test_installed_packages_are_followed_where_that_is_asked(module):
    team = "def helper(x): return {}\nclass C:\n    def m(self): return {}\n"
    text = "import teamlib\nfrom teamlib import C\ndef f(x): return teamlib.helper(x), C().m()\ndef g(x): return C\n"
    tracked = Scope(track_packages=("teamlib",))
    seen: dict[Scope, list[bytes]] = {EVERYTHING: [], tracked: []}
    for values in ((1, 1), (2, 1), (1, 2)):
        lib = module(team.format(*values), "teamlib", "site-packages")
        made = module(text)
        for scope, digests in seen.items():
            digests.append(fingerprint(made.f, scope).digest)
            digests.append(survey([lib.C, lib.helper], scope)[0])
            digests.append(survey([lib.C()], scope)[1] == ((lib.C,) if scope is tracked else ()))
    assert len({*seen[EVERYTHING][0::3]}) == len({*seen[EVERYTHING][1::3]}) == 1
    assert len({*seen[tracked][0::3]}) == len({*seen[tracked][1::3]}) == 3
    assert all(seen[EVERYTHING][2::3])
    assert all(seen[tracked][2::3])
    assert fingerprint(made.f, tracked).names == ("features.f", "teamlib.C.m", "teamlib.helper")


def test_an_import_in_a_body_of_a_tracked_package_is_followed(module):
    made = module("def f(x):\n    import teamlib\n    return teamlib.g(x)\n")
    seen = []
    for version in 1, 2:
        module(f"def g(x): return {version}", "teamlib", "site-packages")
        for scope in EVERYTHING, Scope(track_packages=("teamlib",)):
            seen.append(fingerprint(made.f, scope).digest)  # noqa: PERF401 - one loop for all
    assert seen[0] == seen[2]
    assert seen[1] != seen[3]


@pytest.mark.parametrize(
    ("versions", "differ"),
    [("minor", [False, True]), ("exact", [True, True]), ("none", [False, False])],
)
def test_how_much_of_a_version_counts(module, monkeypatch, versions, differ):
    made = module("import numpy as np\ndef f(x): return np.mean(x), np.sin(x), np.ndarray\n")

    def at(version):
        libraries._version.cache_clear()
        monkeypatch.setattr(np, "__version__", version)
        from lightwork.hashing.source import _records

        _records.clear()
        return fingerprint(made.f, Scope(library_versions=versions)).digest

    try:
        assert [at("9.8.7") != at("9.8.6"), at("9.8.7") != at("9.7.7")] == differ
    finally:
        libraries._version.cache_clear()


def test_the_version_of_an_ignored_library_does_not_count(module, monkeypatch):
    made = module("import numpy as np\ndef f(x): return np.mean(x), np.sin(x), np.ndarray, np\n")
    from lightwork.hashing.source import _records

    digests = set()
    for version in ("9.8.7", "8.1"):
        libraries._version.cache_clear()
        _records.clear()
        monkeypatch.setattr(np, "__version__", version)
        digests.add(fingerprint(made.f, Scope(ignore_deps=("numpy",))).digest)
    libraries._version.cache_clear()
    assert len(digests) == 1
