"""By which code a function was last computed, so that a line can say what changed since.

    location/lightwork/code/<label>

One small file a function, beside the shards, written as entries are. It is read when a process first computes the
function by some code, and written if that is other code than it tells: never on a hit, and not again and again. It
explains and decides nothing: where it is missing, damaged, cannot be written or is of another function with the
same label, nothing is said.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from lightwork.memory import entry
from lightwork.memory.entry import Code

if TYPE_CHECKING:
    from lightwork.memory.stores.local import LocalStore

__all__ = ["changed_code"]


def changed_code(store: LocalStore, label: str, function: str, code: Code) -> str:
    """What changed since somebody last computed a function, in a few words; from now on, this is its code."""
    path = store.code_path(label)
    before = _read(path, function)
    if before is not None and before.fingerprint == code.fingerprint:
        return ""
    _write(store, path, (function, code.fingerprint, dict(code.parts)))
    if before is None:
        return ""
    from lightwork.hashing.parts import changes, summary

    return summary(changes(before.parts, code.parts))


def _read(path: str, function: str) -> Code | None:
    try:
        found = entry.read(path, None, lambda: None)[0]
        named, fingerprint, parts = found
        return Code(str(fingerprint), dict(parts)) if named == function else None
    except Exception:  # missing, damaged, or of another version: there is nothing to compare with
        return None


def _write(store: LocalStore, path: str, told: tuple[object, ...]) -> None:
    with suppress(
        OSError
    ):  # a folder that cannot be written, or a full disk: the results' own warnings say so
        try:
            entry.write(path, told, False, {}, store.mode)
        except FileNotFoundError:
            store.make_room(path)
            entry.write(path, told, False, {}, store.mode)
