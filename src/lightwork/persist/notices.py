"""Warnings that point at the line of the user's program, however deep in here they arise."""

from __future__ import annotations

import sys
import warnings


def warn(message: str, category: type[Warning]) -> None:
    """Warn at the first frame that is not ours."""
    level = 2
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("lightwork."):
        frame = frame.f_back
        level += 1
    warnings.warn(message, category, stacklevel=level)
