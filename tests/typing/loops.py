"""What a type checker makes of `Parallel`; read by mypy (`make types`), never run."""

from __future__ import annotations

from collections.abc import Generator
from typing import Literal, assert_type

from lightwork import Parallel, delayed
from lightwork.errors import TaskError


def one(x: int) -> str:
    return str(x)


tasks = [delayed(one)(x) for x in range(3)]

assert_type(Parallel()(tasks), list[str])
assert_type(Parallel(2, "threads", verbose=1, seed=3, retries=2)(tasks), list[str])
assert_type(Parallel(n_jobs=2, on_error="raise")(tasks), list[str])
assert_type(Parallel(n_jobs=2, on_error="skip", memory_limit="1G")(tasks), list[str])
assert_type(Parallel(n_jobs=2, on_error="return")(tasks), list[str | TaskError])
assert_type(Parallel(2, return_as="generator")(tasks), Generator[str, None, None])
assert_type(Parallel(2, return_as="generator_unordered", on_error="skip")(tasks), Generator[str, None, None])
assert_type(
    Parallel(2, return_as="generator", on_error="return", task_timeout=3)(tasks),
    Generator[str | TaskError, None, None],
)

with Parallel(n_jobs=2, on_error="return") as loop:
    for result in loop(tasks):
        if isinstance(result, TaskError):
            assert_type(result.index, int)
        else:
            assert_type(result, str)

Parallel(n_job=2)  # type: ignore[call-overload]
Parallel(on_error="ignore")  # type: ignore[call-overload]
Parallel(on_input_error="raise")  # type: ignore[call-overload]


def either(on_error: Literal["raise", "return", "skip"]) -> None:
    assert_type(Parallel(n_jobs=2, on_error=on_error)(tasks), list[str] | list[str | TaskError])


class Shown(Parallel):
    """A subclass that says nothing of types is one of lists."""

    def print_progress(self) -> None:
        assert_type(self.n_completed_tasks, int)


def named(loop: Parallel) -> list[str]:
    return loop(tasks)


assert_type(named(Shown(n_jobs=2)), list[str])
