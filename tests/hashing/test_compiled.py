"""Compiled code: the user's counts by its file, a library's by version, and what a compiler made of source by that."""

from __future__ import annotations

import functools
import importlib
import os
import shutil
import subprocess
import sys
import sysconfig
import textwrap
import types
import warnings

import pytest

from lightwork.hashing import compiled, explain, fingerprint, libraries, source, survey

# --- extension modules --------------------------------------------------------------------------------------

SOURCE = r"""
#include <Python.h>
static PyObject *one(PyObject *self, PyObject *x) { return PyLong_FromLong(VALUE); }
static PyMethodDef methods[] = {{"one", one, METH_O, ""}, {NULL}};
static PyType_Slot slots[] = {{Py_tp_methods, methods}, {0, NULL}};
#define FLAGS Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE
static PyType_Spec spec = {"fast_for_tests.Thing", sizeof(PyObject), 0, FLAGS, slots};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "fast_for_tests", NULL, -1, methods};
PyMODINIT_FUNC PyInit_fast_for_tests(void) {
    PyObject *made = PyModule_Create(&module);
    PyModule_AddObject(made, "Thing", PyType_FromSpec(&spec));
    return made;
}
"""
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The file of an extension module of two versions, by what its functions return."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    headers = sysconfig.get_paths()["include"]
    if compiler is None or not os.path.exists(os.path.join(headers, "Python.h")) or sys.platform != "linux":
        pytest.skip("there is no compiler for extension modules")
    folder = tmp_path_factory.mktemp("built")
    (folder / "fast.c").write_text(SOURCE)
    made = {}
    for value in (1, 2):
        made[value] = folder / f"{value}{SUFFIX}"
        command = [
            compiler,
            "-shared",
            "-fPIC",
            f"-DVALUE={value}",
            f"-I{headers}",
            "fast.c",
            "-o",
            made[value],
        ]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return made


PROGRAM = """
import os, shutil, sys
sys.path.insert(0, {folder!r})
import fast_for_tests as fast
from lightwork.hashing import fingerprint
from lightwork.hashing.scope import Scope
def by_function(x): return fast.one(x)
def by_class(x): return fast.Thing().one(x)
class Child(fast.Thing): pass
def by_child(x): return Child()
def none(x): return x
{more}
for f in (by_function, by_class, by_child, fast.one, fast.Thing, none):
    print(fingerprint(f).digest.hex(), fingerprint(f) is fingerprint(f))
print(fingerprint(by_function, Scope(ignore_deps=("fast_for_tests",))).digest.hex())
print(fingerprint(by_function).names)
"""


@pytest.fixture
def told(built, tmp_path):
    """What a program prints that uses the extension module of a version."""

    def run(value, more="", folder="lib", status=0):
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        shutil.copy(built[value], place / "new")
        os.replace(place / "new", place / f"fast_for_tests{SUFFIX}")
        program = tmp_path / "program.py"
        program.write_text(
            textwrap.dedent(PROGRAM).format(folder=str(place), more=more.format(other=str(built[2])))
        )
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-W", "always", str(program)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
        return done.stdout.splitlines(), done.stderr

    return run


def test_an_extension_module_of_the_users_counts_by_its_file(told):
    one, again, other = told(1)[0], told(1)[0], told(2)[0]
    assert one == again
    assert [a != b for a, b in zip(one, other, strict=True)] == [True] * 5 + [False] * 3
    assert one[-1] == "('__main__.by_function', 'fast_for_tests')"


def test_an_extension_module_of_a_librarys_does_not(told):
    one, other = told(1, folder="site-packages")[0], told(2, folder="site-packages")[0]
    assert one == other


def test_a_file_that_was_replaced_since_is_no_word_on_what_runs(told):
    replace = (
        "shutil.copy({other!r}, fast.__file__ + '.new'); os.replace(fast.__file__ + '.new', fast.__file__)"
    )
    first, said = told(1, replace)
    second, _ = told(1, replace)
    assert "CodeChangedWarning: fast_for_tests" in said
    assert len({first[0], second[0], told(1)[0][0], told(2)[0][0]}) == 4
    removed, said = told(1, "os.remove(fast.__file__)")
    assert "CodeChangedWarning: fast_for_tests" in said
    assert removed[0] not in (first[0], second[0])


