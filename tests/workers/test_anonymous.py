"""Anonymous memory: private where promised, nameless always."""

import errno
import os
import sys

import pytest

from lightwork.workers import anonymous


@pytest.fixture(params=["memfd", "unlinked"])
def memory(request, monkeypatch):
    if request.param == "unlinked":
        monkeypatch.setattr(anonymous, "_open", anonymous._open_unlinked)
    descriptor = anonymous.create(8192)
    yield descriptor
    os.close(descriptor)


def test_it_is_zeroed_and_has_the_size_asked_for(memory):
    assert os.fstat(memory).st_size == 8192
    assert os.pread(memory, 10, 0) == bytes(10)


def test_a_private_map_sees_what_was_written_and_keeps_its_own_writes(memory):
    anonymous.write_all(memory, memoryview(b"hello"))
    with anonymous.private_map(memory, 8192) as first, anonymous.private_map(memory, 8192) as second:
        first[:5] = b"HELLO"
        assert second[:5] == b"hello"
    assert os.pread(memory, 5, 0) == b"hello"


def test_a_read_only_map_refuses_writes(memory):
    with anonymous.private_map(memory, 8192, writable=False) as view, pytest.raises(TypeError):
        view[0] = 1


def test_a_shared_map_grows_is_seen_by_the_other_side_and_shrinks(memory):
    writer, reader = anonymous.SharedMap(memory), anonymous.SharedMap(memory)
    for end in (10, 5 << 20):
        with writer.view(end, grow=True) as view:
            view[end - 2 : end] = b"xy"
        with reader.view(end) as view:
            assert view[end - 2 : end] == b"xy"
    reader.close()
    writer.shrink()
    assert os.fstat(memory).st_size == 0


def test_it_is_not_inherited_by_programs(memory):
    assert not os.get_inheritable(memory)


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_no_name_stays(memory):
    assert os.readlink(f"/proc/self/fd/{memory}").endswith(" (deleted)")


def test_where_memfd_is_refused_there_is_another_way(monkeypatch):
    def refuse(*_):
        raise PermissionError("seccomp")

    monkeypatch.setattr(os, "memfd_create", refuse)
    descriptor = anonymous.create(10)
    assert os.fstat(descriptor).st_size == 10
    os.close(descriptor)


@pytest.fixture(params=["by pieces", "as a whole"])
def populated(request, monkeypatch):
    if request.param == "as a whole":
        monkeypatch.setattr(anonymous, "_piece", lambda: 0)


@pytest.mark.parametrize("size", [0, 1, 1 << 16, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (5 << 18) + 4097])
def test_a_copy_has_the_bytes_and_is_memory_of_its_own(size, populated):
    source = bytearray(os.urandom(size))
    with memoryview(source) as view:
        copy = memoryview(anonymous.copied(view))
    assert (copy.nbytes, copy.readonly) == (size, False)
    assert copy == source
    for place in {0, size // 2, size - 1} if size else ():
        source[place] ^= 1
        assert copy[place] == source[place] ^ 1
        copy[place] ^= 1
        assert copy[place] == source[place]
        copy[place] ^= 2
        assert copy[place] == source[place] ^ 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_copy_is_not_shared_with_forks():
    copy = anonymous.copied(memoryview(bytes(1 << 20)))
    child = os.fork()
    if not child:
        copy[0] = 1
        os._exit(0)
    os.waitpid(child, 0)
    assert copy[0] == 0


def test_a_kernel_that_cannot_populate_a_part_populates_the_whole(monkeypatch):
    class Old(anonymous.mmap.mmap):
        def madvise(self, *_):
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(anonymous.mmap, "mmap", Old)
    anonymous._piece.cache_clear()
    try:
        assert anonymous._piece() == 0
        assert bytes(anonymous.copied(memoryview(b"x" * (3 << 20)))) == b"x" * (3 << 20)
    finally:
        anonymous._piece.cache_clear()


def test_where_no_more_maps_are_allowed_the_heap_serves(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(anonymous.mmap, "mmap", refuse)
    copy = anonymous.copied(memoryview(b"x" * (5 << 20)))
    assert type(copy) is bytearray
    assert copy == b"x" * (5 << 20)


def test_a_view_that_an_interrupt_left_in_a_traceback_does_not_keep_it_from_closing(memory):
    shared = anonymous.SharedMap(memory)
    held = shared.view(4096)
    held[:2] = b"hi"
    shared.close()
    assert bytes(held[:2]) == b"hi"
    with shared.view(4096) as again:
        assert bytes(again[:2]) == b"hi"
    held.release()
    shared.close()
