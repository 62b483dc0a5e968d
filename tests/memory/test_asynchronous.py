"""Coroutine functions that remember."""

from __future__ import annotations

import asyncio
import inspect
import pickle

import cloudpickle
import pytest

from lightwork.memory import (
    AsyncMemorizedFunc,
    AsyncNotMemorizedFunc,
    MemorizedResult,
    Memory,
    NotMemorizedFunc,
)
from lightwork.workers.functions import Found

calls: list[object] = []


@pytest.fixture
def memory(tmp_path):
    calls.clear()
    return Memory(tmp_path, verbose=0)


async def fetch(url, retries=3):
    calls.append(url)
    await asyncio.sleep(0)
    return f"page of {url}"


class Client:
    def __init__(self, base):
        self.base = base

    async def get(self, path):
        calls.append(path)
        return self.base + path


def test_it_is_awaited_once(memory):
    remembered = memory.cache(fetch)

    async def main():
        return [await remembered("a"), await remembered(url="a", retries=3), await remembered("b")]

    assert asyncio.run(main()) == ["page of a", "page of a", "page of b"]
    assert calls == ["a", "b"]
    assert remembered.check_call_in_cache("a")
    assert remembered.cache_info()[:2] == (1, 2)


def test_it_is_known_as_a_coroutine_function(memory):
    remembered = memory.cache(fetch)
    assert isinstance(remembered, AsyncMemorizedFunc)
    assert asyncio.iscoroutinefunction(remembered)
    assert inspect.iscoroutinefunction(remembered) or not hasattr(inspect, "markcoroutinefunction")
    assert not asyncio.iscoroutinefunction(memory.cache(len))


def test_what_it_offers_is_awaited_too(memory):
    remembered = memory.cache(fetch)

    async def main():
        value, metadata = await remembered.call("a")
        shelved = await remembered.call_and_shelve("a")
        again = await remembered.refresh("a")
        return value, metadata["input_args"], shelved, again

    value, arguments, shelved, again = asyncio.run(main())
    assert value == again == shelved.get() == "page of a"
    assert arguments == {"url": "'a'", "retries": "3"}
    assert isinstance(shelved, MemorizedResult)
    assert calls == ["a", "a"]


def test_methods_and_pickles(memory):
    class Remembering(Client):
        get = memory.cache(Client.get)

    client = Remembering("x/")
    assert asyncio.run(client.get("p")) == asyncio.run(client.get(path="p")) == "x/p"
    assert calls == ["p"]
    for dumps in (pickle.dumps, cloudpickle.dumps):
        other = pickle.loads(dumps(memory.cache(fetch, verbose=3)))
        assert isinstance(other, AsyncMemorizedFunc)
        assert asyncio.iscoroutinefunction(other)
        assert other.verbose == 3


def test_an_error_is_the_callers(memory):
    @memory.cache
    async def fail():
        raise KeyError("a")

    with pytest.raises(KeyError, match="a"):
        asyncio.run(fail())
    assert not fail.check_call_in_cache()


def test_a_loop_gets_the_coroutine(memory):
    remembered = memory.cache(fetch)
    found = remembered.__lightwork_lookup__(("a",), {})
    assert isinstance(found, Found)
    assert asyncio.run(found.value) == "page of a"


def test_where_nothing_is_remembered_coroutine_functions_are_awaited_all_the_same():
    async def double(x):
        return 2 * x

    f = Memory(None).cache(double)
    assert isinstance(f, AsyncNotMemorizedFunc)
    assert isinstance(f, NotMemorizedFunc)
    assert inspect.iscoroutinefunction(f) or asyncio.iscoroutinefunction(f)

    async def main():
        shelved = await f.call_and_shelve(3)
        return await f(1), await f.call(2), shelved.get(), await f.refresh(4)

    assert asyncio.run(main()) == (2, (4, {}), 6, 8)

    class Model:
        @Memory(None).cache
        async def scale(self, x):
            return x

    assert asyncio.run(Model().scale.call(5)) == (5, {})
    assert type(pickle.loads(cloudpickle.dumps(f))) is AsyncNotMemorizedFunc
