"""Remembered functions travel: by name, by parts, by value."""

from __future__ import annotations

import copy
import functools
import pickle
from pathlib import Path

import cloudpickle
import pytest

import lightwork
from lightwork.memory import MemorizedFunc, Memory


def plain(x):
    return x + 1


class Model:
    def __init__(self, slope):
        self.slope = slope

    def predict(self, x):
        return self.slope * x


def again(value, dumps=pickle.dumps):
    return pickle.loads(dumps(value))


def test_a_memory_pickles(tmp_path):
    memory = Memory(tmp_path, mmap_mode="r", verbose=3)
    other = again(memory)
    assert other == memory
    assert (other.location, other.mmap_mode, other.verbose) == (str(tmp_path), "r", 3)
    assert again(Memory(None)) == Memory(None)


def test_a_relative_memory_goes_to_the_same_place_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = pickle.dumps(Memory("here", verbose=0).cache(plain))
    monkeypatch.chdir("/")
    pickle.loads(data)(1)
    assert (tmp_path / "here" / "lightwork").is_dir()


def test_what_a_module_holds_under_its_name_goes_by_name(module):
    features = module(
        """
        from lightwork import Memory
        memory = Memory("none", verbose=0)

        @memory.cache
        def load(x):
            return x

        class Reader:
            @memory.cache
            def read(self, x):
                return x
        """
    )
    assert again(features.load) is features.load
    assert again(features.Reader.read) is features.Reader.read
    assert len(pickle.dumps(features.load)) < 100
    assert copy.deepcopy(features.load) is features.load


def test_another_goes_by_parts(tmp_path):
    remembered = Memory(tmp_path, verbose=0).cache(plain, mmap_mode="c", ignore=["x"])
    remembered(1)
    other = again(remembered)
    assert other is not remembered
    assert other == remembered
    assert hash(other) == hash(remembered)
    assert isinstance(other, MemorizedFunc)
    assert (other.func, other.ignore, other.mmap_mode, other.verbose) == (plain, ("x",), "c", 0)
    assert other.timestamp == remembered.timestamp
    assert other.check_call_in_cache(1)
    assert other.__name__ == "plain"


def test_a_decorated_function_remembered_elsewhere_goes_too(tmp_path, module):
    features = module(
        """
        from lightwork import Memory

        @Memory("none", verbose=0).cache
        def load(x):
            return x
        """
    )
    elsewhere = Memory(tmp_path, verbose=0).cache(features.load)
    other = again(elsewhere)
    assert other == elsewhere != features.load
    assert other.func is features.load.func


def test_bound_methods_go_with_their_object(tmp_path):
    remembered = Memory(tmp_path, verbose=0).cache(Model(3).predict)
    remembered(2)
    assert again(remembered).check_call_in_cache(2)


def test_methods_that_remember_go_with_their_object(tmp_path, module):
    features = module(
        f"""
        from lightwork import Memory

        class Model:
            def __init__(self, slope):
                self.slope = slope

            @Memory({str(tmp_path)!r}, verbose=0).cache
            def predict(self, x):
                return self.slope * x
        """
    )
    method = features.Model(3).predict
    assert method(2) == 6
    for dumps in (pickle.dumps, cloudpickle.dumps):
        other = again(method, dumps)
        assert other.check_call_in_cache(2)
        assert other(4) == 12


def test_partials_go(tmp_path):
    remembered = Memory(tmp_path, verbose=0).cache(functools.partial(plain, x=3))
    assert again(remembered)() == 4


def test_local_functions_and_lambdas_go_by_value(tmp_path):
    memory = Memory(tmp_path, verbose=0)
    step = 5

    def fib(n):
        return n if n < 2 else remembered(n - 1) + remembered(n - 2)

    remembered = memory.cache(fib)
    adding = memory.cache(lambda x: x + step)
    assert remembered(10) == 55
    assert adding(1) == 6
    other = again(remembered, cloudpickle.dumps)
    assert other.check_call_in_cache(10)
    assert other(12) == 144
    assert other.__qualname__ == fib.__qualname__
    assert again(adding, cloudpickle.dumps).check_call_in_cache(1)


def test_a_function_of_a_script_goes_by_value_even_where_it_is_recursive(run):
    program = """
    import sys, cloudpickle, pickle
    from lightwork import Memory
    memory = Memory("cache", verbose=0)

    def fib(n):
        print("computing", n)
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    fib = memory.cache(fib)

    def total(n):
        return sum(fib(i) for i in range(n))

    if sys.argv[1] == "write":
        fib(4)
        for name, value in (("fib", fib), ("total", total)):
            with open(name, "wb") as file:
                file.write(cloudpickle.dumps(value))
    """
    reader = """
    import pickle
    for name in ("fib", "total"):
        with open(name, "rb") as file:
            print(pickle.load(file)(5))
    """
    assert run(program, "write").count("computing") == 5
    assert run(reader, name="reader.py") == "computing 5\n5\n7\n"


@pytest.mark.parametrize("file_is_there", [True, False])
def test_results_are_found_where_a_script_sent_its_functions(file_is_there, run, tmp_path):
    """As to Dask, Ray and loky: by cloudpickle, also to machines that do not have the file."""
    program = """
    import cloudpickle
    from dataclasses import dataclass
    from lightwork import Memory
    memory = Memory("cache", verbose=0)

    @dataclass
    class Scale:
        factor: int
        def by(self, x):
            return self.factor * x

    def helper(x):
        return Scale(1 + 1).by(x)

    @memory.cache
    def scaled(x):
        print("computing", x)
        return helper(x)

    remembered = memory.cache(lambda x: scaled(x) + 1)
    print(remembered(3))
    with open("sent", "wb") as file:
        file.write(cloudpickle.dumps([scaled, remembered]))
    """
    reader = """
    import pickle
    with open("sent", "rb") as file:
        scaled, remembered = pickle.load(file)
    print(scaled(3), remembered(3), scaled(4), remembered(4))
    """
    assert run(program) == "computing 3\n7\n"
    if not file_is_there:
        (tmp_path / "program.py").unlink()
    assert run(reader, name="reader.py") == "computing 4\n6 7 8 9\n"
    assert run(reader, name="reader.py") == "6 7 8 9\n"
    if file_is_there:  # what was stored there is found here
        assert run(program.replace("remembered(3))", "remembered(4))")) == "9\n"


def test_functions_are_values_whoever_remembers_them(tmp_path):
    one, two = Memory(tmp_path / "1", verbose=0).cache(plain), Memory(tmp_path / "2", verbose=3).cache(plain)
    assert lightwork.hash(one) == lightwork.hash(two)
    assert lightwork.hash(one) != lightwork.hash(Memory(tmp_path / "1", verbose=0).cache(lambda x: x))


@pytest.mark.parametrize("dumps", [pickle.dumps, cloudpickle.dumps])
def test_a_function_that_is_off_goes_too(dumps):
    assert again(Memory(None).cache(plain), dumps)(1) == 2


def test_folders_of_other_names_make_others(tmp_path: Path):
    one, two = Memory(tmp_path / "1").cache(plain), Memory(tmp_path / "2").cache(plain)
    assert one != two
    assert one == Memory(tmp_path / "1").cache(plain)
    assert one != plain
