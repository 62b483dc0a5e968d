"""A cache for a team: what one makes the others can read, replace and remove, whatever each one's umask."""

from __future__ import annotations

import os
import pickle
import shutil
import stat
import tempfile
from pathlib import Path

import pytest

from lightwork.memory import Memory
from lightwork.memory.stores.local import LocalStore, make_folder


def modes(folder):
    """The permissions of all below a folder: those of folders, and those of files."""
    found = list(folder.rglob("*"))
    return (
        {stat.S_IMODE(path.stat().st_mode) for path in found if path.is_dir()},
        {stat.S_IMODE(path.stat().st_mode) for path in found if path.is_file()},
    )


@pytest.fixture
def umask():
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o000])
@pytest.mark.parametrize("limits", [{}, {"items_limit": 100}])
def test_modes_do_not_depend_on_the_umask(tmp_path, umask, mask, limits):
    umask(mask)
    memory = Memory(tmp_path / "a" / "team", verbose=1, shared=True, **limits)
    double = memory.cache(lambda x: [x, x])
    for x in range(3):
        double(x)
    assert list(memory.cache(lambda n: (yield from [[i] for i in range(n)]))(3)) == [[0], [1], [2]]
    memory.cache(lambda x: "a" * x, verbose=0)(100_000)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o2770
    assert modes(tmp_path / "a") == ({0o2770}, {0o660})


def test_what_exists_keeps_its_mode_and_a_replaced_entry_gets_ours(tmp_path, umask):
    location = tmp_path / "team"
    location.mkdir(0o755)
    double = Memory(location, verbose=0).cache(abs)
    double(-1)
    shared = Memory(location, verbose=0, shared=True).cache(abs)
    shared(-1)
    assert modes(location) == ({0o700}, {0o644, 0o600})
    shared.refresh(-1)
    assert stat.S_IMODE(location.stat().st_mode) == 0o755
    (entry,) = location.rglob("*abs*")
    assert stat.S_IMODE(entry.stat().st_mode) == 0o660


def test_it_travels(tmp_path):
    memory = Memory(tmp_path, verbose=0, shared=True)
    assert pickle.loads(pickle.dumps(memory)).store_backend.shared
    assert pickle.loads(pickle.dumps(memory.cache(abs))).store_backend.shared
    assert not Memory(tmp_path).store_backend.shared


def test_a_folder_that_another_makes_meanwhile_is_good_as_well(tmp_path, monkeypatch):
    real = os.mkdir

    def slow(path, mode=0o777):
        real(path, mode)
        if ".tmp" in str(path):  # somebody is quicker, and uses it already
            monkeypatch.undo()
            make_folder(str(tmp_path / "a" / "b"), True)
            (tmp_path / "a" / "b" / "entry").touch()

    monkeypatch.setattr(os, "mkdir", slow)
    make_folder(str(tmp_path / "a" / "b"), True)
    assert [path.name for path in (tmp_path / "a").rglob("*")] == ["b", "entry"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_in_the_way_is_an_error_and_leaves_nothing(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(OSError, match="a"):
        make_folder(str(tmp_path / "a"), True)
    with pytest.raises(OSError, match="a"):
        LocalStore(str(tmp_path / "a" / "b"), None, True).make_room(str(tmp_path / "a" / "b" / "cd" / "x"))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


# --- two users ------------------------------------------------------------------------------------

_USERS = """
import os, sys, warnings
warnings.simplefilter("error")
from lightwork import Memory

TEAM = 54321

def f(x):
    print("computing", x, flush=True)
    return [x] * x

def g(n):
    print("yielding", n, flush=True)
    for i in range(n):
        yield [i]

def remembered(place):
    memory = Memory(place, verbose=0, shared=True, items_limit=1000)
    return memory, memory.cache(f), memory.cache(g)

# Import all that is needed while we may read it.
memory, warm, items = remembered(os.path.join(sys.argv[1], "..", "warm"))
warm(1), warm(1), list(items(1)), list(items(1)), warm.refresh(1), warm.forget(1), memory.reduce_size(items_limit=0)
print("warm", flush=True)

def act_as(user, mask, action):
    child = os.fork()
    if not child:
        code = 1
        try:
            os.setgroups([TEAM])
            os.setgid(user)
            os.setuid(user)
            os.umask(mask)
            memory, cached, items = remembered(sys.argv[1])
            action(memory, cached, items)
            sys.stdout.flush()
            code = 0
        except BaseException as error:
            import traceback
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0

def say(*what):
    print(*what, flush=True)

def first(memory, cached, items):
    say("first", cached(1), cached(2), list(items(2)))

def second(memory, cached, items):
    say("second", cached(1), cached(2), list(items(2)), cached(3))
    say({os.stat(cached._key((x,), {}).path).st_uid for x in (1, 2, 3)} == {40001, 40002})
    cached.refresh(1)
    cached.forget(2)

def third(memory, cached, items):
    say("third", cached(1), cached(3))
    say(cached(2))
    memory.reduce_size(items_limit=0)
    say(memory.stats()["items"])

act_as(40001, 0o077, first)
act_as(40002, 0o022, second)
act_as(40001, 0o077, third)
"""

_SAID = """warm
computing 1
computing 2
yielding 2
first [1] [2, 2] [[0], [1]]
computing 3
second [1] [2, 2] [[0], [1]] [3, 3, 3]
True
computing 1
third [1] [3, 3, 3]
computing 2
[2, 2]
0
"""


@pytest.fixture
def team():
    """A folder of a group that other users can reach; pytest's own are private."""
    place = Path(tempfile.mkdtemp(prefix="lightwork-test-", dir="/tmp"))
    place.chmod(0o755)
    folder = place / "team"
    folder.mkdir()
    os.chown(folder, -1, 54321)
    folder.chmod(0o2770)
    yield folder
    shutil.rmtree(place)


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can become two users")
def test_two_users_share_a_folder(run, team):
    said = run(_USERS, str(team))
    assert said.partition("warm\n")[2] == _SAID.partition("warm\n")[2]
    assert modes(team)[0] == {0o2770}
    assert {path.stat().st_gid for path in team.rglob("*")} == {54321}
