"""Imports in bodies, and modules that are handed on: what they hold counts, whatever was imported before."""

from __future__ import annotations

import importlib
import linecache
import subprocess
import sys
import textwrap

import pytest

from lightwork import Memory
from lightwork.errors import NotFollowedWarning
from lightwork.hashing import explain, fingerprint, hash, imports
from lightwork.hashing.scope import Scope


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Write the files of a project, forget what was imported of it, and import `main` anew."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(tmp_path)
    names = set()

    def forget():
        for name in list(sys.modules):
            if name.partition(".")[0] in names:
                del sys.modules[name]
        imports._failed.clear()

    def make(**files):
        for name, text in files.items():
            path = tmp_path.joinpath(*name.split("__")).with_suffix(".py")
            path.parent.mkdir(exist_ok=True)
            path.write_text(textwrap.dedent(text))
            names.add(name.partition("__")[0])
        forget()
        linecache.clearcache()
        importlib.invalidate_caches()
        return importlib.import_module("main")

    yield make
    forget()
    linecache.clearcache()


BODIES = {
    "module": "import helper\nreturn helper.g(x)",
    "alias": "import helper as h\nreturn h.g(x)",
    "name": "from helper import g\nreturn g(x)",
    "name by another": "from helper import g as k\nreturn k(x)",
    "in an inner function": "def inner():\n    import helper\n    return helper.g(x)\nreturn inner()",
    "handed on": "import helper\nh = helper\nreturn h.g(x)",
    "by getattr": "import helper\nreturn getattr(helper, 'g')(x)",
    "in a branch": "if x:\n    from helper import g\nelse:\n    g = None\nreturn g(x)",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("loaded", [False, True])
def test_what_a_body_imports_counts_whether_it_was_imported_or_not(project, body, loaded):
    text = f"def f(x):\n{textwrap.indent(body, '    ')}\n"
    seen = []
    for value in 1, 2, 1:
        made = project(main=text, helper=f"def h(x): return x + {value}\ndef g(x): return h(x)")
        if loaded:
            assert made.f(3) == 3 + value
        seen.append(fingerprint(made.f).digest)
    assert seen[0] == seen[2] != seen[1]
    other = project(main=text, helper="def h(x): return x + 1\ndef g(x): return h(x)")
    if not loaded:
        other.f(3)
    assert fingerprint(other.f).digest == seen[0]


@pytest.mark.parametrize(
    "line",
    [
        "import pack.helper\n    g = pack.helper.g",
        "import pack.helper as h\n    g = h.g",
        "from pack import helper\n    g = helper.g",
        "from pack.helper import g",
    ],
)
def test_modules_of_a_package(project, line):
    seen = []
    for value in 1, 2:
        made = project(
            main=f"def f(x):\n    {line}\n    return g(x)\n",
            pack____init__="",
            pack__helper=f"def g(x): return x + {value}",
        )
        seen.append(fingerprint(made.f).digest)
        assert made.f(1) == 1 + value
    assert seen[0] != seen[1]


def test_relative_imports(project):
    seen = []
    for value in 1, 2:
        project(
            main="",
            pack____init__="",
            pack__helper=f"def g(x): return x + {value}",
            pack__user="""
            def f(x):
                from .helper import g
                from . import helper
                return g(x) + helper.g(x)
            """,
        )
        made = importlib.import_module("pack.user")
        seen.append(fingerprint(made.f).digest)
        assert made.f(1) == 2 + 2 * value
    assert seen[0] != seen[1]


def test_a_name_that_is_imported_here_and_global_there_is_both(project):
    text = (
        "import other as helper\n"
        "def f(x):\n"
        "    def inner():\n"
        "        import helper\n"
        "        return helper.g(x)\n"
        "    return inner(), helper.g(x)\n"
    )
    seen = []
    for one, two in (1, 1), (1, 2), (2, 1):
        made = project(main=text, helper=f"def g(x): return {one}", other=f"def g(x): return {two}")
        assert made.f(0) == (one, two)
        seen.append(fingerprint(made.f).digest)
    assert len(set(seen)) == 3


def test_what_a_body_changes_of_a_module_is_state(project):
    made = project(
        main="""
        def f(x):
            import settings
            settings.LAST = x
            settings.SEEN.append(x)
            return settings.K
        """,
        settings="K = 1\nLAST = 0\nSEEN = []\n",
    )
    before = fingerprint(made.f).digest
    made.f(1)
    assert fingerprint(made.f).digest == before
    sys.modules["settings"].K = 2
    assert fingerprint(made.f).digest != before


@pytest.mark.parametrize("raised", ["ImportError('no')", "SystemExit(3)", "ZeroDivisionError"])
def test_what_cannot_be_imported_is_said(project, raised):
    name = f"broken_by_{raised[:6].lower()}"
    made = project(
        main=f"def f(x):\n    import {name}\n    return {name}.g(x)\n", **{name: f"raise {raised}\n"}
    )
    with pytest.warns(NotFollowedWarning, match=f"f: import {name} in its body"):
        before = fingerprint(made.f).digest
    assert fingerprint(made.f).digest == before


def test_what_is_imported_for_its_effects_is_said(project):
    made = project(main="def f(x):\n    import effects_only\n    return x\n", effects_only="")
    with pytest.warns(NotFollowedWarning, match="f: import effects_only in its body"):
        fingerprint(made.f)


def test_libraries_are_not_imported(project):
    made = project(main="def f(x):\n    import xmlrpc.server\n    return xmlrpc.server\n")
    sys.modules.pop("xmlrpc.server", None)
    fingerprint(made.f)
    assert "xmlrpc.server" not in sys.modules


def test_ignored_modules_are_not_imported(project):
    made = project(main="def f(x):\n    import helper\n    return helper.g(x)\n", helper="")
    fingerprint(made.f, Scope(ignore_deps=("helper",)))
    assert "helper" not in sys.modules


def test_a_module_may_look_at_functions_in_other_threads_while_it_is_imported(project):
    """Were the import made under the lock of looks, neither would get on."""
    made = project(
        main="def f(x):\n    import helper\n    return helper.g(x)\n",
        helper="""
        import threading
        from lightwork.hashing import fingerprint
        def g(x): return x
        looking = threading.Thread(target=fingerprint, args=(lambda: 1,))
        looking.start()
        looking.join(30)
        WAS_STUCK = looking.is_alive()
        """,
    )
    digest = hash([made.f])  # a look inside of another walk
    assert sys.modules["helper"].WAS_STUCK is False
    assert hash([made.f]) == digest


def test_two_modules_that_import_each_other_in_bodies(project):
    text = "def f(n):\n    from {0} import f\n    return n and f(n - 1) + {1}\n"
    seen = []
    for value in 1, 2:
        made = project(main=text.format("other", 1), other=text.format("main", value))
        seen.append(fingerprint(made.f).digest)
    assert seen[0] != seen[1]


# --- modules that are handed on ---------------------------------------------------------------------


def test_a_module_as_argument_counts_with_what_it_holds(project, tmp_path):
    memory = Memory(tmp_path / "cache", verbose=0)
    results = []
    for rate in 1, 2, 1:
        project(main="", config=f"RATE = {rate}\nimport os\n__all__ = ['RATE']\n")

        @memory.cache
        def train(config):
            return config.RATE

        config = sys.modules.get("config") or importlib.import_module("config")
        assert train.check_call_in_cache(config) is (len(results) == 2)
        results.append(train(config))
    assert results == [1, 2, 1]


def test_a_module_that_changes_in_place_is_noticed(project):
    made = project(
        main="import config\nTABLE = {'c': config}\ndef f(): return TABLE['c'].RATE\n", config="RATE = 1\n"
    )
    before = fingerprint(made.f).digest
    made.config.RATE = 2
    assert fingerprint(made.f).digest != before
    made.config.RATE = 1
    assert fingerprint(made.f).digest == before


def test_modules_in_a_module_are_left_out(project):
    """Which submodules a package has depends on what was imported."""
    made = project(main="import pack\nALL = [pack]\ndef f(): return ALL\n", pack____init__="", pack__late="")
    before = fingerprint(made.f).digest
    importlib.import_module("pack.late")
    assert hasattr(made.pack, "late")
    assert fingerprint(made.f).digest == before


def test_explain_tells_of_modules_that_count_as_wholes(project, capsys):
    made = project(main="import config\nALL = [config]\ndef f(): return ALL\n", config="RATE = 1\n")
    explain(made.f)
    assert "  modules, as wholes: config\n" in capsys.readouterr().out


# --- attributes of functions -------------------------------------------------------------------------


def test_attributes_of_functions_count_unless_code_changes_them(project):
    made = project(
        main="""
        def g(x): return x * g.rate
        g.rate = 2
        def counted(x):
            counted.calls += 1
            counted.seen.append(x)
            return x
        counted.calls, counted.seen = 0, []
        def f(x): return g(x), counted(x)
        """
    )
    before = fingerprint(made.f).digest
    made.f(1)
    assert fingerprint(made.f).digest == before
    made.g.rate = 3
    assert fingerprint(made.f).digest != before
    made.g.rate = 2
    assert fingerprint(made.f).digest == before
    del made.g.rate
    assert fingerprint(made.f).digest != before


def test_workers_see_the_same(tmp_path):
    """What a worker computes is stored: its own tokens are those of the parent."""
    (tmp_path / "helper.py").write_text("def g(x): return x + 1\n")
    (tmp_path / "config.py").write_text("RATE = 3\n")
    (tmp_path / "script.py").write_text(
        textwrap.dedent("""
        import config
        from lightwork import Memory, Parallel, delayed

        @Memory("cache", verbose=0).cache
        def f(x, by=config):
            from helper import g
            return g(x) * by.RATE

        print(Parallel(n_jobs=2)(delayed(f)(x) for x in range(4)))
        print([f.check_call_in_cache(x) for x in range(4)])
        """)
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    assert done.stdout == "[3, 6, 9, 12]\n[True, True, True, True]\n"
