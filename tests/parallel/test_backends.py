import pytest

from lightwork.errors import OptionError, OptionTypeError
from lightwork.parallel.backends import ALIASES, BACKENDS, choose, find


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_joblibs_names(alias, name):
    assert find(alias) is BACKENDS[name]


@pytest.mark.parametrize("name", ["threads", "processes"])
def test_those_with_workers_lend_them(name):
    assert callable(BACKENDS[name].lend)


@pytest.mark.parametrize(
    ("slip", "meant"), [("thread", "threads"), ("Loky", "loky"), ("proceses", "processes")]
)
def test_the_nearest_name_is_suggested(slip, meant):
    with pytest.raises(OptionError, match=f"did you mean '{meant}'"):
        find(slip)


def test_far_from_any_name():
    with pytest.raises(OptionError, match="'quantum' is not known; there are 'sequential', "):
        find("quantum")


def test_no_name_at_all():
    with pytest.raises(OptionTypeError, match="not 3"):
        find(3)


#  said, configured, prefer, require -> backend, or None for a contradiction
CASES = [
    (None, None, None, None, "processes"),
    (None, None, "threads", None, "threads"),
    (None, None, "processes", None, "processes"),
    (None, None, None, "sharedmem", "threads"),
    (None, None, "threads", "sharedmem", "threads"),
    (None, None, "processes", "sharedmem", None),
    ("loky", None, "threads", None, "processes"),
    ("loky", None, None, "sharedmem", None),
    ("threading", None, None, "sharedmem", "threads"),
    ("sequential", None, None, "sharedmem", "sequential"),
    ("threads", "processes", None, None, "threads"),
    (None, "threads", "processes", None, "threads"),
    (None, "processes", None, "sharedmem", "threads"),
    (None, "sequential", None, "sharedmem", "sequential"),
]


@pytest.mark.parametrize(("said", "configured", "prefer", "require", "name"), CASES)
def test_which_backend(said, configured, prefer, require, name):
    if name is None:
        with pytest.raises(OptionError, match="contradicts require='sharedmem'"):
            choose(said, configured, prefer, require)
    else:
        assert choose(said, configured, prefer, require).name == name
