"""`dump`: all or nothing, clear refusals, the pickler's choice."""

from __future__ import annotations

import errno
import gc
import itertools
import json
import os
import pickle
import stat
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest

from lightwork import errors
from lightwork.persist import arrays, codecs, dump, load, load_path, pickling, read_bytes, verify_file, writer


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_returns_the_name_and_round_trips(tmp_path: Path) -> None:
    path = str(tmp_path / "f")
    assert dump({"a": 1}, path) == [path]
    assert load(path) == {"a": 1}
    assert names(tmp_path) == ["f"]


def test_metadata_comes_back(tmp_path: Path) -> None:
    meta = {"args": "f(1)", "took": 1.5, "nested": {"x": [1, None]}, "é": "ü"}
    dump([1], tmp_path / "small", metadata=meta)
    assert read_bytes((tmp_path / "small").read_bytes(), "small") == ([1], meta)
    dump(np.arange(20_000), tmp_path / "big", metadata=meta)
    assert load_path(str(tmp_path / "big"))[1] == meta
    assert load_path(str(tmp_path / "big"), "r")[1] == meta
    with pytest.raises(TypeError, match="metadata"):
        dump([1], tmp_path / "small", metadata={"x": object()})
    with pytest.raises(TypeError, match="metadata"):
        dump([1], tmp_path / "small", metadata={1: 2})


class Stubborn:
    def __reduce__(self) -> tuple:
        raise ValueError("not me")


class Holder:
    def __init__(self, **members: object) -> None:
        self.__dict__.update(members)


class Slotted:
    __slots__ = ("lock",)


def test_what_cannot_be_pickled_is_named_and_the_old_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "f"
    dump("old", path)
    model = Holder(name="m", steps=[1, Holder(lock=threading.Lock())])
    with pytest.raises(errors.PicklingFailedError, match=r"model\.steps\[1\]\.lock") as caught:
        dump(model, path)
    assert caught.value.path == "model.steps[1].lock"
    assert isinstance(caught.value, pickle.PicklingError)
    assert load(path) == "old"
    assert names(tmp_path) == ["f"]


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda: {"a": [threading.Lock()]}, "culprit['a'][0]"),
        (lambda: (1, {Stubborn()}), "culprit[1]{0}"),
        (lambda: threading.Lock(), "culprit"),
        (lambda: (i for i in range(3)), "culprit"),
        (lambda: closure(), "culprit.lock"),
        (lambda: slotted(), "culprit.lock"),
    ],
)
def test_the_path_to_the_culprit(make: object, path: str, tmp_path: Path) -> None:
    culprit = make()
    with pytest.raises(errors.PicklingFailedError) as caught:
        dump(culprit, tmp_path / "f")
    assert caught.value.path == path
    assert names(tmp_path) == []


def closure() -> object:
    lock = threading.Lock()
    return lambda: lock


def slotted() -> Slotted:
    made = Slotted()
    made.lock = threading.Lock()
    return made


def test_a_cycle_of_what_cannot_be_pickled_ends(tmp_path: Path) -> None:
    loop: list = [threading.Lock()]
    loop.append(loop)
    with pytest.raises(errors.PicklingFailedError, match=r"loop\[0\]"):
        dump(loop, tmp_path / "f")


def test_too_deep_says_so(tmp_path: Path) -> None:
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(errors.PicklingFailedError, match="nested too deeply") as caught:
        dump({"ok": 1, "deep": deep}, tmp_path / "f")
    assert "['deep'][0][0][0]" in caught.value.path
    assert len(caught.value.path) < 100


def test_lambdas_and_local_classes_go_by_value(tmp_path: Path) -> None:
    factor = 3

    class Local:
        def __init__(self) -> None:
            self.big = np.arange(20_000)

    dump([lambda x: x * factor, Local()], tmp_path / "f")
    function, local = load(tmp_path / "f")
    assert function(2) == 6
    assert local.big.tolist() == list(range(20_000))
    assert pickle.loads((tmp_path / "f").read_bytes())[0](2) == 6
    assert b'"pickler":"cloudpickle"' in (tmp_path / "f").read_bytes()
    dump(Holder(), tmp_path / "f")
    assert b'"pickler":"pickle"' in (tmp_path / "f").read_bytes()


def test_what_a_script_defines_loads_in_another_program(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, lightwork.persist as p\n"
        "class Mine:\n    value = 5\n    def double(self): return self.value * 2\n"
        "p.dump([Mine(), Mine], sys.argv[1])\n"
    )
    subprocess.run([sys.executable, script, tmp_path / "f"], check=True)
    mine, cls = load(tmp_path / "f")
    assert mine.double() == 10
    assert type(mine) is cls


