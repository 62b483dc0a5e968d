"""`Memory` and what it makes: options, decorating, printing, methods, pickling."""

from __future__ import annotations

import functools
import inspect
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lightwork.errors import CacheWarning, HashError, MappingWarning, OptionError, OptionTypeError
from lightwork.memory import MemorizedFunc, Memory, NotMemorizedFunc
from lightwork.settings import cache_folder


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path / "cache", verbose=0)


def files(memory: Memory) -> list[str]:
    return sorted(memory.store_backend.entries())


calls: list[object] = []


def note(value):
    """Leave a mark that nothing which is fingerprinted depends on."""
    calls.append(value)


@pytest.fixture(autouse=True)
def fresh_calls():
    calls.clear()


# --- the promise ------------------------------------------------------------------------------------


def test_a_call_is_computed_once_whatever_its_spelling(memory):
    @memory.cache
    def area(width, height=2, *, unit="m"):
        note((width, height))
        return f"{width * height} {unit}"

    assert {area(3), area(3, 2), area(width=3), area(height=2, width=3, unit="m")} == {"6 m"}
    assert calls == [(3, 2)]
    assert area(3, 4) == "12 m"
    assert len(files(memory)) == 2


def test_arguments_that_only_look_alike_are_others(memory):
    @memory.cache
    def kind(x):
        return type(x).__name__

    array = np.arange(3.0)
    values = [
        1,
        1.0,
        True,
        "1",
        b"1",
        (1,),
        [1],
        {1},
        array,
        array.tobytes(),
        array.tolist(),
        array.astype("f4"),
    ]
    assert [kind(x) for x in values] == [type(x).__name__ for x in values]
    assert [kind(x) for x in values] == [type(x).__name__ for x in values]


def test_what_a_caller_does_to_a_result_stays_with_the_caller(memory):
    @memory.cache
    def make(n):
        return {"list": list(range(n)), "array": np.zeros(n)}

    for _ in range(2):
        made = make(3)
        made["list"].append("spoilt")
        made["array"] += 1
    assert make(3)["list"] == [0, 1, 2]
    assert not make(3)["array"].any()


def test_what_a_function_does_to_its_arguments_makes_no_difference_to_the_key(memory):
    @memory.cache
    def drain(queue):
        note(len(queue))
        taken = list(queue)
        queue.clear()
        return taken

    assert drain([1, 2]) == [1, 2]
    assert drain([1, 2]) == [1, 2]
    assert drain([]) == []
    assert calls == [2, 0]


def test_errors_are_the_callers_and_are_not_kept(memory):
    @memory.cache
    def fail(x):
        note(x)
        raise KeyError(x)

    for _ in range(2):
        with pytest.raises(KeyError, match="'a'"):
            fail("a")
    assert calls == ["a", "a"]
    with pytest.raises(TypeError, match=r"fail\(\) missing 1 required positional argument"):
        fail()
    assert files(memory) == []


def test_none_is_a_result(memory):
    @memory.cache
    def nothing():
        note(1)

    assert nothing() is nothing() is None
    assert calls == [1]


def test_ignored_arguments_make_no_difference(memory):
    @memory.cache(ignore=["verbose", "*"])
    def f(x, *rest, verbose=0):
        note((x, rest, verbose))
        return x

    f(1), f(1, verbose=3), f(1, 2, verbose=4)
    assert calls == [(1, (), 0)]


def test_an_argument_that_has_no_value_is_named(memory):
    @memory.cache
    def read(path, file):
        return file.read()

    with open(os.devnull) as file, pytest.raises(HashError, match=r"argument 'file'.*ignore=\['file'\]"):
        read("name", file)


# --- options ----------------------------------------------------------------------------------------


