"""Loops inside remembered functions whose workers need each other's keys: nobody waits for ever."""

import subprocess
import sys

import pytest

from lightwork import Memory, Parallel, delayed
from lightwork.workers import functions


@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_a_worker_of_a_holder_computes_what_another_holds(tmp_path, backend):
    code = """
import sys, time
from pathlib import Path
from lightwork import Memory, Parallel, delayed

memory = Memory("cache", verbose=0)

@memory.cache
def locked(name):
    Path("in " + name).touch()
    other = "b" if name == "a" else "a"
    while not Path("in " + other).exists():
        time.sleep(0.01)
    return name + "".join(Parallel(n_jobs=2, backend=sys.argv[2])(delayed(ask)(name, other) for _ in range(2)))

def ask(name, other):
    # `locked(other)` is held by the other program, which waits for workers that ask for ours; asked for by a name
    # that was seen already it returns at once, so that no program recurs for ever.
    mark = Path(f"asked {name} {other}")
    if mark.exists():
        return "."
    mark.touch()
    return locked(other)[0]

print(locked(sys.argv[1])[0])
"""
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", code, name, backend], cwd=tmp_path, stdout=subprocess.PIPE, text=True
        )
        for name in "ab"
    ]
    try:
        assert [program.communicate(timeout=100)[0] for program in programs] == ["a\n", "b\n"]
    finally:
        for program in programs:
            program.kill()
            program.wait()


def test_workers_are_told_only_while_a_key_is_held(tmp_path):
    memory = Memory(tmp_path, verbose=0)

    def told(backend):
        return Parallel(n_jobs=2, backend=backend)(delayed(functions.is_awaited)() for _ in range(2))

    @memory.cache
    def inside(backend):
        return told(backend), functions.is_awaited()

    for backend in ("processes", "threads"):
        assert told(backend) == [False, False]
        assert inside(backend) == ([True, True], False)
        assert told(backend) == [False, False]
