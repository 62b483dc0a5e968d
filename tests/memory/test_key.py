"""Which calls are one: identity, unwrapping, and the binder."""

from __future__ import annotations

import functools
import inspect
import timeit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightwork.errors import OptionError, OptionTypeError
from lightwork.memory import key
from lightwork.memory.binding import Omitted, binder
from lightwork.memory.key import Identity, identify, unwrap


def values(func, *args, ignore=(), **kwargs):
    callee = unwrap(func)
    return binder(callee.function, ignore)(*callee.arguments(args, kwargs))


def plain(x, y=2, *, z=3):
    return x, y, z


def rest(x, *more, flag=False, **named):
    return x, more, flag, named


def only(x, y=1, /, z=2, *, w=3):
    return x, y, z, w


class Model:
    def __init__(self, slope):
        self.slope = slope

    def predict(self, x, scale=1):
        return self.slope * x * scale

    def __call__(self, x):
        return self.slope * x

    @classmethod
    def make(cls, slope=1):
        return cls(slope)

    @staticmethod
    def double(x):
        return 2 * x


# --- spelling ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((1,), {}), ((1, 2), {}), ((), {"x": 1}), ((), {"z": 3, "y": 2, "x": 1}), ((1,), {"z": 3})],
)
def test_every_spelling_of_a_call_has_the_same_values(args, kwargs):
    assert values(plain, *args, **kwargs) == (1, 2, 3)


def test_rest_arguments_keep_their_place():
    assert values(rest, 1, 2, 3, a=4) == (1, (2, 3), False, {"a": 4})
    assert values(rest, 1, (2, 3), a=4) != values(rest, 1, 2, 3, a=4)
    assert values(only, 1, z=5) == (1, 1, 5, 3)


def test_a_default_is_the_object_itself_so_its_present_content_counts():
    box = [1]

    def f(x=box):
        return x

    bind = binder(f)
    assert bind((), {})[0] is box


def test_a_parameter_may_have_any_name():
    def f(_0=1, bind=2, _1=3):
        return _0, bind, _1

    assert values(f) == (1, 2, 3)
    assert values(f, bind=5) == (1, 5, 3)


_NAMES = "abcde"


@st.composite
def _signatures_and_calls(draw):
    """A signature with defaults, and one way to call it."""
    kinds = draw(st.lists(st.sampled_from([0, 1, 3]), max_size=5).map(sorted))
    defaulted = False
    parameters = []
    for name, kind in zip(_NAMES, kinds, strict=False):
        if kind == 3:
            defaulted = False
        has_default = draw(st.booleans()) or (defaulted and kind != 3)
        defaulted = has_default
        default = f"default-{name}" if has_default else inspect.Parameter.empty
        parameters.append(inspect.Parameter(name, inspect._ParameterKind(kind), default=default))
    if draw(st.booleans()):
        parameters.insert(
            sum(p.kind < 2 for p in parameters), inspect.Parameter("args", inspect._ParameterKind(2))
        )
    if draw(st.booleans()):
        parameters.append(inspect.Parameter("kwargs", inspect._ParameterKind(4)))
    args = tuple(draw(st.lists(st.integers(), max_size=6)))
    kwargs = draw(st.dictionaries(st.sampled_from([*_NAMES, "other"]), st.integers(), max_size=5))
    return inspect.Signature(parameters), args, kwargs


@given(_signatures_and_calls())
@settings(deadline=None)
def test_the_compiled_binder_binds_as_python_does(case):
    signature, args, kwargs = case
    scope: dict[str, object] = {}
    exec(f"def f{signature}: return locals()", scope)
    bind = binder(scope["f"])
    found = bind(args, kwargs)
    try:
        bound = scope["f"](*args, **kwargs)
    except TypeError:
        assert found == (Omitted, args, kwargs)
    else:
        assert dict(zip([name.strip("*") for name in bind.names], found, strict=True)) == bound


def test_a_call_that_python_refuses_is_taken_as_spelled_and_never_meets_a_bound_one():
    assert values(plain, 1, 2, 3, 4) == (Omitted, (1, 2, 3, 4), {})
    assert binder(plain).named((Omitted, (1,), {})) == {"*args": (1,), "**kwargs": {}}


# --- ignore -----------------------------------------------------------------------------------------


def test_ignored_parameters_make_no_difference():
    assert values(plain, 1, ignore=["y", "z"]) == values(plain, 1, 7, z=8, ignore=["y", "z"]) == (1,)
    assert values(rest, 1, 2, a=3, ignore=["*", "**"]) == (1, False)
    assert values(rest, 1, 2, a=3, ignore=["more", "named"]) == (1, False)


def test_an_unknown_name_to_ignore_is_told_with_those_that_there_are():
    with pytest.raises(OptionError, match=r"no parameter 'verbos'; it has x, y, z") as caught:
        binder(plain, ["verbos"])
    assert isinstance(caught.value, ValueError)
    with pytest.raises(OptionError, match="none that are known"):
        binder(dict, ["x"])
    with pytest.raises(OptionTypeError, match=r"ignore=\['x'\]"):
        binder(plain, "x")


