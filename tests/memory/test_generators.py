"""Generator functions that remember: items are kept as they pass, and read again one by one."""

from __future__ import annotations

import functools
import gc
import os
import pickle
import random

import numpy as np
import pytest

from lightwork import Parallel, delayed
from lightwork.errors import CacheWarning, ResultMissingError
from lightwork.memory import Memory
from lightwork.memory.generators import GeneratorMemorizedFunc

events: list[object] = []


@pytest.fixture
def memory(tmp_path):
    events.clear()
    return Memory(tmp_path, verbose=0)


def count(n, start=0):
    events.append("begin")
    for i in range(start, start + n):
        events.append(i)
        yield i
    events.append("end")
    return "done"


def files(tmp_path):
    return [
        path.name
        for path in tmp_path.rglob("*")
        if path.is_file() and path.name not in ("state", ".gitignore")
    ]


def returned(items):
    """What a generator yields, and what it returns."""
    found = []
    while True:
        try:
            found.append(next(items))
        except StopIteration as end:
            return found, end.value


def test_items_are_kept_and_yielded_again(memory):
    remembered = memory.cache(count)
    assert isinstance(remembered, GeneratorMemorizedFunc)
    assert returned(remembered(3)) == ([0, 1, 2], "done")
    assert events == ["begin", 0, 1, 2, "end"]
    assert returned(remembered(n=3, start=0)) == ([0, 1, 2], "done")
    assert events.count("begin") == 1
    assert list(remembered(2)) == [0, 1]
    assert remembered.check_call_in_cache(3)
    assert remembered.cache_info()[:2] == (1, 2)


def test_nothing_runs_before_it_is_read_and_nothing_ahead_of_it(memory):
    items = memory.cache(count)(5)
    assert events == []
    assert next(items) == 0
    assert events == ["begin", 0]
    items.close()


def test_a_wrong_call_is_refused_when_it_is_made(memory):
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        memory.cache(count)()


@pytest.mark.parametrize("end", ["close", "drop", "error"])
def test_a_reader_that_stops_early_leaves_nothing(memory, tmp_path, end):
    remembered = memory.cache(count)
    items = remembered(5)
    assert [next(items), next(items)] == [0, 1]
    if end == "close":
        items.close()
    elif end == "error":
        with pytest.raises(KeyError):
            items.throw(KeyError("x"))
    del items
    gc.collect()
    assert files(tmp_path) == []
    assert not remembered.check_call_in_cache(5)
    assert list(remembered(5)) == [0, 1, 2, 3, 4]


def test_a_generator_that_raises_leaves_nothing_and_its_error_is_the_readers(memory, tmp_path):
    @memory.cache
    def fail():
        yield 1
        raise KeyError("x")

    items = fail()
    assert next(items) == 1
    with pytest.raises(KeyError, match="x"):
        next(items)
    assert files(tmp_path) == []


def test_a_reader_that_changes_an_item_does_not_change_what_is_kept(memory):
    @memory.cache
    def lists():
        buffer = [0]
        for i in range(3):
            buffer[0] = i
            yield buffer
        yield "end"

    for _ in range(2):
        found = []
        for item in lists():
            found.append(list(item))
            if isinstance(item, list):
                item.append("changed by the reader")
                item.pop()
        assert found == [[0], [1], [2], ["e", "n", "d"]]


@pytest.mark.parametrize("compress", [False, True, "zlib"])
def test_items_of_all_kinds_and_sizes(tmp_path, compress):
    events.clear()
    memory = Memory(tmp_path, verbose=0, compress=compress)
    rng = random.Random(1)
    kinds = [
        lambda: rng.random(),
        lambda: rng.randrange(10**30),
        lambda: "abc" * rng.randrange(1000),
        lambda: None,
        lambda: True,
        lambda: [rng.random()],
        lambda: {"a": (1, b"x")},
        lambda: np.arange(rng.randrange(30_000)),
    ]
    made = [rng.choice(kinds)() for _ in range(150)]
    made[50:50] = [float(i) for i in range(3000)]

    @memory.cache(ignore=["made"])
    def items(made):
        events.append("begin")
        yield from made

    for _ in range(2):
        found = list(items(made))
        assert len(found) == len(made)
        for one, other in zip(found, made, strict=True):
            assert type(one) is type(other)
            assert np.array_equal(one, other)
    assert events == ["begin"]
    assert memory.verify() == []


def test_an_empty_generator_is_a_result(memory):
    remembered = memory.cache(count)
    assert [returned(remembered(0)) for _ in range(2)] == [([], "done")] * 2
    assert events == ["begin", "end"]


def test_two_readers_at_once_are_both_right(memory):
    remembered = memory.cache(count)
    one, other = remembered(3), remembered(3)
    assert [next(one), next(other), next(one), next(other)] == [0, 0, 1, 1]
    assert list(one) == list(other) == [2]
    assert list(remembered(3)) == [0, 1, 2]
    assert events.count("begin") == 2


