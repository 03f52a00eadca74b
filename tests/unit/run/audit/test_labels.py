"""The label audit: planted wrong labels come first, most of all those that both witnesses doubt."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dhrd.config import RunConfig, load_config
from dhrd.errors import ConfigError, DataError, MissingExtra
from dhrd.run.audit import labels as module
from dhrd.run.audit.labels import CLASSIFIER, RATIONALE, LabelAudit, audit_labels
from dhrd.run.train import train
from helpers.rows import write_jsonl

LABELS = ("bill", "crash", "login")
REASONS = {"bill": "money was charged twice", "crash": "the program closes by itself", "login": "the password fails"}


def planted_rows(count: int = 120, reasoned: int = 120) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Rows of which a tenth have a wrong label, beside rationales for the true one; the true labels by id."""
    rng, rows, truth = random.Random(0), [], {}
    for number in range(count):
        true = LABELS[number % 3]
        label = rng.choice([name for name in LABELS if name != true]) if number % 10 == 0 else true
        row = {"id": f"r{number}", "input_text": f"case {number}", "label": label}
        if number < reasoned:
            row["rationale"] = f"In case {number} {REASONS[true]}."
        rows.append(row)
        truth[f"r{number}"] = true
    return rows, truth


def config_of(tmp_path: Path, rows: list[dict[str, Any]], *overrides: str) -> RunConfig:
    train = write_jsonl(tmp_path / "train.jsonl", rows)
    return load_config(overrides=[f"data.train={train}", "data.dev_share=0.2", "training.selection=best", *overrides])


def audited(monkeypatch: pytest.MonkeyPatch, config: RunConfig, truth: dict[str, str], *, sure: float) -> LabelAudit:
    """An audit whose classifier knows the true label of all rows but every seventh, which it takes for bills."""

    def knows(config: RunConfig, rows: Any, **_: Any) -> np.ndarray:
        assert config.data.dev_share == 0 and config.training.selection == "last", "all rows take part"
        assert config.loss.classification_weight > 0
        result = np.full((len(rows.train), 3), (1 - sure) / 2)
        for index, example in enumerate(rows.train):
            said = "bill" if index % 7 == 0 else truth[example.id]
            result[index, rows.labels.names.index(said)] = sure
        return result

    monkeypatch.setattr(module, "out_of_fold", knows)
    return audit_labels(config, device="cpu")


def test_planted_wrong_labels_come_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows, truth = planted_rows()
    audit = audited(monkeypatch, config_of(tmp_path, rows), truth, sure=0.8)
    wrong = {row["id"] for row in rows if row["label"] != truth[row["id"]]}
    assert len(wrong) == 12 and audit.num_rationales == len(audit.rows) == 120
    assert {row.example.id for row in audit.rows[:12]} == wrong
    by_both = [row for row in audit.rows if row.num_doubts == 2]
    assert by_both and all(row.rather == truth[row.example.id] for row in by_both)
    assert [row.num_doubts for row in audit.rows] == sorted((row.num_doubts for row in audit.rows), reverse=True)
    assert audit.num_doubted(2) == len(by_both) <= audit.num_doubted()


def test_a_row_without_rationale_has_one_witness(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows, truth = planted_rows(reasoned=60)
    audit = audited(monkeypatch, config_of(tmp_path, rows), truth, sure=0.8)
    witnesses = {row.example.id: [t.witness for t in row.statements] for row in audit.rows}
    assert witnesses["r10"] == [CLASSIFIER, RATIONALE] and witnesses["r100"] == [CLASSIFIER]
    assert audit.num_rationales == 60


def test_without_rationales_the_classifier_alone_speaks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows, truth = planted_rows(reasoned=0)
    config = config_of(tmp_path, rows, "loss.reasoning_weight=0")
    audit = audited(monkeypatch, config, truth, sure=0.8)
    assert audit.num_rationales == 0 and all(len(row.statements) == 1 for row in audit.rows)
    assert audit.num_doubted() > 0 == audit.num_doubted(2)


def test_a_config_of_the_reasoning_head_alone_trains_the_classifier(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows, truth = planted_rows()
    assert audited(
        monkeypatch,
        config_of(tmp_path, rows, "loss.classification_weight=0", "training.selection=last"),
        truth,
        sure=0.8,
    ).num_doubted()


def test_a_backbone_that_knows_the_rows_is_no_witness(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_backbone: Path
) -> None:
    rows, truth = planted_rows(60, 60)
    settings = [
        f"model.name_or_path={tiny_backbone}",
        "training.num_epochs=1",
        "data.max_input_tokens=64",
        "data.max_sequence_tokens=96",
    ]
    config = config_of(tmp_path, rows, *settings, f"output_dir={tmp_path / 'out'}")
    train(config, device="cpu")
    again = config_of(tmp_path, rows, f"model.name_or_path={tmp_path / 'out'}")
    with pytest.raises(DataError, match=r"was trained on \d+ of the 60 rows, so none is held out"):
        audited(monkeypatch, again, truth, sure=0.8)


def test_a_label_that_no_row_has_is_no_matter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows, truth = planted_rows()
    names = "[bill, crash, login, other]"

    def certain(config: RunConfig, rows: Any, **_: Any) -> np.ndarray:
        return np.eye(4)[[rows.labels.names.index(truth[example.id]) for example in rows.train]]

    monkeypatch.setattr(module, "out_of_fold", certain)
    audit = audit_labels(config_of(tmp_path, rows, f"data.labels={names}"), device="cpu")
    assert {row.rather for row in audit.rows} <= set(LABELS)
    assert np.isfinite([row.quality for row in audit.rows]).all()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda row: {**row, "label": [row["label"]]}, "rows with several labels cannot be audited"),
        (lambda row: {**row, "label": "bill"}, "all rows have the same label"),
    ],
)
def test_what_cannot_be_audited_is_refused_before_anything_is_trained(
    tmp_path: Path, change: Any, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "out_of_fold", lambda *_, **__: pytest.fail("trained"))
    rows, _ = planted_rows(30)
    with pytest.raises(DataError, match=problem):
        audit_labels(config_of(tmp_path, list(map(change, rows)), "data.labels=[bill, crash, login]"))
    tasks = config_of(tmp_path, [{**row, "late": "yes" if i % 2 else "no"} for i, row in enumerate(rows)],
                      "tasks={what: {column: label}, late: {}}")  # fmt: skip
    with pytest.raises(ConfigError, match=r"a label audit supports a single task, .*\(what, late\); train a model"):
        audit_labels(tasks)


def test_without_cleanlab_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cleanlab", None)
    with pytest.raises(MissingExtra, match=r"\[audit\]"):
        audit_labels(config_of(tmp_path, planted_rows(30)[0]))
