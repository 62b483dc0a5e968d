"""Errors are kept where `store_if` says so, and only there."""

from __future__ import annotations

import asyncio
import pickle

import pytest

from lightwork import Parallel, delayed
from lightwork.errors import CacheWarning, RemoteTraceback
from lightwork.memory import Memory
from lightwork.memory.raised import asks_about_errors

calls: list[object] = []


class NotFoundError(Exception):
    """An error whose constructor takes other arguments than it keeps."""

    def __init__(self, page: str, status: int) -> None:
        super().__init__(f"{page}: {status}")
        self.status = status


def fetch(page: object) -> str:
    calls.append(page)
    if page == "gone":
        raise NotFoundError("gone", 404)
    if page == "busy":
        raise TimeoutError("busy")
    if page == "odd":
        error = ValueError("odd")
        error.lock = pickle.Pickler  # can be pickled
        error.more = (each for each in "ab")  # cannot
        raise error
    return f"text of {page}"


def lasting(result: object, error: Exception | None = None) -> bool:
    return error is None or isinstance(error, NotFoundError | ValueError)


@pytest.fixture
def memory(tmp_path):
    calls.clear()
    return Memory(tmp_path / "cache", verbose=0)


def test_an_error_that_is_an_answer_is_kept_and_raised_again(memory):
    f = memory.cache(fetch, store_if=lasting)
    for _ in range(3):
        with pytest.raises(NotFoundError, match="gone: 404") as caught:
            f("gone")
        assert caught.value.status == 404
    assert calls == ["gone"]
    assert f.check_call_in_cache("gone")
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert 'raise NotFoundError("gone", 404)' in str(caught.value.__cause__)
    assert f.cache_info()[:2] == (2, 1)
    assert [each["arguments"] for each in f.entries()] == [{"page": "'gone'"}]
    with pytest.raises(NotFoundError):
        f.call_and_shelve("gone").get()


def test_other_errors_are_computed_again_and_results_are_kept(memory):
    f = memory.cache(fetch, store_if=lasting)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            f("busy")
    assert f("a") == f("a") == "text of a"
    assert calls == ["busy", "busy", "a"]


@pytest.mark.parametrize("store_if", [None, lambda result: True, lambda result: result is not None, bool])
def test_what_looks_at_results_alone_never_keeps_an_error(memory, store_if):
    f = memory.cache(fetch, store_if=store_if)
    for _ in range(2):
        with pytest.raises(NotFoundError):
            f("gone")
    assert calls == ["gone", "gone"]
    assert f.entries() == []


def test_who_is_asked_about_errors():
    assert asks_about_errors(lasting)
    assert asks_about_errors(lambda value, *, error=None: True)
    for each in (None, bool, lambda value: True, lambda *args: True, dict.get, print):
        assert not asks_about_errors(each)


def test_an_error_that_cannot_be_read_again_is_raised_and_not_kept(memory):
    f = memory.cache(fetch, store_if=lasting)
    said = "a result of .*fetch is not stored: it raised ValueError"
    with pytest.warns(CacheWarning, match=said), pytest.raises(ValueError, match="odd"):
        f("odd")
    with pytest.raises(ValueError, match="odd"):  # said once
        f("odd")
    assert calls == ["odd", "odd"]
    assert f.entries() == []


def test_computing_anew_takes_the_place_of_an_error(memory, monkeypatch):
    f = memory.cache(fetch, store_if=lasting, track="none")
    with pytest.raises(NotFoundError):
        f("gone")
    monkeypatch.setattr(fetch, "__code__", (lambda page: "it is back").__code__)
    with pytest.raises(NotFoundError):
        f("gone")
    assert f.refresh("gone") == f("gone") == "it is back"


def test_an_error_that_has_expired_is_computed_again(memory):
    f = memory.cache(fetch, store_if=lasting, expires=0)
    for _ in range(2):
        with pytest.raises(NotFoundError):
            f("gone")
    assert calls == ["gone", "gone"]


def test_what_ends_the_program_is_never_kept(memory):
    def leave(x):
        calls.append(x)
        raise KeyboardInterrupt

    f = memory.cache(leave, store_if=lambda result, error=None: True)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            f(1)
    assert calls == [1, 1]


def test_coroutines(memory):
    async def fetch_later(page):
        return fetch(page)

    f = memory.cache(fetch_later, store_if=lasting)
    for _ in range(2):
        with pytest.raises(NotFoundError):
            asyncio.run(f("gone"))
    assert calls == ["gone"]


def test_in_a_loop_a_kept_error_needs_no_worker(memory):
    f = memory.cache(fetch, store_if=lasting)
    tasks = [delayed(f)(page) for page in ("gone", "a", "gone", "busy")]
    for _ in range(2):
        found = Parallel(n_jobs=2, on_error="return")(tasks)
        assert [type(getattr(each, "error", each)) for each in found][:3] == [
            NotFoundError,
            str,
            NotFoundError,
        ]
    assert calls == []  # workers computed, if anybody did
    with pytest.raises(NotFoundError):
        f("gone")
    assert calls == []
    with pytest.raises(TimeoutError):
        f("busy")
    assert calls == ["busy"]
