"""A shell at a pseudo-terminal, for tests of what happens when somebody types."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time

from .programs import PATIENCE

__all__ = ["CTRL_C", "CTRL_Z", "PROMPT", "Terminal"]

CTRL_C, CTRL_Z = "\x03", "\x1a"
PROMPT = r"READY> "

# A session of its own with the terminal as its controlling one, as a terminal emulator does it.
_SHELL = "import os, sys; os.login_tty(int(sys.argv[1])); os.execv('/bin/sh', ['sh', '-i'])"


class Terminal:
    """A shell that somebody types into.

    Leaving the ``with`` block closes the terminal as closing its window does.
    """

    def __init__(self) -> None:
        self._ours, theirs = pty.openpty()
        self.shell = subprocess.Popen(
            [sys.executable, "-c", _SHELL, str(theirs)],
            pass_fds=[theirs],
            env={**os.environ, "PS1": "READY> ", "ENV": "", "PYTHON_COLORS": "0"},
        )
        os.close(theirs)
        self._unread = ""
        self.until(PROMPT)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def type(self, text: str) -> None:
        """Type what is given, control characters included."""
        os.write(self._ours, text.encode())

    def start(self, script: os.PathLike[str] | str, *arguments: str) -> None:
        """Have the shell start a script in the foreground."""
        self.type(f"{sys.executable} -B {script} {' '.join(arguments)}\n")

    def until(self, pattern: str, seconds: float = PATIENCE) -> str:
        """What appears on the terminal up to the end of a pattern; typed text appears too."""
        deadline = time.monotonic() + seconds
        while not (match := re.search(pattern, self._unread)):
            left = deadline - time.monotonic()
            assert left > 0, f"{pattern!r} has not appeared: {self._unread!r}"
            if select.select([self._ours], [], [], left)[0]:
                self._unread += os.read(self._ours, 1 << 16).decode(errors="replace")
        shown, self._unread = self._unread[: match.end()], self._unread[match.end() :]
        return shown.replace("\r\n", "\n")

    def close(self) -> None:
        """Close the window: the kernel hangs up on whatever runs in it."""
        if self._ours >= 0:
            os.close(self._ours)
            self._ours = -1
            self.shell.wait(PATIENCE)
