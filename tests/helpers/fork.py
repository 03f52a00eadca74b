"""A process that has imported dhrd and forks one child a command, so that a test need not wait for imports.

Run as a script it listens at a Unix socket. A connection is a command: one line of JSON asks for it, with descriptors
where it is to have the asker's, its process id comes back when it has begun, and after an empty line its exit code when
it has ended (negative: the signal that killed it).
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import resource
import runpy
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

_EXTRAS = ("fastapi", "onnxruntime", "onnxscript", "openai", "openvino", "prometheus_client", "uvicorn")
"""What some commands import besides."""


class ForkServer:
    """The other end: starts the process, and commands in it."""

    def __init__(self, env: dict[str, str]) -> None:
        self._directory = tempfile.TemporaryDirectory()
        self._address = os.path.join(self._directory.name, "socket")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self._address)
            listener.listen()
            number = listener.fileno()
            command = [sys.executable, "-P", __file__, str(number)]
            env = {**env, "CUDA_VISIBLE_DEVICES": ""}  # no forked process can use a GPU
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[number], env=env)
        self._running: socket.socket | None = None

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
        self._running = socket.socket(socket.AF_UNIX)
        self._running.connect(self._address)
        asked = {"arguments": arguments, "out": str(out), "err": str(err), **request}
        self._running.sendall(json.dumps(asked).encode() + b"\n")
        return self._answer()

    def wait(self) -> int:
        """The command's exit code, negative for a signal."""
        assert self._running is not None
        self._running.sendall(b"\n")
        code = self._answer()
        self._running.close()
        self._running = None
        return code

    def write_commands(self, directory: Path) -> None:
        """`dhrd` and `python` for a shell: they are run here, by `helpers/forked.py`."""
        for program in ("dhrd", "python"):
            words = [sys.executable, "-IS", str(Path(__file__).with_name("forked.py")), self._address, program]
            (directory / program).write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', encoding="utf-8")
            (directory / program).chmod(0o755)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._directory.cleanup()

    def _answer(self) -> int:
        assert self._running is not None
        answer = self._running.recv(32)
        assert answer, "the fork server is gone; its error is above"
        return int(answer)


def _serve(number: int) -> None:
    """Take commands until stdin ends, as it does when the process that started this one ends, however that ends."""
    _warm_up()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the processes that answer
    with socket.socket(fileno=number) as listener:
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _answer(connection)
            connection.close()


def _answer(connection: socket.socket) -> None:
    """Run one command in a child of this process, and end."""
    request, descriptors = _asked(connection)
    pid = os.fork()
    if pid == 0:
        connection.close()
        _run(request, descriptors)
    for descriptor in descriptors:
        os.close(descriptor)  # who reads what the command writes must see its end
    with suppress(OSError):  # whoever asked may be gone
        connection.sendall(f"{pid}".encode())
        connection.recv(1)  # not waited for before: until then the id stays the child's, so that it is safe to signal
    _, status = os.waitpid(pid, 0)
    with suppress(OSError):
        connection.sendall(f"{os.waitstatus_to_exitcode(status)}".encode())
    os._exit(0)


def _asked(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """What is to be run, and the descriptors that came with it."""
    line, descriptors, _, _ = socket.recv_fds(connection, 1 << 16, 3)
    while not line.endswith(b"\n"):
        part = connection.recv(1 << 16)
        if not part:
            os._exit(1)
        line += part
    return json.loads(line), list(descriptors)


def _warm_up() -> None:
    """Import what commands import, and let libraries fill their caches by loading a model and exporting one."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, get_scheduler, pipeline  # noqa: F401

    import dhrd

    for module in pkgutil.walk_packages(dhrd.__path__, "dhrd."):
        importlib.import_module(module.name)
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # as `dhrd.export.openvino` has it
    for name in _EXTRAS:
        with suppress(ImportError):
            importlib.import_module(name)
    torch.set_num_threads(1)
    config = LlamaConfig(vocab_size=8, hidden_size=4, intermediate_size=4, num_hidden_layers=1, num_attention_heads=1)
    with tempfile.TemporaryDirectory() as directory:
        AutoModelForCausalLM.from_config(config).save_pretrained(directory)
        AutoModelForCausalLM.from_pretrained(directory)
    if "onnxscript" in sys.modules:
        with warnings.catch_warnings(action="ignore"):
            torch.onnx.export(torch.nn.Linear(2, 2), (torch.ones(2, 2),), dynamo=True, verbose=False)


def _run(request: dict[str, Any], descriptors: list[int]) -> None:
    for number, stream in enumerate(descriptors or _opened(request)):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w")  # the old ones know of other files
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace")
    os.environ.update(request.get("env", {}))
    os.chdir(request.get("cwd", "."))
    _prepare(request)
    code = 1
    try:
        _call(request.get("script"), request["arguments"])
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _opened(request: dict[str, Any]) -> list[int]:
    """Nothing to read, and the files that take stdout and stderr."""
    new = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    return [os.open(os.devnull, os.O_RDONLY), *(os.open(request[name], new, 0o644) for name in ("out", "err"))]


def _prepare(request: dict[str, Any]) -> None:
    """What is to befall the command."""
    if limit := request.get("max_file_bytes"):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then the write fails, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if (count := request.get("kill_at_replace")) is not None:
        _kill_at_replace(count)
    if (moment := request.get("signal_at_write")) is not None:
        _signal_at_write(*moment)


def _call(script: str | None, arguments: list[str]) -> None:
    """`dhrd ARGUMENTS`, or `python SCRIPT ARGUMENTS`."""
    if script is None:
        from dhrd.cli import main

        main(arguments)
        return
    sys.argv[:] = [script, *arguments]
    more = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [str(Path(script).resolve().parent), *filter(None, more)]
    runpy.run_path(script, run_name="__main__")


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
    _serve(int(sys.argv[1]))
