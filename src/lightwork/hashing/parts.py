"""What a fingerprint was made of, in words: so that two of them can be compared, and people told what changed.

The law: a part is a label that people understand (```scale` in features.py``) with ten digits of a digest and, where
there is one, a short form of the value. Parts are plain text, since they are stored with results and read by other
processes, years later and on other Pythons. They explain; no decision is made by them. What changes a
fingerprint changes a part, apart from how the parts hang together.

Pure: names and digests in, text out.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from xxhash import xxh3_64_hexdigest

__all__ = ["STORED", "Change", "Parts", "changes", "joined", "named", "place", "stored", "summary", "text"]

Parts = tuple[tuple[str, str], ...]
"""Labels, in order, and what of each is told from other times: digits and, after a space, a short form."""

_DIGITS: Final = 10
STORED: Final = 200
"""How many parts are stored with a result; by guess: some 60 bytes each."""
_REST: Final = "\N{HORIZONTAL ELLIPSIS}"


@functools.lru_cache(512)
def place(module: str | None, filename: str) -> str:
    """Where people look for the code of a module: ``features.py``, ``package/features.py``, the name of the script.

    Examples
    --------
    >>> place("package.features", "/home/me/package/features.py"), place("__main__", "/home/me/run.py")
    ('package/features.py', 'run.py')
    >>> place("__main__", "<stdin>")
    '__main__'
    """
    base = os.path.basename(filename)
    if module in ("__main__", "__mp_main__"):
        # The files of a notebook's cells bear names of this run.
        return module if not base or base.startswith("<") or "ipykernel_" in filename else base
    path = (module or "no module").replace(".", "/")
    if base == "__init__.py":
        return f"{path}/__init__.py"
    return f"{path}.py" if base == f"{path.rpartition('/')[2]}.py" else path.replace("/", ".")


def named(name: str, where: str) -> str:
    """Return the label of what bears a name at a place."""
    return f"`{name}` in {where}"


def text(said: bytes, shown: str = "") -> str:
    """Return what of a part is told from other times."""
    digits = xxh3_64_hexdigest(said)[:_DIGITS]
    return f"{digits} {shown}" if shown else digits


def joined(noted: Mapping[str, Iterable[str]]) -> Parts:
    """Return the parts of a fingerprint; several of one label (lambdas, say) are one part."""
    found = []
    for label in sorted(noted):
        texts = sorted(set(noted[label]))
        digits = sorted({each.partition(" ")[0] for each in texts})
        found.append((label, texts[0] if len(digits) == 1 else text("".join(digits).encode())))
    return tuple(found)


def stored(parts: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the parts that are stored with a result: all, or the first of very many."""
    found = dict(sorted(set(parts)))
    if len(found) <= STORED:
        return found
    first = dict(list(found.items())[:STORED])
    return {**first, _REST: f"{len(found) - STORED} more"}


class Change(NamedTuple):
    """A part that changed, came or went; its text is a sentence for people."""

    label: str
    how: str
    values: str = ""

    def __str__(self) -> str:
        return f"{self.label} {self.how}" + (f": {self.values}" if self.values else "")

    @property
    def short(self) -> str:
        """The change where it is said already that something changed."""
        if self.how != "changed":
            return str(self)
        return f"{self.label}: {self.values}" if self.values else self.label


_SHOWN: Final = 5


def summary(found: Sequence[Change]) -> str:
    """Return the first few changes in one line."""
    more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    return ", ".join([*[each.short for each in found[:_SHOWN]], *more])


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[Change]:
    r"""Return what changed between two fingerprints' parts; nothing where they do not tell.

    Examples
    --------
    >>> found = changes({"`A` in f.py": "0 3", "`g` in f.py": "1"}, {"`A` in f.py": "2 4"})
    >>> print(*found, summary(found), sep="\n")
    `A` in f.py changed: 3 → 4
    `g` in f.py is no longer used
    `A` in f.py: 3 → 4, `g` in f.py is no longer used
    """
    labels = sorted({*before, *now} - {_REST})
    # Of very many only the first are stored, in this order: about what comes after them nothing is known.
    ends = [max(each.keys() - {_REST}, default="") for each in (before, now) if _REST in each]
    found = []
    for label in labels:
        if any(label > end for end in ends):
            break
        if label not in now:
            found.append(Change(label, "is no longer used"))
        elif label not in before:
            found.append(Change(label, "is used now"))
        else:
            (was, _, old), (is_, _, new) = before[label].partition(" "), now[label].partition(" ")
            if was == is_:
                continue  # the short form of a set differs from time to time
            found.append(Change(label, "changed", f"{old} → {new}" if old and new and old != new else ""))
    return found
