"""A twister of ours draws the same numbers whichever way it is seeded, and nobody's pair is lost or disturbed."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwork.workers import twister
from lightwork.workers.twister import Twister, half_of_pair, put_back_half

KEYS = st.binary(min_size=16, max_size=16)


@pytest.fixture(autouse=True)
def _as_it_was():
    generator, state = np.random.get_bit_generator(), np.random.get_state(legacy=False)
    yield
    np.random.set_bit_generator(generator)
    np.random.set_state(state)


def _drawn(generator):
    state = np.random.RandomState(generator)
    return [*state.random_sample(700).tolist(), *state.normal(size=3).tolist(), state.randint(2**31)]


def _by_hand(key):
    """What a seeded twister holds, said in NumPy's words."""
    numbers = np.frombuffer(key, "<u8").astype(np.uint64)
    words = [
        half
        for raw in np.random.Philox(key=numbers, counter=0).random_raw(312).tolist()
        for half in (raw & 0xFFFFFFFF, raw >> 32)
    ]
    generator = np.random.MT19937(0)
    generator.state = {"bit_generator": "MT19937", "state": {"key": np.array(words, np.uint32), "pos": 624}}
    return generator


class TestSeeding:
    TWISTER = Twister()

    def test_it_goes_by_memory_here(self):
        assert self.TWISTER.reached is not None

    @given(KEYS)
    def test_the_words_are_philoxs(self, key):
        self.TWISTER.seed(key)
        assert _drawn(self.TWISTER.generator) == _drawn(_by_hand(key))

    @given(st.lists(KEYS, min_size=1, max_size=3))
    def test_the_slow_way_draws_the_same(self, keys):
        slow = Twister()
        slow.reached = None
        for key in keys:
            slow.seed(key)
            self.TWISTER.seed(key)
            assert _drawn(slow.generator) == _drawn(self.TWISTER.generator)

    @given(KEYS, st.integers(0, 2000))
    def test_what_was_drawn_before_leaves_no_trace(self, key, count):
        expected = _drawn(_by_hand(key))
        self.TWISTER.generator.random_raw(count)
        self.TWISTER.seed(key)
        assert _drawn(self.TWISTER.generator) == expected

    def test_neighbouring_keys_share_no_numbers(self):
        drawn = []
        for number in range(50):
            self.TWISTER.seed(number.to_bytes(16, "little"))
            drawn += self.TWISTER.generator.random_raw(700).tolist()
        assert len(set(drawn)) > len(drawn) - 10  # of 32 bits each: about 0.14 pairs by chance


def test_bits_of_many_streams_are_even_and_unrelated():
    """Mean and correlation of the first draws of 4,000 streams, within five standard deviations."""
    ours = Twister()
    rows = []
    for number in range(4000):
        ours.seed(number.to_bytes(16, "little"))
        rows.append(np.random.RandomState(ours.generator).random_sample(4))
    table = np.array(rows) - 0.5
    assert np.abs(table.mean(axis=0)).max() < 5 / np.sqrt(12 * 4000)
    follower = np.corrcoef(np.hstack([table[:-1], table[1:]]).T) - np.eye(8)
    assert np.abs(follower).max() < 5 / np.sqrt(4000)


class _Strange(np.random.MT19937):
    """A twister whose memory is not what its `state` says."""

    @property
    def state(self):
        return self._turned(np.random.MT19937.state.__get__(self))

    @state.setter
    def state(self, said):
        turned = {**self._turned(said), "bit_generator": type(self).__name__}
        np.random.MT19937.state.__set__(self, turned)

    def _turned(self, said):
        return said


class _Reversed(_Strange):
    """Keeps its words in another order."""

    def _turned(self, said):
        held = said["state"]
        return {**said, "state": {"key": np.ascontiguousarray(held["key"][::-1]), "pos": held["pos"]}}


class _CountsDown(_Strange):
    """Keeps how many words are left, in the place of how many are gone."""

    def _turned(self, said):
        held = said["state"]
        return {**said, "state": {"key": held["key"], "pos": 624 - held["pos"]}}


class _KeepsACopy(_Strange):
    """Draws from a copy that its own setter alone renews."""

    @property
    def state(self):
        return _Strange.state.__get__(self)

    @state.setter
    def state(self, said):
        _Strange.state.__set__(self, said)
        self.copy = np.random.MT19937(0)
        self.copy.state = {**said, "bit_generator": "MT19937"}

    def random_raw(self, size=None, output=True):
        return self.copy.random_raw(size, output)


