import pytest

from lightwork.errors import LightworkError, OptionTypeError, TaskFormatError
from lightwork.parallel.tasks import delayed, is_plain, triple


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


class TestShape:
    def test_what_delayed_makes_is_plain(self):
        assert is_plain(delayed(abs)(1, x=2))

    @pytest.mark.parametrize(
        "task", [[abs, (1,), {}], (abs, [1], {}), iter([abs, iter([1]), ()]), (abs, {1: 2}, [])]
    )
    def test_other_triples_are_brought_into_shape(self, task):
        assert not is_plain(task)
        made = triple(0, task)
        assert is_plain(made)
        assert made == (abs, (1,), {})

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
            triple(9, task)
        assert said in str(caught.value)
        assert isinstance(caught.value, LightworkError)
