"""Servers on loopback: in a thread of the test's own process, or as the command in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dhrd import Classifier
from helpers.runs import environment

for _module in ("fastapi", "uvicorn", "prometheus_client", "httpx"):
    pytest.importorskip(_module, reason=f"no {_module}: pip install 'dhrd[serve]' httpx")

import httpx

from dhrd.serving.app import Served, create_app
from dhrd.serving.limits import Limits
from dhrd.serving.server import address, listen, run


@dataclass(frozen=True, slots=True)
class Running:
    """A server in a thread, and a client of it."""

    served: Served
    client: httpx.Client

    def post(self, path: str, body: Any, **options: Any) -> httpx.Response:
        return self.client.post(path, json=body, **options)


@contextmanager
def running(classifier: Classifier, *, key: str | None = None, **limits: Any) -> Iterator[Running]:
    """Serve until the block ends, then answer what was accepted."""
    with listen("127.0.0.1", 0) as listener:
        served = create_app(classifier, name="tiny", limits=Limits(**limits), key=key)
        thread = threading.Thread(target=run, args=(served, listener))
        thread.start()
        try:
            with httpx.Client(base_url=address(listener), timeout=60) as client:
                yield Running(served, client)
        finally:
            served.gate.is_draining = True
            thread.join(60)
            assert not thread.is_alive()


@dataclass(frozen=True, slots=True)
class Command:
    """`dhrd serve` in a process."""

    process: subprocess.Popen[str]
    url: str
    log: Path


@contextmanager
def serving(directory: Path, log: Path, *flags: object, **variables: str) -> Iterator[Command]:
    """The command, once it answers; killed in the end where it still runs.

    Args:
        directory: The artifact.
        log: Gets its stderr.
        *flags: More of the command line.
        **variables: Of its environment.
    """
    words = ["serve", "--model", directory, "--port", 0, "--device", "cpu", "--dtype", "float32", *flags]
    command = [sys.executable, "-c", "from dhrd.cli import main; main()", *map(str, words)]
    with (
        log.open("w", encoding="utf-8") as err,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=err, text=True, env=environment(**variables)
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "answers at http://" in line, log.read_text(encoding="utf-8")
            yield Command(process, line.split()[-1], log)
        finally:
            process.kill()