def test_the_location_may_be_said_in_many_ways(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for location in ("here", Path("here"), tmp_path / "here", str(tmp_path / "here")):
        memory = Memory(location, verbose=0)
        assert memory.store_backend.folder == str(tmp_path / "here" / "lightwork")
        assert memory.location == os.fspath(location)
    assert not (tmp_path / "here").exists()


def test_a_relative_location_stays_where_it_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    f = Memory("here", verbose=0).cache(abs)
    monkeypatch.chdir("/")
    assert f(-1) == 1
    assert (tmp_path / "here" / "lightwork").is_dir()


def test_with_nothing_said_results_go_to_the_users_cache():
    memory = Memory(verbose=0)
    assert memory.location == str(cache_folder()) == os.environ["LIGHTWORK_CACHE_DIR"]
    assert memory.cache(abs)(-2) == 2
    assert len(files(memory)) == 1


def test_none_remembers_nothing():
    memory = Memory(None)
    assert memory.location is memory.store_backend is None

    @memory.cache
    def f(x):
        note(x)
        return x

    assert isinstance(f, NotMemorizedFunc)
    assert f(1) == f(1) == 1
    assert calls == [1, 1]
    assert f.call(2) == (2, {})
    assert not f.check_call_in_cache(1)
    f.clear()
    memory.clear()
    assert memory.eval(abs, -3) == 3
    assert "NotMemorizedFunc" in repr(f)


def test_where_nothing_is_remembered_a_program_runs_in_the_same_way(memory):
    names = [
        name
        for name in vars(MemorizedFunc)
        if not name.startswith("_") and callable(getattr(MemorizedFunc, name))
    ]
    assert {"forget", "refresh", "entries", "stats", "why", "cache_info", "cache_clear"} <= set(names)
    f = Memory(None).cache(note_and_return)
    assert [name for name in names if not hasattr(f, name)] == ["received"]  # for loops alone
    f.forget(1), f.cache_clear()
    assert f.refresh(1) == f(1) == 1
    assert calls == [1, 1]
    assert f.entries() == []
    assert "no location" in f.why(1)
    assert f.cache_info()._fields == memory.cache(note_and_return).cache_info()._fields
    assert f.stats().keys() == memory.cache(note_and_return).stats().keys()


def note_and_return(x):
    note(x)
    return x


def test_a_location_of_another_type_is_told_and_remembers_nothing():
    with pytest.warns(CacheWarning, match="location=3 is neither") as caught:
        memory = Memory(3)
    assert caught[0].filename == __file__
    assert memory.location is None


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"backend": "s4"}, OptionTypeError, "'s4'"),
        ({"mmap_mode": "rw"}, OptionError, "'rw'.*'r\\+'"),
        ({"verbose": "loud"}, OptionTypeError, "'loud'"),
        ({"compress": 11}, OptionError, "11"),
        ({"compress": "zap"}, OptionError, "zap"),
    ],
)
def test_options_that_cannot_be_are_told_at_once(tmp_path, options, error, said):
    with pytest.raises(error, match=said):
        Memory(tmp_path, **options)


def test_what_cannot_be_remembered_is_told_at_once(memory):
    with pytest.raises(OptionTypeError, match="3"):
        memory.cache(3)
    with pytest.raises(OptionError, match="mmap_mode='x'"):
        memory.cache(abs, mmap_mode="x")
    with pytest.raises(ValueError, match="verbose"):
        memory.cache(ignore=["verbose"])(abs)
    for option in ("cache_validation_callback", "key", "store_if"):
        with pytest.raises(ValueError, match=f"{option}=True"):
            memory.cache(**{option: True})


def test_memories_are_equal_by_what_they_are_told(tmp_path):
    assert Memory(tmp_path) == Memory(str(tmp_path)) != Memory(tmp_path, compress=True)
    assert hash(Memory(tmp_path)) == hash(Memory(str(tmp_path)))
    assert Memory(None) == Memory(None) != Memory(tmp_path)
    assert repr(Memory("cc")) == "Memory(location=cc)"


# --- mapping and compressing ------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["r", "c", "r+", "w+"])
@pytest.mark.parametrize("size", [10, 50_000])
def test_mapped_results_never_write_into_the_entry(tmp_path, mode, size):
    memory = Memory(tmp_path, mmap_mode=mode, verbose=0)

    @memory.cache
    def zeros(size):
        note(size)
        return np.zeros(size)

    for _ in range(3):
        found = zeros(size)
        assert isinstance(found, np.memmap)
        assert found.flags.writeable == (mode != "r")
        assert not found.any()
        if mode != "r":
            found += 1
            found.flush()
    assert calls == [size]
    del found


