"""A socket of its own, and an end that answers what was accepted."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from dhrd import Classifier, ConfigError
from dhrd.serving.server import address, listen
from helpers.serving import running, wait_until


def test_a_free_port_is_found_and_told() -> None:
    with listen("127.0.0.1", 0) as listener:
        url = address(listener)
        assert url == f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"port={listener.getsockname()[1]}"):
            listen("127.0.0.1", listener.getsockname()[1])


def test_connections_send_their_packets_at_once() -> None:
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize(("host", "port"), [("203.0.113.9", 0), ("no such host", 80), ("127.0.0.1", 1_000_000)])
def test_an_address_that_is_not_ours_is_refused(host: str, port: int) -> None:
    with pytest.raises(ConfigError, match="give others"):
        listen(host, port)


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_addresses_of_ipv6_are_written_in_brackets() -> None:
    try:
        listener = listen("::1", 0)
    except ConfigError:
        pytest.skip("no IPv6 on loopback")
    with listener:
        assert address(listener).startswith("http://[::1]:")


def test_what_was_accepted_is_answered_before_the_end(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, forward = threading.Event(), classifier.predict_proba_encoded
    monkeypatch.setattr(classifier, "predict_proba_encoded", lambda inputs: go_on.wait(30) and forward(inputs))
    with ThreadPoolExecutor(8) as pool:
        with running(classifier) as server:
            port = server.client.base_url.port
            accepted = [pool.submit(server.post, "/classify", {"input": f"case {n}"}) for n in range(8)]
            wait_until(lambda: server.served.gate.in_flight == 8)
            server.served.gate.drain()
            threading.Timer(0.3, go_on.set).start()
        assert [future.result().status_code for future in accepted] == [200] * 8
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
