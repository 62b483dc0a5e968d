"""Runs: neighbours among the tasks of any loop that call one function with nothing but atoms. Pure.

Most loops call one function again and again, with numbers and text. Such tasks cannot change after they were taken, so
of a run of them the arguments alone are kept, as a `blocks.Block`: a third of the objects for the garbage collector to
look at, or none, and one call writes them all into a message.

Each task is looked at as it is taken, by its exact types, before the next is. A run ends with the first that does not
fit: another function (not the same object), other types, other names, or the same in another order. Nothing
is remembered from one run to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import is_
from typing import Final

from lightwork.parallel.blocks import Block
from lightwork.parallel.tasks import is_plain
from lightwork.workers.payload import ATOMS, are_names

__all__ = ["END", "run", "same"]

END: Final = object()
"""Stands for the item behind the last."""

_are_atoms = ATOMS.issuperset


def run(tasks: Iterator[object], func: Callable[..., object]) -> tuple[Block, object]:
    """The tasks from here on that call `func` in the way the first does, as a block; and the one that ended it.

    Examples
    --------
    >>> tasks = [(abs, (-1,), {}), (abs, (-2,), {}), (abs, ([],), {}), (abs, (-3,), {})]
    >>> rest = iter(tasks)
    >>> block, odd = run(rest, abs)
    >>> block.arguments, odd, list(rest)
    ([-1, -2], (<built-in function abs>, ([],), {}), [(<built-in function abs>, (-3,), {})])
    """
    values: list[object] = []
    first = next(tasks, END)
    if not is_plain(first) or first[0] is not func or not _are_atoms(map(type, first[1])):
        return Block(func, values, single=True), first
    _, args, kwargs = first
    if kwargs:
        names = tuple(kwargs)
        if not are_names(map(type, names)) or not _are_atoms(map(type, kwargs.values())):
            return Block(func, values, single=True), first
        values.append((*args, *kwargs.values()))
        odd = _by_name(tasks, func, names, values.append)
        return Block(func, values, single=False, names=names), odd
    if len(args) == 1:
        values.append(args[0])
        return Block(func, values, single=True), _single(tasks, func, values.append)
    values.append(args)
    return Block(func, values, single=False), _rows(tasks, func, values.append)


# The three loops that every tiny task goes through: `is_plain` is written out, since a call is a tenth of their cost.


def _single(tasks: Iterator[object], func: object, keep: Callable[[object], None]) -> object:
    atoms = ATOMS
    for task in tasks:
        if type(task) is tuple and len(task) == 3 and task[0] is func:
            _, args, kwargs = task
            if type(args) is tuple and len(args) == 1 and type(kwargs) is dict and not kwargs:
                (value,) = args
                if type(value) in atoms:
                    keep(value)
                    continue
        return task
    return END


def _rows(tasks: Iterator[object], func: object, keep: Callable[[object], None]) -> object:
    are_atoms = _are_atoms
    for task in tasks:
        if type(task) is tuple and len(task) == 3 and task[0] is func:
            _, args, kwargs = task
            if type(args) is tuple and type(kwargs) is dict and not kwargs and are_atoms(map(type, args)):
                keep(args)
                continue
        return task
    return END


def _by_name(
    tasks: Iterator[object], func: object, names: tuple[str, ...], keep: Callable[[object], None]
) -> object:
    are_atoms, count = _are_atoms, len(names)
    for task in tasks:
        if type(task) is tuple and len(task) == 3 and task[0] is func:
            _, args, kwargs = task
            # The same objects in the same order: an equal name might be of a subclass of `str`.
            if (
                type(args) is tuple
                and type(kwargs) is dict
                and len(kwargs) == count
                and all(map(is_, kwargs, names))
            ):
                row = (*args, *kwargs.values())
                if are_atoms(map(type, row)):
                    keep(row)
                    continue
        return task
    return END


def same(tasks: Iterator[object], func: Callable[..., object], keep: Callable[[object], None]) -> object:
    """Keep the tasks from here on that call `func`, whatever with, as they are; return the one that ended it."""
    for task in tasks:
        if (
            type(task) is tuple
            and len(task) == 3
            and task[0] is func
            and type(task[1]) is tuple
            and type(task[2]) is dict
        ):
            keep(task)
            continue
        return task
    return END
