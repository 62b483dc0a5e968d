"""A system with less than Linux has: what macOS's Python lacks is taken away, in the program and in all its workers.

This does not make the kernel another one. It shows that no path needs the names.
"""

from __future__ import annotations

import os

import pytest

from .programs import run

# Of Python 3.11 and 3.12 on macOS; `waitid` came with 3.13.
LESS = """
import fcntl, mmap, os, select, socket, sys
for module, names in (
    (os, "waitid memfd_create MFD_CLOEXEC posix_fallocate posix_fadvise sched_getaffinity sched_setaffinity "
         "pidfd_open eventfd O_PATH O_TMPFILE copy_file_range splice"),
    (socket, "MSG_CMSG_CLOEXEC"),
    (mmap, "MAP_POPULATE MADV_HUGEPAGE"),
    (select, "epoll"),
):
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
"""

PROGRAM = """
import os, signal
import numpy as np
from lightwork import Memory, Parallel, ProcessExecutor, delayed, dump, load, pool_info
from lightwork.errors import WorkerDied
assert not hasattr(os, "waitid")

def look(array, i):
    assert not hasattr(os, "waitid")
    array[0] = i
    return array * 2

def die():
    os.kill(os.getpid(), signal.SIGKILL)

big = np.ones(300_000)
loop = Parallel(n_jobs=2, start_method=START)
for i, result in enumerate(loop(delayed(look)(big, i) for i in range(6))):
    assert result[0] == 2 * i and result[1] == 2
try:
    loop([delayed(die)()])
except WorkerDied as error:
    assert "SIGKILL" in str(error)
else:
    raise AssertionError
assert loop(delayed(abs)(-i) for i in range(5)) == list(range(5))
with ProcessExecutor(2, start_method=START) as executor:
    assert executor.submit(pow, 2, 5).result() == 32
dump(big, "big")
assert (load("big", mmap_mode="c") == big).all()
remembered = Memory("cache", verbose=0).cache(look)
assert remembered(big, 3)[0] == remembered(big, 3)[0] == 6
print("zygote", pool_info().zygote)
"""


@pytest.mark.parametrize("start", [None, "spawn", "fork"])
def test_nothing_needs_what_macos_lacks(start, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(LESS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    out, err, status = run(f"START = {start!r}\n{PROGRAM}", cwd=tmp_path)
    assert (err, status) == ("", 0)
    assert out.startswith("zygote")


@pytest.mark.parametrize("start", [None, "spawn"])
def test_a_killed_zygote_is_buried(start, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(LESS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    out, err, status = run(f"START = {start!r}\n{KILLED}", cwd=tmp_path)
    assert (out, err, status) == ("[0, 1, 2]\n", "", 0)


KILLED = """
import os, signal
from lightwork import Parallel, delayed, pool_info
loop = Parallel(n_jobs=2, retries=9, start_method=START)  # a task may begin on a worker of the killed one
loop(delayed(abs)(i) for i in range(3))
os.kill(pool_info().zygote, signal.SIGKILL)
print(loop(delayed(abs)(i) for i in range(3)))
"""
