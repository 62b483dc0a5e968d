"""An entry that holds what a generator yielded: written item by item, read item by item.

The file is a run of objects as `persist` writes them, each checked by itself; so nothing but one item is in memory::

    head | (ITEM, value) | (RUN, [value, ...]) | ... | (RETURNED, value)

1. Each item is written when it is yielded, before anybody else gets to change it. Numbers and short texts, which nobody
   can change, wait for each other and share an object (`RUN`).
2. The file gets its name when the generator has ended, and not before: a reader that stops early leaves no entry, and
   an entry always ends with `RETURNED`. The head tells how many items there are and how long they took, so its
   place is kept free until the end.
3. With `compress`, each object is packed by itself and lies in one of ours (`PACKED`), so that it can be read alone.
4. A forked child does not write on in its parent's file, nor remove it.
"""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Generator, Mapping
from contextlib import suppress
from typing import Final, cast

from lightwork.memory.entry import Compress
from lightwork.memory.key import PLAIN

__all__ = ["Recorder", "is_recording", "play"]

_ITEM, _RUN, _RETURNED, _PACKED = range(4)
_MOST: Final = 1024  # items of a run
_SHORT: Final = 1024  # characters of a text that waits for others; both by guess
_SLACK: Final = (
    64  # bytes by which a head may come out longer than the first one: its time of writing is in it
)
_WIDEST: Final = 1.7976931348623157e308  # no number of seconds takes more characters

_numbers = itertools.count()


def is_recording(metadata: Mapping[str, object]) -> bool:
    """Whether an entry with this metadata holds what a generator yielded."""
    return "items" in metadata


class Recorder:
    """Writes the items of one run of a generator.

    Parameters
    ----------
    path : str
        The entry's place, whose folder exists.
    compress : bool, int, str or tuple
        As in `dump`.
    metadata : mapping
        What is known of the call at its beginning.
    mode : int, optional
        The permissions of the file; by default what the umask leaves.
    """

    def __init__(
        self, path: str, compress: Compress, metadata: Mapping[str, object], mode: int | None = None
    ) -> None:
        self._path = path
        self._compress = compress
        self._metadata = metadata
        self._room = len(_head(_WIDEST, 1 << 62, metadata)) + _SLACK
        self._run: list[object] = []
        self._count = 0
        self._process = os.getpid()
        self._temporary = f"{os.path.dirname(path)}/.lightwork-{os.getpid()}-r{next(_numbers)}.tmp"
        # Without a buffer: a forked child would write what is in it a second time.
        self._file: io.FileIO | None = open(self._temporary, "xb", buffering=0)  # noqa: SIM115
        if mode is not None:
            os.fchmod(self._file.fileno(), mode)
        self._file.seek(self._room)

    def add(self, item: object) -> None:
        """Keep the next item."""
        self._count += 1
        kind = type(item)
        if kind in PLAIN and not ((kind is str or kind is bytes) and len(cast(str, item)) > _SHORT):
            self._run.append(item)
            if len(self._run) < _MOST:
                return
            self._write_run()
            return
        self._write_run()
        self._write((_ITEM, item))

    def finish(self, returned: object, seconds: float) -> dict[str, object]:
        """The generator has ended: make an entry of what was kept, and return its metadata."""
        self._write_run()
        self._write((_RETURNED, returned))
        file = self._file
        metadata = {**self._metadata, "duration": seconds, "items": self._count}
        if file is not None and self._process == os.getpid():
            head = _head(seconds, self._count, self._metadata, self._room)
            file.seek(0)
            file.write(head)
            file.close()
            self._file = None
            os.replace(self._temporary, self._path)
        return metadata

    def discard(self) -> None:
        """Let go of what was kept, unless it has become an entry."""
        file, self._file = self._file, None
        if file is not None:
            file.close()
            if self._process == os.getpid():
                with suppress(FileNotFoundError):  # the cache was cleared
                    os.unlink(self._temporary)

    def _write_run(self) -> None:
        if self._run:
            run, self._run = self._run, []
            self._write((_RUN, run))

    def _write(self, record: tuple[int, object]) -> None:
        from lightwork.persist import dump

        if self._file is None or self._process != os.getpid():
            return
        if self._compress:
            packed = io.BytesIO()
            dump(record, packed, compress=self._compress, by_name=True)
            record = _PACKED, packed.getvalue()
        dump(record, self._file, by_name=True)


def _head(seconds: float, count: int, metadata: Mapping[str, object], room: int = 0) -> bytes:
    """The first object, as long as the room that was kept free for it."""
    from lightwork.persist import dump

    told = {**metadata, "duration": seconds, "items": count, "room": ""}
    for _ in range(2):
        out = io.BytesIO()
        dump({"items": count}, out, metadata=told)
        missing = room - len(out.getvalue())
        if missing <= 0:
            break
        told["room"] = " " * missing
    if room and missing:
        raise ValueError(f"the head of a recording takes {-missing} bytes more than were kept free for it")
    return out.getvalue()


def play(path: str) -> Generator[object, None, object]:
    """Read what a generator yielded, item by item; returns what it returned.

    The file is open meanwhile, so that whoever removes it does no harm.
    """
    from lightwork.persist import load

    with open(path, "rb") as file:
        load(file)
        while True:
            kind, value = cast("tuple[int, object]", load(file))
            if kind == _PACKED:
                kind, value = cast("tuple[int, object]", load(io.BytesIO(cast(bytes, value))))
            if kind == _RETURNED:
                return value
            if kind == _RUN:
                yield from cast("list[object]", value)
            else:
                yield value
