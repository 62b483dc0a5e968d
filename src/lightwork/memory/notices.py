"""Warnings of this room: each points at the line of the user's program that made the call."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Final

__all__ = ["warn"]

_HOUSE: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def warn(message: str, category: type[Warning]) -> None:
    """Give a warning at the nearest frame outside of lightwork."""
    frame = sys._getframe()
    level = 1
    while frame.f_code.co_filename.startswith(_HOUSE) and frame.f_back is not None:
        frame = frame.f_back
        level += 1
    warnings.warn(message, category, stacklevel=level)
