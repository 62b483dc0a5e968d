"""How far a function's code counts: options of `Memory`, and what they do to entries."""

from __future__ import annotations

import pickle
import textwrap

import pytest

from lightwork import Parallel, delayed
from lightwork.errors import OptionError, OptionTypeError
from lightwork.memory import Memory

FEATURES = """
RATE = 1

def helper(x):
    return x

class Model:
    def of(self, x):
        return x

def f(x, model=None):
    return [x, helper(x), RATE, model and model.of(x)]
"""


@pytest.fixture
def memory(tmp_path):
    def make(**options):
        return Memory(tmp_path / "cache", verbose=0, **options)

    return make


def test_memories_with_two_scopes_never_share_what_would_differ(memory, module):
    made = module(FEATURES)
    name = made.__name__
    caches = [
        memory().cache(made.f),
        memory(track="function").cache(made.f),
        memory(track="none").cache(made.f),
        memory(ignore_deps=[made.helper]).cache(made.f),
    ]
    assert [cache.check_call_in_cache(1) for cache in caches] == [False] * 4
    assert [cache(1) for cache in caches] == [[1, 1, 1, None]] * 4
    assert len(list(caches[0].store_backend.entries())) == 4
    made.helper = module("def helper(x):\n    return -x\n").helper
    made.helper.__module__ = name
    assert [cache.check_call_in_cache(1) for cache in caches] == [False, True, True, True]
    made.RATE = 2
    assert [cache.check_call_in_cache(1) for cache in caches] == [False, True, True, False]
    assert caches[0](1) == [1, -1, 2, None]
    assert [cache(1) for cache in caches[1:]] == [[1, 1, 1, None], [1, 1, 1, None], [1, -1, 2, None]]


def test_a_scope_that_makes_no_difference_finds_the_same_entries(memory, module):
    made = module(FEATURES)
    memory().cache(made.f)(1)
    for options in (
        {"library_versions": "exact"},
        {"track_packages": ["numpy"]},
        {"ignore_deps": ["json"]},
        {"track": "deps"},
    ):
        assert memory(**options).cache(made.f).check_call_in_cache(1), options


def test_one_function_may_be_tracked_in_another_way(memory, module):
    made = module(FEATURES)
    own = memory(track="function")
    assert own.cache(made.f).why(1) == memory().cache(made.f, track="function").why(1)
    memory().cache(made.f, track="function")(1)
    assert own.cache(made.f).check_call_in_cache(1)
    assert not own.cache(made.f, track="deps").check_call_in_cache(1)


def test_classes_among_the_arguments_count_as_far_as_the_scope_says(memory, module):
    made = module(FEATURES)
    caches = [
        memory().cache(made.f),
        memory(track="function").cache(made.f),
        memory(ignore_deps=[made.Model]).cache(made.f),
    ]
    for cache in caches:
        cache(1, made.Model())
    made.Model.of = lambda self, x: -x
    assert [cache.check_call_in_cache(1, made.Model()) for cache in caches] == [False, True, True]


def test_what_is_named_in_depends_on_counts_with_all_that_it_uses(memory, module):
    made = module(FEATURES)
    cache = memory(track="none").cache(made.f, depends_on=[made.helper])
    assert cache(1) == [1, 1, 1, None]
    one = module("K = 1\ndef helper(x):\n    return K\n")
    other = memory(track="none").cache(made.f, depends_on=[one.helper])
    other(1)
    assert other.check_call_in_cache(1)
    one.K = 2
    assert not other.check_call_in_cache(1)


def test_lambdas_and_local_functions_without_tracking_count_by_their_own_code(memory, module):
    made = module("K = 1\ndef make(k):\n    return lambda x: (x + k, K)\n")
    caches = [memory(track="none").cache(made.make(k)) for k in (1, 2)]
    assert [cache(1) for cache in caches] == [(2, 1), (3, 1)]
    made.K = 2
    assert [cache(1) for cache in caches] == [(2, 1), (3, 1)]


def test_workers_see_what_the_parent_sees(memory, module):
    made = module(FEATURES)
    ignoring = memory(ignore_deps=[made.helper], track_packages=["numpy"], library_versions="exact")
    for remembering in (ignoring, memory(track="function"), memory(track="none")):
        f = remembering.cache(made.f)
        assert pickle.loads(pickle.dumps(remembering)) == remembering
        assert remembering != memory()
        assert Parallel(n_jobs=2)(delayed(f)(x) for x in range(4)) == [[x, x, 1, None] for x in range(4)]
        assert [f.check_call_in_cache(x) for x in range(4)] == [True] * 4


def test_functions_of_the_main_module_in_workers(run):
    program = """
    from lightwork import Memory, Parallel, delayed

    K = 1

    def helper(x):
        return x * K

    memory = Memory("cache", verbose=0, ignore_deps=[helper])

    @memory.cache
    def f(x):
        return helper(x) + 1

    @memory.cache(track="function")
    def g(x):
        return helper(x) + 2

    if __name__ == "__main__":
        print([f.check_call_in_cache(x) for x in range(3)], [g.check_call_in_cache(x) for x in range(3)])
        print(Parallel(n_jobs=2)(delayed(f)(x) for x in range(3)), Parallel(n_jobs=2)(delayed(g)(x) for x in range(3)))
    """
    assert run(program) == f"{[False] * 3} {[False] * 3}\n[1, 2, 3] [2, 3, 4]\n"
    assert run(program) == f"{[True] * 3} {[True] * 3}\n[1, 2, 3] [2, 3, 4]\n"
    assert run(program.replace("K = 1", "K = 2")) == f"{[True] * 3} {[True] * 3}\n[1, 2, 3] [2, 3, 4]\n"
    assert run(program.replace("+ 2", "+ 3")) == f"{[True] * 3} {[False] * 3}\n[1, 2, 3] [3, 4, 5]\n"


def test_a_tracked_package_that_is_edited_is_noticed(tmp_path, run):
    package = tmp_path / "site-packages" / "teamlib" / "__init__.py"
    package.parent.mkdir(parents=True)
    program = textwrap.dedent("""
        import sys
        sys.path.insert(0, "site-packages")
        import teamlib
        from lightwork import Memory
        for options in ({}, {"track_packages": ["teamlib"]}):
            print(Memory("cache", verbose=0, **options).cache(lambda x: teamlib.f(x))(1))
        """)
    package.write_text("def f(x):\n    return 1\n")
    assert run(program) == "1\n1\n"
    package.write_text("def f(x):\n    return 22\n")
    assert run(program) == "1\n22\n"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"track": "all"}, OptionError, "track='all': use 'deps'"),
        ({"library_versions": "major"}, OptionError, "library_versions='major': use 'minor'"),
        ({"ignore_deps": "features.f"}, OptionTypeError, "give a list"),
        ({"ignore_deps": ["numpyy.sin"]}, OptionError, "did you mean 'numpy'"),
        ({"track_packages": ["numpyy"]}, OptionError, "did you mean 'numpy'"),
        ({"track_packages": [3]}, OptionTypeError, "neither a package"),
    ],
)
def test_what_could_have_no_effect_is_told_where_it_is_said(memory, options, error, message):
    with pytest.raises(error, match=message):
        memory(**options)


def test_a_memory_with_nothing_said_loads_nothing_of_hashing(run):
    program = """
    import sys
    from lightwork import Memory
    memory = Memory("cache", track="function", library_versions="exact")
    memory.cache(lambda x: x)
    print("lightwork.hashing" in sys.modules)
    """
    assert run(program) == "False\n"
