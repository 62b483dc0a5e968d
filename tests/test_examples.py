"""The examples do what they say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.parametrize(
    ("fits", "accuracy"),
    [(6, 0.4), pytest.param(60, 0.97, marks=[pytest.mark.slow, pytest.mark.timeout(300)])],
)
def test_the_digits_search_computes_once(fits: int, accuracy: float) -> None:
    command = [sys.executable, str(EXAMPLES / "digits_search.py"), "--fits", str(fits)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{fits} fits, each cross-validated on 18,681 images (9.6 MB)")
    runs = re.findall(r"^(\w+) run +([\d.]+) s +([\d.]+) s +(\d+) +(\d+)$", done.stdout, re.MULTILINE)
    assert [(name, int(computed), int(found)) for name, _, _, computed, found in runs] == [
        ("first", fits, 0),
        ("second", 0, fits),
    ]
    assert "same results  True" in done.stdout
    [crossed, unseen] = re.findall(r"(0\.\d{3}) (?:cross-validated|on 360 unseen)", done.stdout)
    assert float(crossed) > accuracy
    assert float(unseen) > accuracy
    [files] = re.findall(r"in (\d+) files", done.stdout)
    assert fits < int(files) <= fits + 2  # one for each result, a .gitignore, and the cache's own state
