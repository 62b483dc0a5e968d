"""`import lightwork` costs next to nothing, and every public name is there when asked for."""

from __future__ import annotations

import ast
import builtins
import subprocess
import sys
from pathlib import Path

import pytest

import lightwork

FRONT = Path(lightwork.__file__)

# Not loaded by the import; NumPy not by any work on plain values either.
HEAVY = {
    "asyncio",
    "backports.zstd",
    "cloudpickle",
    "compression.zstd",
    "concurrent",
    "ctypes",
    "email",
    "hashlib",
    "inspect",
    "json",
    "logging",
    "multiprocessing",
    "numpy",
    "pickle",
    "platformdirs",
    "rich",
    "socket",
    "subprocess",
    "tempfile",
    "threading",
    "xxhash",
}


def run(code: str) -> list[str]:
    """The words that a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_import_loads_nothing_heavy() -> None:
    bare = set(run("import sys; print(*sys.modules)"))
    loaded = set(run("import lightwork, sys; print(*sys.modules)")) - bare
    assert "lightwork" in loaded
    assert loaded & HEAVY == set()
    assert {name for name in loaded if name.startswith("lightwork")} == {"lightwork", "lightwork._version"}


def test_the_errors_load_nothing_heavy() -> None:
    bare = set(run("import sys; print(*sys.modules)"))
    code = "from lightwork.errors import OptionError, CacheWarning; import sys; print(*sys.modules)"
    assert (set(run(code)) - bare) & HEAVY == set()


@pytest.mark.parametrize(
    "work",
    [
        "lightwork.hash([1, 'a', {2.0: None}])",
        "lightwork.load(lightwork.dump([1, 'a'], 'file')[0])",
        "lightwork.Memory('cache', verbose=0).cache(abs)(-1)",
        "lightwork.Parallel(n_jobs=2)(lightwork.delayed(abs)(i) for i in range(3))",
    ],
    ids=["hash", "persist", "memory", "parallel"],
)
def test_numpy_is_not_loaded_by_work_on_plain_values(work: str, tmp_path: Path) -> None:
    code = f"import lightwork, os, sys; os.chdir({str(tmp_path)!r}); {work}; print('numpy' in sys.modules)"
    assert run(code) == ["False"]


@pytest.mark.parametrize("name", [*lightwork.__all__, "hash", "map", "errors"])
def test_every_public_name_is_there_and_listed(name: str) -> None:
    value = getattr(lightwork, name)
    assert getattr(lightwork, name) is value
    assert name in dir(lightwork)
    assert name == "__version__" or value.__doc__


@pytest.mark.parametrize("name", [*sorted(set(lightwork.__all__) - {"__version__"}), "hash", "map"])
def test_a_fresh_process_can_import_each_name_first(name: str) -> None:
    assert run(f"from lightwork import {name}; print({name}.__module__.partition('.')[0])") == ["lightwork"]


def test_type_checkers_see_the_names_that_are_bound_lazily() -> None:
    guarded = next(
        node
        for node in ast.parse(FRONT.read_text()).body
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    )
    seen = {
        (alias.name, node.module)
        for node in guarded.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == {*lightwork._HOMES.items(), ("errors", "lightwork")}


def test_a_star_import_hides_no_builtin() -> None:
    assert set(lightwork.__all__) & set(dir(builtins)) == set()
    code = "before = {*dir(), 'before'}; from lightwork import *; print(*{*dir()} - before)"
    assert set(run(code)) == set(lightwork.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'lightwork' has no attribute 'paralel'"):
        lightwork.paralel  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="no attribute 'Missing'"):
        lightwork.errors.Missing
    assert not hasattr(lightwork, "__path_of_nothing__")


def test_a_late_error_is_the_class_that_its_name_says() -> None:
    from pickle import UnpicklingError

    from lightwork.errors import DamagedFileError

    assert issubclass(DamagedFileError, (UnpicklingError, ValueError))
    assert DamagedFileError.__module__ == "lightwork.errors"
    assert {getattr(lightwork.errors, name).__name__ for name in lightwork.errors.__all__} == {
        *lightwork.errors.__all__
    }


def test_the_package_says_that_it_is_typed() -> None:
    assert FRONT.with_name("py.typed").read_text() == ""
