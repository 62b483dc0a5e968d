"""What a type checker makes of `map` and its relatives; read by mypy (`make types`), never run."""

from __future__ import annotations

from collections.abc import Generator
from typing import Literal, assert_type

import lightwork
from lightwork.errors import TaskError


def one(x: int) -> str:
    return str(x)


def two(x: int, y: str) -> float:
    return x + len(y)


def many(a: int, b: int, c: int, d: int, e: int, f: int) -> bool:
    return a + b + c + d + e + f > 0


xs, ys = [1, 2], ["a", "b"]

assert_type(lightwork.map(one, xs), list[str])
assert_type(lightwork.map(two, xs, ys, n_jobs=2, backend="threads"), list[float])
assert_type(lightwork.map(many, xs, xs, xs, xs, xs, xs), list[bool])
assert_type(lightwork.map(lambda x: (x, x), xs), list[tuple[int, int]])
assert_type(lightwork.imap(two, xs, ys), Generator[float, None, None])
assert_type(lightwork.imap_unordered(one, xs), Generator[str, None, None])
assert_type(lightwork.starmap(two, [(1, "a"), (2, "b")]), list[float])
assert_type(lightwork.starmap(two, [[1, "a"], [2, "b"]]), list[float])

lightwork.map(two, xs, xs)  # type: ignore[arg-type]
lightwork.map(two, xs)  # type: ignore[arg-type]
lightwork.starmap(two, [(1, 2)])  # type: ignore[arg-type]
lightwork.map(one, xs, n_job=2)  # type: ignore[call-overload]

# What a failed task leaves in the place of its result is part of the type.
assert_type(lightwork.map(one, xs, on_error="raise"), list[str])
assert_type(lightwork.map(two, xs, ys, n_jobs=2, on_error="skip"), list[float])
assert_type(lightwork.map(one, xs, n_jobs=2, on_error="return"), list[str | TaskError])
assert_type(lightwork.map(two, xs, ys, on_error="return"), list[float | TaskError])
assert_type(lightwork.map(many, xs, xs, xs, xs, xs, xs, on_error="return"), list[bool | TaskError])
assert_type(lightwork.starmap(two, [(1, "a")], on_error="return"), list[float | TaskError])
assert_type(lightwork.starmap(two, [[1, "a"]], on_error="return"), list[float | TaskError])
assert_type(lightwork.imap(one, xs, on_error="return"), Generator[str | TaskError, None, None])
assert_type(
    lightwork.imap_unordered(two, xs, ys, on_error="return"), Generator[float | TaskError, None, None]
)
lightwork.map(one, ys, on_error="return")  # type: ignore[call-overload]
lightwork.map(one, xs, on_error="ignore")  # type: ignore[call-overload]


def either(on_error: Literal["raise", "return", "skip"]) -> None:
    assert_type(lightwork.map(one, xs, on_error=on_error), list[str] | list[str | TaskError])


async def waits() -> None:
    assert_type(await lightwork.amap(two, xs, ys), list[float])
    async for result in lightwork.aimap(one, xs):
        assert_type(result, str)
    assert_type(await lightwork.amap(one, xs, on_error="return"), list[str | TaskError])
    assert_type(await lightwork.amap(two, xs, ys, on_error="return", n_jobs=2), list[float | TaskError])
    async for either_result in lightwork.aimap(one, xs, on_error="return"):
        assert_type(either_result, str | TaskError)
    await lightwork.amap(two, xs, xs)  # type: ignore[arg-type]


with lightwork.ProcessExecutor(2) as executor:
    assert_type(executor.submit(two, 1, "a").result(), float)
    assert_type(list(executor.map(one, xs)), list[str])
    executor.submit(two, 1)  # type: ignore[call-arg]
