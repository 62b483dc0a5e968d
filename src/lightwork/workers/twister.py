"""NumPy's legacy generator: how it is seeded for a task, and put aside around it, without NumPy's slow ways.

`numpy.random.seed` takes 7 to 10 µs, `get_state` 27 and `set_state` 30, since each goes over 624 words one by one.
So nobody's words are read or written: a `Twister` of ours takes the place of whatever generator stands behind NumPy's
legacy functions, which costs 0.2 µs. It is filled with words that a Philox draws under the key of the task, a generator
made for many independent streams; they are copied into the memory that `BitGenerator.ctypes` names, 2.5 µs in all.
NumPy promises no layout there, so each twister is tried first (`reach`); where it does not hold, the twister is told
its words by its `state`: slower, with the same numbers.

What does not change its place with the generator is the second half of a pair of normal numbers, which NumPy's
`RandomState` keeps for the next call. `half_of_pair` and `put_back_half` reach it without the words.

This module imports NumPy: it is imported where there is a seed, and NumPy is installed.
"""

from __future__ import annotations

import sys
from ctypes import c_char
from struct import unpack
from types import SimpleNamespace
from typing import Any, Final, cast

import numpy
from numpy.random import MT19937, Philox, mtrand

__all__ = ["Twister", "half_of_pair", "put_back_half"]

_random: Any = numpy.random  # its stubs know neither `get_bit_generator` nor `set_bit_generator`
# The `RandomState` whose methods NumPy's legacy functions are.
_legacy: Any = cast(Any, mtrand)._rand

# struct mt19937_state: uint32 key[624], then int pos, the number of words that were drawn since the last renewal
_WORDS: Final = 624
_BYTES: Final = 4 * _WORDS + 4

Reached = tuple[Any, Any]
"""The words of a twister as an array of 64 bits each, and the array that holds its position."""


class Twister:
    """A Mersenne Twister that stands behind NumPy's legacy functions for a while."""

    __slots__ = ("_before", "_half", "_source", "generator", "reached")

    def __init__(self) -> None:
        self.generator: Any = MT19937(0)
        self.reached = reach(self.generator)
        self._source: Any = Philox(0)
        self._before: Any = None
        self._half: float | None = None

    def take_over(self) -> None:
        """Remember what stands there now; `seed` takes its place."""
        self._before = _random.get_bit_generator()
        self._half = half_of_pair()

    def give_back(self) -> None:
        """Let stand there what stood there before."""
        _random.set_bit_generator(self._before)
        if self._half is not None:
            put_back_half(self._half)
        self._before = self._half = None

    def seed(self, key: bytes) -> None:
        """Stand there, at the beginning of the stream of a key of 16 bytes."""
        self._fill(key)
        # Each time: it drops half a pair, and whatever generator the last task has set there.
        _random.set_bit_generator(self.generator)

    def _fill(self, key: bytes) -> None:
        none = (0, 0, 0, 0)
        self._source.state = {
            "bit_generator": "Philox",
            "state": {"counter": none, "key": unpack("<2Q", key)},
            "buffer": none,
            "buffer_pos": 4,  # nothing is left in it
            "has_uint32": 0,
            "uinteger": 0,
        }
        raw = self._source.random_raw(_WORDS // 2)
        if self.reached is None:
            self.generator.state = _state(raw.astype("<u8").view("<u4"), _WORDS)
            return
        words, position = self.reached
        with self.generator.lock:  # a thread that the last task left behind may be drawing
            words[:] = raw
            position[0] = _WORDS


def _state(words: Any, position: int) -> dict[str, object]:
    return {"bit_generator": "MT19937", "state": {"key": words, "pos": position}}


def reach(generator: Any) -> Reached | None:
    """The memory of a twister, after a trial: read, write, draw; None where it is laid out in another way.

    Nothing but the generator's own body is touched, and that is written only where all its words were found.
    """
    address = generator.ctypes.state_address
    within = address - id(generator)  # CPython's object begins at its id
    if sys.byteorder != "little" or not 0 < within <= type(generator).__basicsize__ - _BYTES:
        return None
    memory: Any = (c_char * _BYTES).from_address(address)
    words = numpy.frombuffer(memory, numpy.uint64, _WORDS // 2)
    position = numpy.frombuffer(memory, numpy.int32, 1, 4 * _WORDS)
    first, second = Philox(0).random_raw(_WORDS).reshape(2, -1)

    generator.state = _state(first.view(numpy.uint32), 5)
    if not (words == first).all() or position[0] != 5:
        return None
    words[:], position[0] = second, _WORDS
    held, drawn = generator.state["state"], generator.random_raw(_WORDS)
    if not (held["key"] == second.view(numpy.uint32)).all() or held["pos"] != _WORDS:
        return None
    generator.state = _state(second.view(numpy.uint32), _WORDS)
    return (words, position) if (generator.random_raw(_WORDS) == drawn).all() else None


# --- the pair -----------------------------------------------------------------------------------------


def half_of_pair() -> float | None:
    """The normal number that NumPy's legacy functions have drawn and not yet given to anyone, if there is one."""
    legacy = _legacy
    # Other threads draw on meanwhile. One that seeds the legacy generator in these 0.3 µs is refused by NumPy; whether
    # a seed that is set beside a loop meets the program's generator or a task's is chance anyway.
    try:
        generator = legacy._bit_generator
        legacy._bit_generator = _wordless()
        try:
            state = legacy.get_state(legacy=False)
        finally:
            legacy._bit_generator = generator
    except _CLOSED:
        state = legacy.get_state(legacy=False)
    return cast(float, state["gauss"]) if state["has_gauss"] else None


def put_back_half(half: float) -> None:
    """Let NumPy's legacy functions give this normal number next."""
    legacy = _legacy
    pair = {"has_gauss": 1, "gauss": half}
    try:
        generator = legacy._bit_generator
        legacy._bit_generator = wordless = _wordless()
        try:
            legacy.set_state({**wordless.state, **pair})
        finally:
            legacy._bit_generator = generator
    except _CLOSED:
        legacy.set_state({**legacy.get_state(legacy=False), **pair})


# What a NumPy raises that lets nobody change the attribute, or wants more of what is put there.
_CLOSED: Final = (AttributeError, TypeError, ValueError, KeyError)


def _wordless() -> SimpleNamespace:
    """What stands where `get_state` and `set_state` look for the words; draws do not go through it."""
    return SimpleNamespace(state={"bit_generator": "", "state": None})
