"""Functions of the global generators travel by name; generators of the user as they are."""

import random
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from lightwork.workers.payload import Definitions, TaskPickler


def dumps(value):
    return TaskPickler(lambda _: 0, None, Definitions()).dumps(value)[0]


def loads(data):
    import pickle

    return pickle.loads(data)


@pytest.mark.parametrize(
    "draw",
    [random.random, random.gauss, random.randint, random.getrandbits, np.random.rand, np.random.shuffle],
)
def test_a_function_of_a_global_generator_means_the_readers_own(draw):
    found = loads(dumps({"draw": draw}))["draw"]
    assert found.__self__ is draw.__self__
    assert found.__name__ == draw.__name__


def test_a_generator_of_the_user_is_copied_as_it_is():
    mine = random.Random(3)
    assert loads(dumps(mine.random))() == random.Random(3).random()
    rng = np.random.default_rng(3)
    assert loads(dumps(rng.normal))() == np.random.default_rng(3).normal()


def test_other_methods_go_as_ever():
    assert loads(dumps([1, 2].index))(2) == 1
    assert loads(dumps("-".join))("ab") == "a-b"
    assert loads(dumps(len))("ab") == 2


class TestInPrograms:
    """Whatever pickles the task: the plain pickler, or cloudpickle because ``__main__`` has a part in it."""

    PROGRAM = """
    import random, sys
    from concurrent.futures import ProcessPoolExecutor
    import numpy as np
    from lightwork import Parallel, delayed

    class Holder:
        def __init__(self, draw): self.draw = draw
        def __call__(self): return float(self.draw())

    class Space:
        uniform = staticmethod(np.random.rand)

    drawn = np.random.rand
    def by_global(): return float(drawn())
    def by_class(): return float(Space.uniform())
    def by_default(draw=random.random): return draw()
    def call(draw): return float(draw())
    def factory(draw): return lambda: float(draw())

    ways = {
        "argument": delayed(call)(np.random.rand),
        "argument of a lambda": delayed(lambda draw: float(draw()))(random.random),
        "inside an object": delayed(call)(Holder(np.random.rand)),
        "object": delayed(Holder(random.random))(),
        "global": delayed(by_global)(),
        "class attribute": delayed(by_class)(),
        "default": delayed(by_default)(),
        "closure": delayed(factory(np.random.rand))(),
    }

    if __name__ == "__main__":
        backend = ProcessPoolExecutor(2) if sys.argv[1] == "executor" else None
        for way, task in ways.items():
            drawn_numbers = Parallel(n_jobs=2, backend=backend, batch_size=1)([task] * 12)
            if len(set(drawn_numbers)) < 12:
                print(way, drawn_numbers)
        print("done")
    """

    @pytest.mark.parametrize("backend", ["processes", "executor"])
    def test_no_two_tasks_draw_the_same(self, tmp_path, backend):
        (tmp_path / "program.py").write_text(textwrap.dedent(self.PROGRAM))
        ran = subprocess.run(
            [sys.executable, "program.py", backend], cwd=tmp_path, capture_output=True, text=True, timeout=100
        )
        assert (ran.stdout, ran.stderr) == ("done\n", "")
