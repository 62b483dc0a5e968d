"""Small files of the system, and the control groups of this process as they name them (Linux; elsewhere none)."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["lines", "memberships"]


def lines(path: str) -> list[str]:
    """The lines of a file; none where there is no such file."""
    try:
        with open(path) as file:
            return file.read().splitlines()
    except OSError:
        return []


def memberships(path: str, controller: str) -> Iterator[tuple[bool, str]]:
    """The groups that have a say in a controller: whether by version 2 of control groups, and the group's path."""
    for line in lines(path):
        _, controllers, group = line.split(":", 2)
        if not controllers:
            yield True, group
        elif controller in controllers.split(","):
            yield False, group
