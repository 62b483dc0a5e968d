"""Machines that grant little: small or no shared memory, nothing to write to, few descriptors."""

import os
import shutil
import subprocess
import sys

import pytest

from lightwork.errors import WorkerStartError

LOOP = """
import os
import numpy as np
from lightwork import Parallel, delayed
array = np.ones(3_000_000)
results = Parallel(n_jobs=2)(delayed(np.add)(array, i) for i in range(6))
print([int(result[-1]) for result in results])
"""
EXPECTED = "[1, 2, 3, 4, 5, 6]\n"


def run(code, *before, **environment):
    return subprocess.run(
        [*before, sys.executable, "-B", "-c", code],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, **environment},
    )


def may_unshare():
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not may_unshare(), reason="needs mount namespaces, that is, root on Linux")
def test_a_read_only_system_with_one_megabyte_of_shared_memory(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    script = f"""
    mount --bind / {root} && mount -o remount,ro,bind {root} && mount -t proc proc {root}/proc &&
    mount --rbind /dev {root}/dev && mount -t tmpfs -o size=1m tmpfs {root}/dev/shm &&
    exec chroot {root} "$@"
    """
    done = run(LOOP, "unshare", "-m", "sh", "-c", script, "sh")
    assert (done.stdout, done.stderr) == (EXPECTED, "")


def test_where_memfd_is_refused_to_parent_and_workers(tmp_path):
    """That no name stays in /dev/shm is looked at by `nothing_left`; other tests use it at the same time."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os\ndef refuse(*_):\n    raise PermissionError(1, 'refused')\nos.memfd_create = refuse\n"
    )
    done = run(
        LOOP + "\nassert os.memfd_create.__name__ == 'refuse'\n"
        "assert Parallel(n_jobs=2)(delayed(lambda: os.memfd_create.__name__)() for _ in range(2)) == ['refuse'] * 2\n",
        PYTHONPATH=str(tmp_path),
    )
    assert (done.stdout, done.stderr) == (EXPECTED, "")


def test_thousands_of_big_results_need_no_descriptors():
    done = run(
        """
import os, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
import numpy as np
from lightwork import Parallel, delayed
kept = Parallel(n_jobs=2)(delayed(np.full)(131_072, float(i)) for i in range(1000))
print(len(os.listdir("/proc/self/fd")) < 40, all(array[-1] == i for i, array in enumerate(kept)))
"""
    )
    assert (done.stdout, done.stderr) == ("True True\n", "")


@pytest.mark.slow
def test_seventy_thousand_results_in_maps_of_their_own():
    """What results of 1 MB are, at 8 KB each: neither descriptors nor maps (`vm.max_map_count`) run out."""
    done = run(
        """
import os, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
import numpy as np
from lightwork import Parallel, delayed
from lightwork.workers import anonymous, outboxes
anonymous._MAPPED = outboxes._IF_FREE = outboxes.WAITED_FOR = 4096  # in the workers too: they are forks of this process
kept = Parallel(n_jobs=2, start_method="fork")(delayed(np.full)(1024, float(i)) for i in range(70_000))
print(len(os.listdir("/proc/self/fd")) < 20, [i for i, array in enumerate(kept) if array[-1] != i], len(kept))
"""
    )
    assert (done.stdout, done.stderr) == ("True [] 70000\n", "")


@pytest.mark.slow
def test_memory_for_results_with_more_holes_than_maps_are_allowed():
    """Maps side by side count as one; where every second result is kept, none are."""
    done = run(
        """
from lightwork.workers import anonymous
anonymous._MAPPED = 4096
memory = [anonymous.copied(memoryview(bytes(4096))) for _ in range(140_000)]
for part in memory:
    part[0] = 1
del memory[::2]
more = [anonymous.copied(memoryview(bytes(8192))) for _ in range(40_000)]
for part in more:
    part[-1] = 2
print({part[0] for part in memory}, {part[-1] for part in more})
"""
    )
    assert (done.stdout, done.stderr) == ("{1} {2}\n", "")


def test_too_few_descriptors_for_all_workers_are_told_and_leave_none_behind():
    done = run(
        f"""
import os, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
from lightwork import Parallel, delayed
from lightwork.errors import {WorkerStartError.__name__}
from lightwork.workers import pool
try:
    Parallel(n_jobs=30)(delayed(abs)(i) for i in range(100))
except {WorkerStartError.__name__} as error:
    print(error)
print(sum(Parallel(n_jobs=2)(delayed(abs)(i) for i in range(100))))
pool.shutdown()
print(len(os.listdir("/proc/self/fd")))
"""
    )
    said, total, left = done.stdout.splitlines()
    assert "of 30 workers could be started: [Errno 24]" in said
    assert "ask for fewer workers" in said
    assert (total, done.stderr) == ("4950", "")
    assert int(left) <= 6