def test_the_names_of_a_binder_tell_what_was_ignored():
    assert binder(rest).names == ("x", "*more", "flag", "**named")
    assert binder(rest, ["flag"]).names == ("x", "*more", "**named")


# --- what a callable puts before --------------------------------------------------------------------


def test_a_partial_is_a_call_of_what_it_holds():
    assert values(functools.partial(plain, 1), 5) == values(plain, 1, 5)
    assert values(functools.partial(plain, z=9), 1) == values(plain, 1, z=9)
    assert values(functools.partial(functools.partial(plain, z=9), 1, z=8)) == values(plain, 1, z=8)
    assert unwrap(functools.partial(plain, 1)).function is plain


def test_open_places_of_a_partial_are_filled(monkeypatch):
    gap = object()  # Python 3.14's functools.Placeholder
    monkeypatch.setattr(key, "_PLACEHOLDER", gap)
    assert values(functools.partial(plain, gap, 2), 1) == values(plain, 1, 2)


def test_a_method_counts_its_object_and_a_callable_object_itself():
    model = Model(3)
    assert values(model.predict, 2) == (model, 2, 1)
    assert values(Model.predict, model, 2) == (model, 2, 1)
    assert values(model.predict, 2, ignore=["self"]) == (2, 1)
    assert values(model, 2) == (model, 2)
    assert values(Model.make) == (Model, 1)
    assert values(Model.double, 4) == (4,)


def test_a_builtin_without_a_signature_is_taken_as_spelled():
    assert values(max, 1, 2) == (Omitted, (1, 2), {})
    assert values(len, [1]) == ([1],)


# --- wrappers ---------------------------------------------------------------------------------------


def passes_on(func):
    @functools.wraps(func)
    def wrapper(*args, **kwargs):
        print(args)
        return func(*args, **kwargs)

    return wrapper


def with_own_default(func):
    @functools.wraps(func)
    def wrapper(*args, **kwargs):
        kwargs.setdefault("y", 5)
        return func(*args, **kwargs)

    return wrapper


def adds_keyword(func):
    @functools.wraps(func)
    def wrapper(*args, **kwargs):
        return func(*args, **{"y": 5, **kwargs})

    return wrapper


def keeps_for_later(func):
    @functools.wraps(func)
    def wrapper(*args, **kwargs):
        return (lambda: func(*args, **kwargs))()

    return wrapper


def names_its_own(func):
    @functools.wraps(func)
    def wrapper(x, y=5):
        return func(x, y)

    return wrapper


@pytest.mark.parametrize("wrap", [passes_on, functools.lru_cache, lambda f: passes_on(passes_on(f))])
def test_a_wrapper_that_passes_on_has_the_spellings_of_what_it_wraps(wrap):
    assert values(wrap(plain), 1) == values(wrap(plain), x=1, y=2) == (1, 2, 3)


@pytest.mark.parametrize("wrap", [with_own_default, adds_keyword, keeps_for_later])
def test_a_wrapper_that_may_have_a_default_of_its_own_never_gets_the_wrapped_one(wrap):
    wrapped = wrap(plain)
    assert values(wrapped, 1) != values(wrapped, 1, y=2)
    assert values(wrapped, 1, y=2) == values(wrapped, x=1, y=2)
    assert values(passes_on(wrapped), 1) != values(passes_on(wrapped), 1, y=2)
    assert values(wrapped, 1, y=2, ignore=["y"]) == values(wrapped, 1, ignore=["y"])


def test_a_wrapper_that_names_parameters_is_taken_at_its_word():
    assert values(names_its_own(plain), 1) == (1, 5)


def test_a_signature_that_is_only_stated_fills_in_nothing():
    def f(x, y=5):
        return x, y

    f.__signature__ = inspect.signature(plain)
    assert values(f, 1) != values(f, 1, 2)


# --- identity ---------------------------------------------------------------------------------------


def test_functions_are_known_by_module_and_qualified_name():
    assert identify(Model.predict, None) == Identity(__name__, "Model.predict")
    assert identify(len, None) == Identity("builtins", "len")
    assert str(Identity("features", "load")) == "features.load"


def test_functions_of_two_scripts_are_two():
    def f(): ...

    f.__module__, f.__qualname__ = "__main__", "f"
    one, other = identify(f, "/tmp/a/run.py"), identify(f, "/tmp/b/run.py")
    assert one != other
    assert one.label.startswith("run.f~")
    assert one.label != other.label
    assert identify(f, None) == Identity("__main__", "f")


def test_labels_are_short_plain_and_readable():
    assert Identity("features", "load").label == "features.load"
    assert Identity("features", "make.<locals>.<lambda>").label.startswith("features.make.lambda~")
    long = Identity("package." * 30, "Class.method").label
    assert len(long) == 80
    assert "Class.method~" in long
    assert Identity("modül", "größe").label.isascii()


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_label_is_always_a_part_of_a_file_name(module, name):
    label = Identity(module, name).label
    assert 0 < len(label.encode()) <= 80
    assert not set(label) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.~")


def test_binding_costs_about_a_microsecond():
    bind = binder(plain)
    seconds = min(timeit.repeat(lambda: bind((1,), {"z": 4}), number=2000, repeat=5)) / 2000
    assert seconds < 10e-6  # ten times the figure: a guard against another order, not a measurement
