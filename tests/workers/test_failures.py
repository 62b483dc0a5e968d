"""Whatever a task raises arrives: as itself where that can be, as text always."""

import threading

import pytest

from lightwork.errors import LightworkError, RemoteTraceback
from lightwork.workers.failures import describe, read
from lightwork.workers.payload import pack, unpack


class TwoArguments(Exception):
    def __init__(self, code, reason):
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class HoldsALock(Exception):
    def __init__(self):
        super().__init__("locked")
        self.lock = threading.Lock()


class Unspeakable(Exception):
    def __reduce__(self):
        raise TypeError("not this one")

    def __new__(cls, *args):
        self = super().__new__(cls, *args)
        if "again" in args:
            raise ValueError("nor again")
        return self


def _raised(error):
    try:
        raise error
    except BaseException as caught:
        return caught


def _read(error):
    report = describe(_raised(error))
    return read(unpack(pack(report))), report[1]


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

    found, _ = _read(Local("here"))
    assert type(found).__name__ == "Local"


def test_what_an_exception_holds_and_cannot_be_pickled_stays_behind():
    error = HoldsALock()
    error.code = 5
    error.add_note("a note")
    found, text = _read(error)
    assert (type(found), found.args, vars(found).keys()) == (HoldsALock, ("locked",), {"code", "__notes__"})
    assert found.__notes__ == ["a note", "left in the worker, as it cannot be pickled: .lock"]
    assert text.endswith("HoldsALock: locked\na note")
    found, _ = _read(ValueError("text", threading.Lock()))
    assert (type(found), found.args) == (ValueError, ("text", "<lock>"))
    assert found.__notes__ == ["left in the worker, as it cannot be pickled: .args[1]"]


def test_members_of_groups_leave_behind_what_cannot_be_pickled():
    found, _ = _read(ExceptionGroup("several", [HoldsALock(), TwoArguments(2, "two")]))
    assert [type(each) for each in found.exceptions] == [HoldsALock, TwoArguments]
    assert found.exceptions[0].__notes__ == ["left in the worker, as it cannot be pickled: .lock"]


def test_what_cannot_be_made_again_leaves_its_text():
    error = Unspeakable("once")
    error.args = ("again",)
    found, text = _read(error)
    assert type(found) is LightworkError
    assert "Unspeakable: again" in str(found)
    assert text.endswith("Unspeakable: again")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), GeneratorExit()])
def test_exits_are_told_too(error):
    found, _ = _read(error)
    assert (type(found), found.args) == (type(error), error.args)


def _chained(how):
    try:
        try:
            {}["missing"]
        except KeyError as first:
            if how == "cause":
                raise ValueError("second") from first
            if how == "suppressed":
                raise ValueError("second") from None
            raise ValueError("second")  # noqa: B904 - the context is what is tested
    except ValueError as error:
        error.add_note("a note")
        raise RuntimeError("third") from error


@pytest.mark.parametrize("how", ["cause", "context", "suppressed"])
def test_what_stands_behind_an_exception_travels_with_it(how):
    try:
        _chained(how)
    except RuntimeError as error:
        found = read(unpack(pack(describe(error))))
    second = found.__cause__
    assert (type(found), type(second), second.__notes__) == (RuntimeError, ValueError, ["a note"])
    if how == "suppressed":
        assert isinstance(second.__cause__, RemoteTraceback)
        return
    behind = second.__cause__ if how == "cause" else second.__context__
    assert (type(behind), behind.args) == (KeyError, ("missing",))
    assert isinstance(behind.__cause__, RemoteTraceback)
    assert "in _chained" in str(behind.__cause__)


def test_a_chain_ends_where_it_cannot_travel():
    behind = Unspeakable("once")
    behind.args = ("again",)
    try:
        raise ValueError("outer") from behind
    except ValueError as error:
        found = read(describe(error))
    assert isinstance(found.__cause__, RemoteTraceback)
    assert "Unspeakable: again" in str(found.__cause__)


def test_groups_keep_their_members():
    found, _ = _read(ExceptionGroup("several", [ValueError(1), TwoArguments(2, "two")]))
    assert [type(each) for each in found.exceptions] == [ValueError, TwoArguments]


def test_a_ring_of_causes_ends():
    first, second = ValueError(1), ValueError(2)
    first.__cause__, second.__cause__ = second, first
    assert read(describe(first)).args == (1,)


def test_what_a_loop_had_finished_stays_on_the_error_and_out_of_the_report():
    error = ValueError("odd")
    error.partial_results = [1, 2]
    assert not hasattr(read(describe(error)), "partial_results")
    assert error.partial_results == [1, 2]


def test_of_a_whole_report_nothing_is_left_out():
    error = ValueError("odd")
    error.lock = threading.Lock()
    assert describe(error, whole=True)[0][0][0] is None
    assert not hasattr(read(describe(error)), "lock")
