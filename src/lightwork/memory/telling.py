"""Where the lines of remembered functions go: to standard output, and to the logger ``lightwork.memory``.

The logger does not propagate: whoever wants the lines gives it a handler, and nobody who has one on the root gets
each line a second time. In a worker it does, since the root has the handler there that takes records to the
parent, whose logger of the same name gets them.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from lightwork.observe.messages import say
from lightwork.workers.functions import inside_worker

if TYPE_CHECKING:
    from logging import Logger

__all__ = ["LOGGER", "expect", "tell"]

LOGGER: Final = "lightwork.memory"


def tell(line: str) -> None:
    """Say a line."""
    say(line, output=True)
    logger = expect()
    if logger is not None:
        logger.info(line)


def expect() -> Logger | None:
    """Make the logger ready, before a worker sends records to it; None while nobody can have asked for it."""
    logging = sys.modules.get("logging")
    if logging is None:  # importing it takes 5 ms
        return None
    logger: Logger = logging.getLogger(LOGGER)
    logger.propagate = inside_worker()
    return logger
