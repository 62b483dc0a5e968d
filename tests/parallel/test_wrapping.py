"""Wrapped objects pickle with `pickle` and behave as they are."""

import pickle

import pytest

from lightwork import Parallel, delayed, wrap_non_picklable_objects


def test_functions():
    factor = 3
    triple = wrap_non_picklable_objects(lambda x: factor * x)
    again = pickle.loads(pickle.dumps(triple))
    assert again(2) == triple(2) == 6
    assert pickle.loads(pickle.dumps(again))(2) == 6


def test_names_and_documentation_are_kept():
    @wrap_non_picklable_objects
    def work(x):
        """Work."""

    assert (work.__name__, work.__doc__) == ("work", "Work.")


def test_objects_and_classes():
    class Local:
        def __init__(self, x):
            self.x = x

        def double(self):
            return 2 * self.x

    again = pickle.loads(pickle.dumps(wrap_non_picklable_objects(Local(4))))
    assert (again.x, again.double()) == (4, 8)
    made = wrap_non_picklable_objects(Local)(5)
    assert pickle.loads(pickle.dumps(made)).double() == 10
    with pytest.raises(AttributeError):
        _ = made.missing


def test_without_the_wrapper():
    bare = pickle.loads(pickle.dumps(wrap_non_picklable_objects(lambda: 1, keep_wrapper=False)))
    assert type(bare).__name__ == "function"


def test_in_a_loop():
    double = wrap_non_picklable_objects(lambda x: 2 * x)
    assert Parallel(n_jobs=2)(delayed(double)(i) for i in range(3)) == [0, 2, 4]
