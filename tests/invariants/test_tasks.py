"""Several tasks in one pass: one alone is a run without tasks to the bit, two are what two heads in torch learn."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

import dhrd
from dhrd.config import LossSettings
from dhrd.data.batches import PlannedUpdates
from dhrd.data.records import Batch, EncodedExample
from dhrd.data.rows import load_rows
from dhrd.data.sharing import Sharing
from dhrd.losses import LabelLoss
from dhrd.model.backbone import load_backbone
from dhrd.model.dual_head import DualHeadModel
from dhrd.model.pooling import pool
from dhrd.training.build import encode
from helpers.models import (
    clone,
    difference,
    gradients_of_step,
    make_batch,
    make_model,
    rows,
    run_config,
    save_backbone,
    texts,
)
from helpers.runs import Recorder, Stop

TOLERANCE = 1e-5
LOSSES = {
    "topic": LabelLoss(columns=slice(0, 3), task=0, smoothing=0.1, class_weight_C=torch.tensor([0.5, 1.0, 2.0])),
    "tags": LabelLoss(columns=slice(3, 5), task=1, multi_label=True, weight=0.5),
}
SETTINGS = LossSettings(privileged_weight=0.4, keyword_weight=0.3)


def two_tasks(count: int = 8) -> list[EncodedExample]:
    """Encoded rows with labels of both tasks, of one, or shares; two beginnings in turn."""
    made = []
    for i, row in enumerate(rows(count)):
        label, unlabelled = {0: ((i % 3, 3), ()), 1: ((3, 4), (0,)), 2: ((i % 3,), (1,)), 3: ((i % 3,), ())}[i % 4]
        shares = (0.25, 0.75, 0.0, 1.0, 0.0) if i == 4 else None
        ids = [9 + i % 2] * 24 + row.input_ids
        end = max(0, len(row.continuation_ids) - 2)
        keywords = tuple(sorted(set(row.continuation_ids)))[:2]
        made.append(replace(row, input_ids=ids, label=label, unlabelled=unlabelled, shares=shares, reason_end=end,
                            keyword_ids=keywords))  # fmt: skip
    return made


def model_of() -> DualHeadModel:
    return make_model("llama", num_labels=5, label_loss=LOSSES, loss=SETTINGS)


def batches(model: DualHeadModel, examples: Sequence[EncodedExample], size: int) -> list[Batch]:
    starts = range(0, len(examples), size)
    return [make_batch(examples[i : i + size], model, num_labels=5, num_tasks=2) for i in starts]


@pytest.mark.parametrize("size", [1, 3])
def test_an_update_does_not_depend_on_its_split(size: int) -> None:
    model, examples = model_of(), two_tasks()
    log, whole = gradients_of_step(clone(model), batches(model, examples, 8))
    other, parts = gradients_of_step(clone(model), batches(model, examples, size))
    names = {"classification_loss/topic", "classification_loss/tags", "privileged_loss/topic", "privileged_loss/tags"}
    assert names <= log.keys() and "classification_loss" not in log
    assert difference(parts, whole) < TOLERANCE
    for name in [*names, "loss", "lm_loss", "keyword_loss", "rationale_share"]:
        assert other[name] == pytest.approx(log[name], rel=TOLERANCE), name


def test_rows_that_share_their_beginning() -> None:
    model, examples = model_of(), two_tasks(8)
    plan = PlannedUpdates(
        examples=examples, num_labels=5, num_tasks=2, pad_token_id=model.tokenizer.pad_token_id or 0, batch_size=8
    )
    apart, shared = (next(replace(plan, sharing=sharing).epoch(0)) for sharing in (Sharing(), Sharing(pair=1e-4)))
    assert any(batch.tree is not None for batch in shared)
    log, expected = gradients_of_step(clone(model), apart)
    other, found = gradients_of_step(model, shared)
    assert difference(found, expected) < TOLERANCE
    assert [other[name] for name in log if "/" in name] == pytest.approx(
        [log[name] for name in log if "/" in name], rel=TOLERANCE
    )


def test_each_loss_is_that_of_a_head_of_its_own() -> None:
    model = make_model("llama", num_labels=5, label_loss=LOSSES, loss=LossSettings(reasoning_weight=0))
    examples = [replace(row, shares=None) for row in two_tasks()]
    (batch,) = batches(model, examples, 8)
    state = clone(model)
    pooled_BD = pool(state.hidden_states(batch), batch, "last")
    topic, tags = (torch.nn.Linear(pooled_BD.shape[1], size, bias=False) for size in (3, 2))
    topic.weight.data, tags.weight.data = state.head.score.weight.data[:3], state.head.score.weight.data[3:]
    known, tagged = ([i for i, row in enumerate(examples) if task not in row.unlabelled] for task in (0, 1))
    assert 0 < len(known) < 8 and 0 < len(tagged) < 8
    topics = F.cross_entropy(
        topic(pooled_BD[known]), torch.tensor([examples[i].label[0] for i in known]),
        torch.tensor([0.5, 1.0, 2.0]), label_smoothing=0.1,
    )  # fmt: skip
    hot_BC = torch.tensor([[float(place in examples[i].label) for place in (3, 4)] for i in tagged])
    several = F.binary_cross_entropy_with_logits(tags(pooled_BD[tagged]), hot_BC)
    (topics + 0.5 * several).backward()
    topics, several = topics.detach(), several.detach()
    log, found = gradients_of_step(model, [batch])
    assert log["classification_loss/topic"] == pytest.approx(float(topics), rel=TOLERANCE)
    assert log["classification_loss/tags"] == pytest.approx(float(several), rel=TOLERANCE)
    assert log["loss"] == pytest.approx(float(topics + 0.5 * several), rel=TOLERANCE)
    assert topic.weight.grad is not None and tags.weight.grad is not None
    expected = {n: p.grad for n, p in state.named_parameters() if p.grad is not None}
    expected["head.score.weight"] = torch.cat([topic.weight.grad, tags.weight.grad])
    assert difference(found, expected) < TOLERANCE


def table(count: int = 12) -> list[dict[str, Any]]:
    """Rows of three labels in `label`, of two in `late`, which every third lacks."""
    made = texts(count)
    for i, row in enumerate(made):
        row["late"] = None if i % 3 == 1 else "yes" if "is late" in row["input_text"] else "no"
    return made


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_backbone(tmp_path_factory.mktemp("backbone"), "llama", attention_dropout=0.2)


def trained(
    backbone: str, directory: Path, tasks: Mapping[str, Any] | None, callbacks: Sequence[Any] = (), **sections: Any
) -> Path:
    training = {"num_epochs": 2, "learning_rate": 1e-2, "batch_size": 5} | sections.pop("training", {})
    config = run_config(
        model={"name_or_path": backbone}, training=training, output_dir=str(directory), tasks=tasks, **sections
    )
    goes_on = str(directory) if (directory / "checkpoints").is_dir() else None
    dhrd.train(config, train_dataset=table(), device="cpu", callbacks=list(callbacks), checkpoint=goes_on)
    return directory


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {
            "loss": {
                "class_weights": "balanced",
                "label_smoothing": 0.1,
                "privileged_weight": 0.4,
                "keyword_weight": 0.3,
            }
        },
        {"data": {"label_noise": 0.5}, "loss": {"reasoning_weight": 0}},
        {"data": {"dev_share": 0.25}, "training": {"selection": "best", "calibrate": True}},
    ],
    ids=["plain", "losses", "noise", "chosen"],
)
def test_one_task_is_a_run_without_tasks_to_the_bit(backbone: str, tmp_path: Path, sections: dict[str, Any]) -> None:
    plain = load_file(trained(backbone, tmp_path / "plain", None, **sections) / "model.safetensors")
    task = load_file(
        trained(backbone, tmp_path / "task", {"topic": {"column": "label"}}, **sections) / "model.safetensors"
    )
    start = load_file(Path(backbone) / "model.safetensors")
    assert plain.keys() == task.keys() and len(plain) > 10
    assert [name for name in plain if not torch.equal(plain[name], task[name])] == []
    assert any(not torch.equal(start[name], plain[name]) for name in start if name in plain)


TASKS = {"topic": {"column": "label"}, "late": {"weight": 0.5}}


@pytest.fixture(scope="module")
def artifact(backbone: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(backbone, tmp_path_factory.mktemp("tasks") / "out", TASKS)


def test_the_artifact_is_one_stock_classifier(artifact: Path) -> None:
    config = json.loads((artifact / "config.json").read_text())
    names = ["topic/bill", "topic/login", "topic/mail", "late/no", "late/yes"]
    assert list(config["id2label"].values()) == names and config["problem_type"] == "single_label_classification"
    manifest = json.loads((artifact / "dhrd.json").read_text())
    assert manifest["format_version"] == 3
    assert [(task["name"], task["start"]) for task in manifest["labels"]["tasks"]] == [("topic", 0), ("late", 3)]
    assert manifest["training"]["num_labelled"] == {"topic": 12, "late": 8}
    asked = [row["input_text"] for row in table()]
    ours = dhrd.Classifier.from_pretrained(artifact, device="cpu", dtype=None).predict_proba(asked)
    model, tokenizer = (kind.from_pretrained(artifact) for kind in (AutoModelForSequenceClassification, AutoTokenizer))
    with torch.no_grad():
        logits = model.eval()(**tokenizer(asked, padding=True, return_tensors="pt")).logits
    theirs = torch.cat([logits[:, :3].softmax(1), logits[:, 3:].softmax(1)], 1).numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    whole = logits.softmax(1).numpy()  # what a server of one task says: a task's own is its part of it
    np.testing.assert_allclose(whole[:, 3:] / whole[:, 3:].sum(1, keepdims=True), theirs[:, 3:], atol=1e-5)


def test_a_pipeline_gives_the_logits_of_all(artifact: Path) -> None:
    asked = pipeline("text-classification", model=str(artifact), device="cpu")
    scores = asked("the parcel number 1 is late", top_k=None, function_to_apply="none")
    assert len(scores) == 5 and {one["label"].partition("/")[0] for one in scores} == set(TASKS)


def test_a_resumed_run_is_an_unbroken_one(backbone: str, artifact: Path, tmp_path: Path) -> None:
    with pytest.raises(Stop):
        trained(backbone, tmp_path / "out", TASKS, [Recorder(fail_at=4)])
    whole = load_file(artifact / "model.safetensors")
    resumed = load_file(trained(backbone, tmp_path / "out", TASKS) / "model.safetensors")
    assert [name for name in whole if not torch.equal(whole[name], resumed[name])] == []


def test_a_rationale_ends_in_the_answer_of_its_task(backbone: str, tmp_path: Path) -> None:
    asked = table(6)
    lines = [
        {"id": str(i), "rationale": f"So it is {i}.", **({"task": "late"} if i % 2 else {})} for i in range(len(asked))
    ]
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, lines)))
    given = [{"id": str(i), **row} for i, row in enumerate(asked)]
    config = run_config(
        model={"name_or_path": backbone}, tasks=TASKS, data={"rationales": str(tmp_path / "r.jsonl")},
    )  # fmt: skip
    loaded = load_backbone(config.model)
    data = encode(config, load_rows(config, train_dataset=given), loaded)
    written = [loaded.tokenizer.decode(row.continuation_ids, skip_special_tokens=True) for row in data.train.examples]
    answers = [text.partition("Answer: ")[2] for text in written]
    assert answers == [(row["late"] or "") if i % 2 else row["label"] for i, row in enumerate(given)]
    assert answers[1] == "" and answers[3] in ("yes", "no")
    assert all(f"So it is {i}." in text for i, text in enumerate(written))
