"""Connections: a head that does not come is not waited for, one that is too long is not held."""

from __future__ import annotations

import socket
import time

import pytest

from dhrd import Classifier
from dhrd.serving import connection
from helpers.serving import Running, running


def told(server: Running, *parts: bytes, pause: float = 0.0) -> tuple[bytes, float]:
    """What comes back until the connection is closed, and after how long."""
    start, answer = time.monotonic(), b""
    address = server.client.base_url.host, server.client.base_url.port
    with socket.create_connection(address, timeout=30) as client:
        try:
            for part in parts:
                client.sendall(part)
                time.sleep(pause)
            while received := client.recv(4096):
                answer += received
        except ConnectionError:
            pass
    return answer, time.monotonic() - start


def test_a_head_that_does_not_come_is_not_waited_for(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_HEAD_S", 0.5)
    head = b"GET /health HTTP/1.1\r\nHost: x\r\n"
    with running(classifier) as server:
        for parts in ((), (head,), tuple(bytes([one]) for one in head)):
            answer, seconds = told(server, *parts, pause=0.1)
            assert answer == b"" and 0.4 < seconds < 10
        answer, _ = told(server, head, b"\r\n", head[:9], pause=0.1)  # answered, then the half of another one
        assert answer.startswith(b"HTTP/1.1 200 OK") and answer.count(b"HTTP/1.1") == 1
        for _ in range(3):
            assert server.client.get("/health").status_code == 200
            time.sleep(0.6)  # between requests a connection may be idle


def test_a_head_that_is_too_long_is_refused(classifier: Classifier) -> None:
    with running(classifier) as server:
        answer, _ = told(server, b"GET /health HTTP/1.1\r\nHost: x\r\n", b"X: " + b"y" * 100_000)
        assert answer.startswith(b"HTTP/1.1 400") or answer == b""  # the rest may find the connection closed
        assert server.client.get("/health").status_code == 200
