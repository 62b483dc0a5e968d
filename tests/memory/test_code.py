"""Results belong to the code that computed them: edits, notebooks, scripts, and loops whose workers hold other code."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lightwork.errors import CodeChangedWarning
from lightwork.memory import Memory
from lightwork.workers.functions import Found, Missing


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path / "cache", verbose=0)


# --- in one process ---------------------------------------------------------------------------------

SCRIPT = """
import sys
import {name} as features
from lightwork import Memory
print(Memory("cache", verbose=0).cache(features.f)(1))
"""


def test_the_old_code_of_an_edited_module_never_stores_its_result_as_the_new_ones(memory, module, edit, run):
    features = module("def f(x):\n    return ['old', x]\n")
    edit(features, "'old'", "'new'")
    with pytest.warns(CodeChangedWarning):
        assert memory.cache(features.f)(1) == ["old", 1]
    assert run(SCRIPT.format(name=features.__name__)) == "['new', 1]\n"
    assert memory.cache(features.f)(1) == ["old", 1]


def test_the_old_code_of_an_edited_helper_never_does_either(memory, module, edit, run):
    features = module("def helper(x):\n    return ['old', x]\n\ndef f(x):\n    return helper(x)\n")
    f = memory.cache(features.f)
    assert f(0) == ["old", 0]
    edit(features, "'old'", "'new'")
    assert f(1) == ["old", 1]
    assert run(SCRIPT.format(name=features.__name__)) == "['new', 1]\n"


def test_comments_make_no_difference_and_going_back_finds_the_earlier_results(module, edit, run):
    features = module("def f(x):\n    print('computing')\n    return x + 1\n")
    script = SCRIPT.format(name=features.__name__)
    assert run(script) == "computing\n2\n"
    edit(features, "return", "# a comment\n    return")
    assert run(script) == "2\n"
    edit(features, "x + 1", "x + 2")
    assert run(script) == "computing\n3\n"
    edit(features, "x + 2", "x + 1")
    assert run(script) == "2\n"


def test_code_that_is_replaced_in_a_living_function_counts(memory):
    def f(x, y=1):
        return x + y

    def other(x, z=10, y=20):
        return x * z * y

    g = memory.cache(f)
    assert g(1) == g(1, y=1) == 2
    f.__defaults__ = (5,)
    assert g(1) == 6
    f.__code__, f.__defaults__ = other.__code__, other.__defaults__
    assert g(1) == 200
    assert g(1, z=1) == 20


@pytest.mark.parametrize("track", ["deps", "function", "none"])
def test_a_default_that_is_changed_in_place_never_has_the_key_of_the_one_before(memory, module, track):
    made = module("def f(x, *, scale=1):\n    return x * scale\n")
    f = memory.cache(made.f, track=track)
    assert f(3) == f(3, scale=1) == 3
    made.f.__kwdefaults__["scale"] = 2
    assert f(3) == 6
    assert f(3, scale=1) == 3
    del made.f.__kwdefaults__["scale"]
    with pytest.raises(TypeError, match="scale"):
        f(3)
    made.f.__kwdefaults__["scale"] = 1
    assert (f(3), f(3, scale=2)) == (3, 6)


def test_a_keyword_default_of_a_helper_that_is_changed_in_place_counts(memory, module):
    made = module("def helper(x, *, scale=1):\n    return x * scale\ndef f(x):\n    return helper(x)\n")
    f = memory.cache(made.f)
    assert f(3) == 3
    made.helper.__kwdefaults__["scale"] = 2
    assert f(3) == 6
    made.helper.__kwdefaults__["scale"] = 1
    assert f.check_call_in_cache(3)


@pytest.mark.parametrize("track", ["deps", "none"])
def test_defaults_of_what_a_wrapper_hands_on_to_count_as_they_are(memory, module, track):
    made = module(
        "import functools\n"
        "def inner(x, y=1, *, z=0):\n    return x + y + z\n"
        "@functools.wraps(inner)\ndef f(*args, **kwargs):\n    return inner(*args, **kwargs)\n"
    )
    f = memory.cache(made.f, track=track)
    assert f(1) == f(1, 1) == 2
    made.inner.__defaults__ = (5,)
    assert (f(1), f(1, 1)) == (6, 2)
    made.inner.__kwdefaults__["z"] = 10
    assert (f(1), f(1, z=0), f(1, 1, z=0)) == (16, 6, 2)


def test_a_cell_of_a_notebook_run_again_is_another_function(memory):
    cells = ["def f(x):\n    return x + 1\n", "def f(x):\n    return x + 2\n"]
    made = []
    for cell in [*cells, *cells]:
        scope = {"__name__": "__main__"}
        exec(compile(cell, "<ipython-input>", "exec"), scope)
        made.append(memory.cache(scope["f"])(1))
    assert made == [2, 3, 2, 3]
    assert len(list(memory.store_backend.entries())) == 2


def test_functions_of_one_name_in_two_scripts_never_share(run):
    source = "from lightwork import Memory\n@Memory('cache', verbose=0).cache\ndef f(x):\n    return {}\nprint(f(1))\n"
    for _ in range(2):
        assert run(source.format("__file__[-9:]"), name="one/script.py") == "script.py\n"
        assert run(source.format("[x]"), name="two/script.py") == "[1]\n"


def test_a_result_of_a_class_of_the_script_is_of_that_class_in_the_next_run_too(run):
    program = """
    from dataclasses import dataclass
    from lightwork import Memory

    @dataclass
    class Point:
        x: int

    @Memory("cache", verbose=0).cache
    def f(x):
        print("computing")
        return Point(x)

    print(f(1) == Point(1), type(f(1)) is Point)
    """
    assert run(program) == "computing\nTrue True\n"
    assert run(program) == "True True\n"


def test_a_class_among_the_arguments_counts_with_its_methods(memory, module, run):
    source = "class Scale:\n    def of(self, x):\n        return x * {}\n"
    one, two = module(source.format(2)), module(source.format(3))

    def f(scale, x):
        return scale.of(x)

    f = memory.cache(f)
    two.Scale.__module__ = one.__name__
    assert [f(one.Scale(), 1), f(two.Scale(), 1)] == [2, 3]


# --- in another process -----------------------------------------------------------------------------

HITS = """
import sys
sys.path.insert(0, {folder!r})
import numpy as np
from lightwork import Memory
from {name} import f, Point
f = Memory({cache!r}, verbose=0).cache(f)
print(f.check_call_in_cache({{"b": [1, 2.0], "a": {{"x", "y"}}}}, np.arange(5.0), Point(3)))
"""


def test_hits_survive_another_process(tmp_path, module, run):
    features = module(
        """
        class Point:
            def __init__(self, x):
                self.x = x

        def f(mapping, array, point):
            return sum(array) + point.x
        """
    )
    f = Memory(tmp_path / "cache", verbose=0).cache(features.f)
    assert f({"a": {"y", "x"}, "b": [1, 2.0]}, np.arange(5.0), features.Point(3)) == 13
    hits = HITS.format(folder=str(tmp_path), name=features.__name__, cache=str(tmp_path / "cache"))
    for seed in ("1", "2"):
        os.environ["PYTHONHASHSEED"] = seed
        try:
            assert run(hits) == "True\n"
        finally:
            del os.environ["PYTHONHASHSEED"]


TOGETHER = """
import sys
from pathlib import Path
from lightwork import Memory

