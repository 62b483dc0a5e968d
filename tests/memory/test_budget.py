"""Limits hold by themselves: in one process and in many, however they end, and without scans."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import OrderedDict
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwork.errors import OptionError
from lightwork.memory import Memory, budget
from lightwork.memory.quota import Account, Amount, Held, Limits, charge, oldest_quarter

_BLOCK = 4096


@pytest.fixture(autouse=True)
def no_budgets():
    yield
    budget._budgets.clear()


def double(x):
    return 2 * x


def taken(store) -> Amount:
    total = Amount()
    for each in store.held():
        total = total.plus(charge(each.size))
    return total


# --- the pure part ----------------------------------------------------------------------------------


def test_an_entry_takes_whole_blocks():
    assert [charge(size) for size in (1, 4096, 4097)] == [(4096, 1), (4096, 1), (8192, 1)]


def test_the_oldest_quarter_is_at_least_one():
    held = [Held(str(i), 1, float(-i)) for i in range(9)]
    assert [each.path for each in oldest_quarter(held)] == ["8", "7"]
    assert len(oldest_quarter(held[:2])) == 1
    assert oldest_quarter([]) == []


@given(
    st.tuples(st.integers(0, 10**6) | st.none(), st.integers(0, 1000) | st.none()),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50_000), st.sampled_from("sssskg")), max_size=200),
)
def test_what_is_granted_never_passes_the_limits(limit, steps):
    """A model of processes that store (s), remove (g) and die (k), sharing one counter."""
    limits = Limits(*limit)
    accounts = [Account(limits) for _ in range(4)]
    granted, stored, removed = Amount(), Amount(), Amount()
    for who, size, what in steps:
        account = accounts[who]
        if what == "k":
            accounts[who] = Account(limits)
        elif what == "g":
            if stored.items > removed.items:
                account.add(Amount(0, 1))
                removed = removed.plus(Amount(0, 1))
        else:
            account.spend(charge(size))
            stored = stored.plus(charge(size))
            if account.in_debt:
                more = account.asks(granted)
                granted = granted.plus(more)
                account.add(more)
                if account.in_debt:  # it would remove entries now; here the newest goes again
                    account.add(charge(size))
                    stored = stored.minus(charge(size))
        assert limits.bytes is None or granted.bytes <= limits.bytes
        assert limits.items is None or granted.items <= limits.items
        assert stored.bytes <= granted.bytes
        assert stored.items - removed.items <= granted.items


class Simulated:
    """A cache in memory that evicts as `Budget` does, by the same decisions; a request takes a millisecond."""

    def __init__(self, most: int, rng: random.Random) -> None:
        self.most, self.hits, self.count = most, 0, 0
        self.shards: list[dict[int, float]] = [{} for _ in range(256)]
        self.next = rng.randrange(256)
        self.rng, self.shard_of = rng, {}
        self.touch_after = budget._FIRST_TOUCH

    def ask(self, key: int, now: float) -> None:
        shard = self.shards[self.shard_of.setdefault(key, self.rng.randrange(256))]
        if key in shard:
            self.hits += 1
            if now - shard[key] > self.touch_after:
                shard[key] = now
            return
        shard[key] = now
        self.count += 1
        while self.count > self.most:
            sample: list[Held] = []
            while len(sample) < budget._SAMPLE:
                self.next = (self.next + 1) % 256
                sample += [Held(str(each), 1, used) for each, used in self.shards[self.next].items()]
            for each in oldest_quarter(sample):
                del self.shards[self.shard_of[int(each.path)]][int(each.path)]
                self.count -= 1
                self.touch_after = (now - each.used) / 8


@pytest.mark.parametrize(
    ("most", "keys", "power"), [(500, 5_000, 1.0), (4_000, 40_000, 0.8), (4_000, 20_000, 1.2)]
)
def test_the_hit_rate_is_that_of_exact_lru(most, keys, power):
    """On a Zipf trace; the design's own simulation found 0.998 of exact LRU."""
    rng = random.Random(most + keys)
    weights = list(accumulate((1 + rank) ** -power for rank in range(keys)))
    trace = rng.choices(range(keys), cum_weights=weights, k=60_000)
    exact: OrderedDict[int, None] = OrderedDict()
    exact_hits = 0
    ours = Simulated(most, rng)
    for step, key in enumerate(trace):
        ours.ask(key, step / 1000)
        exact_hits += key in exact
        exact[key] = None
        exact.move_to_end(key)
        if len(exact) > most:
            exact.popitem(last=False)
    assert ours.hits >= 0.98 * exact_hits


