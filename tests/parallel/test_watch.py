import pytest

from lightwork.observe import messages, progress
from lightwork.parallel.watch import Watch


class Owner:
    n_jobs = 2
    n_completed_tasks = n_dispatched_tasks = -1
    _lines = None

    def __init__(self, verbose=0, progress=False):
        self.verbose, self.progress, self.printed = verbose, progress, []

    def print_progress(self):
        self.printed.append((self.n_completed_tasks, self.n_dispatched_tasks))


class Bar:
    def __init__(self, total, describe, *, always):
        self.calls = [("made", total, always)]
        Bar.last = self

    def __getattr__(self, name):
        return lambda *args: self.calls.append((name, *args))


@pytest.fixture
def bar(monkeypatch):
    monkeypatch.setattr(progress, "Progress", Bar)


def watch(owner, total=None, replaced=False):
    return Watch(owner, iter("input"), ("threads", 2), total, replaced)


def test_silent_keeps_the_counts():
    owner = Owner()
    watching = watch(owner)
    assert not watching.shows
    assert (owner.n_completed_tasks, owner.n_dispatched_tasks) == (0, 0)
    assert "".join(owner._original_iterator) == "input"
    watching.hired()
    watching.advanced(1, 3, False)
    assert (owner.n_completed_tasks, owner.n_dispatched_tasks) == (1, 3)
    assert owner._original_iterator is not None
    watching.advanced(3, 3, True)
    assert owner._original_iterator is None
    watching.ended(3, True)
    assert owner.printed == []


def test_what_stands_still_is_not_printed_again():
    owner = Owner()
    watching = watch(owner, replaced=True)
    assert watching.shows
    for completed, dispatched in ((0, 1), (1, 2), (1, 3), (2, 3)):
        watching.advanced(completed, dispatched, False)
    assert owner.printed == [(1, 2), (2, 3)]


@pytest.mark.parametrize("whole", [True, False])
def test_lines_end_with_the_whole_only(whole, capsys):
    watching = watch(Owner(verbose=1))
    watching.hired()
    watching.ended(3, whole)
    assert capsys.readouterr().err.count("finished") == whole


@pytest.mark.usefixtures("bar")
def test_the_bar_begins_with_the_first_event_and_is_closed():
    watching = watch(Owner(progress="always"), total=5)
    assert Bar.last.calls == [("made", 5, True)]
    watching.hired()
    watching.advanced(2, 4, False)
    watching.advanced(2, 5, False)
    watching.advanced(5, 5, True)
    watching.ended(5, True)
    assert Bar.last.calls[1:] == [("start",), ("advance", 2), ("expect", 5), ("advance", 3), ("close",)]


def test_lines_of_two_calls_on_one_object_are_their_own():
    owner = Owner(verbose=1)
    first, second = watch(owner), watch(owner)
    for watching in (first, second):
        watching.advanced(1, 1, False)
        assert owner._lines is watching._lines
        assert isinstance(owner._lines, messages.LoopLines)


@pytest.mark.parametrize(("there", "said"), [(0, 0), (312, 1)])
def test_what_was_there_is_told_at_the_end(there, said, capsys):
    watching = watch(Owner(verbose=1))
    watching.remembered(there)
    watching.ended(1000, True)
    assert capsys.readouterr().err.count("312 of 1,000 were there.") == said
