"""`dhrd.json`: what is read back, and what no reader takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from transformers import (
    CohereConfig,
)

import dhrd
from dhrd.artifact.info import ArtifactInfo, check_has_classifier, read_info, stock_class, to_manifest
from dhrd.artifact.read import load_reasoning_model
from dhrd.artifact.write import save_artifact
from dhrd.data.label_space import LabelSpace
from dhrd.data.records import LabelSet
from dhrd.decisions.decision import Decision
from dhrd.errors import ArtifactError
from helpers.artifacts import LABELS, save_model
from helpers.models import (
    VOCAB_SIZE,
    make_causal_lm,
    make_model,
)


def test_the_manifest_is_read_back(tmp_path: Path) -> None:
    info = ArtifactInfo(
        kind="sequence_classifier",
        labels=LabelSet(("a", "b", "c"), ("words", "of", "labels")),
        input_template="{{ title }}",
        chat=True,
        max_input_tokens=9,
        task="cb",
        training={"seed": 3},
    )
    save_artifact(tmp_path, make_model(), info)
    found = read_info(tmp_path)
    assert found.digests and found.model_copy(update={"digests": {}}) == info
    written = json.loads((tmp_path / "dhrd.json").read_text())
    assert written["format_version"] == 1 and not {"decision", "task_columns"} & {*written}
    assert written["calibration"] == {"temperature": 1.0}
    assert {"dhrd", "torch", "transformers"} <= set(written["versions"])


def test_what_is_not_finished_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no such directory"):
        read_info(tmp_path / "absent")
    with pytest.raises(ArtifactError, match=r"not a dhrd artifact \(no dhrd\.json\)"):
        read_info(tmp_path)
    save_model(tmp_path, make_model())
    (tmp_path / "dhrd.json").unlink()
    (tmp_path / "checkpoints").mkdir()
    for read in (read_info, dhrd.Classifier.from_pretrained, load_reasoning_model):
        with pytest.raises(ArtifactError, match=r"training is not finished .*dhrd train --checkpoint"):
            read(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "damaged"),
        ("[]", "damaged"),
        ('{"format_version": 1}', "damaged"),
        ('{"format_version": 4}', r"format 4 is newer than this dhrd reads \(3\); upgrade dhrd"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_refused(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "dhrd.json").write_text(content)
    with pytest.raises(ArtifactError, match=message):
        read_info(tmp_path)


COHERE = CohereConfig(vocab_size=VOCAB_SIZE, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
FIELDS: dict[str, Any] = {"kind": "sequence_classifier", "labels": LABELS}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"labels": LabelSet(("a", "a"))}, "some are given twice"),
        ({"labels": LabelSet(("a",))}, "two or more are needed"),
        ({"labels": LabelSet(("a", ""))}, "none of them empty"),
        ({"sequence": {"order": "label_first"}}, "order: 'label_first' is of an older dhrd; train anew"),
        ({"sequence": {"visible_input_tokens": 1}}, "visible_input_tokens: 1 is of an older dhrd; train anew"),
        ({"task": "evil"}, "known are boolq"),
        ({"head": "mlp"}, "a sequence_classifier has head linear"),
        ({"max_input_tokens": 0}, "max_input_tokens"),
        ({"chat": 1}, "chat"),
        ({"training": {"reasoning_weight": -1.0}}, "reasoning_weight"),
    ],
)
def test_what_is_written_is_checked_as_what_is_read(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ArtifactInfo(**FIELDS | fields)


@pytest.mark.parametrize(("names", "ordered"), [(["a", "b", "c"], False), (["c", "a", "b"], True)])
def test_an_older_manifest_says_by_its_order_whose_it_is(names: list[str], ordered: bool, tmp_path: Path) -> None:
    labels = {"names": names, "words": names, "multi_label": False}
    manifest = {"format_version": 1, "kind": "causal_lm", "labels": labels}
    (tmp_path / "dhrd.json").write_text(json.dumps(manifest))
    assert read_info(tmp_path).labels == LabelSet(tuple(names), ordered=ordered)


def test_fields_of_the_summary_that_nobody_knows_are_kept(tmp_path: Path) -> None:
    info = ArtifactInfo(**FIELDS, training={"seed": 1, "later": [2]})
    (tmp_path / "dhrd.json").write_text(json.dumps(to_manifest(info)))
    assert read_info(tmp_path).training == {"seed": 1, "later": [2]}


def test_a_message_names_three_fields_and_counts_the_rest(tmp_path: Path) -> None:
    manifest = to_manifest(ArtifactInfo(**FIELDS)) | dict.fromkeys("vwxyz", 1)
    (tmp_path / "dhrd.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=r"v: extra .*, got 1; w: .*; x: .* and 2 more\)"):
        read_info(tmp_path)


def test_the_stock_class_is_the_familys_own() -> None:
    assert getattr(stock_class(make_causal_lm("llama").config), "__name__", "") == "LlamaForSequenceClassification"
    assert stock_class(COHERE) is None


def test_several_tasks_are_read_back_and_their_places_are_checked(tmp_path: Path) -> None:
    space = LabelSpace.of({"mood": LabelSet(("low", "high")), "tags": LabelSet(("a", "b"), multi_label=True)})
    manifest = json.loads(json.dumps(to_manifest(ArtifactInfo(kind="sequence_classifier", labels=space))))
    assert manifest["format_version"] == 3
    path = tmp_path / "dhrd.json"
    path.write_text(json.dumps(manifest), encoding="utf-8")
    assert read_info(tmp_path).labels == space
    manifest["labels"]["tasks"][1]["start"] = 3
    path.write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"damaged .*tasks: they leave places out, or share some"):
        read_info(tmp_path)
    decision = Decision(rules=(), confidence=0.9, sets=None, num_rows=1, fingerprint="0" * 16)
    with pytest.raises(ValueError, match="decision: is of one task"):
        ArtifactInfo(kind="sequence_classifier", labels=space, decision=decision)


@pytest.mark.parametrize(
    ("kind", "message"),
    [("causal_lm", "it has no classifier"), ("onnx", "an export for ONNX Runtime"), ("export", "for another runtime")],
)
def test_what_has_no_classifier_is_refused(kind: Any, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        check_has_classifier(Path("out"), ArtifactInfo(kind=kind, labels=LABELS))