# --- in one process ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "most"), [({"items_limit": 300}, 300), ({"bytes_limit": 300 * _BLOCK}, 300)]
)
def test_limits_hold_while_results_are_stored(tmp_path, limits, most):
    memory = Memory(tmp_path, verbose=0, **limits)
    f = memory.cache(double)
    for x in range(1500):
        assert f(x) == 2 * x
        if x % 100 == 99:
            assert taken(memory.store_backend).items <= most
    assert taken(memory.store_backend).items > most * 0.8
    assert f.check_call_in_cache(1499)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_limit_holds_over_100_000_results(tmp_path):
    memory = Memory(tmp_path, verbose=0, bytes_limit="100 MB")
    f = memory.cache(double)
    limit = 100 << 20
    for x in range(100_000):
        assert f(x) == 2 * x
        if x % 2_000 == 1_999:
            assert taken(memory.store_backend).bytes <= limit
    assert taken(memory.store_backend).bytes > 0.9 * limit
    recent = sum(f.check_call_in_cache(x) for x in range(90_000, 100_000))
    assert recent > 9_900  # the least recently used went


def test_nothing_is_listed_before_the_limit_is_reached_and_little_afterwards(tmp_path, monkeypatch):
    memory = Memory(tmp_path, verbose=0, items_limit=2560)
    f = memory.cache(double)
    f(-1)
    listed = []
    held = type(memory.store_backend).held
    monkeypatch.setattr(
        type(memory.store_backend),
        "held",
        lambda store, shard=None: listed.append(shard) or held(store, shard),
    )
    for x in range(2500):
        f(x)
    assert listed == []
    for x in range(2500, 3500):
        f(x)
    assert None not in listed
    assert len(listed) < 600  # shards of ten: each listing removes two or three


def test_what_is_used_stays(tmp_path):
    memory = Memory(tmp_path, verbose=0, items_limit=200)
    f = memory.cache(double)
    hot = range(20)
    for x in hot:
        f(x)
    for x in range(100, 1100):
        f(x)
        when = time.time() - 1_000_000 + x * 100  # a clock that runs fast: the order of uses is what counts
        os.utime(f._key((x,), {}).path, (when, when))
        if x % 10 == 0:
            for each in hot:
                f(each)
                os.utime(f._key((each,), {}).path, (when, when))
    assert sum(f.check_call_in_cache(x) for x in hot) >= 18


def test_a_hit_is_noted_if_it_makes_a_difference(tmp_path):
    memory = Memory(tmp_path, verbose=0, items_limit=10)
    f = memory.cache(double)
    f(1)
    path = f._key((1,), {}).path
    for age, noted in ((10, False), (1000, True)):
        when = time.time() - age
        os.utime(path, (when, when))
        f(1)
        assert (os.stat(path).st_mtime > when + 1) == noted


def test_results_that_go_unused_are_removed(tmp_path):
    memory = Memory(tmp_path, verbose=0, age_limit="1h")
    f = memory.cache(double)
    for x in range(300):
        f(x)
    for each in list(memory.store_backend.held()):
        when = time.time() - 7200
        os.utime(each.path, (when, when))
    before = taken(memory.store_backend).items
    for x in range(1000, 1000 + 64 * 40):
        f(x)
    assert sum(each.used < time.time() - 3600 for each in memory.store_backend.held()) < before


def test_a_cache_that_was_there_is_counted(tmp_path):
    without = Memory(tmp_path, verbose=0).cache(double)
    for x in range(100):
        without(x)
    memory = Memory(tmp_path, verbose=0, items_limit=50)
    f = memory.cache(double)
    for x in range(100, 200):
        f(x)
    assert taken(memory.store_backend).items <= 101  # no more than before; it pays with what it frees
    memory.reduce_size(items_limit=50)
    for x in range(200, 300):
        f(x)
    assert taken(memory.store_backend).items <= 50