class _SaysTheWordsItWasTold(_Strange):
    """Reads its words from a copy that its own setter alone renews."""

    @property
    def state(self):
        held = _Strange.state.__get__(self)["state"]
        return {"state": {**held, "key": self.told["state"]["key"]}}

    @state.setter
    def state(self, said):
        self.told = said
        _Strange.state.__set__(self, said)


class _SaysThePositionItWasTold(_SaysTheWordsItWasTold):
    """And its position alone."""

    @property
    def state(self):
        held = _Strange.state.__get__(self)["state"]
        return {"state": {**held, "pos": self.told["state"]["pos"]}}

    @state.setter
    def state(self, said):
        _SaysTheWordsItWasTold.state.__set__(self, said)


STRANGE = [_Reversed, _CountsDown, _KeepsACopy, _SaysTheWordsItWasTold, _SaysThePositionItWasTold]


def test_what_is_like_a_twister_is_reached():
    """The others here are refused for what they do, not for being of another class."""
    assert twister.reach(_Strange(0)) is not None


@pytest.mark.parametrize("kind", [*STRANGE, np.random.PCG64])
def test_another_layout_is_noticed(kind):
    assert twister.reach(kind(0)) is None


@pytest.mark.parametrize("kind", [_Reversed, _CountsDown])
def test_memory_that_does_not_hold_what_was_said_is_not_written(kind):
    first = np.random.Philox(0).random_raw(312).view(np.uint32).tolist()
    strange = kind(0)
    assert twister.reach(strange) is None
    assert strange.state["state"]["key"].tolist() == first
    assert strange.state["state"]["pos"] == 5


def test_memory_outside_of_the_generator_is_not_touched():
    class Elsewhere:
        ctypes = np.random.MT19937(0).ctypes

    assert twister.reach(Elsewhere()) is None


class _Closed:
    """The legacy generator of a NumPy that lets nobody change what stands behind it."""

    __slots__ = ("_state",)

    def __init__(self, state):
        self._state = state

    _bit_generator = property(lambda self: np.random.get_bit_generator())

    def get_state(self, legacy=True):
        return np.random.get_state(legacy)

    def set_state(self, state):
        np.random.set_state(state)


class TestTakingOver:
    def test_another_generator_is_back_untouched(self):
        mine = np.random.MT19937(3)
        np.random.set_bit_generator(mine)
        expected = np.random.RandomState(np.random.MT19937(3)).normal(size=6).tolist()
        ours, drawn = Twister(), []
        for number in range(6):
            drawn.append(np.random.normal())
            ours.take_over()
            ours.seed(bytes(16))
            np.random.normal(size=number)
            ours.give_back()
            assert np.random.get_bit_generator() is mine
        assert drawn == expected

    def test_each_stream_begins_without_half_a_pair(self):
        ours, drawn = Twister(), []
        ours.take_over()
        for _ in range(3):
            ours.seed(bytes(16))
            drawn.append(np.random.normal())
        ours.give_back()
        assert drawn == [np.random.RandomState(_by_hand(bytes(16))).normal()] * 3


class TestPair:
    @pytest.fixture(params=["open", "closed"], autouse=True)
    def _way(self, request, monkeypatch):
        if request.param == "closed":
            closed = _Closed(np.random.mtrand._rand)
            monkeypatch.setattr(twister, "_legacy", closed)

    @pytest.mark.parametrize("kind", [np.random.MT19937, np.random.PCG64])
    def test_the_half_is_what_the_next_draw_gives(self, kind):
        np.random.set_bit_generator(kind(3))
        assert half_of_pair() is None
        np.random.standard_normal()
        half = half_of_pair()
        assert half == half_of_pair() == np.random.standard_normal()
        assert half_of_pair() is None

    @pytest.mark.parametrize("kind", [np.random.MT19937, np.random.PCG64])
    def test_a_half_is_put_back(self, kind):
        mine = kind(3)
        np.random.set_bit_generator(mine)
        np.random.random_sample(9)
        expected = np.random.RandomState(kind(3))
        expected.random_sample(9)
        put_back_half(0.25)
        assert np.random.get_bit_generator() is mine
        assert np.random.standard_normal() == 0.25
        assert np.random.standard_normal() == expected.standard_normal()

    def test_looking_disturbs_nobody_who_draws(self):
        """In another thread, that is, which the interpreter lets draw at any moment."""
        np.random.set_bit_generator(np.random.MT19937(5))
        expected = np.random.RandomState(np.random.MT19937(5)).normal(size=20_000).tolist()
        drawn = []
        thread = threading.Thread(target=lambda: drawn.extend(np.random.normal() for _ in range(20_000)))
        thread.start()
        while thread.is_alive():
            half_of_pair()
        assert drawn == expected
