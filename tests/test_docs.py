"""What the documents show is what happens: every ``python`` block is run, every output compared.

The blocks of a page are one script, run from a file of its own in an empty folder. A ``text`` block right
after a ``python`` block is what that block prints (warnings included); times may differ, and ``...`` stands for
anything. A ``python`` block without one prints nothing.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lightwork

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$(?:\n\n?```text\n(.*?)^```$)?", re.DOTALL | re.MULTILINE)
BORDER = "-- end of block --"
TIME = re.compile(r"\d+(\.\d+)? ?(s|ms|µs)\b")
LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#]+)(?:#[^)]*)?\)")


def blocks(page: Path) -> list[tuple[str, str]]:
    """Each python block of a page and the output that the page shows for it."""
    return [(code, output or "") for code, output in BLOCK.findall(page.read_text(encoding="utf-8"))]


def run(script: str, folder: Path) -> list[str]:
    """What each block of a script printed; the script's own path in it is shortened to its name."""
    (folder / "page.py").write_text(script, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-u", "page.py"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "LIGHTWORK_CACHE_DIR": str(folder / "user-cache"), "COLUMNS": "80"},
    )
    assert done.returncode == 0, done.stdout
    return done.stdout.replace(f"{folder}{os.sep}", "").split(BORDER + "\n")[:-1]


def difference(expected: str, got: str) -> str:
    """Nothing where the output is as shown, else both, to be read."""
    alike = TIME.sub("(time)", expected), TIME.sub("(time)", got)
    if doctest.OutputChecker().check_output(*alike, doctest.ELLIPSIS):
        return ""
    return f"shown:\n{expected}\nprinted:\n{got}"


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.stem)
def test_a_page_shows_what_happens(page: Path, tmp_path: Path) -> None:
    pairs = blocks(page)
    script = "".join(f"{code}\nprint({BORDER!r})\n" for code, _ in pairs)
    printed = run(script, tmp_path)
    assert len(printed) == len(pairs)
    wrong = [
        f"{page.name}, block {number}:\n{code}\n{said}"
        for number, ((code, shown), got) in enumerate(zip(pairs, printed, strict=True), 1)
        if (said := difference(shown, got))
    ]
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.parametrize("page", sorted({*PAGES, *ROOT.glob("*.md")}), ids=lambda page: page.stem)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    targets = LINK.findall(page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("docs/reference/api.md", {*lightwork.__all__, "hash", "map"} - {"__version__"}),
        ("docs/reference/errors.md", set(lightwork.errors.__all__)),
    ],
)
def test_the_reference_names_everything_public(page: str, names: set[str]) -> None:
    described = re.findall(r"^\.\. auto\w+:: (\w+)$", (ROOT / page).read_text(), re.MULTILINE)
    assert names - set(described) == set(), f"to be added to {page}"


def test_a_wrong_output_is_noticed(tmp_path: Path) -> None:
    [printed] = run(f"print(1 + 1)\nprint({BORDER!r})\n", tmp_path)
    assert difference("2\n", printed) == ""
    assert "printed:\n2" in difference("3\n", printed)
    assert difference("took 20 ms, ...\n", "took 1.5 s, as said\n") == ""
    assert difference("took 20 ms\n", "took 20 m\n") != ""


def test_text_without_code_before_it_is_not_an_output() -> None:
    page = "```text\na picture\n```\n\n```python\nx\n```\n\nWords.\n\n```text\nanother\n```\n"
    assert BLOCK.findall(page) == [("x\n", "")]
