import functools

import pytest

from lightwork.errors import LightworkError, OptionTypeError, TaskFormatError
from lightwork.parallel.tasks import checked, delayed


def test_delayed_notes_the_call_down():
    assert delayed(pow)(2, 3, mod=5) == (pow, (2, 3), {"mod": 5})
    assert delayed(pow)() == (pow, (), {})


def test_a_keyword_may_have_any_name():
    def f(function, self, args):
        return function, self, args

    func, args, kwargs = delayed(f)(function=1, self=2, args=3)
    assert func(*args, **kwargs) == (1, 2, 3)


def test_delayed_refuses_what_cannot_be_called():
    with pytest.raises(OptionTypeError, match=r"delayed\(3\): int cannot be called"):
        delayed(3)


class TestChecked:
    def test_good_spans_are_handed_back_as_they_are(self):
        tasks = [delayed(abs)(1), delayed(functools.partial(pow, 2))(3), delayed(abs)(2)]
        same, kinds = checked(0, tasks)
        assert same is tasks
        assert kinds == {type(abs), functools.partial}

    def test_an_empty_span(self):
        assert checked(0, []) == ([], set())

    @pytest.mark.parametrize(
        "task", [[abs, (1,), {}], (abs, [1], {}), iter([abs, iter([1]), ()]), (abs, {1: 2}, [])]
    )
    def test_other_triples_are_brought_into_shape(self, task):
        tasks, kinds = checked(0, [delayed(abs)(-2), task])
        func, args, kwargs = tasks[1]
        assert (type(tasks[1]), func, args, kwargs) == (tuple, abs, (1,), {})
        assert kinds == {type(abs)}

    @pytest.mark.parametrize(
        ("task", "said"),
        [
            (3, "got 3 at position 9: did you forget `delayed`?"),
            ("abc", "got 'abc' at position 9"),
            (None, "got None at position 9"),
            ((abs, (1,)), "at position 9: did you forget"),
            ((abs, 1, {}), "at position 9: did you forget"),
            ((abs, (1,), 2), "at position 9: did you forget"),
            ([3, (1,), {}], "got [3, (1,), {}] at position 9"),
        ],
    )
    def test_what_is_no_task_is_named_by_position(self, task, said):
        with pytest.raises(TaskFormatError) as caught:
            checked(7, [delayed(abs)(1), delayed(abs)(2), task])
        assert said in str(caught.value)
        assert isinstance(caught.value, LightworkError)
