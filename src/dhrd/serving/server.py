"""The server process: a socket, uvicorn, and a shutdown that answers every accepted request."""

from __future__ import annotations

import asyncio
import logging
import socket
from types import FrameType

from dhrd._extras import require
from dhrd._text import message_of
from dhrd.errors import ConfigError
from dhrd.serving.app import Served
from dhrd.serving.connection import connection_class

logger = logging.getLogger("dhrd")

_LINGER_S = 1.0  # for at least this long new requests get 503 instead of a closed port, so that clients go elsewhere
_KEEP_ALIVE_S = 65  # longer than that of common load balancers


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket.

    Args:
        host: An address of this machine.
        port: A port; 0: any free port.

    Raises:
        ConfigError: The address cannot be used.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"`host={host}` `port={port}`: {message_of(error)}; give others") from error
    # Inherited by connections. asyncio sets it only on sockets that it creates; without it, a response's second packet
    # may wait until the client has acknowledged the first one.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def address(listener: socket.socket) -> str:
    """The URL of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(served: Served, listener: socket.socket) -> None:
    """Serve until a signal arrives; then accepted requests are still answered, and new ones get 503.

    A second signal ends the server at once.

    Raises:
        MissingExtra: uvicorn is not installed.
    """
    uvicorn = require("uvicorn", extra="serve")

    class DrainingServer(uvicorn.Server):  # type: ignore[name-defined]  # its base is known once it is imported
        """Refuses new requests after a signal, and exits when the accepted ones are answered."""

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            if served.gate.is_draining:
                self.should_exit = self.force_exit = True
            served.gate.drain()

        async def on_tick(self, counter: int) -> bool:
            if served.gate.is_over(_LINGER_S):
                self.should_exit = True
            return bool(await super().on_tick(counter))

    config = uvicorn.Config(
        served.app, http=connection_class(), log_config=None, access_log=False, server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
    )  # fmt: skip
    asyncio.run(DrainingServer(config).serve(sockets=[listener]))
    logger.info("all accepted requests were answered")
