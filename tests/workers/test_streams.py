"""The stream of a task depends on the seed and its number, and on nothing else."""

import pickle
import random
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwork.errors import OptionError, OptionTypeError
from lightwork.workers import streams, twister
from lightwork.workers.streams import Drawing, Seed, rng

SEEDS = st.integers(0, 2**200) | st.lists(st.integers(0, 2**40), min_size=1, max_size=4)


@given(SEEDS, st.integers(0, 20))
def test_a_stream_is_numpys_own_child(seed, number):
    mine = Seed.of(seed).stream(number).sequence().generate_state(4)
    theirs = np.random.SeedSequence(seed).spawn(number + 1)[number].generate_state(4)
    assert mine.tolist() == theirs.tolist()


def test_a_seed_sequence_is_taken_as_it_is():
    parent = np.random.SeedSequence(5, pool_size=8).spawn(3)[2]
    seed = Seed.of(parent)
    assert seed == Seed(5, (2,), 8)
    theirs = parent.spawn(1)[0].generate_state(8).tolist()
    assert seed.stream(0).sequence().generate_state(8).tolist() == theirs
    assert Seed.of(np.random.SeedSequence()).stream(0)  # entropy of the system, fixed from then on


def test_numpys_integers_are_numbers():
    assert Seed.of(np.int64(3)) == Seed.of(3)
    assert Seed.of(np.array([3, 4])) == Seed.of([3, 4])


@pytest.mark.parametrize("said", [-1, [], [1, -1]])
def test_numbers_that_are_no_seed(said):
    with pytest.raises(OptionError, match="0 or more"):
        Seed.of(said)


@pytest.mark.parametrize("said", ["1", 1.5, True, object(), b"1", [1.5], [[1]]])
def test_what_is_no_number(said):
    with pytest.raises(OptionTypeError, match="whole number"):
        Seed.of(said)


@given(SEEDS, SEEDS, st.integers(0, 100), st.integers(0, 100))
def test_tokens_are_equal_where_streams_are(seed, other, number, another):
    one, two = Seed.of(seed).stream(number), Seed.of(other).stream(another)
    assert (one.token == two.token) == (one == two)


def _draw():
    return random.random(), float(np.random.rand()), float(rng().random())


def test_the_generators_of_the_process_are_put_back():
    random.seed(1)
    np.random.seed(1)
    expected = [(random.random(), float(np.random.rand())) for _ in range(3)]
    random.seed(1)
    np.random.seed(1)
    seen = []
    for number in range(3):
        with pytest.raises(KeyError), Drawing(Seed(9).stream(number), "task"):
            _draw()
            np.random.normal()  # leaves half of a pair behind, which is put back too
            raise KeyError
        seen.append((random.random(), float(np.random.rand())))
    assert seen == expected


def test_all_three_generators_of_all_tasks_differ():
    drawn = []
    for number in range(50):
        with Drawing(Seed(9).stream(number), "task"):
            drawn += [*_draw(), float(rng().random())]
    assert len(set(drawn)) == 200


def test_blocks_nest():
    outer, inner = Seed(1).stream(0), Seed(2).stream(0)
    with Drawing(outer, "task"):
        whole = [_draw(), _draw()]
    with Drawing(outer, "task"):
        first = _draw()
        with Drawing(inner, "task"):
            other = _draw()
        assert [first, _draw()] == whole
    assert other not in whole


def test_where_the_process_is_shared_only_rng_is_seeded():
    random.seed(1)
    expected = random.random()
    random.seed(1)
    with Drawing(Seed(1).stream(0), "none"):
        assert random.random() == expected
        assert rng().random() == np.random.default_rng(Seed(1).stream(0).sequence()).random()


def test_outside_of_tasks_each_thread_has_a_generator_of_its_own():
    assert rng() is rng()
    found = []
    thread = threading.Thread(target=lambda: found.append((rng(), rng().random())))
    thread.start()
    thread.join()
    assert found[0][0] is not rng()
    assert found[0][1] != rng().random()


def test_a_seed_travels():
    assert pickle.loads(pickle.dumps(Seed.of([1, 2]).stream(3))) == Seed.of([1, 2]).stream(3)


