"""The page of the law of equality, the law's words, and the rules of the code say the same.

After a change of `lightwork.hashing.law`, ``python tests/hashing/test_law.py`` writes its table into the page.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from lightwork.hashing import law, rules
from lightwork.hashing.walk import name_of

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "equality.md"
TABLE = re.compile(r"^\| type \| counts .*?\n(?=\n)", re.DOTALL | re.MULTILINE)


def test_each_rule_is_in_the_law_once():
    ruled = {name_of(kind) for kind in rules.RULES} | set(rules.LATE) | set(rules.FAMILIES)
    named = Counter(law.types_named())
    assert set(named) - set(law.WALKED.split()) == ruled
    assert set(law.WALKED.split()) <= set(named)
    assert set(named.values()) == {1}


def test_the_page_shows_the_law():
    assert TABLE.findall(PAGE.read_text("utf-8")) == [law.table()]


if __name__ == "__main__":
    PAGE.write_text(TABLE.sub(lambda _: law.table(), PAGE.read_text("utf-8")), "utf-8")