@pytest.mark.parametrize("shift", [-12, -11, -10, -6, -1, 0, 1])
@pytest.mark.parametrize("cuts", [1, 2])
def test_a_mention_of_the_script_is_found_across_the_pieces_of_the_search(shift: int, cuts: int) -> None:
    mention = b"\x8c\x08__main__\x94"
    before = cuts * pickling._SCANNED + shift
    assert pickling._holds(b"." * before + mention, mention)
    assert pickling._holds(b"." * before + mention + b"." * 70_000, mention)
    assert not pickling._holds(b"." * before + mention[:-1], mention)


class Probe:
    """Stands in for what a script defines."""


PROBES = {
    "an instance": (lambda: Probe(), True),
    "a class": (lambda: Probe, True),
    "beside its own name": (lambda: ["__main__", Probe], True),
    "a function": (lambda: probe, True),
    "another class": (lambda: Holder(), False),
    "its name as a part of bytes": (lambda: b"\x8c\x08__main__\x94", False),
    "a longer name": (lambda: "__main__s", False),
}


def probe() -> None:
    """Stands in for what a script defines."""


@pytest.mark.parametrize("slot", [0, 1 << 40], ids=["memo", "bytes"])
@pytest.mark.parametrize(("make", "expected"), PROBES.values(), ids=PROBES)
def test_both_ways_to_find_mentions_of_the_script_agree(
    make: object, expected: bool, slot: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = sys.modules["__main__"]
    for defined in (Probe, probe):
        monkeypatch.setattr(defined, "__module__", "__main__")
        monkeypatch.setattr(main, defined.__name__, defined, raising=False)
    monkeypatch.setattr(pickling, "_A_SLOT", slot)
    value = [np.arange(1000) + i for i in range(30)] + [make()] + [np.arange(2000)] * 5
    plain, mentioned = pickling._plain(value, 5, by_name=False)
    assert len(plain.pieces) > 1
    assert mentioned == (expected or (slot > 0 and isinstance(value[30], bytes)))
    assert pickling.pickled(value, 5).by_value == mentioned
    assert not pickling.pickled(value, 5, by_name=True).by_value


def test_big_bytes_are_not_looked_through(tmp_path: Path) -> None:
    value = [b"\x8c\x08__main__\x94" * 100_000, bytearray(10)]
    assert not pickling.pickled(value, 5).by_value
    dump(value, tmp_path / "f")
    assert load(tmp_path / "f") == value


class Full:
    """`os.write` of a disk that has room for so many bytes."""

    def __init__(self, room: int, step: int = 1 << 30) -> None:
        self.room = room
        self.step = step

    def __call__(self, fd: int, data: bytes) -> int:
        taken = min(self.room, self.step, len(data))
        if not taken:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= taken
        return REAL_WRITE(fd, bytes(data[:taken]))


REAL_WRITE = os.write


@pytest.mark.parametrize("room", [0, 10, 100_000])
def test_a_full_disk_leaves_the_old_file_and_no_other(
    room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dump("old", tmp_path / "f")
    monkeypatch.setattr(os, "write", Full(room))
    with pytest.raises(errors.TargetError, match="No space left") as caught:
        dump(np.arange(100_000), tmp_path / "f")
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(tmp_path / "f")
    monkeypatch.undo()
    assert load(tmp_path / "f") == "old"
    assert names(tmp_path) == ["f"]


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    value = [np.arange(100_000), "x" * 70_000, [np.arange(1000) for _ in range(600)]]
    monkeypatch.setattr(os, "write", Full(1 << 30, step=1009))
    for part in (1, 31, 90_000, 1 << 30):
        monkeypatch.setattr(
            os, "writev", lambda fd, blocks, part=part: REAL_WRITE(fd, b"".join(blocks)[:part])
        )
        dump(value, tmp_path / "f")
        verify_file(tmp_path / "f")
    monkeypatch.undo()
    assert load(tmp_path / "f")[0].tolist() == value[0].tolist()


def test_a_disk_that_is_full_in_the_middle_of_small_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dump("old", tmp_path / "f")
    full = Full(500_000)
    monkeypatch.setattr(os, "write", full)
    monkeypatch.setattr(os, "writev", lambda fd, blocks: full(fd, b"".join(blocks)))
    with pytest.raises(errors.TargetError, match="No space left"):
        dump([np.arange(1000) + i for i in range(600)], tmp_path / "f")
    monkeypatch.undo()
    assert load(tmp_path / "f") == "old"
    assert names(tmp_path) == ["f"]


def test_an_interrupt_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dump("old", tmp_path / "f")

    def interrupted(fd: int, data: bytes) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        dump("new", tmp_path / "f")
    monkeypatch.undo()
    assert load(tmp_path / "f") == "old"
    assert names(tmp_path) == ["f"]


def test_an_interrupt_just_after_the_rename_is_still_an_interrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_replace = os.replace

    def replace(old: str, new: str) -> None:
        really_replace(old, new)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        dump("new", tmp_path / "f")
    monkeypatch.undo()
    assert load(tmp_path / "f") == "new"
    assert names(tmp_path) == ["f"]


class Resizing:
    """Makes a bytearray longer or shorter when it is pickled, as another thread could at any time."""

    def __init__(self, target: bytearray, by: int) -> None:
        self.target = target
        self.by = by

    def __reduce__(self) -> tuple:
        if self.by > 0:
            self.target.extend(bytes(self.by))
        else:
            del self.target[self.by :]
        return int, ()


@pytest.mark.parametrize("by", [1, 5000, -1, -90_000])
@pytest.mark.parametrize("compress", [0, 1])
def test_a_bytearray_cannot_change_its_size_while_it_is_written(
    by: int, compress: int, tmp_path: Path
) -> None:
    dump("old", tmp_path / "f")
    data = bytearray(b"z" * 100_000)
    with pytest.raises(errors.PicklingFailedError, match="cannot be re-sized"):
        dump([data, Resizing(data, by)], tmp_path / "f", compress=compress)
    assert load(tmp_path / "f") == "old"
    assert names(tmp_path) == ["f"]
    data.extend(b"z")  # nothing holds it any more
    dump(data, tmp_path / "f")
    assert load(tmp_path / "f") == data


class Tracked(np.ndarray):
    pass


def tracked() -> np.ndarray:
    return np.sin(np.arange(100_000.0)).view(Tracked)


@pytest.mark.parametrize("beside", [None, lambda: 1], ids=["plain", "by value"])
@pytest.mark.parametrize("options", [{}, {"compress": 1}, {"dedupe": True}], ids=str)
def test_nothing_is_kept_of_what_was_written(options: dict, beside: object, tmp_path: Path) -> None:
    gc.collect()
    gc.disable()
    try:
        owners = [tracked(), tracked(), tracked()]
        dump([owners[0], owners[1][::2], owners[2][::-1], beside], tmp_path / "f", **options)
        gone = [weakref.ref(owner) for owner in owners]
        owners.clear()
        assert [ref() is None for ref in gone] == [True, True, True]
    finally:
        gc.enable()


def test_refused_targets(tmp_path: Path) -> None:
    with pytest.raises(errors.TargetMissingError, match="no folder") as caught:
        dump(1, tmp_path / "absent" / "f")
    assert isinstance(caught.value, FileNotFoundError)
    with pytest.raises(IsADirectoryError, match="this is a folder"):
        dump(1, tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(errors.TargetError, match="Not a directory"):
        dump(1, tmp_path / "file" / "f")
    with pytest.raises(TypeError, match="file name"):
        dump(1, 5)
    with open(tmp_path / "text", "w") as file, pytest.raises(TypeError, match="'wb'"):
        dump(1, file)


def test_a_folder_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)  # root may write everywhere
    with pytest.raises(errors.TargetDeniedError, match="cannot be written to"):
        dump(1, tmp_path / "f")


def test_mode_and_link_of_the_old_file_are_kept(tmp_path: Path) -> None:
    real = tmp_path / "real"
    dump(1, real)
    assert stat.S_IMODE(real.stat().st_mode) & 0o111 == 0
    real.chmod(0o640)
    (tmp_path / "link").symlink_to(real)
    dump(2, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert load(real) == 2
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


def test_a_device_is_written_to_not_replaced() -> None:
    assert dump([1], os.devnull) == [os.devnull]
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


@pytest.mark.parametrize("mode", [None, "r"])
@pytest.mark.parametrize("value", [1, [1, "x" * 200_000], [list(range(300)) for _ in range(900)]])
def test_a_pipe_is_written_to_and_read_from(value: object, mode: str | None, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    thread = threading.Thread(target=dump, args=(value, tmp_path / "pipe"))
    thread.start()
    try:
        if mode is None:
            assert load(tmp_path / "pipe") == value
        else:
            with pytest.warns(errors.MappingWarning, match="not a file"):
                assert load(tmp_path / "pipe", mmap_mode=mode) == value
    finally:
        thread.join()


def test_fsync_reaches_file_and_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(stat.S_ISDIR(os.fstat(fd).st_mode)))
    dump(1, tmp_path / "f")
    assert synced == []
    dump(1, tmp_path / "f", fsync=True)
    assert synced == [False, True]


@pytest.mark.parametrize("protocol", range(5))
def test_older_protocols_are_ordinary_pickles(protocol: int, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="cannot be mapped") as caught:
        dump({"a": np.arange(3)}, tmp_path / "f", protocol=protocol)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert load(tmp_path / "f")["a"].tolist() == [0, 1, 2]


def test_unknown_protocols(tmp_path: Path) -> None:
    for protocol in (6, -2, "5", 2.5):
        with pytest.raises(errors.OptionError, match="protocol"):
            dump(1, tmp_path / "f", protocol=protocol)
    dump(1, tmp_path / "f", protocol=-1)
    assert load(tmp_path / "f") == 1


@pytest.mark.parametrize("cache_size", [0, 1, 100, 0.5, None])
def test_cache_size_is_taken_as_joblib_once_did(cache_size: float | None, tmp_path: Path) -> None:
    dump([1], tmp_path / "f", compress=3, cache_size=cache_size)
    assert load(tmp_path / "f") == [1]


def test_bad_cache_size(tmp_path: Path) -> None:
    with pytest.raises(errors.OptionError, match="cache_size"):
        dump(1, tmp_path / "f", cache_size=-1)
    with pytest.raises(errors.OptionError, match="cache_size"):
        dump(1, tmp_path / "f", cache_size=float("nan"))
    with pytest.raises(errors.OptionTypeError, match="cache_size"):
        dump(1, tmp_path / "f", cache_size="1M")


def test_versions_of_the_packages_inside_are_noted(tmp_path: Path) -> None:
    dump({"x": np.arange(3), "h": Holder()}, tmp_path / "f")
    assert (
        json.dumps({"numpy": np.__version__})[1:-1].replace(" ", "").encode() in (tmp_path / "f").read_bytes()
    )


def test_stale_temporary_names_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setattr(writer, "_numbers", itertools.count(7))
    stale = tmp_path / f".lightwork-{os.getpid()}-7.tmp"
    stale.write_bytes(b"another's")
    dump(1, tmp_path / "f")
    assert stale.read_bytes() == b"another's"
    assert load(tmp_path / "f") == 1


def test_an_error_while_blocks_are_made_ahead_reaches_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strided = np.arange(6_000_000.0)[::2]  # large enough for a thread
    before = threading.active_count()
    made = arrays.blocks

    def failing(array: np.ndarray) -> object:
        yield from itertools.islice(made(array), 3)
        raise MemoryError("no more")

    monkeypatch.setattr(arrays, "blocks", failing)
    with pytest.raises(MemoryError, match="no more"):
        dump(strided, tmp_path / "f")
    monkeypatch.undo()
    monkeypatch.setattr(os, "write", Full(5_000_000))
    with pytest.raises(errors.TargetError, match="No space left"):
        dump(strided, tmp_path / "f")
    monkeypatch.undo()
    assert threading.active_count() == before
    assert names(tmp_path) == []
    dump(strided, tmp_path / "f")
    assert np.array_equal(load(tmp_path / "f"), strided)


@pytest.mark.parametrize("cores", [1, 2])
def test_many_buffers_are_digested_beside_the_write(
    cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codecs, "cores", lambda: cores)
    before = threading.active_count()
    shared = np.memmap(tmp_path / "raw", float, "w+", shape=300_000)  # whose bytes others may change
    value = [np.full(300_000 + i, float(i)) for i in range(9)] + [
        shared,
        b"x" * 100_000,
        np.zeros((900, 900)).T,
    ]
    dump(value, tmp_path / "f")
    assert verify_file(tmp_path / "f").modified == ()
    monkeypatch.setattr(os, "write", Full(5_000_000))
    with pytest.raises(errors.TargetError, match="No space left"):
        dump(value, tmp_path / "f")
    monkeypatch.undo()
    assert threading.active_count() == before
    loaded = load(tmp_path / "f")
    assert all(np.array_equal(a, b) for a, b in zip(value, loaded, strict=True))


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="mounts a file system")
def test_a_really_full_disk(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", folder], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        old = np.arange(1_000_000)
        dump(old, folder / "f")
        for value, compress in ((np.random.default_rng(0).random(3_000_000), 0), (np.arange(1_700_000), 0),
                                (np.random.default_rng(0).random(3_000_000), 1), (np.arange(8e6)[::2], 0)):  # fmt: skip
            with pytest.raises(errors.TargetError, match="No space left"):
                dump(value, folder / "f", compress=compress)
            assert names(folder) == ["f"]
            assert np.array_equal(load(folder / "f"), old)
    finally:
        subprocess.run(["umount", folder], check=True)


def test_readers_never_see_half_a_file_while_others_replace_it(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    path = tmp_path / "f"
    dump(np.zeros(30_000), path)

    def write(number: int) -> None:
        for _ in range(20):
            dump(np.full(30_000, float(number)), path)

    def read(_: int) -> None:
        for _ in range(40):
            loaded = load(path)
            assert loaded.min() == loaded.max()

    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(write, 1), pool.submit(read, 0), pool.submit(write, 2), pool.submit(read, 0)]
        for job in jobs:
            job.result()
    assert names(tmp_path) == ["f"]