def test_the_mode_of_a_function_is_its_own(memory):
    def zeros():
        return np.zeros(50_000)

    assert isinstance(memory.cache(zeros, mmap_mode="r")(), np.memmap)
    assert not isinstance(memory.cache(zeros)(), np.memmap)
    mapping = Memory(memory.location, mmap_mode="r", verbose=0)
    assert not isinstance(mapping.cache(zeros, mmap_mode=None)(), np.memmap)
    assert mapping.cache(zeros).mmap_mode == "r"


def test_compressed_entries_are_smaller_and_read(tmp_path):
    plain, small = Memory(tmp_path / "a", verbose=0), Memory(tmp_path / "b", compress=True, verbose=0)

    def zeros():
        return np.zeros(100_000)

    for memory in (plain, small):
        assert not memory.cache(zeros)().any()
        assert not memory.cache(zeros)().any()
    assert os.path.getsize(files(small)[0]) * 10 < os.path.getsize(files(plain)[0])


def test_a_compressed_entry_asked_mapped_is_read_with_one_warning(tmp_path):
    memory = Memory(tmp_path, mmap_mode="r", compress=True, verbose=0)

    @memory.cache
    def zeros(x):
        return np.zeros(20_000)

    zeros(1), zeros(2)
    with pytest.warns(MappingWarning, match="compress") as caught:
        found = [zeros(x) for x in (1, 2, 1, 2)]
    assert not any(isinstance(array, np.memmap) for array in found)
    assert [warning.filename for warning in caught] == [__file__]


# --- what is said -----------------------------------------------------------------------------------


def test_silent_unless_asked(memory, capfd):
    f = memory.cache(abs)
    f(-1), f(-1)
    memory.clear()
    f.clear()
    assert capfd.readouterr() == ("", "")


def test_what_is_computed_is_said_with_its_arguments_and_how_long_it_took(tmp_path, capfd):
    @Memory(tmp_path).cache
    def fit(x, name):
        print("inside")

    fit(np.zeros((1000, 2)), name="a" * 1000)
    out, err = capfd.readouterr()
    first, inside, last = out.splitlines()
    assert err == ""
    assert "fit(" in first
    assert "ndarray" in first
    assert len(first) < 500
    assert inside == "inside"
    assert "fit computed in " in last
    fit(np.zeros((1000, 2)), name="a" * 1000)
    assert capfd.readouterr().out == ""


def test_loads_are_said_above_one_and_places_above_ten(tmp_path, capfd):
    memory = Memory(tmp_path, verbose=2)
    memory.cache(abs)(-1)
    capfd.readouterr()
    memory.cache(abs)(-1)
    assert "builtins.abs(-1) loaded" in capfd.readouterr().out
    memory.cache(abs, verbose=11)(-1)
    assert files(memory)[0] in capfd.readouterr().out
    memory.cache(abs, verbose=0)(-1)
    assert capfd.readouterr().out == ""


def test_clearing_is_said_unless_not_wanted(tmp_path, capfd):
    memory = Memory(tmp_path)
    memory.cache(abs).clear(warn=False)
    memory.clear(warn=False)
    assert capfd.readouterr().out == ""
    memory.cache(abs).clear()
    memory.clear()
    assert capfd.readouterr().out.count("Clearing") == 2


# --- what a remembered function offers --------------------------------------------------------------


def test_it_looks_like_the_function(memory):
    def area(width: int, height: int = 2) -> int:
        """The area."""
        return width * height

    area.colour = "red"
    area.call = "not ours"
    remembered = memory.cache(area)
    assert remembered.func is remembered.__wrapped__ is area
    assert (remembered.__name__, remembered.__doc__, remembered.colour) == ("area", "The area.", "red")
    assert remembered.__qualname__ == area.__qualname__
    assert inspect.signature(remembered) == inspect.signature(area)
    assert memory.cache(lambda x: x).__doc__ is None
    assert remembered.call(3)[0] == 6
    assert remembered.ignore == ()
    assert remembered.verbose == 0
    assert remembered.store_backend == memory.store_backend
    assert repr(remembered).startswith("MemorizedFunc(func=<function")


