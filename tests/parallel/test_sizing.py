"""What code asks before it divides its data is what its loop then has."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from lightwork import Parallel, delayed, effective_n_jobs, parallel_backend, parallel_config
from lightwork.errors import OptionError


@pytest.fixture(autouse=True)
def _eight_cores(monkeypatch):
    monkeypatch.setattr("lightwork.workers.limits.cpu_count", lambda: 8)
    monkeypatch.delenv("LIGHTWORK_SEQUENTIAL", raising=False)


@pytest.mark.parametrize(("given", "workers"), [(None, 1), (1, 1), (3, 3), (-1, 8), (-2, 7)])
def test_as_told(given, workers):
    assert effective_n_jobs(given) == workers
    assert effective_n_jobs() == 8


def test_nothing_said_is_what_the_configuration_says():
    with parallel_config(n_jobs=2):
        assert (effective_n_jobs(None), effective_n_jobs(3)) == (2, 3)
    with parallel_backend("threads"):
        assert effective_n_jobs(None) == 8
    with parallel_config(backend="sequential", n_jobs=2):
        assert effective_n_jobs(None) == 1
    assert effective_n_jobs(None) == 1


def test_an_executor_has_as_many_as_it_has():
    with ThreadPoolExecutor(3) as executor, parallel_config(backend=executor):
        assert effective_n_jobs(None) == 3


@pytest.mark.parametrize("backend", ["threads", "processes"])
def test_inside_a_task_one(backend):
    asked = Parallel(n_jobs=2, backend=backend)(delayed(effective_n_jobs)(n) for n in (None, 4, -1))
    assert asked == [1, 1, 1]


def test_debugging_switch(monkeypatch):
    monkeypatch.setenv("LIGHTWORK_SEQUENTIAL", "1")
    assert effective_n_jobs(4) == 1


def test_no_jobs_at_all_make_no_sense():
    with pytest.raises(OptionError, match="n_jobs=0 has no meaning"):
        effective_n_jobs(0)