def test_a_damaged_counter_is_made_anew(tmp_path):
    memory = Memory(tmp_path, verbose=0, items_limit=100)
    f = memory.cache(double)
    for x in range(60):
        f(x)
    for content in (b"", b"nonsense" * 10):
        (tmp_path / "lightwork" / "state").write_bytes(content)
        for x in range(60, 300):
            f(x)
        assert taken(memory.store_backend).items <= 101


def test_room_comes_back_when_results_are_forgotten(tmp_path):
    memory = Memory(tmp_path, verbose=0, items_limit=100)
    f = memory.cache(double)
    for remove in (memory.clear, f.clear, lambda: [f.forget(x) for x in range(100)]):
        for x in range(100):
            f(x)
        assert taken(memory.store_backend).items >= 80
        remove()
        assert taken(memory.store_backend).items == 0


@pytest.mark.parametrize("limits", [{"items_limit": -1}, {"bytes_limit": "many"}, {"age_limit": "old"}])
def test_limits_that_cannot_be_are_told(tmp_path, limits):
    with pytest.raises(OptionError, match=next(iter(limits))):
        Memory(tmp_path, **limits)


# --- in many processes ------------------------------------------------------------------------------

_STORE = """
import sys
from lightwork import Memory
memory = Memory("cache", verbose=0, items_limit=400)

@memory.cache
def f(x):
    return x

start, count = int(sys.argv[1]), int(sys.argv[2])
for x in range(start, start + count):
    assert f(x) == x
"""


def test_short_processes_give_back_what_they_did_not_use(tmp_path):
    (tmp_path / "store.py").write_text(_STORE.replace("400", "51200"))  # a portion is 100
    for start in range(0, 50, 5):
        subprocess.run([sys.executable, "-B", "store.py", str(start), "5"], cwd=tmp_path, check=True)
    store = Memory(tmp_path / "cache").store_backend
    with budget._Counter(store) as counter:
        assert counter.read() == taken(store)


def test_limits_hold_among_processes_that_are_killed(tmp_path):
    (tmp_path / "store.py").write_text(_STORE)
    rng = random.Random(0)
    store = Memory(tmp_path / "cache").store_backend
    starts = iter(range(0, 10**9, 100_000))

    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-B", "store.py", str(next(starts)), "100000"]
        return subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE)

    running = [start() for _ in range(4)]
    most, kills = 0, 0
    next_kill = time.monotonic() + 1
    try:
        while kills < 8 or most <= 300:
            most = max(most, taken(store).items)
            if time.monotonic() > next_kill:
                next_kill += rng.uniform(0.3, 0.8)
                kills += 1
                victim = rng.randrange(4)
                running[victim].kill()
                said = running[victim].communicate()[1]
                assert running[victim].returncode == -signal.SIGKILL, said
                running[victim] = start()
    finally:
        for process in running:
            process.kill()
            process.communicate()
    assert most <= 400 * 1.1


def test_a_forked_child_does_not_spend_its_parents_room(tmp_path):
    memory = Memory(tmp_path, verbose=0, items_limit=51200)
    memory.cache(double)(1)
    before = budget._budgets.copy()
    child = os.fork()
    if child == 0:
        os._exit(len(budget._budgets))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert budget._budgets == before


def test_a_counter_that_cannot_be_locked_is_owed(tmp_path, monkeypatch):
    import errno

    memory = Memory(tmp_path, verbose=0, items_limit=10)
    f = memory.cache(double)
    f(0)

    real = budget.fcntl.lockf

    def cycle(descriptor, operation, length, start):
        if start == budget._BYTE and operation == budget.fcntl.LOCK_EX:
            raise OSError(errno.EDEADLK, "a cycle")
        return real(descriptor, operation, length, start)

    monkeypatch.setattr(budget.fcntl, "lockf", cycle)
    for x in range(20):
        f(x)
    monkeypatch.undo()
    f(21)
    assert taken(memory.store_backend).items <= 10
    assert Path(memory.store_backend.folder, "state").exists()