def slow(x):
    Path("ready-" + sys.argv[1]).touch()
    while not (Path("ready-1").exists() and Path("ready-2").exists()):
        pass
    return ["result"] * 100_000

f = Memory("cache", verbose=0).cache(slow)
print(len(f.call(1)[0]), len(f(1)))  # `call` computes whoever else does
"""


def test_two_processes_that_compute_one_key_leave_one_whole_entry(tmp_path):
    (tmp_path / "together.py").write_text(TOGETHER)
    running = [
        subprocess.Popen(
            [sys.executable, "together.py", name], cwd=tmp_path, stdout=subprocess.PIPE, text=True
        )
        for name in "12"
    ]
    assert [process.communicate(timeout=60)[0] for process in running] == ["100000 100000\n"] * 2
    files = [
        path
        for path in (tmp_path / "cache").rglob("*")
        if path.is_file() and path.name not in ("state", ".gitignore")
    ]
    assert len(files) == 1


# --- in a loop --------------------------------------------------------------------------------------

WORKER = """
import pickle, sys
with open(sys.argv[1], "rb") as file:
    func, args, kwargs = pickle.load(file)
with open(sys.argv[1], "wb") as file:
    pickle.dump(func(*args, **kwargs), file)
"""


@pytest.fixture
def in_worker(tmp_path, run):
    """Compute what a loop is told to send, in a process that imports anew; returns what the parent makes of it."""

    def work(missing: Missing) -> tuple[object, str]:
        path = tmp_path / "task"
        path.write_bytes(pickle.dumps((missing.func, missing.args, missing.kwargs)))
        said = run(WORKER, str(path), name="worker.py")
        return missing.finish(pickle.loads(path.read_bytes())), said

    return work


LOOP = """
from lightwork import Memory

class Point:
    def __init__(self, x):
        self.x = x

    def move(self):
        return ["old", self.x]

def helper(x):
    return "old"

@Memory("cache", verbose=1).cache
def f(x, y=1):
    return [helper(x), x, y]

@Memory("cache", verbose=0).cache
def g(points):
    return points[0].move()
