"""Runs cells in a notebook kernel, as a program of its own: the client's threads and sockets end with it.

Each argument is a cell, as JSON: its ``code``; ``interrupt``, after how many printed lines the kernel is interrupted;
``lines``, how many printed lines are waited for after the cell has ended, as kernels read the descriptors 1 and 2 in
a thread of theirs. Prints, as JSON, what each cell printed, and its value or the name of its error.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager

_PATIENCE = 60.0


def run_cell(
    manager: KernelManager, client: BlockingKernelClient, code: str, interrupt: int = 0, lines: int = 0
) -> tuple[str, str | None]:
    """Run one cell."""
    printed, value = "", None

    def take(message: dict) -> None:
        nonlocal printed, value, interrupt
        kind, content = message["msg_type"], message["content"]
        if kind == "stream":
            printed += content["text"]
            if interrupt and printed.count("\n") >= interrupt:
                interrupt = 0
                manager.interrupt_kernel()
        elif kind == "execute_result":
            value = content["data"]["text/plain"]
        elif kind == "error":
            value = content["ename"]

    client.execute_interactive(code, timeout=_PATIENCE, output_hook=take, store_history=False)
    deadline = time.monotonic() + _PATIENCE
    while printed.count("\n") < lines and time.monotonic() < deadline:
        # Not by running another cell: what is then still said for this one would be left out.
        with suppress(queue.Empty):
            take(client.get_iopub_msg(timeout=1))
    return printed, value


def main(cells: list[dict]) -> None:
    """Run cells in a kernel of their own, which is killed at the end, as "restart" in a notebook kills it."""
    # With this variable set, ipykernel leaves the descriptors 1 and 2 alone.
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    with tempfile.TemporaryDirectory() as folder:
        manager = KernelManager(
            connection_file=f"{folder}/kernel.json", transport="ipc", ip=str(Path(folder) / "ipc")
        )
        manager.start_kernel(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
        client = manager.client()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=_PATIENCE)
            print(json.dumps([run_cell(manager, client, **cell) for cell in cells]))
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)


if __name__ == "__main__":
    main([json.loads(cell) for cell in sys.argv[1:]])
