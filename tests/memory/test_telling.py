"""The logger that gets the lines of remembered functions."""

from __future__ import annotations

import logging

import pytest

from lightwork import Parallel, delayed
from lightwork.memory import Memory
from lightwork.memory.telling import LOGGER


class Kept(logging.Handler):
    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append((record.levelname, record.getMessage()))


@pytest.fixture
def kept():
    logger, handler = logging.getLogger(LOGGER), Kept()
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = True  # as it is before we said anything
    yield handler
    logger.removeHandler(handler)
    logger.level, logger.propagate = before
    logger.setLevel(before[0])


@pytest.fixture
def root():
    handler = Kept()
    logging.root.addHandler(handler)
    yield handler
    logging.root.removeHandler(handler)


def test_it_gets_the_lines_that_are_printed_and_passes_none_on(tmp_path, kept, root, capfd):
    double = Memory(tmp_path, verbose=11).cache(lambda x: 2 * x)
    double(2)
    double(2)
    double.clear()
    printed = capfd.readouterr().out.splitlines()
    assert [line for _, line in kept.lines] == printed
    assert len(printed) == 5
    assert {level for level, _ in kept.lines} == {"INFO"}
    assert root.lines == []


def test_silent_is_silent(tmp_path, kept):
    Memory(tmp_path, verbose=0).cache(lambda x: 2 * x)(2)
    assert kept.lines == []


def test_lines_of_workers_arrive_once(module, tmp_path, monkeypatch, kept, root, capfd):
    monkeypatch.chdir(tmp_path)
    features = module(
        "from lightwork import Memory\n@Memory('cache', verbose=1).cache\ndef double(x):\n    return 2 * x\n"
    )
    assert Parallel(n_jobs=2)(delayed(features.double)(x) for x in range(3)) == [0, 2, 4]
    calling = sorted(line for _, line in kept.lines if "Calling" in line)
    assert calling == [f"[Memory] Calling {features.__name__}.double({x})..." for x in range(3)]
    assert sorted(line for _, line in kept.lines) == sorted(capfd.readouterr().out.splitlines())
    assert root.lines == []
