"""Arguments and results as bytes: exact, unshared between tasks, big buffers apart."""

import functools
import math
import os
import pickle
import sys
from types import CodeType, ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwork.workers import payload
from lightwork.workers.payload import Definitions, TaskPickler

atoms = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.complex_numbers(allow_nan=False),
    st.text(st.characters(codec=None)), st.binary(),
)  # fmt: skip
values = st.recursive(
    atoms,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


class Shelf:
    """Stands for memory that both sides see."""

    def __init__(self):
        self.buffers = []

    def place(self, raw):
        self.buffers.append(bytes(raw))
        return len(self.buffers) - 1

    def fetch(self, number):
        return bytearray(self.buffers[number])


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def pickler(shelf):
    return TaskPickler(shelf.place, 1000, Definitions())


def _travel(args, kwargs, threshold=1000):
    shelf = Shelf()
    entry = payload.encode_arguments(args, kwargs, TaskPickler(shelf.place, threshold, Definitions()))
    (entry,) = payload.unpack(payload.pack([entry]))
    return payload.decode_arguments(entry, shelf.fetch)


@given(st.lists(values, max_size=4).map(tuple), st.dictionaries(st.text(max_size=5), values, max_size=3))
def test_arguments_arrive_as_they_were(args, kwargs):
    found_args, found_kwargs = _travel(args, kwargs)
    assert (found_args, found_kwargs) == (args, kwargs)
    assert repr((found_args, found_kwargs)) == repr(
        (args, kwargs)
    )  # 1, 1.0 and True are equal and not the same


class Colour(int):
    """A subclass of an atom: must not lose its type by the way of atoms."""


@pytest.mark.parametrize(
    "value",
    [
        Colour(3),
        np.float64(1.5),
        np.bool_(True),
        True,
        -0.0,
        2**100,
        "\ud800",
        bytearray(b"x"),
        range(3),
        {1},
        ...,
    ],
)
def test_types_are_exact(value):
    ((found,), _) = _travel((value,), {})
    assert type(found) is type(value)
    assert repr(found) == repr(value)


def test_nan_travels():
    ((found,), _) = _travel((math.nan,), {})
    assert math.isnan(found)


def test_an_array_never_travels_as_its_bytes():
    ((array, raw), _) = _travel((np.arange(4, dtype="u1"), bytes([0, 1, 2, 3])), {})
    assert type(array) is np.ndarray
    assert type(raw) is bytes


def test_a_mutable_argument_is_new_at_each_reading(pickler, shelf):
    entry = payload.encode_arguments(([1, 2],), {}, pickler)
    first, _ = payload.decode_arguments(entry, shelf.fetch)
    first[0].append(3)
    assert payload.decode_arguments(entry, shelf.fetch)[0] == ([1, 2],)


def test_buffers_from_the_threshold_on_lie_apart_and_smaller_ones_do_not(pickler, shelf):
    entry = payload.encode_arguments((np.ones(125), np.ones(124)), {}, pickler)
    assert [len(buffer) for buffer in shelf.buffers] == [1000]
    (big, small), _ = payload.decode_arguments(entry, shelf.fetch)
    assert big.sum() == 125
    assert small.sum() == 124
    assert big.flags.writeable


def test_no_threshold_keeps_everything_inside(shelf):
    payload.encode_arguments((np.ones(10_000),), {}, TaskPickler(shelf.place, None, Definitions()))
    assert shelf.buffers == []


@pytest.mark.parametrize(
    ("func", "stateless"),
    [
        (math.sqrt, True),
        (len, True),
        (os.path.join, True),
        (dict, True),
        ([].append, False),
        ("x".join, False),
    ],
)
def test_only_functions_without_state_are_read_once(func, stateless, pickler):
    data, _, found = payload.encode_function(func, pickler)
    assert found is stateless
    assert callable(pickle.loads(data))


@pytest.fixture
def main(monkeypatch):
    """The user's script, which holds a function and a class; `Colour` and `len` are of elsewhere."""
    module = ModuleType("__main__")
    code = "import typing\ndef helper(): ...\nclass Model: ...\nT = typing.TypeVar('T')"
    exec(code, vars(module))
    monkeypatch.setitem(sys.modules, "__main__", module)
    return module


def test_a_text_alone_does_not_mention_main(shelf, main, monkeypatch):
    definitions = Definitions()
    pickler = TaskPickler(shelf.place, 1000, definitions)
    monkeypatch.setattr(Definitions, "dumps_by_name", None)
    text = sys.intern("__main__")
    for _ in range(2):
        value = [
            text,
            DeprecationWarning,
            Colour(1),
            len,
            np.float64(1),
            np.dtype("f4"),
            np.arange(500),
            {1: text},
        ]
        data, places = pickler.dumps(value)
        assert len(places) == 1
        found = pickle.loads(data, buffers=[shelf.fetch(place) for place in places])
        assert repr(found) == repr(value)
    assert not definitions.known


@pytest.mark.parametrize("text_first", [True, False])
@pytest.mark.parametrize("name", ["helper", "Model"])
def test_what_main_holds_is_noted_wherever_a_text_stands(shelf, main, name, text_first):
    for make in (
        lambda it: it,
        lambda it: (it, np.arange(500)),
        lambda it: {"k": [functools.partial(print, it)]},
    ):
        definitions = Definitions()
        pickler = TaskPickler(shelf.place, 1000, definitions)
        pickler.dumps(["__main__"])
        held = make(getattr(main, name))
        text = sys.intern("__main__")
        data, places = pickler.dumps([text, held] if text_first else [held, text])
        assert dict(definitions.known) == {name: getattr(main, name)}
        pickle.loads(data, buffers=[shelf.fetch(place) for place in places])


def test_instances_and_type_variables_of_main_are_found(shelf, main):
    definitions = Definitions()
    pickler = TaskPickler(shelf.place, 1000, definitions)
    pickler.dumps(["__main__"])
    pickler.dumps(main.Model())
    assert list(definitions.known) == ["Model"]
    assert b"cloudpickle" in pickler.dumps(main.T)[0]  # by value: a worker has no such name


def test_an_object_that_does_not_say_its_module_travels(shelf):
    pickler = TaskPickler(shelf.place, 1000, Definitions())
    data, _ = pickler.dumps(["__main__", Shy()])
    assert type(pickle.loads(data)[1]) is Shy


class Shy:
    def __getattribute__(self, name):
        if name == "__module__":
            raise RuntimeError(name)
        return super().__getattribute__(name)


def test_closures_and_partials_carry_state(pickler):
    import functools

    box = []
    assert payload.encode_function(lambda: box, pickler)[2] is False
    assert payload.encode_function(functools.partial(len, [1]), pickler)[2] is False
    assert payload.encode_function(lambda: 1, pickler)[2] is True


@pytest.mark.parametrize("cloudpickle_drops_it", [False, True])
def test_code_by_value_keeps_the_name_of_its_file(cloudpickle_drops_it, pickler, monkeypatch):
    """cloudpickle 3.1.3 writes another in its place; tracebacks and remembered functions need it."""
    import cloudpickle

    reduce = cloudpickle.Pickler.dispatch_table[CodeType]
    if cloudpickle_drops_it:
        nameless = lambda code: reduce(code.replace(co_filename="<dynamic-code>"))
        monkeypatch.setitem(cloudpickle.Pickler.dispatch_table, CodeType, nameless)
    data, places = pickler.dumps(lambda: lambda: 3)
    outer = pickle.loads(data)
    assert (outer.__code__.co_filename, outer()(), places) == (__file__, 3, [])
    assert outer().__code__.co_filename == __file__


def test_a_refused_object_leaves_no_buffer_numbers_of_the_first_try(shelf):
    pickler = TaskPickler(shelf.place, 1000, Definitions())
    data, places = pickler.dumps((np.ones(1000), lambda: 3))
    array, func = pickle.loads(data, buffers=[shelf.fetch(place) for place in places])
    assert array.sum() == 1000
    assert func() == 3


# --- results ---


def _return(value, threshold=1000):
    buffers = []

    def lay(raws):
        start = len(buffers)
        buffers.extend(bytes(raw) for raw in raws)
        return list(range(start, len(buffers)))

    entry = payload.encode_result(value, lay, threshold)
    (entry,) = payload.unpack(payload.pack([entry]))
    return payload.decode_result(entry, lambda places: [bytearray(buffers[n]) for n in places]), buffers


@given(values)
def test_results_arrive_as_they_were(value):
    found, _ = _return(value, threshold=40)
    assert repr(found) == repr(value)


def test_big_buffers_and_big_pickles_are_laid_apart():
    found, buffers = _return({"a": np.ones(200), "b": "x" * 2000})
    assert found["a"].sum() == 200
    assert found["b"] == "x" * 2000
    assert len(buffers) == 2
    found, buffers = _return("y" * 5000)
    assert (found, len(buffers)) == ("y" * 5000, 1)


def test_a_local_class_comes_back():
    class Local:
        here = 1

    found, _ = _return(Local())
    assert found.here == 1


def test_a_result_that_cannot_be_pickled_says_so():
    with pytest.raises((TypeError, pickle.PicklingError)):
        _return(sys._getframe())
