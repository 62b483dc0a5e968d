"""Variables of enclosing functions: what code reads counts, what it changes is state, a library's are its own."""

import functools
import warnings

import pytest

from lightwork.errors import NotFollowedWarning
from lightwork.hashing import fingerprint


def test_what_is_read_counts():
    def make(table):
        def read(x):
            return table[x]

        return read

    assert fingerprint(make([1, 2])).digest == fingerprint(make([1, 2])).digest
    assert fingerprint(make([1, 2])).digest != fingerprint(make([1, 3])).digest


def test_what_is_changed_in_place_is_state():
    seen = []

    def note(x):
        seen.append(x)
        return x

    before = fingerprint(note).digest
    note(1)
    assert fingerprint(note).digest == before


def test_what_is_rebound_is_state():
    count = 0

    def step():
        nonlocal count
        count += 1
        return count

    before = fingerprint(step).digest
    step()
    assert fingerprint(step).digest == before


def test_an_attribute_that_is_set_makes_state_of_its_object():
    class Box:
        value = 0

    box = Box()

    def fill(x):
        box.value = x

    before = fingerprint(fill).digest
    fill(5)
    assert fingerprint(fill).digest == before


def test_what_one_function_changes_is_state_for_another_that_reads_it():
    shared = {}

    def write(x):
        shared[x] = x

    def both(x):
        write(x)
        return len(shared)

    before = fingerprint(both).digest
    both(1)
    assert fingerprint(both).digest == before


def test_a_variable_of_an_inner_function_with_the_same_name_makes_no_state():
    def make(table):
        def read(x):
            def inner():
                table = []  # another one
                table.append(1)
                return table

            return table[x], inner, [len(table) for table in ([],)]

        return read

    assert fingerprint(make([1])).digest != fingerprint(make([2])).digest


def test_functions_in_cells_are_followed_though_attributes_are_set_on_them():
    def make(factor):
        def helper(x):
            return x * factor

        def f(x):
            helper.calls = 1
            return helper(x)

        return f

    assert fingerprint(make(2)).digest != fingerprint(make(3)).digest


def test_what_a_librarys_own_function_closes_over_is_the_librarys():
    selection = pytest.importorskip("sklearn.model_selection")

    def f(model):
        return selection.cross_val_score(model), cross(model)

    cross = selection.cross_val_score
    with warnings.catch_warnings():
        warnings.simplefilter("error", NotFollowedWarning)
        assert fingerprint(f).digest


def test_what_a_librarys_decorator_wraps_is_followed():
    def make(factor):
        @functools.lru_cache
        def f(x):
            return x * factor

        return f

    assert fingerprint(make(2)).digest != fingerprint(make(3)).digest
