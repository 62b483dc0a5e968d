"""The folder: its shape, its modes, and clearing it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from lightwork.memory import Memory
from lightwork.memory.stores.local import LocalStore


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_an_entry_lies_in_the_shard_of_its_digest(tmp_path):
    f = Memory(tmp_path, verbose=0).cache(abs)
    f(-1)
    (path,) = (
        path for path in tmp_path.rglob("*") if path.is_file() and path.name not in ("state", ".gitignore")
    )
    place = path.relative_to(tmp_path)
    shard, name = place.parts[1:]
    assert place.parts[0] == "lightwork"
    label, _, digest = name.rpartition("-")
    assert label == "builtins.abs"
    assert len(digest) == 32
    assert digest.startswith(shard)
    assert len(shard) == 2


def test_folders_that_we_make_are_private(tmp_path):
    old = os.umask(0o022)
    try:
        Memory(tmp_path / "a" / "b", verbose=0).cache(abs)(-1)
    finally:
        os.umask(old)
    made = [path for path in (tmp_path / "a").rglob("*") if path.is_dir()]
    assert len(made) == 3
    assert {mode(path) for path in [tmp_path / "a", *made]} == {0o700}


def test_folders_that_exist_keep_their_mode(tmp_path):
    location = tmp_path / "team"
    location.mkdir()
    location.chmod(0o2775)
    Memory(location, verbose=0).cache(abs)(-1)
    assert mode(location) == 0o2775


@pytest.mark.skipif(shutil.which("git") is None, reason="no git")
def test_a_repository_that_the_cache_lies_in_does_not_see_it(tmp_path):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "program.py").touch()
    memory = Memory(tmp_path / "cache", verbose=0)
    memory.cache(abs)(-1)
    status = ["git", "-C", tmp_path, "status", "--porcelain", "--untracked-files=all"]
    assert subprocess.run(status, check=True, capture_output=True, text=True).stdout == "?? program.py\n"
    (tmp_path / "cache" / "lightwork" / ".gitignore").unlink()  # somebody wants it in the repository
    memory.cache(abs)(-2)
    memory.clear()
    assert not (tmp_path / "cache" / "lightwork" / ".gitignore").exists()


def test_nothing_is_made_before_there_is_something_to_keep(tmp_path):
    f = Memory(tmp_path / "cache", verbose=0).cache(abs)
    f.clear()
    assert not f.check_call_in_cache(-1)
    assert list(tmp_path.iterdir()) == []


def test_clearing_all_takes_what_broken_off_writes_left_and_nothing_else(tmp_path):
    memory = Memory(tmp_path, verbose=0)
    memory.cache(abs)(-1)
    (entry,) = memory.store_backend.entries()
    Path(entry + ".tmp").write_bytes(b"half")
    (tmp_path / "lightwork" / "notes").write_text("mine")
    (tmp_path / "data").write_text("mine")
    memory.clear()
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert left == ["data", "lightwork", *(f"lightwork/{name}" for name in (".gitignore", "notes", "state"))]


def test_clearing_one_leaves_entries_whose_names_only_begin_alike(tmp_path):
    store = LocalStore(str(tmp_path))
    paths = [store.path(label, "ab" * 16) for label in ("m.load", "m.load-x", "m.load2")]
    for path in paths:
        store.make_room(path)
        Path(path).write_text("")
    store.clear("m.load")
    assert sorted(store.entries()) == sorted(paths[1:])


def test_a_shard_that_is_filled_while_clearing_stays(tmp_path, monkeypatch):
    store = LocalStore(str(tmp_path))
    path = store.path("f", "ab" * 16)
    store.make_room(path)
    Path(path).write_text("")
    real = os.rmdir

    def filled(folder):
        Path(path).write_text("new")
        real(folder)

    monkeypatch.setattr(os, "rmdir", filled)
    store.clear()
    assert list(store.entries()) == [path]


def test_a_file_in_the_way_is_an_error_of_writing(tmp_path):
    (tmp_path / "file").write_text("")
    store = LocalStore(str(tmp_path / "file"))
    assert list(store.entries()) == []
    store.clear()
    with pytest.raises(OSError, match="Not a directory"):
        store.make_room(store.path("f", "ab" * 16))
