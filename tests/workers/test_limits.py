"""Cores and threads: what may be used, not what there is."""

import os

import pytest

from lightwork.errors import OptionError, OptionTypeError
from lightwork.workers import limits


@pytest.fixture(autouse=True)
def _no_limit_from_outside(monkeypatch):
    for name in ("LIGHTWORK_MAX_CPU_COUNT", "LOKY_MAX_CPU_COUNT"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("given", "workers"), [(None, 1), (1, 1), (3, 3), (-1, 8), (-2, 7), (-8, 1), (-100, 1)]
)
def test_effective_n_jobs(given, workers, monkeypatch):
    monkeypatch.setattr(limits, "cpu_count", lambda: 8)
    assert limits.worker_count(given) == workers


def test_no_jobs_at_all_make_no_sense():
    with pytest.raises(OptionError, match="n_jobs=0 has no meaning"):
        limits.worker_count(0)
    with pytest.raises(OptionTypeError, match="'many'"):
        limits.worker_count("many")


def test_affinity_counts(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    assert limits.cpu_count() == 1
    assert limits.cpu_count(only_physical_cores=True) == 1


@pytest.mark.parametrize("name", ["LIGHTWORK_MAX_CPU_COUNT", "LOKY_MAX_CPU_COUNT"])
def test_the_environment_lowers_the_number(name, monkeypatch):
    monkeypatch.setenv(name, "1")
    assert limits.cpu_count() == 1
    monkeypatch.setenv(name, "1000000")
    monkeypatch.setattr(limits, "_affinity", lambda: set(range(2)))
    assert limits.cpu_count() <= 2
    monkeypatch.setenv(name, "few")
    with pytest.raises(OptionError, match=f"{name}='few'"):
        limits.cpu_count()


def _write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("files", "membership", "cores"),
    [
        ({"cpu.max": "max 100000\n"}, "0::/\n", None),
        ({"a/b/cpu.max": "150000 100000\n"}, "0::/a/b\n", 2),
        ({"a/cpu.max": "100000 100000\n", "a/b/cpu.max": "400000 100000\n"}, "0::/a/b\n", 1),
        (
            {"cpu/x/cpu.cfs_quota_us": "250000\n", "cpu/x/cpu.cfs_period_us": "100000\n"},
            "3:cpu,cpuacct:/x\n0::/\n",
            3,
        ),
        ({"cpu/x/cpu.cfs_quota_us": "-1\n", "cpu/x/cpu.cfs_period_us": "100000\n"}, "3:cpu:/x/y\n", None),
        (
            {"cpu/x/cpu.cfs_quota_us": "100000\n", "cpu/x/cpu.cfs_period_us": "100000\n"},
            "3:cpu:/x/nested/deep\n",
            1,
        ),
        ({}, "3:memory:/elsewhere\n", None),
    ],
)
def test_quotas_of_control_groups_on_every_level(files, membership, cores, tmp_path):
    for name, text in files.items():
        _write(tmp_path / "cgroup" / name, text)
    _write(tmp_path / "membership", membership)
    assert limits._cgroup_quota(str(tmp_path / "cgroup"), str(tmp_path / "membership")) == cores


def test_threads_are_shared_out_unless_the_user_said_otherwise(monkeypatch):
    monkeypatch.setattr(limits, "cpu_count", lambda: 8)
    given = limits.thread_limits(3, {"OMP_NUM_THREADS": "5"})
    assert given["OPENBLAS_NUM_THREADS"] == "2"
    assert "OMP_NUM_THREADS" not in given
    assert limits.thread_limits(16, {})["OMP_NUM_THREADS"] == "1"