def test_call_computes_anew_and_stores(memory):
    @memory.cache
    def count(x, y=1):
        note(x)
        return len(calls)

    assert count(1) == 1
    value, metadata = count.call(1)
    assert value == 2
    assert count(1) == 2
    assert metadata["input_args"] == {"x": "1", "y": "1"}
    assert metadata["duration"] >= 0
    assert abs(metadata["time"] - os.stat(files(memory)[0]).st_mtime) < 5


def test_whether_a_call_is_there_is_told_without_loading(memory):
    @memory.cache
    def f(x):
        return x

    assert not f.check_call_in_cache(1)
    f(1)
    assert f.check_call_in_cache(1)
    assert f.check_call_in_cache(x=1)
    assert not f.check_call_in_cache(2)


def test_clearing_a_function_leaves_the_others(memory):
    def f(x):
        return x

    def g(x):
        return x

    f, g = memory.cache(f), memory.cache(g)
    f(1), f(2), g(1)
    f.clear()
    assert not f.check_call_in_cache(1)
    assert g.check_call_in_cache(1)
    memory.clear()
    assert not g.check_call_in_cache(1)
    assert f(1) == 1


def test_a_result_may_be_found_no_longer_valid(memory):
    seen = []

    def recent(metadata):
        seen.append(metadata)
        return len(seen) < 3

    def slow(n):
        note(n)
        return np.zeros(n)

    remembered = memory.cache(slow, cache_validation_callback=recent)
    for n in (10, 20_000):
        seen.clear()
        calls.clear()
        for _ in range(4):
            remembered(n)
        assert calls == [n, n]
        assert seen[0]["input_args"] == {"n": str(n)}


def test_an_error_of_the_validation_is_the_users(memory):
    def broken(metadata):
        raise ZeroDivisionError

    f = memory.cache(abs, cache_validation_callback=broken)
    f(-1)
    with pytest.raises(ZeroDivisionError):
        f(-1)


def test_remembering_twice_is_remembering_once(memory, tmp_path):
    inner = Memory(tmp_path / "inner", verbose=0).cache(abs)
    outer = memory.cache(inner)
    assert outer.func is abs
    assert outer(-1) == 1
    assert not inner.check_call_in_cache(-1)


def test_eval_remembers(memory):
    def f(x):
        note(x)
        return x

    assert memory.eval(f, 1) == memory.eval(f, x=1) == 1
    assert calls == [1]


# --- kinds of callables -----------------------------------------------------------------------------


class Model:
    memory: Memory

    def __init__(self, slope):
        self.slope = slope

    def predict(self, x, scale=1):
        note(("predict", self.slope, x))
        return self.slope * x * scale

    def __call__(self, x):
        note(("call", x))
        return self.slope * x


def test_methods_count_the_state_of_their_object(memory):
    class Line(Model):
        predict = memory.cache(Model.predict)

    one, two = Line(1), Line(2)
    assert [one.predict(3), one.predict(x=3, scale=1), two.predict(3), Line.predict(one, 3)] == [3, 3, 6, 3]
    assert calls == [("predict", 1, 3), ("predict", 2, 3)]
    assert one.predict.check_call_in_cache(3)
    assert one.predict.call(3)[0] == 3
    one.slope = 5
    assert not one.predict.check_call_in_cache(3)
    assert one.predict(3) == 15
    assert isinstance(Line.predict, MemorizedFunc)
    assert one.predict.func == Model.predict.__get__(one)


