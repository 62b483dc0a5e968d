"""What changed of a function's code is said when it is computed again, once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lightwork import Parallel, delayed
from lightwork.memory import Memory, history
from lightwork.memory.entry import Code

FEATURES = """
RATE = 3

def scale(x):
    return x * RATE

def f(x):
    return scale(x)
"""


@pytest.fixture
def said(tmp_path, capsys):
    """The lines on changed code that a function with `verbose` prints in what is called."""

    def lines(call, verbose=1):
        memory = Memory(tmp_path / "cache", verbose=verbose)
        call(memory)
        return [line for line in capsys.readouterr().out.splitlines() if "code changed" in line]

    return lines


def test_what_changed_is_said_once_for_each_code(said, module):
    made = module(FEATURES)
    name = made.__name__

    def call(memory):
        f = memory.cache(made.f)
        f(1), f(2), f(1)

    assert said(call) == []
    made.RATE = 4
    assert said(call) == [f"[Memory] {name}.f: code changed: `RATE` in {name}.py: 3 → 4"]
    assert said(call) == []
    made.RATE = 3
    assert said(call) == []  # the earlier results are there: nothing is computed
    made.RATE = 5
    assert said(call) == [f"[Memory] {name}.f: code changed: `RATE` in {name}.py: 4 → 5"]


def test_a_silent_memory_says_and_writes_nothing(said, module, tmp_path):
    made = module(FEATURES)

    def call(memory):
        memory.cache(made.f)(1)

    assert said(call, verbose=0) == []
    made.RATE = 4
    assert said(call, verbose=0) == []
    assert not (tmp_path / "cache" / "lightwork" / "code").exists()


def test_changes_in_one_process_are_said_too(module, tmp_path, capsys):
    made = module(FEATURES)
    f = Memory(tmp_path).cache(made.f)
    for rate in (3, 4, 4):
        made.RATE = rate
        f(rate), f(rate + 10)
    assert capsys.readouterr().out.count("code changed") == 1


def test_the_next_run_of_an_edited_script_says_it(run):
    program = """
    from lightwork import Memory

    def scale(x):
        return x

    @Memory("cache").cache
    def f(x):
        return scale(x)

    f(1)
    """
    run(program)
    changed = run(program.replace("return x\n", "return -x\n"))
    assert (
        "[Memory] __main__.f: code changed: `scale` in program.py\n[Memory] Calling __main__.f(1)" in changed
    )


def test_a_loop_says_it_once(run):
    program = """
    from lightwork import Memory, Parallel, delayed

    def scale(x):
        return x

    @Memory("cache").cache
    def f(x):
        return scale(x)

    if __name__ == "__main__":
        Parallel(n_jobs=2)(delayed(f)(x) for x in range(6))
    """
    assert "code changed" not in run(program)
    assert run(program.replace("return x\n", "return -x\n")).count("code changed: `scale` in program.py") == 1


def test_workers_write_the_same_parts_as_the_parent(module, tmp_path):
    made = module(FEATURES)
    f = Memory(tmp_path, verbose=0).cache(made.f)
    f(0)
    Parallel(n_jobs=2)(delayed(f)(x) for x in range(1, 3))
    told = [each["code"] for each in f.entries()]
    assert len(told) == 3
    assert told[0] == told[1] == told[2]
    assert [label for label in told[0] if "RATE" in label] == [f"`RATE` in {made.__name__}.py"]


def test_functions_of_one_label_are_told_apart(said, module):
    made = module("def f(x):\n    return 1\n")
    other = module("def f(x):\n    return 2\n")

    def call(memory):
        store = memory.store_backend
        for name, digest in (("a.f", "0"), ("b.f", "1"), ("b.f", "1")):
            assert history.changed_code(store, "f", name, Code(digest, {"f": digest})) == ""
        assert history.changed_code(store, "f", "b.f", Code("2", {"f": "2"})) == "f"

    assert said(call) == []
    assert made.f(0) != other.f(0)


@pytest.mark.parametrize("data", [b"", b"junk", b"\x80\x05K\x01.", b"\x80\x05]."])
def test_a_damaged_note_is_made_anew(module, tmp_path, capsys, data):
    made = module(FEATURES)
    Memory(tmp_path).cache(made.f)(1)
    (note,) = (tmp_path / "lightwork" / "code").iterdir()
    note.write_bytes(data)
    made.RATE = 4
    Memory(tmp_path).cache(made.f)(1)
    assert "code changed" not in capsys.readouterr().out
    made.RATE = 5
    Memory(tmp_path).cache(made.f)(1)
    assert "code changed: `RATE`" in capsys.readouterr().out


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_no_matter(module, tmp_path):
    made = module(FEATURES)
    Memory(tmp_path).cache(made.f)(1)
    made.RATE = 4
    folder = tmp_path / "lightwork" / "code"
    folder.chmod(0o500)
    try:
        assert Memory(tmp_path).cache(made.f)(1) == 4
    finally:
        folder.chmod(0o700)


def test_a_note_that_cannot_be_written_is_no_matter(module, tmp_path):
    made = module(FEATURES)
    (tmp_path / "lightwork").mkdir()
    (tmp_path / "lightwork" / "code").write_text("a file, where the folder should be")
    assert Memory(tmp_path, verbose=1).cache(made.f)(1) == 3


def test_clearing_forgets_it(module, tmp_path):
    one, other = module(FEATURES), module(FEATURES)
    memory = Memory(tmp_path)
    f, g = memory.cache(one.f), memory.cache(other.f)
    f(1), g(1)
    assert len(list(Path(tmp_path, "lightwork", "code").iterdir())) == 2
    f.clear()
    assert len(list(Path(tmp_path, "lightwork", "code").iterdir())) == 1
    memory.clear()
    assert not Path(tmp_path, "lightwork", "code").exists()
