"""What is answered, in the shapes of vLLM and of text-embeddings-inference: the classifier's own answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dhrd import Classifier
from dhrd.artifact.info import read_info
from dhrd.inference.explanation import EXPLANATION_NOTE
from helpers.artifacts import LABELS, change, save_tiny
from helpers.serving import Running, running

TEXTS = ["case 1", "late again, and again", "x"]
LONG = "word " * 100


@pytest.fixture
def server(classifier: Classifier) -> Iterator[Running]:
    with running(classifier, max_rows=4, max_new_tokens=4) as found:
        yield found


def problem(response: Any) -> tuple[int, str, str | None]:
    error = response.json()["error"]
    assert error["code"] == response.status_code and set(error) == {"type", "message", "param", "code"}
    return response.status_code, error["type"], error["param"]


def test_classify_answers_as_vllm(server: Running, classifier: Classifier) -> None:
    response = server.post("/classify", {"model": "tiny", "input": TEXTS, "user": "someone"})
    assert response.status_code == 200
    body = response.json()
    assert set(body) == {"id", "object", "created", "model", "data", "usage"}
    assert (body["object"], body["model"], body["id"][:9]) == ("list", "tiny", "classify-")
    assert [row["index"] for row in body["data"]] == [0, 1, 2]
    assert [row["label"] for row in body["data"]] == classifier.predict(TEXTS)
    assert np.allclose([row["probs"] for row in body["data"]], classifier.predict_proba(TEXTS), atol=1e-5)
    assert {row["num_classes"] for row in body["data"]} == {3}
    assert not any(row["abstained"] or row["truncated"] for row in body["data"])
    num_tokens = sum(len(item.input_ids) for item in classifier.encode(TEXTS))
    assert body["usage"] | {} == {
        "prompt_tokens": num_tokens,
        "total_tokens": num_tokens,
        "completion_tokens": 0,
        "prompt_tokens_details": None,
    }


@pytest.mark.parametrize("given", ["case 1", {"input_text": "case 1"}, [{"input_text": "case 1"}]])
def test_a_row_is_a_text_or_columns(server: Running, classifier: Classifier, given: Any) -> None:
    (row,) = server.post("/classify", {"input": given}).json()["data"]
    assert row["label"] == classifier.predict("case 1")[0]


def test_rows_over_the_limit_of_the_artifact_are_cut_and_told(server: Running, classifier: Classifier) -> None:
    short, long = server.post("/classify", {"input": ["x", LONG]}).json()["data"]
    assert (short["truncated"], long["truncated"]) == (False, True)
    assert "dhrd_rows_cut_total 1.0" in server.client.get("/metrics").text


def test_predict_answers_as_text_embeddings_inference(server: Running, classifier: Classifier) -> None:
    single = server.post("/predict", {"inputs": "case 1"}).json()
    assert single == server.post("/predict", {"inputs": ["case 1"]}).json()
    batch = server.post("/predict", {"inputs": [[text] for text in TEXTS]}).json()
    for scores, expected in zip(batch, classifier.predict_proba(TEXTS), strict=True):
        named = {score["label"]: score["score"] for score in scores}
        assert np.allclose([named[name] for name in LABELS.names], expected, atol=1e-5)
        assert [score["score"] for score in scores] == sorted(named.values(), reverse=True)
    assert [score["label"] for score in single] == [score["label"] for score in batch[0]]
    columns = server.post("/predict", {"inputs": [{"input_text": text} for text in TEXTS]}).json()
    assert [scores[0]["label"] for scores in columns] == [scores[0]["label"] for scores in batch]


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/classify", {"model": "other", "input": "a"}, (404, "unknown_model", "model")),
        ("/classify", {"input": ["a"] * 5}, (413, "too_many_rows", "input")),
        ("/classify", {"input": ""}, (422, "invalid_row", "input")),
        ("/classify", {"input": {"text": "a"}}, (422, "invalid_row", "input")),
        ("/predict", {"inputs": ["a", "b"]}, (422, "invalid_request", "inputs.0")),
        ("/predict", {"inputs": [["a", "b"]]}, (422, "invalid_request", "inputs.0")),
        ("/predict", {"inputs": [["a"], []]}, (422, "invalid_request", "inputs.1")),
        ("/predict", {"inputs": "a", "raw_scores": True}, (422, "invalid_request", "raw_scores")),
        ("/predict", {"inputs": LONG, "truncate": False}, (413, "too_many_tokens", "inputs")),
        ("/v1/explain", {"input": ["a"] * 5}, (413, "too_many_rows", "input")),
        ("/v1/explain", {"input": "a", "max_new_tokens": 5}, (422, "invalid_request", "max_new_tokens")),
        ("/v1/explain", {"input": ""}, (422, "invalid_row", "input")),
    ],
)
def test_what_cannot_be_answered_is_told(server: Running, path: str, body: Any, expected: tuple[int, str, str]) -> None:
    assert problem(server.post(path, body)) == expected


def test_explanations_are_marked_as_illustrations(server: Running, classifier: Classifier) -> None:
    body = server.post("/v1/explain", {"input": TEXTS}).json()
    expected = classifier.explain(TEXTS, max_new_tokens=4)
    assert [row["rationale"] for row in body["data"]] == [one.rationale for one in expected]
    assert [row["label"] for row in body["data"]] == classifier.predict(TEXTS)
    assert {row["note"] for row in body["data"]} == {EXPLANATION_NOTE}


def test_the_artifacts_decision_applies(tmp_path: Path) -> None:
    """Half of the rows are under its threshold: they have no label, here as offline."""
    directory = save_tiny(tmp_path / "decided")
    rows = [f"case {n}" for n in range(20)]
    sure_B = Classifier.from_pretrained(directory, device="cpu", dtype=None).predict_proba(rows).max(1)
    target = {"measure": "accuracy", "level": 0.9, "label": ""}
    decision = {
        "rules": [{"target": target, "threshold": float(np.median(sure_B))}],
        "confidence": 0.9,
        "sets": {"coverage": 0.9, "threshold": 0.2},
        "num_rows": 100,
        "fingerprint": "0",
    }
    change(directory / "dhrd.json", decision=decision, format_version=2)
    classifier = Classifier.from_pretrained(directory, device="cpu", dtype=None)
    with running(classifier) as server:
        data = server.post("/classify", {"input": rows}).json()["data"]
        assert [row["label"] for row in data] == classifier.predict(rows)
        assert [row["abstained"] for row in data] == [row["label"] is None for row in data]
        assert sum(row["abstained"] for row in data) == 10
        explained = server.post("/v1/explain", {"input": rows[:4]}).json()["data"]
        assert [row["label"] for row in explained] == [row["label"] for row in data[:4]]
        sets = [list(one.label_set or ()) for one in classifier.stream(rows)]
        assert [row["label_set"] for row in data] == sets and {len(one) for one in sets} > {1}
        assert "dhrd_rows_abstained_total 10.0" in server.client.get("/metrics").text
        assert server.client.get("/info").json()["decision"] == decision
        assert len(server.post("/predict", {"inputs": rows[0]}).json()) == 3


def test_info_tells_what_is_served(server: Running, classifier: Classifier) -> None:
    info = server.client.get("/info").json()
    assert info["labels"] == list(LABELS.names) and info["columns"] == ["input_text"]
    assert (info["model"], info["max_input_tokens"], info["device"], info["dtype"]) == ("tiny", 64, "cpu", "float32")
    assert (info["limits"]["max_rows"], info["explains"]) == (4, True)
    assert server.client.get("/health").json() == server.client.get("/ready").json() == {"status": "ok"}
    assert "text/html" in server.client.get("/").headers["content-type"]


def test_a_head_that_learned_nothing_is_not_offered(tmp_path: Path) -> None:
    directory = save_tiny(tmp_path / "pooled")
    change(directory / "dhrd.json", training={"reasoning_weight": 0})
    with running(Classifier.from_pretrained(directory, device="cpu", dtype=None)) as server:
        assert server.client.get("/info").json()["explains"] is False
        response = server.post("/v1/explain", {"input": "case 1"})
    assert problem(response) == (404, "no_explanations", None)
    assert "its reasoning head explains nothing; serve one" in response.json()["error"]["message"]


def test_template_and_several_labels_are_the_artifacts(tmp_path: Path) -> None:
    directory = save_tiny(tmp_path / "pairs")
    labels = {"names": list(LABELS.names), "words": list(LABELS.words), "multi_label": True, "ordered": False}
    change(directory / "dhrd.json", input_template="{{ premise }} => {{ hypothesis }}", labels=labels)
    change(directory / "config.json", problem_type="multi_label_classification")
    assert read_info(directory).labels.multi_label
    classifier = Classifier.from_pretrained(directory, device="cpu", dtype=None)
    row = {"premise": "It rains.", "hypothesis": "It is wet."}
    with running(classifier) as server:
        (found,) = server.post("/classify", {"input": row}).json()["data"]
        assert found["label"] == classifier.predict([row])[0] and isinstance(found["label"], list)
        assert np.allclose(found["probs"], classifier.predict_proba([row])[0], atol=1e-5)
        assert problem(server.post("/classify", {"input": "It rains."})) == (422, "invalid_row", "input")
        assert server.client.get("/info").json()["columns"] == ["hypothesis", "premise"]
