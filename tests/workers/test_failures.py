"""Whatever a task raises arrives: as itself where that can be, as text always."""

import pickle
import threading

import pytest

from lightwork.workers.failures import describe


class TwoArguments(Exception):
    def __init__(self, code, reason):
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class HoldsALock(Exception):
    def __init__(self):
        super().__init__("locked")
        self.lock = threading.Lock()


def _raised(error):
    try:
        raise error
    except BaseException as caught:
        return caught


def _read(error):
    data, text = describe(_raised(error))
    return pickle.loads(data), text


def test_built_in_errors_keep_type_arguments_and_attributes():
    error = ValueError("wrong", 3)
    error.hint = "try 4"
    found, text = _read(error)
    assert (type(found), found.args, found.hint) == (ValueError, ("wrong", 3), "try 4")
    assert "ValueError" in text
    assert "test_failures.py" in text


def test_a_constructor_with_other_arguments_does_not_break_the_reader():
    found, _ = _read(TwoArguments(7, "seven"))
    assert (type(found), found.code, found.reason, str(found)) == (TwoArguments, 7, "seven", "7: seven")


@pytest.mark.parametrize(
    "error",
    [FileNotFoundError(2, "No such file", "x.txt"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad")],
)
def test_errors_with_state_in_c_keep_it(error):
    found, _ = _read(error)
    assert (type(found), str(found)) == (type(error), str(error))


def test_a_class_without_an_importable_name_travels_by_value():
    class Local(Exception):
        pass

    data, _ = describe(_raised(Local("here")))
    assert type(pickle.loads(data)).__name__ == "Local"


def test_what_cannot_be_pickled_leaves_its_text():
    data, text = describe(_raised(HoldsALock()))
    assert data is None
    assert text.endswith("HoldsALock: locked")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), GeneratorExit()])
def test_exits_are_told_too(error):
    found, _ = _read(error)
    assert (type(found), found.args) == (type(error), error.args)
