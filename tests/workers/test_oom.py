"""The counters of the out-of-memory killer, in all the places where they may be."""

import pytest

from lightwork.workers import oom


def _write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("files", "membership", "machine", "count"),
    [
        ({}, "0::/\n", "nr_free_pages 3\noom_kill 2\n", 2),
        ({"a/b/memory.events": "low 0\noom 9\noom_kill 4\n"}, "0::/a/b\n", "oom_kill 2\n", 4),
        ({"memory/x/memory.oom_control": "under_oom 0\noom_kill 5\n"}, "4:memory:/x\n0::/\n", "", 5),
        ({}, "4:memory:/gone\n", "", 0),
        ({}, "", "", 0),
    ],
)
def test_the_highest_count_that_can_be_found(files, membership, machine, count, tmp_path):
    for name, text in files.items():
        _write(tmp_path / "groups" / name, text)
    found = oom.kills(
        str(tmp_path / "groups"),
        _write(tmp_path / "membership", membership),
        _write(tmp_path / "vmstat", machine),
    )
    assert found == count


def test_where_nothing_is_counted_nothing_is_said(tmp_path):
    nowhere = str(tmp_path / "nowhere")
    assert oom.kills(nowhere, nowhere, nowhere) == 0
