"""Connections that wait for a request's head no longer than some seconds, and hold no more of it than 64 KiB.

uvicorn bounds how long a connection is idle between requests, but neither how long its first one may take to come nor,
with httptools, how long a head may be.
"""

from __future__ import annotations

import asyncio
from typing import Any

from dhrd._extras import require

_HEAD_S = 20.0


def connection_class() -> type[Any]:
    """HTTP/1.1 as uvicorn speaks it by h11, with these bounds.

    Raises:
        MissingExtra: uvicorn is not installed.
    """
    h11 = require("h11", extra="serve")
    protocol = require("uvicorn.protocols.http.h11_impl", extra="serve").H11Protocol

    class Connection(protocol):  # type: ignore[misc, valid-type]  # its base is known once it is imported
        """HTTP/1.1 as uvicorn speaks it by h11; who does not send a whole head in time is cut off."""

        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:
            """The head is waited for from now on."""
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            """A part of a head gives no more time."""
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            """Nothing is waited for any more."""
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
