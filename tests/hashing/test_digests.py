"""Digests stay what they are: a committed table, checked on each Python by itself.

A digest that changes empties people's caches: it is a change of format, and goes into the changelog. After such
a change, ``python tests/hashing/test_digests.py`` writes the table anew.
"""

from __future__ import annotations

import sys
from pathlib import Path

FOLDER = Path(__file__).parent
FILE = FOLDER / "digests.txt"

sys.path.insert(0, str(FOLDER))
import hashed_values as values  # noqa: E402

sys.path.remove(str(FOLDER))


def computed():
    from lightwork.hashing import hash

    return {name: hash(make()) for name, make in values.TABLE.items()}


def committed():
    return {
        name: digest
        for digest, name in (line.split("  ", 1) for line in FILE.read_text("utf-8").splitlines())
    }


def test_digests_are_those_of_the_table():
    assert computed() == committed()


def test_all_values_differ():
    digests = list(committed().values())
    assert len(set(digests)) == len(digests) >= 200


if __name__ == "__main__":
    FILE.write_text("".join(f"{digest}  {name}\n" for name, digest in computed().items()), "utf-8")