def test_empty_shells_count_by_what_holds_their_code(tmp_path, monkeypatch):
    """Of a group of modules that mypyc compiled, one holds the code of all."""
    digests = []
    for text in (b"1", b"2"):
        for name in ("shell", "abc__mypyc"):
            made = types.ModuleType(name)
            made.__file__ = str(tmp_path / f"{name}{SUFFIX}")
            (tmp_path / f"{name}{SUFFIX}").write_bytes(b"0" if name == "shell" else text)
            monkeypatch.setitem(sys.modules, name, made)
        digests.append(compiled.extension("shell").digest)
    assert digests[0] != digests[1]


def test_modules_of_source_and_those_that_are_not_there_are_none():
    assert compiled.extension("json") is None
    assert compiled.extension("not_there_at_all") is None
    assert compiled.extension(None) is None


# --- compilers of source ------------------------------------------------------------------------------------


class Dispatcher:
    """What numba's decorators return: a callable of a library's with the function that it compiles."""

    def __init__(self, py_func, options):
        self.py_func = py_func
        self.targetoptions = options

    def __call__(self, x):
        return self.py_func(x)

    def __reduce__(self):
        raise TypeError("numba's reduce depends on what was compiled before")


class Wrapped(Dispatcher):
    def __init__(self, py_func, options):
        super().__init__(py_func, options)
        functools.update_wrapper(self, py_func)


@pytest.fixture(params=[Dispatcher, Wrapped])
def jit(request, monkeypatch):
    library = types.ModuleType("numba_for_tests")
    library.__file__ = "/somewhere/site-packages/numba_for_tests/__init__.py"
    library.__version__ = "0.1.2"
    kind = type("Dispatcher", (request.param,), {"__module__": "numba_for_tests"})
    monkeypatch.setitem(sys.modules, "numba_for_tests", library)
    libraries._version.cache_clear()
    yield lambda **options: lambda function: kind(function, options)
    libraries._version.cache_clear()


@pytest.fixture
def features(tmp_path, monkeypatch, jit):
    """Import a text as a module in which ``jit`` is the decorator."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    library = sys.modules["numba_for_tests"]
    library.jit = jit

    def make(text):
        (tmp_path / "features_compiled.py").write_text("from numba_for_tests import jit\n" + text)
        sys.modules.pop("features_compiled", None)
        importlib.invalidate_caches()
        source._records.clear()
        import linecache

        linecache.checkcache()
        return importlib.import_module("features_compiled")

    yield make
    sys.modules.pop("features_compiled", None)


TEXT = "K = 1\ndef plain(x): return x * K\ng = jit(fast=True)(plain)\ndef f(x): return g(x)\n"


@pytest.mark.parametrize(
    "change", [("x * K", "x / K"), ("K = 1", "K = 2"), ("fast=True", "fast=False"), ("g(x)", "-g(x)")]
)
def test_what_a_compiler_compiles_counts_by_its_source_and_by_how_it_is_compiled(features, change):
    before = fingerprint(features(TEXT).f).digest
    assert fingerprint(features(TEXT + "# a comment\n").f).digest == before
    assert fingerprint(features(TEXT.replace(*change)).f).digest != before


def test_the_version_of_a_compiler_counts(features, monkeypatch, capsys):
    def at(version):
        monkeypatch.setattr(sys.modules["numba_for_tests"], "__version__", version)
        libraries._version.cache_clear()
        return fingerprint(features(TEXT).f).digest

    assert at("0.1.2") == at("0.1.3") != at("0.2.0")
    explain(features(TEXT).f)
    assert "numba_for_tests 0.2" in capsys.readouterr().out


def test_a_compiled_function_is_remembered(features, tmp_path):
    from lightwork import Memory

    memory = Memory(tmp_path / "cache", verbose=0)
    assert memory.cache(features(TEXT).g)(3) == 3
    assert memory.cache(features(TEXT).g).check_call_in_cache(3)
    assert not memory.cache(features(TEXT.replace("K = 1", "K = 2")).g).check_call_in_cache(3)
    assert survey([features(TEXT).g])[0] != survey([features(TEXT.replace("x *", "x /")).g])[0]


def test_functions_that_numba_compiled():
    numba = pytest.importorskip("numba")

    def digests(k):
        def times(x):
            return x * k

        made = [numba.njit(times), numba.njit(fastmath=True)(times), numba.vectorize(times)]
        before = [fingerprint(each).digest for each in made]
        for each in made:
            assert each(2) == 2 * k
        source._records.clear()
        assert [fingerprint(each).digest for each in made] == before
        return before

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numba's own
        assert digests(2) == digests(2)
        assert len({*digests(2), *digests(3)}) == 6
