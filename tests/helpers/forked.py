"""`dhrd` and `python SCRIPT` in a child of a fork server, with this process's streams, directory and environment.

Run by what `ForkServer.write_commands` writes: `forked.py SOCKET dhrd|python ARGUMENTS`. It ends with the command's
exit code, and passes signals on to it. It imports next to nothing, so that it starts in no time.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys


def main(address: str, program: str, *arguments: str) -> int:
    """The command's exit code."""
    script = None
    if program == "python":
        if not arguments or not arguments[0].endswith(".py"):  # -m, -c, stdin
            os.execv(sys.executable, [sys.executable, *arguments])
        script, *arguments = arguments
    asked = {"script": script, "arguments": arguments, "cwd": os.getcwd(), "env": dict(os.environ)}
    line = json.dumps(asked).encode() + b"\n"
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        sent = socket.send_fds(connection, [line], [0, 1, 2])
        connection.sendall(line[sent:])
        pid = int(connection.recv(32))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, _: os.kill(pid, number))
        connection.sendall(b"\n")
        code = int(connection.recv(32))
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
