"""Functions of the global generators travel by name; generators of the user as they are."""

import random

import numpy as np
import pytest

from lightwork.workers.payload import Definitions, TaskPickler


def dumps(value):
    return TaskPickler(lambda _: 0, None, Definitions()).dumps(value)[0]


def loads(data):
    import pickle

    return pickle.loads(data)


@pytest.mark.parametrize(
    "draw",
    [random.random, random.gauss, random.randint, random.getrandbits, np.random.rand, np.random.shuffle],
)
def test_a_function_of_a_global_generator_means_the_readers_own(draw):
    found = loads(dumps({"draw": draw}))["draw"]
    assert found.__self__ is draw.__self__
    assert found.__name__ == draw.__name__


def test_a_generator_of_the_user_is_copied_as_it_is():
    mine = random.Random(3)
    assert loads(dumps(mine.random))() == random.Random(3).random()
    rng = np.random.default_rng(3)
    assert loads(dumps(rng.normal))() == np.random.default_rng(3).normal()


def test_other_methods_go_as_ever():
    assert loads(dumps([1, 2].index))(2) == 1
    assert loads(dumps("-".join))("ab") == "a-b"
    assert loads(dumps(len))("ab") == 2
