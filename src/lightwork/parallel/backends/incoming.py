"""What comes back from worker processes: replies to spans, as results and errors of this process.

Atoms stand in the reply as they are; the rest is unpickled here, where its class is known, with its big buffers copied
out of the worker's outbox. What cannot be read is the failure of its own task, not of its span.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightwork.parallel.backends import blame
from lightwork.parallel.backends.base import Task
from lightwork.workers.failures import Report
from lightwork.workers.outboxes import read_outbox
from lightwork.workers.payload import decode_result

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from lightwork.workers.anonymous import SharedMap

__all__ = ["Reply", "cut", "read"]

Reply = tuple[int, int, float, "list[object]", "list[tuple[int, Report]] | None"]
"""The message of a worker: call, first task of the span, seconds, an entry for each result, and what failed."""


def read(
    reply: Reply, tasks: Sequence[Task[object]], outboxes: Sequence[SharedMap]
) -> tuple[list[object], dict[int, BaseException], int | None, int]:
    """What a worker made of these tasks; big buffers lie in its outboxes.

    Returns
    -------
    results : list
        One entry for each task that was run; None for those that failed.
    failures : dict
        The exceptions of those, by number.
    box : int or None
        The outbox that has been read and may be filled again.
    largest : int
        Bytes of the largest buffer that lay there.
    """
    _, first, _, results, failed = reply
    failures: dict[int, BaseException] = {}
    if failed is None and tuple not in map(type, results):
        return results, failures, None, 0
    for index, report in failed or ():
        failures[index] = blame.raised(report, index, tasks[index - first])
    box: int | None = None
    largest = 0

    def fetch(places: Sequence[int]) -> Sequence[Buffer]:
        nonlocal box, largest
        box, largest = places[0], max(largest, *places[2::2])
        return read_outbox(outboxes, places)

    for offset, entry in enumerate(results):
        if type(entry) is tuple:
            try:
                results[offset] = decode_result(entry, fetch)
            except Exception as error:
                index = first + offset
                results[offset] = None
                failures[index] = blame.not_read(error, index, tasks[offset])
    return results, failures, box, largest


def cut(results: list[object], failures: dict[int, BaseException], first: int, kept: int) -> None:
    """Leave nothing but the first so many tasks of a span that began with this one."""
    del results[kept:]
    for index in [index for index in failures if index >= first + kept]:
        del failures[index]
