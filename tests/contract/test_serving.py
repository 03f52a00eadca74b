"""The server as its clients see it: what its OpenAPI promises, 64 clients at once, and too many."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from dhrd import Classifier
from helpers.serving import Running, httpx, running

SECONDS = 4.0
NUM_CLIENTS = 64


@pytest.fixture(scope="module")
def server(tiny_classifier: Classifier) -> Iterator[Running]:
    with running(tiny_classifier, max_new_tokens=4) as found:
        yield found


@pytest.mark.parametrize("mode", ["positive", "negative"])
@pytest.mark.parametrize("path", ["/classify", "/predict", "/v1/explain", "/health", "/ready", "/info", "/metrics"])
def test_every_answer_is_as_the_openapi_says(server: Running, path: str, mode: str) -> None:
    """Bodies by the schema and beside it: no 5xx, only statuses and shapes that are described, wrong bodies refused."""
    schemathesis = pytest.importorskip("schemathesis", reason="no schemathesis: pip install schemathesis")
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    has_body = path in ("/classify", "/predict", "/v1/explain")
    if mode == "negative" and not has_body:
        pytest.skip("nothing is sent that could be wrong")
    operations = schemathesis.openapi.from_url(f"{server.client.base_url}/openapi.json")[path]
    statuses = Counter[int]()

    @settings(
        max_examples=30, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operations["POST" if has_body else "GET"].as_strategy(schemathesis.GenerationMode(mode)))
    def check(case: Any) -> None:
        response = case.call()
        statuses[response.status_code] += 1
        case.validate_response(response, excluded_checks=[positive_data_acceptance])  # an empty text is no row

    check()
    assert max(statuses) < 500 and (min(statuses) >= 400 or mode == "positive")
    if mode == "positive" and path not in ("/predict", "/v1/explain"):  # few of their bodies have no pair, no limit
        assert statuses[200] > 0


def texts(count: int, seed: int) -> list[str]:
    """Half of them after one of three beginnings."""
    draw = random.Random(seed)
    beginnings = ["", "", "", *(f"policy {number}: what is late is paid back. " for number in range(3))]
    return [draw.choice(beginnings) + "late " * draw.randint(0, 9) + f"case {draw.random()}" for _ in range(count)]


def test_64_clients_get_the_offline_answers(server: Running, tiny_classifier: Classifier) -> None:
    rows = texts(300, seed=1)
    expected = tiny_classifier.predict_proba(rows)
    statuses, wrong, end = Counter[int](), [], time.monotonic() + SECONDS

    async def ask(client: httpx.AsyncClient, seed: int) -> None:
        draw = random.Random(seed)
        while time.monotonic() < end:
            at = draw.sample(range(len(rows)), draw.randint(1, 4))
            response = await client.post("/classify", json={"input": [rows[i] for i in at]})
            statuses[response.status_code] += 1
            found = np.array([row["probs"] for row in response.json()["data"]])
            if not np.allclose(found, expected[at], atol=1e-4):
                wrong.append(at)

    async def load() -> None:
        async with httpx.AsyncClient(base_url=server.client.base_url, timeout=60) as client:
            await asyncio.gather(*(ask(client, seed) for seed in range(NUM_CLIENTS)))

    asyncio.run(load())
    assert wrong == []
    assert set(statuses) == {200} and statuses[200] >= NUM_CLIENTS


def test_overload_is_told_and_passes(tiny_classifier: Classifier) -> None:
    rows = texts(4, seed=2)
    expected = tiny_classifier.predict_proba(rows)
    statuses, waits = Counter[int](), set[int]()

    async def ask(client: httpx.AsyncClient) -> None:
        for _ in range(6):
            response = await client.post("/classify", json={"input": rows})
            statuses[response.status_code] += 1
            if response.status_code == 429:
                waits.add(int(response.headers["retry-after"]))
            else:
                assert np.allclose([row["probs"] for row in response.json()["data"]], expected, atol=1e-4)

    async def load(url: httpx.URL) -> None:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            await asyncio.gather(*(ask(client) for _ in range(NUM_CLIENTS)))

    with running(tiny_classifier, max_queue_tokens=1000, max_requests=16) as server:
        asyncio.run(load(server.client.base_url))
        assert set(statuses) == {200, 429} and min(waits) >= 1
        assert server.post("/classify", {"input": rows}).status_code == 200
        counters = server.client.get("/metrics").text
    assert f'dhrd_requests_total{{path="/classify",status="429"}} {float(statuses[429])}' in counters
    assert "dhrd_queue_tokens 0.0" in counters
