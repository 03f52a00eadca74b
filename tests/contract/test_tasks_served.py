"""Several tasks wherever an artifact answers, as docs/tasks.md has it: server, replica and pipeline say what we say."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import pipeline

from dhrd import Classifier
from dhrd.data.label_space import LabelSpace
from dhrd.data.records import LabelSet
from helpers.artifacts import LABELS, TASKS, save_tiny

ROWS = ["case 1", "late again, and again", "x", "a mail"]
ONE_EACH = LabelSpace.of({"what": LABELS, "late": LabelSet(("no", "yes"))})


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tasks") / "tiny", labels=TASKS)


@pytest.fixture(scope="module")
def classifier(artifact: Path) -> Classifier:
    return Classifier.from_pretrained(artifact, device="cpu", dtype=None)


def test_the_server_gives_the_answers_of_each_task(classifier: Classifier) -> None:
    from helpers.serving import running

    answers, p_BC = classifier.predict(ROWS), classifier.predict_proba(ROWS)
    assert len({str(answer) for answer in answers}) > 1
    with running(classifier, max_new_tokens=4) as server:
        classified = server.post("/classify", {"input": ROWS}).json()["data"]
        scores = server.post("/predict", {"inputs": [[text] for text in ROWS]}).json()
        explained = server.post("/v1/explain", {"input": ROWS}).json()["data"]
        info = server.client.get("/info").json()
        counters = server.client.get("/metrics").text
    assert [row["label"] for row in classified] == [row["label"] for row in explained] == answers
    np.testing.assert_allclose([row["probs"] for row in classified], p_BC, atol=1e-5)
    assert not any(row["abstained"] for row in classified) and "dhrd_rows_abstained_total 0.0" in counters
    for own, p_C in zip(scores, p_BC, strict=True):
        assert {one["label"]: one["score"] for one in own} == pytest.approx(
            dict(zip(TASKS.names, p_C, strict=True)), abs=1e-5
        )
    assert info["labels"] == list(TASKS.names)
    assert info["tasks"] == [
        {"name": "what", "labels": ["bill", "login", "mail"], "multi_label": False},
        {"name": "tags", "labels": ["even", "odd"], "multi_label": True},
    ]


def test_a_replica_of_ray_serve_gives_the_answers_of_each_task(artifact: Path, classifier: Classifier) -> None:
    pytest.importorskip("fastapi", reason="no fastapi: pip install 'dhrd[serve]'")
    httpx = pytest.importorskip("httpx")
    from dhrd.serving.limits import Limits
    from dhrd.serving.ray import ReplicaSettings, replica_app

    app = replica_app(ReplicaSettings(model=str(artifact), device="cpu", dtype="float32"), Limits(), None)

    async def ask() -> Any:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://replica") as client:
            return (await client.post("/classify", json={"input": ROWS})).json()["data"]

    assert [row["label"] for row in asyncio.run(ask())] == classifier.predict(ROWS)


@pytest.mark.parametrize("labels", [ONE_EACH, TASKS], ids=["softmax", "sigmoids"])
def test_what_one_classifier_of_all_labels_says_is_read_as_the_page_says(labels: LabelSpace, tmp_path: Path) -> None:
    """The pipeline's scores are those of vLLM's `/classify`: a softmax over all labels, or a sigmoid of each."""
    directory = save_tiny(tmp_path / "tiny", labels=labels)
    ours = Classifier.from_pretrained(directory, device="cpu", dtype=None)
    asked = pipeline("text-classification", model=str(directory), device="cpu", top_k=None)
    for row, p_C, answer in zip(ROWS, ours.predict_proba(ROWS), ours.predict(ROWS), strict=True):
        scores = {one["label"]: one["score"] for one in asked([row])[0]}
        own: dict[str, dict[str, float]] = {}
        for name, score in scores.items():
            task, _, label = name.partition("/")
            own.setdefault(task, {})[label] = score
        if labels is TASKS:
            own["what"] = {name: p / (1 - p) for name, p in own["what"].items()}
        for task in {"what", "late"} & own.keys():
            total = sum(own[task].values())
            own[task] = {name: score / total for name, score in own[task].items()}
        read = [own[task.name][name] for task in labels.tasks for name in task.labels.names]
        np.testing.assert_allclose(read, p_C, atol=1e-4)
        assert isinstance(answer, dict) and answer["what"] == max(own["what"], key=own["what"].__getitem__)