def test_arguments_that_the_reader_changes_are_not_stored_under_their_former_values(memory):
    @memory.cache
    def double(numbers):
        for number in numbers:
            yield 2 * number

    numbers = [1, 2]
    found = []

    def read():
        for item in double(numbers):
            found.append(item)
            if len(numbers) < 3:
                numbers.append(3)

    with pytest.warns(CacheWarning, match=r"an argument of .*double .* changed while items were read"):
        read()
    assert found == [2, 4, 6]
    assert list(double([1, 2])) == [2, 4]
    # Before the first item, too.
    numbers = [1]
    items = double(numbers)
    numbers.append(5)
    assert list(items) == [2, 10]
    assert list(double([1])) == [2]


def test_removal_while_it_is_read_does_no_harm(memory):
    remembered = memory.cache(lambda: (yield from [[1], [2], [3]]))
    assert list(remembered()) == [[1], [2], [3]]
    items = remembered()
    assert next(items) == [1]
    memory.clear()
    assert list(items) == [[2], [3]]
    assert not remembered.check_call_in_cache()
    late = remembered()
    assert list(remembered()) == [[1], [2], [3]]
    memory.clear()
    assert list(late) == [[1], [2], [3]]


def test_clearing_while_items_are_kept_costs_the_entry(memory, tmp_path):
    remembered = memory.cache(count)
    items = remembered(3)
    next(items)
    memory.clear()
    assert list(items) == [1, 2]
    assert files(tmp_path) == []


