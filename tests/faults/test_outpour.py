"""Tasks that say very much, and programs that end while they do."""

import logging
import os
import signal
import subprocess
import sys
import warnings

import pytest

from lightwork import Parallel, delayed

from .programs import run, start, wait_until_gone


def log_many(first, count):
    logger = logging.getLogger("lightwork_test.outpour")
    for i in range(first, first + count):
        logger.info("record %d", i, extra={"number": i})
    return first


def test_twenty_thousand_log_records_arrive_each_once(caplog):
    with caplog.at_level(logging.INFO, "lightwork_test.outpour"):
        Parallel(n_jobs=2, batch_size=1)(delayed(log_many)(first, 1000) for first in range(0, 20_000, 1000))
    assert sorted(record.number for record in caplog.records) == list(range(20_000))
    assert all(record.getMessage() == f"record {record.number}" for record in caplog.records[::100])


def warn_many(first, count):
    for i in range(first, first + count):
        warnings.warn(f"warning {i}", UserWarning, stacklevel=1)


def test_warnings_arrive_each_once():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Parallel(n_jobs=2, batch_size=1)(delayed(warn_many)(first, 100) for first in range(0, 1000, 100))
    assert sorted(int(str(warning.message).split()[1]) for warning in caught) == list(range(1000))


def print_many(i, count):
    for j in range(count):
        print(f"{i} {j} " + "x" * 500)
    sys.stderr.write(f"{i} done\n")


def test_lines_of_many_megabytes_arrive_whole_and_in_the_order_of_their_task(capsys):
    Parallel(n_jobs=2, batch_size=1)(delayed(print_many)(i, 2000) for i in range(10))
    out, err = capsys.readouterr()
    seen = {}
    for line in out.splitlines():
        i, j, rest = line.split(" ")
        assert rest == "x" * 500
        assert seen.get(i, -1) == int(j) - 1
        seen[i] = int(j)
    assert seen == {str(i): 1999 for i in range(10)}
    assert sorted(err.splitlines()) == sorted(f"{i} done" for i in range(10))


def write_in_three_ways(i):
    os.write(1, b"n" * 1000 + b"\n")
    subprocess.run(["sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do echo from a child; done"], check=True)
    return i


def test_native_code_and_children_write_to_the_programs_own_descriptors(capfd):
    Parallel(n_jobs=2, batch_size=1)(delayed(write_in_three_ways)(i) for i in range(30))
    lines = capfd.readouterr().out.splitlines()
    assert lines.count("n" * 1000) == 30
    assert lines.count("from a child") == 270
    assert len(lines) == 300


PRINTING = """
import os, sys, time
from lightwork import Parallel, delayed
def chatter(i):
    os.write(2, f"{os.getpid()}\\n".encode())
    while True:
        print("x" * 10_000)
Parallel(n_jobs=2)(delayed(chatter)(i) for i in range(2))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_program_that_is_ended_while_its_workers_print(how):
    with start(PRINTING) as program:
        pids = [int(program.stderr.readline()) for _ in range(2)]
        assert program.stdout.read(100_000).strip("x\n") == ""
        program.send_signal(how)
        program.stdout.close()
        program.stderr.read()
    assert program.returncode == -how
    wait_until_gone(pids)


def test_a_reader_that_goes_away_ends_the_program_as_it_ends_any():
    """As in `python program.py | head`."""
    with start(PRINTING) as program:
        pids = [int(program.stderr.readline()) for _ in range(2)]
        program.stdout.readline()
        program.stdout.close()
        said = program.stderr.read()
    assert program.returncode == 1
    assert said.count("Traceback") == 1
    assert "BrokenPipeError" in said
    wait_until_gone(pids)


def test_a_reader_that_does_not_read_holds_up_the_tasks_and_not_the_memory():
    """A full pipe stops the program that writes to it; its workers wait too, once they are far enough ahead."""
    code = """
import os, sys, time
from lightwork import Parallel, delayed
def chatter(i):
    for _ in range(3000):
        print("x" * 20_000)
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
print(max(Parallel(n_jobs=2)(delayed(chatter)(i) for i in range(2))), file=sys.stderr)
"""
    out, err, status = run(code)
    assert (status, len(out)) == (0, 2 * 3000 * 20_001)
    assert int(err) < 150 << 20
