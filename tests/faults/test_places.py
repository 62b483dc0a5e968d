"""Programs that lack what others take for granted: streams, a working folder, the right to go back where they are."""

import os
import shutil
import subprocess
import sys

import pytest

from .programs import run

WRITING = """
import os, sys
from lightwork import Parallel, delayed
from lightwork.workers import pool
def say(i):
    os.write(1, b"past Python\\n")
    os.write(2, b"past Python\\n")
    os.system("echo from a child; echo from a child >&2")
    print("said", i)
    print("told", i, file=sys.stderr)
    return i
loop = Parallel(n_jobs=2, batch_size=1)
results = [loop(delayed(say)(i) for i in range(20)) for _ in range(2)]
pool.shutdown()
with open(sys.argv[1], "w") as file:
    file.write(repr(results))
"""


@pytest.mark.parametrize("closed", ["0", "1", "2", "01", "12", "02", "012"])
def test_a_program_started_with_closed_descriptors(closed, tmp_path):
    """Whatever is written to them goes nowhere: not into the socket or the memory that took their numbers."""
    (tmp_path / "program.py").write_text(WRITING)
    closing = " ".join(f"{number}{'<' if number == '0' else '>'}&-" for number in closed)
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closing}', "sh", sys.executable, "-B", "program.py", "results"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0
    assert (tmp_path / "results").read_text() == repr([list(range(20))] * 2)
    assert done.stdout.count("\n") == (0 if "1" in closed else 120)
    assert done.stderr.count("\n") == (0 if "2" in closed else 120)


def test_descriptors_closed_between_two_loops():
    out, err, status = run("""
    import os, sys
    from lightwork import Parallel, delayed
    def work(i):
        os.write(1, b"x\\n")
        return bytes(1 << 20)
    loop = Parallel(n_jobs=2, batch_size=1)
    loop(delayed(abs)(i) for i in range(4))
    for number in (0, 1):
        os.close(number)
    results = loop(delayed(work)(i) for i in range(10))
    os.write(2, str(sum(map(len, results)) >> 20).encode())
    """)
    assert (out, err, status) == ("", "10", 0)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_program_without_streams(stream):
    """As programs of Windows' pythonw are: what is printed is dropped, in tasks as anywhere."""
    out, err, status = run(
        """
    import sys
    from lightwork import Parallel, delayed
    def say(i):
        print("said", i, file=getattr(sys, sys.argv[1]))
        return i
    kept = getattr(sys, sys.argv[1])
    setattr(sys, sys.argv[1], None)
    results = Parallel(n_jobs=2)(delayed(say)(i) for i in range(5))
    setattr(sys, sys.argv[1], kept)
    print(results)
    """,
        stream,
    )
    assert (out, err, status) == ("[0, 1, 2, 3, 4]\n", "", 0)


def test_a_closed_stream_is_an_error_only_for_those_who_print():
    out, err, status = run("""
    import os, sys
    from lightwork import Parallel, delayed
    sys.stdin.close()
    sys.stdout.close()
    loop = Parallel(n_jobs=2)
    try:
        loop(delayed(print)(i) for i in range(5))
    except ValueError as error:
        print(error, file=sys.stderr)
    print(loop(delayed(abs)(i) for i in range(5)), file=sys.stderr)
    """)
    assert (out, err, status) == ("", "I/O operation on closed file.\n[0, 1, 2, 3, 4]\n", 0)


@pytest.mark.parametrize("method", ["zygote", "spawn", "fork"])
def test_a_working_folder_that_was_removed(tmp_path, method):
    gone = tmp_path / "gone"
    gone.mkdir()
    if run("import os; os.rmdir(os.getcwd()); import socket", cwd=gone)[2]:
        pytest.skip("this Python cannot import its own library where the folder is gone (3.13.0)")
    gone.mkdir()
    code = f"""
    import os
    os.rmdir({str(gone)!r})
    from lightwork import Parallel, delayed
    def here(i):
        return os.stat(".").st_ino, os.stat(".").st_nlink
    loop = Parallel(n_jobs=2, batch_size=1, start_method={method!r})
    assert set(loop(delayed(here)(i) for i in range(4))) == {{here(0)}}
    os.chdir("/")
    print(set(loop(delayed(os.getcwd)() for i in range(4))))
    """
    assert run(code, cwd=gone) == ("{'/'}\n", "", 0)


def test_a_working_folder_that_goes_between_two_loops(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    code = f"""
    import os
    from lightwork import Parallel, delayed
    loop = Parallel(n_jobs=2)
    loop(delayed(os.getcwd)() for i in range(4))
    os.rmdir({str(gone)!r})
    print(loop(delayed(abs)(i) for i in range(4)))
    """
    assert run(code, cwd=gone) == ("[0, 1, 2, 3]\n", "", 0)


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root, to become somebody who may less"
)
def test_a_working_folder_that_could_not_be_entered_again(tmp_path):
    """As with `sudo -u somebody` in a folder of one's own."""
    private = tmp_path / "private"
    inner = private / "inner"
    inner.mkdir(parents=True)
    os.chown(private, 65534, 65534)
    private.chmod(0o700)
    code = """
    import os
    try:
        os.chdir(os.getcwd())
    except PermissionError:
        from lightwork import Parallel, delayed
        print(len(set(Parallel(n_jobs=2)(delayed(os.getcwd)() for i in range(4)))))
    """
    without = "-dac_override,-dac_read_search"
    before = ["setpriv", f"--bounding-set={without}", f"--inh-caps={without}"]
    assert run(code, before=before, cwd=inner) == ("1\n", "", 0)
