"""Mapped files as arguments: the right file, the right place, shared exactly where the user shares it."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import lightwork
from lightwork import Parallel, delayed
from lightwork.workers.payload import Definitions, TaskPickler


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "numbers.dat"
    np.arange(20_000, dtype="<i4").tofile(path)
    return path


def _travel(value):
    """What a worker gets, and how many buffers were copied for it."""
    placed = []

    def place(raw):
        placed.append(bytes(raw))
        return len(placed) - 1

    data, places = TaskPickler(place, 100, Definitions()).dumps(value)
    return pickle.loads(data, buffers=[bytearray(placed[n]) for n in places]), len(placed)


VIEWS = {
    "whole": lambda a: a,
    "slice": lambda a: a[100:7000],
    "steps": lambda a: a[5::7],
    "backwards": lambda a: a[::-3],
    "reshaped": lambda a: a.reshape(100, 100)[3:50, ::2],
    "transposed": lambda a: a.reshape(100, 100).T,
    "scalar": lambda a: a[17:18].reshape(()),
    "empty": lambda a: a[:0],
    "other type": lambda a: a.view("u1")[3::5],
}


@pytest.mark.parametrize("offset", [0, 4, 4096, 8200])
@pytest.mark.parametrize("view", VIEWS)
def test_any_view_is_mapped_again_at_its_place(path, offset, view):
    array = VIEWS[view](np.memmap(path, "<i4", "r", offset, shape=10_000))
    found, copied = _travel(array)
    assert copied == 0
    assert (found.shape, found.dtype) == (array.shape, array.dtype)
    assert np.array_equal(found, array)
    assert found.flags.writeable is array.flags.writeable


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("mode", ["r", "r+"])
def test_arrays_of_a_file_that_load_has_mapped_are_mapped_again_at_their_places(tmp_path, mode, view):
    stored = {name: np.arange(20_000, dtype="<i4") + 20_000 * number for number, name in enumerate("abcd")}
    lightwork.dump(stored, tmp_path / "arrays")
    for name, array in lightwork.load(tmp_path / "arrays", mmap_mode=mode).items():
        assert isinstance(array, np.memmap)
        found, copied = _travel(VIEWS[view](array[:10_000]))
        assert copied == 0
        assert np.array_equal(found, VIEWS[view](stored[name][:10_000]))


def test_tasks_get_what_load_has_mapped(tmp_path):
    stored = [np.full(100_000, number) for number in range(4)]
    lightwork.dump(stored, tmp_path / "arrays")
    mapped = lightwork.load(tmp_path / "arrays", mmap_mode="r")
    for number, told in enumerate(Parallel(n_jobs=2)(delayed(np.unique)(array) for array in mapped)):
        assert told.tolist() == [number]


def test_inside_an_object_of_the_program_it_stays_shared_too(path):
    program = f"""
import numpy as np
from lightwork import Parallel, delayed
class Out:
    def __init__(self, array): self.array = array
def write(out, i): out.array[i] = -i
out = Out(np.memmap({str(path)!r}, "<i4", "r+"))
also = np.memmap({str(path)!r}, "<i4", "r+")
def write_global(i): also[10 + i] = -i
Parallel(n_jobs=2)(delayed(write)(out, i) for i in range(5))
Parallel(n_jobs=2)(delayed(write_global)(i) for i in range(5))
print(out.array[:5].tolist(), also[10:15].tolist())
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (ran.stdout, ran.stderr) == ("[0, -1, -2, -3, -4] [0, -1, -2, -3, -4]\n", "")


def test_what_is_opened_to_be_written_stays_shared(path):
    array = np.memmap(path, "<i4", "r+")
    found, copied = _travel({"out": array[10:20]})
    found["out"][:] = -1
    assert copied == 0
    assert (array[10:20] == -1).all()
    assert array[9] == 9


def test_private_writes_travel_by_value(path):
    array = np.memmap(path, "<i4", "c")
    array[0] = 77
    found, copied = _travel(array)
    assert copied == 1
    assert found[0] == 77


def test_a_file_that_was_replaced_is_not_mistaken_for_the_one_that_is_mapped(path):
    array = np.memmap(path, "<i4", "r")
    other = path.with_suffix(".new")
    np.zeros(20_000, "<i4").tofile(other)
    os.replace(other, path)
    found, copied = _travel(array)
    assert copied == 1
    assert np.array_equal(found, np.arange(20_000))


def test_a_file_that_is_replaced_on_the_way_is_noticed(path):
    array = np.memmap(path, "<i4", "r")
    data, _ = TaskPickler(lambda _: 0, 100, Definitions()).dumps(array)
    other = path.with_suffix(".new")
    np.zeros(20_000, "<i4").tofile(other)
    os.replace(other, path)
    with pytest.raises(FileNotFoundError, match="was replaced"):
        pickle.loads(data)


def test_a_deleted_file_travels_by_value(path):
    array = np.memmap(path, "<i4", "r")
    path.unlink()
    found, copied = _travel(array)
    assert (copied, found[9]) == (1, 9)


def test_inside_objects_that_only_cloudpickle_takes(path):
    array = np.memmap(path, "<i4", "r")
    found, copied = _travel((lambda: array[3], array))
    assert copied == 0
    assert found[0]() == 3