"""


@pytest.fixture
def features(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return module(LOOP)


def test_a_hit_is_answered_by_the_parent(features):
    features.f(1)
    assert features.f.__lightwork_lookup__((), {"x": 1}) == Found(["old", 1, 1])


def test_a_miss_is_computed_and_stored_by_a_worker(features, in_worker, capfd):
    missing = features.f.__lightwork_lookup__((1,), {"y": 2})
    value, said = in_worker(missing)
    assert value == ["old", 1, 2]
    assert "f(1, y=2)" in said
    assert capfd.readouterr().out == ""
    assert features.f.__lightwork_lookup__((1, 2), {}) == Found(["old", 1, 2])


def test_a_worker_looks_once_more(features, in_worker):
    missing = features.f.__lightwork_lookup__((1,), {})
    features.f(1)
    value, said = in_worker(missing)
    assert value == ["old", 1, 1]
    assert said == ""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("helper(x):\n    return", "helper(x):\n    return 'new' or"),
        ("return [helper", "return ['new', helper"),
    ],
)
def test_a_worker_with_other_code_returns_its_result_unstored(features, in_worker, edit, old, new):
    missing = features.f.__lightwork_lookup__((1,), {})
    again = features.f.__lightwork_lookup__((2,), {})
    edit(features, old, new)
    with pytest.warns(CodeChangedWarning, match=r"(helper|\.f).*Restart") as caught:
        value, _ = [in_worker(each)[0] for each in (missing, again)]
    assert value[0] == "new"
    assert len(caught) == 1
    assert not features.f.check_call_in_cache(1)
    assert features.f(1) == ["old", 1, 1]


def test_a_worker_with_another_class_of_an_argument_returns_its_result_unstored(features, in_worker, edit):
    points = [features.Point(1)]
    missing = features.g.__lightwork_lookup__((points,), {})
    edit(features, '["old", self.x]', '["new", self.x]')
    with pytest.warns(CodeChangedWarning, match="Point"):
        assert in_worker(missing)[0] == ["new", 1]
    assert not features.g.check_call_in_cache(points)
    assert features.g(points) == ["old", 1]


def test_a_worker_where_the_function_is_not_remembered_returns_its_result_unstored(features, in_worker, edit):
    missing = features.f.__lightwork_lookup__((1,), {})
    edit(features, '@Memory("cache", verbose=1).cache\n', "")
    with pytest.warns(CodeChangedWarning, match="decorator"):
        assert in_worker(missing)[0] == ["old", 1, 1]
    assert not features.f.check_call_in_cache(1)


def test_a_comment_does_not_keep_a_worker_from_storing(features, in_worker, edit):
    missing = features.f.__lightwork_lookup__((1,), {})
    edit(features, "return [helper", "# a comment\n    return [helper")
    assert in_worker(missing)[0] == ["old", 1, 1]
    assert features.f.check_call_in_cache(1)


def test_methods_with_their_object_and_arrays(module, tmp_path, in_worker):
    features = module(
        f"""
        from lightwork import Memory

        class Model:
            def __init__(self, slope):
                self.slope = slope

            @Memory({str(tmp_path / "cache")!r}, mmap_mode="r", verbose=0).cache
            def predict(self, x):
                return self.slope * x
        """
    )
    model = features.Model(3.0)
    x = np.ones(20_000)
    value, _ = in_worker(model.predict.__lightwork_lookup__((), {"x": x}))
    assert isinstance(value, np.memmap)
    assert (value == 3).all()
    assert isinstance(model.predict.__lightwork_lookup__((x,), {}), Found)
    del value


def test_an_entry_that_is_gone_again_is_computed_by_the_parent(module, tmp_path, in_worker):
    features = module(
        f"""
        import numpy
        from lightwork import Memory

        @Memory({str(tmp_path / "cache")!r}, mmap_mode="r", verbose=0).cache
        def zeros(n):
            return numpy.zeros(n)
        """
    )
    missing = features.zeros.__lightwork_lookup__((10,), {})

    def cleared(answer):
        features.zeros.clear()
        return missing.finish(answer)

    assert in_worker(Missing(missing.func, missing.args, missing.kwargs, cleared))[0].shape == (10,)


def test_an_error_in_a_worker_is_the_functions(features, in_worker):
    missing = features.f.__lightwork_lookup__((1, 2, 3), {})
    with pytest.raises(TypeError, match=r"f\(\) takes from 1 to 2 positional arguments"):
        missing.func(*missing.args, **missing.kwargs)


def test_with_a_key_of_ones_own_only_what_it_returns_counts_in_a_worker_too(module, tmp_path, in_worker):
    features = module(
        f"""
        from lightwork import Memory

        class Point:
            def __init__(self, x):
                self.x = x

        @Memory({str(tmp_path / "cache")!r}, verbose=0).cache(key=lambda point: point.x)
        def f(point):
            return point.x
        """
    )
    assert in_worker(features.f.__lightwork_lookup__((features.Point(3),), {}))[0] == 3
    assert features.f.check_call_in_cache(features.Point(3))
