"""What is in a cache, and why a call is not: entries as records, and the nearest of them to a call.

Entries are looked at from outside (`persist.inspect_file`): nothing is loaded, nothing in them is executed.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypedDict, cast

if TYPE_CHECKING:
    from lightwork.hashing.parts import Change
    from lightwork.memory.entry import Code
    from lightwork.memory.stores.local import LocalStore

__all__ = ["EntryRecord", "Stats", "count", "damaged", "difference", "records"]


class EntryRecord(TypedDict):
    """One entry, as `MemorizedFunc.entries` tells it; a list of these makes a DataFrame."""

    function: str
    arguments: dict[str, str]
    size: int
    duration: float
    age: float
    unused: float
    fingerprint: str
    code: dict[str, str]
    besides: dict[str, str]
    path: str


class Stats(TypedDict):
    """How much there is."""

    items: int
    bytes: int


def count(store: LocalStore, label: str | None = None) -> Stats:
    """How many entries there are, and the bytes they take."""
    sizes = [each.size for each in store.held() if label in (None, os.path.basename(each.path)[:-33])]
    return {"items": len(sizes), "bytes": sum(sizes)}


def records(store: LocalStore, label: str | None = None) -> list[EntryRecord]:
    """All entries, or those of one function, the longest unused last. Damaged ones are left out."""
    from lightwork.errors import DamagedFileError
    from lightwork.persist import inspect_file

    now = time.time()
    found: list[EntryRecord] = []
    for each in store.held():
        if label not in (None, os.path.basename(each.path)[:-33]):
            continue
        with suppress(DamagedFileError, FileNotFoundError):
            metadata = inspect_file(each.path, show=False).metadata
            if "input_args" in metadata:
                found.append(
                    {
                        "function": cast(str, metadata["function"]),
                        "arguments": cast("dict[str, str]", metadata["input_args"]),
                        "size": each.size,
                        "duration": cast(float, metadata["duration"]),
                        "age": now - cast(float, metadata["time"]),
                        "unused": now - each.used,
                        "fingerprint": cast(str, metadata["fingerprint"]),
                        "code": cast("dict[str, str]", metadata.get("code", {})),
                        "besides": cast("dict[str, str]", metadata.get("besides", {})),
                        "path": each.path,
                    }
                )
    return sorted(found, key=lambda entry: entry["unused"])


# Entries from this size on are checked by threads: reading and digesting them need no interpreter lock. By guess.
_LARGE: Final = 1 << 20


def damaged(store: LocalStore) -> list[str]:
    """The entries that are not as they were written."""
    sizes = {each.path: each.size for each in store.held()}
    large = sorted((path for path in sizes if sizes[path] >= _LARGE), key=sizes.__getitem__, reverse=True)
    found = [path for path in sizes if sizes[path] < _LARGE and _is_damaged(path)]
    if large:
        from concurrent.futures import ThreadPoolExecutor

        from lightwork.workers.limits import cpu_count

        with ThreadPoolExecutor(min(len(large), cpu_count())) as pool:
            found += [path for path, bad in zip(large, pool.map(_is_damaged, large), strict=True) if bad]
    return found


def _is_damaged(path: str) -> bool:
    from lightwork.errors import DamagedFileError
    from lightwork.memory.recording import is_recording
    from lightwork.persist import inspect_file, verify_file, verify_objects

    try:
        shorter = verify_file(path).checked < os.stat(path).st_size
        if shorter and is_recording(inspect_file(path, show=False).metadata):
            verify_objects(path)
    except DamagedFileError:
        return True
    except FileNotFoundError:
        return False  # removed meanwhile
    return False


def difference(arguments: Mapping[str, str], code: Code, entries: Iterable[EntryRecord]) -> str:
    """In what the nearest entry differs from a call: in the fewest arguments, and then in the least of the code."""
    nearest, fewest, changed = None, [], None
    for each in entries:
        there = each["arguments"]
        names = [name for name in {**there, **arguments} if there.get(name) != arguments.get(name)]
        other = _other_code(each, code)
        if nearest is None or (len(names), _extent(other)) < (len(fewest), _extent(changed)):
            nearest, fewest, changed = each, names, other
    if nearest is None:
        return "no results of this function are there"
    from lightwork.hashing.parts import summary

    told_code = "computed by other code" + (f": {summary(changed)}" if changed else "")
    if not fewest:
        said = "there is one with arguments that look the same, "
        if changed is not None:
            return said + told_code
        return f"{said}by the same code: they differ in what is not shown"
    told = ", ".join(
        f"{name}: {nearest['arguments'].get(name, 'nothing')} there, {arguments.get(name, 'nothing')} here"
        for name in fewest
    )
    return f"the nearest result differs in {told}" + ("" if changed is None else f"; and was {told_code}")


def _other_code(there: EntryRecord, code: Code) -> list[Change] | None:
    """What changed of the code since an entry, as far as that is known; None if it is the same."""
    from lightwork.hashing.parts import changes

    found = changes({**there["code"], **there["besides"]}, code.whole) if there["code"] else []
    return found if found or there["fingerprint"] != code.fingerprint else None


def _extent(changed: list[Change] | None) -> int:
    """How far code is from ours; what is not known in parts is farther than any."""
    return 0 if changed is None else len(changed) or sys.maxsize