def test_a_generator_of_another_kind_is_put_back_as_it_was():
    """NumPy's global functions may draw from any; tasks find the one that can be seeded as they know it."""
    mine = np.random.PCG64(5)
    before = np.random.get_bit_generator()
    np.random.set_bit_generator(mine)
    try:
        with Drawing(Seed(9).stream(0), "task"):
            drawn = _draw()
            np.random.seed(1)
            np.random.set_bit_generator(np.random.PCG64(7))
        assert np.random.get_bit_generator() is mine
        assert np.random.random_sample() == np.random.Generator(np.random.PCG64(5)).random()
    finally:
        np.random.set_bit_generator(before)
    with Drawing(Seed(9).stream(0), "task"):
        assert _draw() == drawn


def test_half_of_a_pair_is_put_back():
    np.random.seed(3)
    expected = [float(np.random.normal()) for _ in range(4)]
    np.random.seed(3)
    found = []
    for number in range(4):
        found.append(float(np.random.normal()))
        with Drawing(Seed(9).stream(number), "task"):
            np.random.normal()
    assert found == expected


def test_a_generator_that_a_task_has_set_is_not_seeded_for_another():
    theirs = np.random.MT19937(5)
    with Drawing(Seed(9).stream(0), "task"):
        np.random.set_bit_generator(theirs)
    for number in range(3):
        with Drawing(Seed(9).stream(number), "task"), Drawing(Seed(8).stream(number), "task"):
            _draw()
    assert theirs.random_raw(5).tolist() == np.random.MT19937(5).random_raw(5).tolist()


def test_a_task_begins_without_half_a_pair():
    drawn = []
    for before in range(3):
        np.random.normal(size=before)
        with Drawing(Seed(9).stream(0), "task"):
            drawn.append((np.random.normal(), random.gauss()))
    assert drawn == [drawn[0]] * 3


def test_the_numbers_do_not_depend_on_how_numpy_keeps_its_words(monkeypatch):
    def drawn():
        monkeypatch.setattr(streams, "_spares", [])
        found = []
        for number in range(3):
            with Drawing(Seed(9).stream(number), "task"):
                found.append([*_draw(), *np.random.normal(size=701).tolist()])
        return found

    quickly = drawn()
    monkeypatch.setattr(twister, "reach", lambda generator: None)
    assert drawn() == quickly


# What a program may do between two tasks, and tasks may do too, to the generators of the process.
ACTS = {
    "random": random.random,
    "gauss": lambda: random.gauss(0, 1),
    "seed": lambda: random.seed(3),
    "rand": np.random.random_sample,
    "many": lambda: np.random.random_sample(700)[-1],
    "normal": np.random.standard_normal,
    "reseed": lambda: (
        np.random.seed(3) if isinstance(np.random.get_bit_generator(), np.random.MT19937) else None
    ),
    "repeat": lambda: np.random.set_state(np.random.get_state(legacy=False)),
    "twister": lambda: np.random.set_bit_generator(np.random.MT19937(5)),
    "other": lambda: np.random.set_bit_generator(np.random.PCG64(5)),
}


@given(
    st.lists(st.tuples(*[st.lists(st.sampled_from(sorted(ACTS)), max_size=6)] * 2), min_size=2, max_size=5)
)
def test_nobody_notices_tasks_who_draws_between_them(rounds):
    held = np.random.get_bit_generator()  # hypothesis looks for its state when the test ends

    def draws(tasks, program):
        random.seed(1)
        np.random.set_bit_generator(np.random.MT19937(1))
        between, inside = [], []
        for number, (acts, others) in enumerate(rounds):
            between += [ACTS[name]() for name in acts if program]
            if tasks:
                with Drawing(Seed(9).stream(number), "task"):
                    inside.append(_draw())
                    for name in others:
                        ACTS[name]()
        return between, inside

    try:
        between, inside = draws(True, True)
        assert between == draws(False, True)[0]
        assert inside == draws(True, False)[1]
    finally:
        np.random.set_bit_generator(held)
