"""One run in two processes, over gloo."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def two_processes(commands: Path, script: str, *arguments: str, **environment: str) -> Iterator[None]:
    """A script twice, as torchrun starts it; what the block does, it does meanwhile, and both must end well.

    Args:
        commands: With a `python`.
        script: Which reads from the environment which of the two it is.
        *arguments: Its own.
        **environment: More variables.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    common |= {"PYTHONPATH": os.pathsep.join(sys.path), **environment}
    processes = [
        subprocess.Popen(
            [commands / "python", script, *arguments],
            env=os.environ | common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        yield
        for process in processes:
            output, _ = process.communicate(timeout=400)
            assert process.returncode == 0, output
    finally:
        for process in processes:
            process.terminate()
