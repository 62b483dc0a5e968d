"""Fingerprints stay what they are: a committed table, checked on each Python, in the parent and in a worker.

A fingerprint that changes makes everybody compute again. It is a change of format, and goes into the changelog. After
such a change, ``python tests/hashing/test_fingerprints.py`` writes the table anew.
"""

from __future__ import annotations

import sys
from pathlib import Path

FOLDER = Path(__file__).parent
FILE = FOLDER / "fingerprints.txt"


def computed():
    """Look at the code by the one name that it has everywhere: the names of classes count where values are."""
    from lightwork.hashing import fingerprint

    sys.path.insert(0, str(FOLDER))
    try:
        from fingerprinted import TABLE
    finally:
        sys.path.remove(str(FOLDER))
    return {name: fingerprint(code).digest.hex() for name, code in TABLE.items()}


def committed():
    return {
        name: digest
        for digest, name in (line.split("  ", 1) for line in FILE.read_text("utf-8").splitlines())
    }


def test_fingerprints_are_those_of_the_table():
    assert computed() == committed()


def test_fingerprints_in_a_worker_are_those_of_the_table():
    from lightwork import Parallel, delayed

    assert Parallel(n_jobs=2)([delayed(computed)()]) == [committed()]


def test_all_fingerprints_differ():
    digests = list(committed().values())
    assert len(set(digests)) == len(digests) >= 60


if __name__ == "__main__":
    FILE.write_text("".join(f"{digest}  {name}\n" for name, digest in computed().items()), "utf-8")
