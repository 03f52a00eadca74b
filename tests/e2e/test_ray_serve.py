"""Two replicas behind Ray Serve: the offline answers, and no later request is lost with one of them."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dhrd import Classifier
from helpers.artifacts import TASKS, save_tiny
from helpers.ray import cluster, processes_of

for _module in ("ray.serve", "fastapi", "prometheus_client", "httpx"):
    pytest.importorskip(_module, reason=f"no {_module}: pip install 'dhrd[ray,serve]' 'ray[serve]' httpx")

import httpx  # noqa: E402
from ray import serve  # noqa: E402

from dhrd.serving.ray import app  # noqa: E402

ROWS = [f"case {i}: " + "mail " * (i % 7) for i in range(40)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("serve") / "tiny")


@pytest.fixture(scope="module")
def client(model: Path) -> Iterator[httpx.Client]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with cluster(3):
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        given = {"model": str(model), "replicas": "2", "device": "cpu", "dtype": "float32", "num_cpus": "1"}
        serve.run(app(given), name="dhrd", route_prefix="/")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            yield client
        serve.shutdown()


def replicas() -> list[int]:
    return processes_of(os.getpid(), "ray::ServeReplica:dhrd:Classifier")


def check_answers(client: httpx.Client, model: Path, path: str = "/classify") -> None:
    offline = Classifier.from_pretrained(model, device="cpu", dtype="float32")
    for row, label, p_C in zip(ROWS, offline.predict(ROWS), offline.predict_proba(ROWS), strict=True):
        response = client.post(path, json={"input": row})
        assert response.status_code == 200, response.text
        [answer] = response.json()["data"]
        assert answer["label"] == label
        assert answer["probs"] == pytest.approx(p_C, abs=1e-5)


def test_answers_are_the_offline_ones(client: httpx.Client, model: Path) -> None:
    assert len(replicas()) == 2
    check_answers(client, model)
    assert client.get("/info").json()["model"] == "tiny"
    assert client.post("/classify", json={"inputs": "x"}).status_code == 422
    assert "classif" in client.get("/").text.lower()


def test_several_tasks_beside_it(client: httpx.Client, tmp_path: Path) -> None:
    tasks = save_tiny(tmp_path / "tasks", labels=TASKS)
    given = {"model": str(tasks), "device": "cpu", "dtype": "float32", "num_cpus": "0.5"}
    serve.run(app(given), name="tasks", route_prefix="/tasks")
    check_answers(client, tasks, "/tasks/classify")
    assert [task["name"] for task in client.get("/tasks/info").json()["tasks"]] == ["what", "tags"]
    serve.delete("tasks")


def test_a_replica_that_dies_loses_no_later_request(client: httpx.Client, model: Path) -> None:
    first, second = replicas()
    os.kill(first, signal.SIGKILL)
    check_answers(client, model)
    deadline = time.monotonic() + 120
    while len(now := [pid for pid in replicas() if pid != first]) < 2:
        assert time.monotonic() < deadline, "no other took its place"
        time.sleep(0.1)
    assert second in now
    check_answers(client, model)
