"""Signals that wait until a block is done."""

import signal
import threading

import pytest

from lightwork.workers.interrupts import held_back


@pytest.fixture(autouse=True)
def usual_handler():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_is_raised_after_the_block_and_once():
    done = []
    with pytest.raises(KeyboardInterrupt):
        with held_back():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            done.append(1)
        done.append(2)
    assert done == [1]
    with held_back():
        done.append(3)
    assert done == [1, 3]


def test_a_block_inside_another_waits_for_the_outer_one():
    done = []
    with pytest.raises(KeyboardInterrupt), held_back():
        with held_back():
            signal.raise_signal(signal.SIGINT)
            done.append("inner")
        done.append("outer")
    assert done == ["inner", "outer"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_programs_own_handler_is_called_and_kept():
    got = []

    def own(number, frame):
        got.append(number)

    signal.signal(signal.SIGINT, own)
    with held_back():
        signal.raise_signal(signal.SIGINT)
        assert got == []
    assert got == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is own


@pytest.mark.parametrize("disposition", [signal.SIG_IGN, signal.SIG_DFL])
def test_what_python_does_not_handle_stays_as_it_is(disposition):
    signal.signal(signal.SIGINT, disposition)
    with held_back():
        assert signal.getsignal(signal.SIGINT) is disposition


def test_in_other_threads_nothing_is_done():
    seen = []

    def body():
        with held_back():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


def test_an_error_of_the_block_is_behind_the_interrupt():
    with pytest.raises(KeyboardInterrupt) as caught, held_back():
        signal.raise_signal(signal.SIGINT)
        raise ValueError("of the block")
    assert isinstance(caught.value.__context__, ValueError)
