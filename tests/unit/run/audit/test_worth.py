"""A rationale's worth is the difference of two log probabilities, each computed here the long way."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dhrd import Classifier
from dhrd.data.records import Example
from dhrd.errors import ArtifactError, ConfigError, DataError
from dhrd.rationales.audit.audit import audit_rationales
from dhrd.run.audit import worth as module
from dhrd.run.audit.worth import rationale_worths, with_worth
from helpers.artifacts import LABELS, change, save_model, save_tiny, unbind
from helpers.models import make_backbone, make_model, texts
from helpers.rows import make_tokenizer, write_jsonl
from helpers.runs import make_config

CPU = {"device": "cpu", "dtype": "float32"}


def examples() -> list[Example]:
    rows = [row for row in texts(12) if row["rationale"]]
    return [Example(id=f"r{number}", **row) for number, row in enumerate(rows)]


def save(directory: Path, *, sureness: float = 1, **info: Any) -> Path:
    model = make_model(backbone=make_backbone(tokenizer=make_tokenizer()), num_labels=3)
    with torch.no_grad():
        model.head.score.weight.mul_(sureness)
    save_model(directory, model, max_input_tokens=64, max_sequence_tokens=256, **info)
    (directory / "run.json").unlink()  # it would be the config of a run
    return directory


def one_by_one(directory: Path, example: Example) -> float:
    """By the stock forward pass of the whole sequence, unpadded."""
    classifier = Classifier.from_pretrained(directory, **CPU)
    model, tokenizer = classifier.reasoner().model, classifier.tokenizer
    (item,) = classifier.encode([example])
    reason = tokenizer(f"\n\nReasoning: {example.rationale}", add_special_tokens=False)["input_ids"]
    marker = tokenizer("\nAnswer: ", add_special_tokens=False)["input_ids"]
    whole = tokenizer(f"\nAnswer: {example.label}", add_special_tokens=False)["input_ids"]
    assert whole[: len(marker)] == marker
    ids = [*item.input_ids, *reason, *whole, tokenizer.eos_token_id]
    with torch.no_grad():
        log_p = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    first = len(item.input_ids) + len(reason) + len(marker)
    told = sum(float(log_p[place - 1, ids[place]]) for place in range(first, len(ids)))
    known = classifier.predict_proba([example])[0, LABELS.names.index(str(example.label))]
    return told - float(np.log(known))


def test_worth_is_what_the_rationale_adds(tmp_path: Path) -> None:
    directory = save(tmp_path / "model")
    rows = examples()
    worth_N = rationale_worths(directory, rows, **CPU)
    assert worth_N == pytest.approx([one_by_one(directory, row) for row in rows], abs=1e-3)
    small = rationale_worths(directory, rows, **CPU, max_tokens_per_pass=1)
    np.testing.assert_allclose(worth_N, small, atol=1e-4)


def test_a_classification_head_that_is_too_sure_is_tempered(tmp_path: Path) -> None:
    """Logits ten times as large say nothing else, so they change no worth where there are rows to see it by."""
    rows = [replace(row, id=f"{row.id}-{copy}") for copy in range(4) for row in examples()]
    assert len(rows) >= 20
    plain, sure = save(tmp_path / "plain"), save(tmp_path / "sure", sureness=10)
    worth_N = rationale_worths(plain, rows, **CPU)
    assert rationale_worths(sure, rows, **CPU) == pytest.approx(worth_N, abs=1e-3)
    few_N = rationale_worths(plain, rows[:3], **CPU)
    assert rationale_worths(sure, rows[:3], **CPU) != pytest.approx(few_N, abs=1e-3), "too few to see it by"


def test_another_rationale_has_another_worth(tmp_path: Path) -> None:
    directory, (row, *_) = save(tmp_path / "model"), examples()
    other = replace(row, rationale="Something else is told here.")
    first, second = rationale_worths(directory, [row, other], **CPU)
    assert abs(first - second) > 1e-6


def test_an_audit_has_the_worth_of_lines_with_a_labelled_row(tmp_path: Path) -> None:
    labels = ("bill", "mail", "bill", "mail")
    rows = [{"id": f"r{number}", "input_text": f"case {number}", "label": label} for number, label in enumerate(labels)]
    lines = [{"id": f"r{number}", "rationale": f"It is about {number}."} for number in (0, 2, 7)]
    audit = audit_rationales(write_jsonl(tmp_path / "r.jsonl", lines), write_jsonl(tmp_path / "d.jsonl", rows))
    directory = save(tmp_path / "model")
    found = with_worth(audit, directory, **CPU)
    assert [line.worth is None for line in found.lines] == [False, False, True]
    assert found.counts["worthless"] == 0 and "worthless" not in audit.counts
    low, high = sorted(found.worths)
    strict = with_worth(audit, directory, least=(low + high) / 2, **CPU)
    assert [line.worth for line in strict.lines if "worthless" in {flag.kind for flag in line.flags}] == [low]


def test_rows_that_were_trained_on_are_told(
    tiny_backbone: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(tiny_backbone, tmp_path)
    monkeypatch.setattr(module, "rationale_worths", lambda directory, rows, **_: np.zeros(len(rows)))
    monkeypatch.setattr("dhrd.run.trained.read_run", lambda directory: config)
    lines = [{"id": f"r{number}", "rationale": f"It is about {number}."} for number in range(5)]
    audit = audit_rationales(write_jsonl(tmp_path / "r.jsonl", lines), config.data.train)
    with caplog.at_level(logging.WARNING, "dhrd"):
        with_worth(audit, save(tmp_path / "model"))
    assert "5 of 5 rows were trained on" in caplog.text


def test_without_labelled_rows_there_is_no_worth(tmp_path: Path) -> None:
    rows = [{"id": "r0", "input_text": "a", "label": "bill"}, {"id": "r1", "input_text": "b", "label": "mail"}]
    lines = write_jsonl(tmp_path / "r.jsonl", [{"id": "other", "rationale": "So it is."}])
    audit = audit_rationales(lines, write_jsonl(tmp_path / "d.jsonl", rows))
    with pytest.raises(DataError, match="no rationale is of a labelled row"):
        with_worth(audit, tmp_path)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"training": {"reasoning_weight": 0.0}}, "its reasoning head learned nothing"),
        ({"labels": {"names": ["a", "b", "c"], "words": ["a", "b", "c"], "multi_label": True}}, "several labels"),
    ],
)
def test_an_artifact_that_cannot_tell_is_refused(tmp_path: Path, fields: dict[str, Any], problem: str) -> None:
    directory = save(tmp_path / "model")
    unbind(directory)
    change(directory / "dhrd.json", **fields)
    with pytest.raises(ConfigError, match=problem):
        rationale_worths(directory, examples(), **CPU)


def test_an_artifact_without_a_classifier_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no classifier"):
        rationale_worths(save_tiny(tmp_path / "model", reasons=True), examples(), **CPU)
