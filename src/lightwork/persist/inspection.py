"""`inspect_file`: what is in a file, told from its bytes. Nothing is imported, nothing is executed.

Buffers are skipped, so that the time depends on the number of objects only.
"""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import IO, Final

from lightwork.persist import codecs, foreign, layout, reader, sealed
from lightwork.persist.symbols import JOBLIB, Machine, Node, Unfollowed, readable

_SHOWN: Final = 40  # lines of the tree that are printed (chosen by guess: one screen)
_COUNTED: Final = 10_000
_NAMES: Final = {layout.WRITABLE: "buffer", layout.READONLY: "buffer", layout.BYTES: "bytes"}


@dataclass(frozen=True)
class FileReport:
    """What `inspect_file` found.

    Attributes
    ----------
    path, size : str, int
        The file, and its length on disk.
    layout : str
        ``"lightwork"``, ``"pickle"`` or ``"joblib"``.
    compression : str or None
        The method.
    tree : Node
        The object as far as its bytes tell.
    globals : tuple of str
        Every class and function that loading would import.
    versions : dict
        The versions of the packages that it was written with.
    about : dict
        What lightwork noted: its version, Python's, when, and whether code is inside (``pickler``).
    metadata : dict
        What was given to `dump`.
    """

    path: str
    size: int
    layout: str
    compression: str | None
    tree: Node
    globals: tuple[str, ...]
    versions: dict[str, str]
    about: dict[str, object]
    metadata: dict[str, object]

    def __str__(self) -> str:
        rows = [f"{name:<12} {value}" for name, value in self.rows()]
        return "\n".join([*rows, "", *self.first_lines()])

    def first_lines(self) -> list[str]:
        """The beginning of the tree, and how much more there is."""
        lines = list(islice(self.tree.lines(), _COUNTED))
        left = len(lines) - _SHOWN
        more = "at least " if len(lines) == _COUNTED else ""
        return lines[:_SHOWN] + ([f"... and {more}{left} more"] if left > 0 else [])

    def rows(self) -> list[tuple[str, str]]:
        """What the table shows, as pairs of name and text."""
        found = [
            ("file", f"{self.path} ({readable(self.size)})"),
            ("layout", self.layout + (f", {self.compression}" if self.compression else "")),
            *(
                (name, _moment(value) if name == "created" else str(value))
                for name, value in self.about.items()
            ),
            ("versions", ", ".join(f"{name} {version}" for name, version in self.versions.items())),
            ("metadata", json.dumps(self.metadata) if self.metadata else ""),
            ("imports", ", ".join(self.globals)),
        ]
        return [(name, value) for name, value in found if value]


def inspect_file(path: str | os.PathLike[str], *, show: bool = True) -> FileReport:
    """Tell what is in a file without loading it; executes nothing.

    Parameters
    ----------
    path : str or path
        A file of `dump`, of ``pickle.dump`` or of joblib.
    show : bool, default True
        Print the report as well (as a table where rich is installed).

    Returns
    -------
    FileReport
        Types, shapes, sizes, metadata, versions, and the names that loading would import.

    Examples
    --------
    >>> import os, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = os.path.join(folder.name, "model")
    >>> _ = dump({"weights": [0.5, 1.5]}, path, metadata={"run": 7})
    >>> report = inspect_file(path, show=False)
    >>> report.metadata
    {'run': 7}
    >>> print("\\n".join(report.tree.lines()))
    dict of 1
      ['weights']: list of 2
        [0]: float 0.5
        [1]: float 1.5
    >>> folder.cleanup()
    """
    report = _report(os.fsdecode(path))
    if show:
        _show(report)
    return report


def _report(name: str) -> FileReport:
    with sealed.opened(name) as fd, sealed.blaming(name):
        size = os.fstat(fd).st_size
        start = os.pread(fd, layout.HEAD_SIZE, 0)
        method = codecs.method_of(start)
        source: sealed.Bytes = sealed.FileBytes(fd, size)
        if method is not None:
            with open(fd, "rb", closefd=False) as file:
                plain = reader.expanded(file, method, name)
            start = bytes(plain[: layout.HEAD_SIZE])
            source = sealed.MemoryBytes(plain, len(plain))
        end = source.read(max(0, source.size - layout.FOOTER_MINIMUM), layout.FOOTER_MINIMUM)
        if layout.looks_ours(start, end):
            source.size = sealed.length(start, source.size)  # other objects may follow
            found = sealed.footer(source, start)
            machine = Machine([(_NAMES.get(e.kind, "bytearray"), e.length) for e in found.entries])
            tree = _followed(machine, io.BytesIO(sealed.stream(source, found)), name)
            texts = [json.loads(text) if text else {} for text in (found.about, found.versions, found.user)]
            return FileReport(
                name, size, "lightwork", method, tree, machine.globals(), texts[1], texts[0], texts[2]
            )
        if not foreign.looks_like_pickle(start):
            raise sealed.damaged(name, foreign.describe(start))
        machine = Machine([])
        with open(fd, "rb", closefd=False) if method is None else io.BytesIO(plain) as file:
            tree = _followed(machine, file, name)
        kind = "joblib" if JOBLIB in machine.globals() else "pickle"
        return FileReport(name, size, kind, method, tree, machine.globals(), {}, {}, {})


def _followed(machine: Machine, file: IO[bytes], name: str) -> Node:
    try:
        return machine.run(file)
    except Unfollowed as error:
        raise sealed.damaged(name, f"the pickle in it cannot be followed: {error}") from error


def _show(report: FileReport) -> None:
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        print(report)
        return
    table = Table(show_header=False)
    for name, value in report.rows():
        table.add_row(name, Text(value))
    table.add_row("object", Text("\n".join(report.first_lines())))
    Console().print(table)


def _moment(seconds: object) -> str:
    if not isinstance(seconds, float):
        return str(seconds)
    return datetime.fromtimestamp(seconds).isoformat(" ", "seconds")
