"""Servers on loopback: in a thread of the test's own process, or as the command in a process of its own."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dhrd import Classifier
from helpers.fork import ForkServer

for _module in ("fastapi", "uvicorn", "prometheus_client", "httpx"):
    pytest.importorskip(_module, reason=f"no {_module}: pip install 'dhrd[serve]' httpx")

import httpx  # noqa: E402

from dhrd.serving.app import Served, create_app  # noqa: E402
from dhrd.serving.limits import Limits  # noqa: E402
from dhrd.serving.server import address, listen, run  # noqa: E402


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
        with httpx.Client(base_url=address(listener), timeout=60) as client:
            try:
                yield Running(served, client)
            finally:
                served.gate.drain()
                thread.join(60)
                assert not thread.is_alive()


@dataclass(frozen=True, slots=True)
class Command:
    """`dhrd serve` in a process of its own."""

    server: ForkServer
    pid: int
    url: str
    log: Path

    def ended(self, number: int) -> int:
        """The exit code after a signal."""
        os.kill(self.pid, number)
        return self.server.wait()


def serve_forked(server: ForkServer, artifact: Path, directory: Path, *flags: object, **variables: str) -> Command:
    """The command, once it answers; the test ends it.

    Args:
        server: One command at a time.
        artifact: What is served.
        directory: Gets stdout and stderr.
        *flags: More of the command line.
        **variables: Of its environment.
    """
    words = ["serve", "--model", artifact, "--port", 0, "--device", "cpu", "--dtype", "float32", *flags]
    out, log = directory / "stdout.txt", directory / "stderr.txt"
    for path in (out, log):
        path.write_text("", encoding="utf-8")
    pid = server.start([str(word) for word in words], out, log, env=variables)
    try:
        wait_until(lambda: "serving " in out.read_text(encoding="utf-8"), 60)
    except AssertionError:
        os.kill(pid, signal.SIGKILL)
        server.wait()
        raise
    line = out.read_text(encoding="utf-8").splitlines()[0]
    return Command(server, pid, line.split()[-1], log)


def wait_until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Wait for something that another thread does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.002)
