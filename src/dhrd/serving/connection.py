"""Connections with a time limit of a few seconds and a size limit of 64 KiB for a request's head.

uvicorn limits the idle time between requests, but neither the time until the first one arrives nor, with httptools, the
size of a head.
"""

from __future__ import annotations

import asyncio
from typing import Any

from dhrd._extras import require

_HEAD_S = 20.0


def connection_class() -> type[Any]:
    """uvicorn's h11 implementation of HTTP/1.1 with these limits.

    Raises:
        MissingExtra: uvicorn is not installed.
    """
    h11 = require("h11", extra="serve")
    protocol = require("uvicorn.protocols.http.h11_impl", extra="serve").H11Protocol

    class Connection(protocol):  # type: ignore[misc, valid-type]  # its base is known once it is imported
        """uvicorn's h11 protocol; closes connections that do not send a complete head in time."""

        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:
            """Start waiting for a head."""
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            """Receive data; a partial head does not extend the time limit."""
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            """Stop waiting."""
            self._stop()
            super().connection_lost(exc)

        def _watch(self) -> None:
            if self.conn.their_state is not h11.IDLE:
                self._stop()
            elif self._timer is None:
                self._timer = self.loop.call_later(_HEAD_S, self.timeout_keep_alive_handler)

        def _stop(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    return Connection