def test_static_and_class_methods_in_either_order(memory):
    class Tools:
        factor = 3

        @staticmethod
        @memory.cache
        def double(x):
            note(x)
            return 2 * x

        @memory.cache
        @staticmethod
        def triple(x):
            note(x)
            return 3 * x

        @classmethod
        @memory.cache
        def scaled(cls, x):
            note(x)
            return cls.factor * x

        @memory.cache
        @classmethod
        def squared(cls, x):
            note(x)
            return cls.factor * x * x

    for _ in range(2):
        assert [Tools.double(1), Tools().triple(2), Tools.scaled(3), Tools().squared(4)] == [2, 6, 9, 48]
    assert calls == [1, 2, 3, 4]


def test_bound_methods_partials_and_callable_objects(memory):
    model = Model(2)
    bound, partial, called = (
        memory.cache(model.predict),
        memory.cache(functools.partial(model.predict, scale=3)),
        memory.cache(model),
    )
    for _ in range(2):
        assert [bound(1), partial(1), called(1)] == [2, 6, 2]
    assert calls == [("predict", 2, 1), ("predict", 2, 1), ("call", 1)]
    model.slope = 4
    assert [bound(1), partial(1), called(1)] == [4, 12, 4]


def test_builtins_and_numpy_functions(memory):
    for func, args in ((pow, (2, 3)), (np.add, (1, 2)), (np.linalg.norm, (np.ones(4),)), (max, ([1, 2],))):
        remembered = memory.cache(func)
        assert remembered(*args) == remembered(*args) == func(*args)
        assert remembered.check_call_in_cache(*args)


def test_a_parameter_may_be_called_self(memory):
    @memory.cache
    def f(self, func, verbose):
        return self + func + verbose

    assert f(self=1, func=2, verbose=3) == f(1, 2, 3) == 6


def test_lambdas_and_local_functions_of_one_name_never_share(memory):
    lambdas = [memory.cache(lambda x: x + 1), memory.cache(lambda x: x + 2)]

    def make(step):
        def add(x):
            return x + step

        return memory.cache(add)

    local = [make(10), make(20)]
    for _ in range(2):
        assert [f(1) for f in lambdas + local] == [2, 3, 11, 21]


def test_recursion_goes_deep(memory):
    limit = sys.getrecursionlimit()
    frames = len(inspect.stack())

    @memory.cache
    def down(n):
        return 0 if n == 0 else 1 + down(n - 1)

    # From 3.12 on only our one frame counts beside the user's; before, the call of an object counts too.
    deep = (limit - frames - 80) // (2 if sys.version_info >= (3, 12) else 3)
    assert down(deep) == deep


def test_decorating_loads_nothing_heavy(run):
    program = """
    import sys
    from lightwork import Memory
    memory = Memory("cache")

    @memory.cache(verbose=0)
    def f(x):
        return x

    heavy = "numpy cloudpickle inspect dataclasses asyncio ast pickle xxhash json subprocess multiprocessing".split()
    print([name for name in heavy if name in sys.modules])
    """
    assert run(program) == "[]\n"


def test_calls_load_nothing_of_the_engine(run):
    """What 8 short processes do first weighs more than 2,000 calls each: it took 48 ms with these, 37 without."""
    program = """
    import sys
    from lightwork import Memory

    @Memory("cache", verbose=0).cache
    def f(x):
        return x

    f(1), f(1), f([2]), f([2])
    heavy = "numpy cloudpickle asyncio subprocess multiprocessing logging concurrent.futures socket".split()
    print([name for name in heavy if name in sys.modules])
    """
    assert run(program) == "[]\n"


_IMPORTS = """
import sys
from lightwork import Memory

def double(x):
    return 2 * x

double = Memory(sys.argv[1], verbose=0).cache(double)
double(1)
names = "inspect dis sysconfig platform queue numpy asyncio json lightwork.persist.writer lightwork.memory.quota"
print(*[name for name in names.split() if name in sys.modules])
"""


def test_a_first_call_imports_little_and_a_hit_still_less(tmp_path):
    """The start of a program is most of what a second run costs."""
    program = tmp_path / "program.py"
    program.write_text(_IMPORTS)
    command = [sys.executable, str(program), str(tmp_path / "cache")]
    said = [subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(2)]
    assert said == ["json lightwork.persist.writer\n", "\n"]
