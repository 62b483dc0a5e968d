"""What holds for every test: it leaves nothing behind, and it never touches the user's own cache.

Left behind is what this test process started or opened and what is still there once the worker pool was
ended: processes (also those whose parent died: they carry our mark in their environment), threads,
file descriptors, names in /dev/shm, and anything in the temporary folder, which is private to
this test process, so that tests may run in parallel. A test that failed is not asked: the frames of its
traceback keep things alive.
"""

from __future__ import annotations

import gc
import itertools
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest

_MARK = "LIGHTWORK_TEST_PROCESS"
_FAILED = pytest.StashKey[bool]()
_PROC = Path("/proc")
_SHM = Path("/dev/shm")
# For what is ending by itself when a test ends, such as the orphans of a parent that the test killed, or threads
# that a busy machine has not let run yet. Only a test that leaves something waits for it.
_GRACE = 30.0


# A shell starts what it runs in the background with Ctrl-C ignored, and `nohup` with SIGHUP, which programs that tests
# start would inherit. A handler is not inherited; one that does nothing keeps these tests running when a window closes.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda number, frame: None)

# Hypothesis's limits of time say on a busy machine how busy it is. It leaves them out by itself only where it finds the
# signs of a CI service that it knows.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")


@dataclass(frozen=True)
class Inventory:
    """What exists now; each item by a key that a later item never shares by accident."""

    processes: frozenset[str]
    threads: frozenset[threading.Thread]
    descriptors: frozenset[tuple[str, str]]
    shared_memory: frozenset[str]
    files: frozenset[str]

    @classmethod
    def take(cls, temporary: Path) -> Inventory:
        return cls(
            frozenset(filter(str.isdigit, _names(_PROC))),
            frozenset(threading.enumerate()),
            frozenset(_descriptors()),
            frozenset(_names(_SHM)),
            frozenset(_names(temporary)),
        )

    def left_since(self, before: Inventory) -> list[str]:
        """One line for each thing of ours that is here now and was not before."""
        return [
            *(text for pid in self.processes - before.processes if (text := _own_process(int(pid)))),
            *(f"thread {thread.name!r}" for thread in self.threads - before.threads if thread.is_alive()),
            *(f"file descriptor {number} -> {to}" for number, to in self.descriptors - before.descriptors),
            *(f"/dev/shm/{name}" for name in self.shared_memory - before.shared_memory if _own_name(name)),
            *(f"temporary file {name}" for name in self.files - before.files),
        ]


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:  # not Linux
        return []


def _descriptors() -> Iterator[tuple[str, str]]:
    for number in _names(_PROC / "self/fd"):
        with suppress(FileNotFoundError):  # the one that listed the folder
            yield number, os.readlink(f"/proc/self/fd/{number}")


def _own_name(name: str) -> bool:
    # The number as a word of its own: within a longer number, or in hexadecimal digits, it is another program's name.
    return "lightwork" in name or str(os.getpid()) in re.split(r"[^0-9A-Za-z]", name)


def _own_process(pid: int) -> str:
    """What a process is, if it descends from us; else nothing."""
    try:
        state, parent = _state_and_parent(pid)
        if state == "Z":  # ended: a leak only if it is for us to wait for it
            return f"process {pid}: ended, never waited for" if parent == os.getpid() else ""
        marked = f"{_MARK}={os.getpid()}\0".encode() in _environment(pid)
        command = (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        while parent > 1 and parent != os.getpid():
            _, parent = _state_and_parent(parent)
    except (FileNotFoundError, ProcessLookupError, PermissionError):  # ended just now, or another user's
        return ""
    return f"process {pid}: {command.strip()}" if marked or parent == os.getpid() else ""


def _environment(pid: int) -> bytes:
    """A process's environment; for a moment it has none while it becomes another program."""
    for _ in range(20):
        if found := (_PROC / str(pid) / "environ").read_bytes():
            return found
        time.sleep(0.001)
    return b""  # the kernel's own, or one that has cleared it


def _state_and_parent(pid: int) -> tuple[str, int]:
    state, parent = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[:2]
    return state, int(parent)


def _still_left(before: Inventory, temporary: Path) -> list[str]:
    """What is left after all that was about to go has gone; waits only where there is something left."""
    left = Inventory.take(temporary).left_since(before)
    deadline = time.monotonic() + _GRACE
    while left and time.monotonic() < deadline:
        gc.collect()
        left = Inventory.take(temporary).left_since(before)
        time.sleep(0.005)
    return left


def _remove(before: Inventory, temporary: Path) -> None:
    """End the processes and remove the files that a test left, so that they do not stay on the machine."""
    now = Inventory.take(temporary)
    for pid in map(int, now.processes - before.processes):
        if _own_process(pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):  # not a child but further down
                os.waitpid(pid, 0)
    for name in now.files - before.files:
        path = temporary / name
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
    return report


@pytest.fixture(scope="session")
def private_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """A temporary folder for this test process and its children, and one for caches."""
    tmp_path_factory.getbasetemp()  # pytest's own folder lies in the machine's temporary folder, not in ours
    home = Path(tempfile.mkdtemp(prefix="lwtest-"))  # short: sockets in it may have 107 bytes at most
    temporary, caches = home / "t", home / "c"
    temporary.mkdir()
    caches.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(temporary))
        patch.setenv("TMPDIR", str(temporary))
        patch.setenv(_MARK, str(os.getpid()))
        yield temporary, caches
    shutil.rmtree(home)


_cache_numbers = itertools.count()


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest, private_folders: tuple[Path, Path]) -> Iterator[None]:
    """Give the test a cache folder of its own, and fail it where something stays after it."""
    temporary, caches = private_folders
    cache = caches / str(next(_cache_numbers))
    before = Inventory.take(temporary)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIGHTWORK_CACHE_DIR", str(cache))
        yield
        pool = sys.modules.get("lightwork.workers.pool")
        if pool is not None:
            pool.shutdown()
    if cache.exists():
        shutil.rmtree(cache)
    if request.node.stash.get(_FAILED, False):
        _remove(before, temporary)
    elif left := _still_left(before, temporary):
        _remove(before, temporary)
        pytest.fail("the test left behind:\n  " + "\n  ".join(sorted(left)), pytrace=False)
