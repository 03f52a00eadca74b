"""The door: key, bytes, number of requests, deadline; and nothing of a row in a log."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from dhrd import Classifier
from dhrd.data.inputs import EncodedInput
from helpers.serving import Running, running, wait_until


def kind(response: object) -> tuple[int, str]:
    """Status and type of an error."""
    return response.status_code, response.json()["error"]["type"]  # type: ignore[attr-defined]


class Blocked(threading.Event):
    """The model waits for it; `reached` is set once it does."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()


@pytest.fixture
def blocked(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> Blocked:
    go_on, forward = Blocked(), classifier.predict_proba_encoded

    def predict_proba_encoded(inputs: Sequence[EncodedInput]) -> np.ndarray:
        go_on.reached.set()
        assert go_on.wait(120)
        return forward(inputs)

    monkeypatch.setattr(classifier, "predict_proba_encoded", predict_proba_encoded)
    return go_on


def test_a_key_is_asked_for(classifier: Classifier) -> None:
    with running(classifier, key="s3cret") as server:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "s3cret"}):
            response = server.post("/classify", {"input": "a"}, headers=headers)
            assert kind(response) == (401, "no_key")
            assert response.headers["www-authenticate"] == "Bearer"
        assert kind(server.client.get("/metrics")) == (401, "no_key")
        assert [server.client.get(path).status_code for path in ("/", "/health", "/ready", "/openapi.json")] == [
            200
        ] * 4
        key = {"Authorization": "Bearer s3cret"}
        assert server.post("/classify", {"input": "a"}, headers=key).status_code == 200
        assert server.client.get("/info", headers=key).status_code == 200


@pytest.mark.parametrize("size", [1001, 15_000, 10_000_000])
def test_bodies_over_the_limit_are_refused_however_they_come(classifier: Classifier, size: int) -> None:
    def chunks() -> Iterator[bytes]:  # no Content-Length
        for start in range(0, size, 500):
            yield b"x" * min(500, size - start)

    with running(classifier, max_bytes=1000) as server:
        if size < 16_000:  # what is far over it may find the connection closed while it still sends
            assert kind(server.client.post("/classify", content=b"x" * size)) == (413, "too_many_bytes")
            assert kind(server.client.post("/classify", content=chunks())) == (413, "too_many_bytes")
        else:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("dhrd.serving.guard._DISCARDED", 10**6)
                assert kind(server.client.post("/classify", content=b"x" * size)) == (413, "too_many_bytes")
        assert server.post("/classify", {"input": "a"}).status_code == 200


def test_requests_over_the_number_are_told_when_to_come_back(classifier: Classifier, blocked: Blocked) -> None:
    with running(classifier, max_requests=2) as server, ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(server.post, "/classify", {"input": "a"}) for _ in range(2)]
        wait_until(lambda: server.served.gate.in_flight == 2)
        response = server.post("/classify", {"input": "a"})
        assert kind(response) == (429, "too_many_requests")
        assert int(response.headers["retry-after"]) >= 1
        assert server.client.get("/health").status_code == 200
        blocked.set()
        assert [future.result().status_code for future in waiting] == [200, 200]
        assert server.post("/classify", {"input": "a"}).status_code == 200
        wait_until(lambda: server.served.gate.in_flight == 0)  # an answer is sent before it is counted as such


def test_the_deadline_is_kept(classifier: Classifier, blocked: Blocked) -> None:
    with running(classifier, deadline_s=0.2) as server:
        response = server.post("/classify", {"input": "a"})
        assert kind(response) == (503, "deadline")
        assert int(response.headers["retry-after"]) >= 1
        blocked.set()


def hang_up(server: Running, *, sent: float = 1.0) -> None:
    """A request whose client goes once it has sent all of it, or a part."""
    before = server.served.gate.in_flight
    body = json.dumps({"input": ["late", "lost"]}).encode()
    head = (
        f"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    address = server.client.base_url.host, server.client.base_url.port
    with socket.create_connection(address) as connection:
        connection.sendall(head.encode() + body[: int(sent * len(body))])
        wait_until(lambda: server.served.gate.in_flight > before)
        if sent == 1:
            wait_until(lambda: "dhrd_queue_rows 2.0" in server.client.get("/metrics").text)


def test_who_hangs_up_leaves_the_queue_at_once(
    classifier: Classifier, blocked: Blocked, caplog: pytest.LogCaptureFixture
) -> None:
    with running(classifier) as server, ThreadPoolExecutor(1) as pool, caplog.at_level(logging.DEBUG):
        stays = pool.submit(server.post, "/classify", {"input": "a"})
        assert blocked.reached.wait(60)  # else what is to wait is run together with it
        wait_until(lambda: "dhrd_queue_rows 0.0" in server.client.get("/metrics").text)
        hang_up(server)
        wait_until(lambda: server.served.gate.in_flight == 1)
        counters = server.client.get("/metrics").text
        assert "dhrd_queue_rows 0.0" in counters and "dhrd_requests_in_flight 1.0" in counters
        assert 'dhrd_requests_total{path="/classify",status="499"} 1.0' in counters
        blocked.set()
        assert stays.result().status_code == 200
    assert "failed" not in caplog.text and "never retrieved" not in caplog.text


def test_half_a_body_is_no_request(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    encode = classifier.encode
    monkeypatch.setattr(classifier, "encode", lambda rows: seen.append(rows) or encode(rows))
    with running(classifier) as server:
        hang_up(server, sent=0.5)
        wait_until(lambda: server.served.gate.in_flight == 0)
        assert seen == []
        assert server.post("/classify", {"input": "a"}).status_code == 200


def test_a_server_that_goes_down_takes_no_new_requests(classifier: Classifier, blocked: Blocked) -> None:
    with running(classifier) as server, ThreadPoolExecutor(1) as pool:
        accepted = pool.submit(server.post, "/classify", {"input": "a"})
        wait_until(lambda: server.served.gate.in_flight == 1)
        server.served.gate.drain()
        assert kind(server.post("/classify", {"input": "b"})) == (503, "draining")
        assert kind(server.client.get("/ready")) == (503, "not_ready")
        assert server.client.get("/health").status_code == 200
        blocked.set()
        assert accepted.result().status_code == 200


def test_a_failure_is_told_without_the_row(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("cannot do 'my secret text'")

    with running(classifier) as server, caplog.at_level(logging.DEBUG):
        for name in ("predict_proba_encoded", "predictions", "encode"):
            monkeypatch.setattr(classifier, name, fail)
            response = server.post("/classify", {"input": "my secret text"})
            assert kind(response) == (500, "internal_error")
            assert "secret" not in response.text
        monkeypatch.undo()
        assert server.post("/classify", {"input": "my secret text"}).status_code == 200
    assert "RuntimeError" in caplog.text and "/classify 500" in caplog.text
    assert "secret" not in caplog.text
