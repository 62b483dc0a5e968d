"""Loops at the edges of a program's life: at its end, in finalizers, in event loops, in several threads at once."""

import asyncio
import threading

import pytest

from lightwork import Parallel, delayed

from .programs import run

AT_THE_END = """
import atexit, gc, sys, threading, time
from lightwork import Parallel, delayed

def loop():
    return Parallel(n_jobs=2)(delayed(abs)(-i) for i in range(4))

class Finalized:
    def __del__(self):
        try:
            print(loop(), flush=True)
        except BaseException as error:
            print(type(error).__name__, flush=True)
"""


@pytest.mark.parametrize(
    "code",
    [
        "atexit.register(lambda: print(loop()))",
        "atexit.register(lambda: print(loop())); loop()",
        "loop(); atexit.register(lambda: print(loop()))",
        "loop(); threading.Thread(target=lambda: (threading.main_thread().join(), print(loop()))).start()",
        "loop(); Finalized()",
        "loop(); ring = Finalized(); ring.itself = ring; del ring; gc.collect()",
    ],
    ids=[
        "atexit-first-loop", "atexit-before-ours", "atexit-after-ours", "thread-after-main", "finalizer", "ring",
    ],
)  # fmt: skip
def test_a_loop_while_a_program_ends(code):
    assert run(AT_THE_END + code) == ("[0, 1, 2, 3]\n", "", 0)


@pytest.mark.parametrize("before", ["", "loop()"], ids=["first", "later"])
@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_a_loop_while_the_interpreter_is_taken_apart_is_refused(before, backend):
    code = f"""
from lightwork import Parallel, delayed
from lightwork.errors import WorkerStartError

def loop(n_jobs=2):
    return Parallel(n_jobs=n_jobs, backend={backend!r})(delayed(abs)(-i) for i in range(4))

class Kept:
    def __del__(self, refused=WorkerStartError, shown=print, run=loop):
        shown(run(n_jobs=1))
        try:
            run()
        except refused as error:
            shown(error)

kept = Kept()
{before}
"""
    out, err, status = run(code)
    assert (err, status) == ("", 0)
    plain, refused = out.splitlines()
    assert plain == "[0, 1, 2, 3]"
    assert refused.startswith(f"the interpreter is shutting down, too late for {backend} to be started")


@pytest.mark.parametrize("where", ["main", "thread"])
def test_a_program_that_ends_while_a_loop_runs(where):
    code = {
        "main": """
running = Parallel(n_jobs=2, return_as="generator", batch_size=1)(
    delayed(time.sleep)(600 if i else 0) for i in range(9)
)
next(running)
sys.kept = running
""",
        "thread": """
begun = threading.Event()
def tasks():
    yield delayed(time.sleep)(600)
    begun.set()
    yield from [delayed(time.sleep)(600)] * 9
threading.Thread(target=lambda: Parallel(n_jobs=2)(tasks()), daemon=True).start()
begun.wait()
""",
    }[where]
    assert run(AT_THE_END + code + "print('ends')") == ("ends\n", "", 0)


def test_in_an_event_loop():
    def loop(first):
        return Parallel(n_jobs=2)(delayed(abs)(-i) for i in range(first, first + 100))

    async def main():
        here = loop(0)
        there = await asyncio.to_thread(loop, 0)
        together = await asyncio.gather(*(asyncio.to_thread(loop, i) for i in range(4)))
        return here, there, together

    here, there, together = asyncio.run(main())
    assert here == there == list(range(100))
    assert together == [list(range(i, i + 100)) for i in range(4)]


def test_a_cancelled_task_of_asyncio_leaves_the_others_in_peace():
    """`to_thread` cannot end its thread: the loop runs to its end, and what comes after it is whole."""

    async def main():
        release = threading.Event()

        def tasks():
            yield delayed(abs)(-1)
            release.wait()
            yield delayed(abs)(-2)

        running = asyncio.create_task(asyncio.to_thread(Parallel(n_jobs=2), tasks()))
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        other = await asyncio.to_thread(Parallel(n_jobs=2), [delayed(abs)(-i) for i in range(5)])
        release.set()
        return other

    assert asyncio.run(main()) == list(range(5))


def test_in_many_threads_at_once_whatever_some_of_them_meet():
    """Failures and deaths of one loop are not another's."""
    outcomes = {}

    def call(number):
        tasks = [delayed(abs)(-i) for i in range(number, number + 50)]
        if number % 3 == 1:
            tasks[20] = delayed(divmod)(1, 0)
        elif number % 3 == 2:
            tasks[20] = delayed(die)()
        try:
            outcomes[number] = Parallel(n_jobs=2, batch_size=1)(tasks)
        except Exception as error:
            outcomes[number] = type(error).__name__

    threads = [threading.Thread(target=call, args=(number,)) for number in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == {
        number: [list(range(number, number + 50)), "ZeroDivisionError", "WorkerDied"][number % 3]
        for number in range(9)
    }


def die():
    import os

    os._exit(1)


def test_what_ends_after_the_zygote_has_closed_disturbs_nobody():
    code = """
    import os, signal, socket
    from lightwork.workers.zygote import Zygote
    ours, theirs = socket.socketpair()
    ours.close()
    print(Zygote(theirs, os.getppid()).run())
    os.kill(os.getpid(), signal.SIGCHLD)
    """
    assert run(code) == ("None\n", "", 0)