def test_an_entry_that_is_damaged_in_the_middle_is_computed_and_replaced_with_one_warning(memory, tmp_path):
    @memory.cache
    def lists():
        events.append("begin")
        for i in range(10):
            yield [i]

    assert list(lists()) == [[i] for i in range(10)]
    (path,) = [path for path in tmp_path.rglob("*lists*") if path.is_file()]
    data = bytearray(path.read_bytes())
    data[len(data) * 2 // 3] ^= 1
    path.write_bytes(data)
    assert memory.stats()["items"] == 1
    with pytest.warns(CacheWarning, match=f"the entry {path} cannot be read") as warned:
        assert list(lists()) == [[i] for i in range(10)]
    assert len(warned) == 1
    assert events == ["begin", "begin"]
    assert list(lists()) == [[i] for i in range(10)]
    assert len(events) == 2
    path.write_bytes(data)
    assert memory.verify() == [str(path)]
    assert not path.exists()


@pytest.mark.parametrize("part", [0.0, 0.3, 0.7, 0.99])
def test_a_cut_entry_is_replaced(memory, tmp_path, part):
    remembered = memory.cache(lambda: (yield from [[i] for i in range(5)]))
    assert len(list(remembered())) == 5
    (path,) = [path for path in tmp_path.rglob("*-*") if path.is_file()]
    os.truncate(path, int(path.stat().st_size * part))
    if part:
        with pytest.warns(CacheWarning, match="cannot be read"):
            assert list(remembered()) == [[i] for i in range(5)]
    else:  # as a power cut leaves it
        assert list(remembered()) == [[i] for i in range(5)]
    assert list(remembered()) == [[i] for i in range(5)]


def test_what_cannot_be_kept_is_yielded_all_the_same(memory, tmp_path):
    @memory.cache
    def odd():
        yield 1
        yield (x for x in "ab")
        yield 3

    with pytest.warns(CacheWarning, match="is not stored") as warned:
        found = list(odd())
    assert len(warned) == 1
    assert [found[0], "".join(found[1]), found[2]] == [1, "ab", 3]
    assert files(tmp_path) == []


def test_what_is_known_of_an_entry(memory, tmp_path):
    remembered = memory.cache(count)
    items, metadata = remembered.call(3, start=7)
    assert metadata == {}
    assert list(items) == [7, 8, 9]
    assert metadata["items"] == 3
    (record,) = remembered.entries()
    assert record["arguments"] == {"n": "3", "start": "7"}
    assert 0 <= record["duration"] < 1
    assert remembered.why(3, start=7).startswith("hit")
    assert "start: 7 there, 8 here" in remembered.why(3, start=8)
    assert list(remembered.refresh(3, start=7)) == [7, 8, 9]
    assert events.count("begin") == 2
    remembered.forget(3, start=7)
    assert memory.stats()["items"] == 0


def test_shelved_items_are_read_each_time_anew(memory):
    shelved = memory.cache(count).call_and_shelve(3)
    assert events.count("end") == 1
    for each in (shelved, pickle.loads(pickle.dumps(shelved))):
        assert returned(each.get()) == ([0, 1, 2], "done")
        assert each.metadata["items"] == 3
    shelved.clear()
    with pytest.raises(ResultMissingError):
        shelved.get()


def test_shelved_items_that_are_not_stored(memory):
    @memory.cache
    def odd():
        yield (x for x in "ab")

    with pytest.warns(CacheWarning, match="is not stored"):
        shelved = odd.call_and_shelve()
    assert ["".join(each) for each in shelved.get()] == ["ab"]


def test_methods_partials_and_callable_objects(memory):
    class Counter:
        def __init__(self, step):
            self.step = step

        @memory.cache
        def upto(self, n):
            events.append(n)
            yield from range(0, n, self.step)

        def __call__(self, n):
            events.append(n)
            yield n * self.step

    for _ in range(2):
        assert list(Counter(2).upto(5)) == [0, 2, 4]
        assert list(Counter(3).upto(5)) == [0, 3]
        assert list(memory.cache(functools.partial(count, start=3))(2)) == [3, 4]
        assert list(memory.cache(Counter(2))(4)) == [8]
    assert events == [5, 5, "begin", 3, 4, "end", 4]


def test_a_function_that_became_a_generator_never_meets_the_former_entries(memory, module):
    plain = module("def f(x):\n    return [x]\n").f
    yielding = module("def f(x):\n    yield x\n").f
    plain.__module__ = yielding.__module__ = "features"
    cached = [memory.cache(f, track="none") for f in (plain, yielding)]
    for _ in range(2):
        assert [cached[0](1), list(cached[1](1))] == [[1], [1]]
    assert memory.stats()["items"] == 2


def test_expired_items_are_made_anew(memory):
    remembered = memory.cache(count, expires=0)
    assert list(remembered(2)) == list(remembered(2)) == [0, 1]
    assert events.count("begin") == 2


def test_options_that_make_no_sense_are_told(memory):
    with pytest.raises(ValueError, match="store_if= looks at a whole result"):
        memory.cache(count, store_if=bool)

    async def items():
        yield 1

    with pytest.raises(TypeError, match="items is an asynchronous generator, which cannot be remembered"):
        memory.cache(items)


def test_nothing_can_be_sent_in(memory):
    remembered = memory.cache(count)
    for _ in range(2):
        items = remembered(3)
        next(items)
        with pytest.raises(TypeError, match="takes no values"):
            items.send(1)
        assert list(remembered(3)) == [0, 1, 2]


def test_lines(tmp_path, capfd):
    remembered = Memory(tmp_path, verbose=2).cache(count)
    items = remembered(2)
    assert capfd.readouterr().out == ""
    list(items)
    said = capfd.readouterr().out.splitlines()
    assert said[0].endswith("count(2)...")
    assert "count computed in " in said[1]
    list(remembered(2))
    assert "count(2) loaded in" in capfd.readouterr().out


def test_limits_count_them(tmp_path):
    memory = Memory(tmp_path, verbose=0, items_limit=5)
    remembered = memory.cache(count)
    for i in range(20):
        assert list(remembered(2, start=i)) == [i, i + 1]
    assert memory.stats()["items"] <= 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_does_not_write_on_in_its_parents_file(memory, tmp_path):
    remembered = memory.cache(lambda: (yield from [[i] for i in range(4)]))
    items = remembered()
    assert next(items) == [0]
    child = os.fork()
    if not child:
        try:
            os._exit(0 if list(items) == [[1], [2], [3]] else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert not remembered.check_call_in_cache()
    assert list(items) == [[1], [2], [3]]
    assert list(remembered()) == [[0], [1], [2], [3]]


_SOURCE = """
from lightwork import Memory
memory = Memory("cache", verbose=0)

@memory.cache
def squares(n):
    with open("log", "a") as log:
        log.write(f"{n}\\n")
    for i in range(n):
        yield [i * i]
"""


@pytest.mark.parametrize("backend", ["processes", "threads", "sequential"])
def test_in_a_loop_workers_keep_and_the_parent_reads(module, tmp_path, monkeypatch, backend):
    monkeypatch.chdir(tmp_path)
    features = module(_SOURCE)
    for _ in range(2):
        found = Parallel(n_jobs=2, backend=backend)(delayed(features.squares)(n) for n in range(4))
        assert [[each[0] for each in items] for items in found] == [[], [0], [0, 1], [0, 1, 4]]
    assert sorted((tmp_path / "log").read_text().split()) == ["0", "1", "2", "3"]


def test_in_a_loop_items_that_cannot_be_stored_come_as_a_list(module, tmp_path, monkeypatch, edit):
    monkeypatch.chdir(tmp_path)
    features = module(_SOURCE)
    missing = features.squares.__lightwork_lookup__((3,), {})
    computation = missing.func
    computation.code = frozenset({("features.other", b"another token")})
    with pytest.warns(UserWarning, match="a worker holds other code"):
        assert list(missing.finish(computation(*missing.args, **missing.kwargs))) == [[0], [1], [4]]
    assert not features.squares.check_call_in_cache(3)
