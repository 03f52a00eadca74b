"""A process that has imported dhrd and forks one child a command, so that a test need not wait for imports.

Run as a script it reads requests from stdin, one JSON object a line, and answers each: `{"pid": …}` when the child has
begun, and to `{"wait": pid}` `{"code": …}` when it has ended (negative: the signal that killed it).
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any


class ForkServer:
    """The other end: starts the process, and commands in it."""

    def __init__(self, env: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        )
        self._running: int | None = None

    def start(self, arguments: list[str], out: Path, err: Path, **request: Any) -> int:
        """Begin a command.

        Args:
            arguments: Of `dhrd`.
            out: Takes its stdout.
            err: Takes its stderr.
            **request: `max_file_bytes`: no file may grow over it, as on a full disk. `kill_at_replace`: SIGKILL in
                place of the n-th `os.replace`, counted from 1. `signal_at_write`: (n, signal): itself before the n-th
                write to an output. `env`: more variables of its environment.

        Returns:
            The child's process id.
        """
        assert self._running is None, "one at a time"
        self._send({"arguments": arguments, "out": str(out), "err": str(err), **request})
        self._running = self._answer()["pid"]
        return self._running

    def wait(self) -> int:
        """The command's exit code, negative for a signal."""
        self._send({"wait": self._running})
        code = self._answer()["code"]
        self._running = None
        return code

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait(timeout=60)

    def _send(self, request: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()

    def _answer(self) -> dict[str, int]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the fork server is gone; its error is above"
        return json.loads(line)


def _serve() -> None:
    _warm_up()
    answers = sys.stdout
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:  # not before: until then the id stays the child's, so that it is safe to signal
            _, status = os.waitpid(request["wait"], 0)
            answer = {"code": os.waitstatus_to_exitcode(status)}
        else:
            answer = {"pid": os.fork()}
            if answer["pid"] == 0:
                _run(request)
        print(json.dumps(answer), file=answers, flush=True)


def _warm_up() -> None:
    """Import what training imports, and let transformers fill its caches by loading a model."""
    import accelerate  # noqa: F401
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, get_scheduler  # noqa: F401

    import dhrd.cli
    import dhrd.cli.show
    import dhrd.run.train  # noqa: F401

    torch.set_num_threads(1)
    config = LlamaConfig(vocab_size=8, hidden_size=4, intermediate_size=4, num_hidden_layers=1, num_attention_heads=1)
    with tempfile.TemporaryDirectory() as directory:
        AutoModelForCausalLM.from_config(config).save_pretrained(directory)
        AutoModelForCausalLM.from_pretrained(directory)


def _run(request: dict[str, Any]) -> None:
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(request.get("env", {}))
    if limit := request.get("max_file_bytes"):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then the write fails, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if (count := request.get("kill_at_replace")) is not None:
        _kill_at_replace(count)
    if (moment := request.get("signal_at_write")) is not None:
        _signal_at_write(*moment)
    code = 1
    try:
        from dhrd.cli import main

        main(request["arguments"])
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _kill_at_replace(count: int) -> None:
    replace, left = os.replace, count

    def counted(*arguments: Any, **more: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(*arguments, **more)

    os.replace = counted


def _signal_at_write(count: int, number: int) -> None:
    from dhrd._files import Writer

    write, left = Writer.write, count

    def counted(self: Any, content: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), number)
        write(self, content)

    Writer.write = counted  # type: ignore[method-assign]


if __name__ == "__main__":
    _serve()
