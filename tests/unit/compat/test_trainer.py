"""The documents' trainer: a loader's batches through the one loop."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from dhrd.compat.dataset import DHRDDataset, load_json_dataset
from dhrd.compat.trainer import DHRDTrainer, LoaderUpdates
from dhrd.config import LossSettings
from dhrd.data.records import LabelSet
from dhrd.errors import ConfigError, DataError, NonFiniteError
from dhrd.losses import LabelLoss
from dhrd.training.step import train_step
from helpers.models import make_batch, make_model, rows, step_of
from helpers.rows import make_tokenizer, write_jsonl


def loader(count: int = 10, size: int = 4) -> DataLoader[object]:
    data = DHRDDataset(rows(count), LabelSet(("a", "b", "c")), pad_token_id=0)
    return DataLoader(data, batch_size=size, collate_fn=data.collate_fn)


def test_each_batch_is_an_update() -> None:
    updates = LoaderUpdates(loader())
    assert updates.updates_per_epoch == 3
    assert [[len(batch.ids) for batch in batches] for batches in updates.epoch(0)] == [[4], [4], [2]]
    assert [[len(batch.ids) for batch in batches] for batches in updates.epoch(1, start=2)] == [[2]]


def test_every_update_and_evaluation_is_in_the_history() -> None:
    history = DHRDTrainer(make_model("llama"), loader(), eval_dataloader=loader(6)).train(num_epochs=2)
    assert [row["step"] for row in history if "loss" in row] == [1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in history if "eval_accuracy" in row] == [3, 6]
    assert not [row for row in DHRDTrainer(make_model("llama"), loader()).train(1) if "eval_accuracy" in row]


def test_an_update_is_that_of_a_run() -> None:
    """With the optimizer that is given: the same loss and the same weights after it."""
    ours, theirs = make_model("llama"), make_model("llama")
    optimizer = torch.optim.AdamW(ours.parameters(), lr=1e-3, weight_decay=0.0)
    (row,) = DHRDTrainer(ours, loader(4), optimizer=optimizer).train(num_epochs=1)
    state = step_of(theirs, learning_rate=1e-3, head_learning_rate=1e-3, weight_decay=0.0, clip_norm=1.0)
    log = train_step(state, [next(iter(loader(4)))], 1)
    assert row["loss"] == pytest.approx(log["loss"], rel=1e-3)
    assert row["learning_rate"] == 1e-3
    moved = [(a - b).detach().abs().max() for a, b in zip(ours.parameters(), theirs.parameters(), strict=True)]
    assert max(map(float, moved)) < 2e-3


def test_a_loss_that_is_not_finite_ends_it() -> None:
    model = make_model("llama")
    with torch.no_grad():
        model.head.score.weight[0, 0] = math.nan
    with pytest.raises(NonFiniteError, match="step 1: classification_loss is nan"):
        DHRDTrainer(model, loader()).train(1)


def test_a_schedule_is_over_all_updates() -> None:
    """It was over before the second."""
    loss = LossSettings(reasoning_schedule="decay", classification_schedule="second_half")
    history = DHRDTrainer(make_model("llama", loss=loss), loader(8)).train(num_epochs=2)
    for row, reasoning, classification in zip(history, (1, 0.75, 0.5, 0.25), (0, 0, 1, 1), strict=True):
        parts = reasoning * row["lm_loss"] + classification * row["classification_loss"]
        assert row["loss"] == pytest.approx(parts)


def read(directory: Path, labels: list[Any], loss: LossSettings | None = None) -> DataLoader[object]:
    """A loader of one batch."""
    written = [
        {"input_text": f"case {i}", "label": label, "rationale": f"kind {'xyz'[i % 3]}"}
        for i, label in enumerate(labels)
    ]
    path = write_jsonl(directory / "rows.jsonl", written)
    data = load_json_dataset(path, make_tokenizer(), loss=loss)
    return DataLoader(data, batch_size=len(data), collate_fn=data.collate_fn)


def first(loss: LossSettings, loader: DataLoader[object], **model: Any) -> dict[str, float]:
    """What the first update logs."""
    return DHRDTrainer(make_model("llama", loss=loss, **model), loader).train(num_epochs=1)[0]


LABELS = ["a", "b", "c", "a", "a", "b"]


def test_targets_and_keywords_of_the_model_are_learned_or_refused(tmp_path: Path) -> None:
    losses = [LossSettings(lm_targets=targets, keyword_weight=1) for targets in ("all", "continuation", "input")]
    logs = [first(loss, read(tmp_path, LABELS, loss)) for loss in losses]
    assert len({log["lm_loss"] for log in logs}) == 3
    assert logs[0]["keyword_loss"] == logs[2]["keyword_loss"] > 0
    way_out = r"read them with load_json_dataset\(…, loss=model\.loss_settings\)"
    with pytest.raises(DataError, match=rf"the model's loss\.lm_targets: input, loss\.keyword_weight; {way_out}"):
        first(losses[2], read(tmp_path, LABELS))
    pooled = LossSettings(reasoning_weight=0)
    with pytest.raises(DataError, match=rf"the model's loss\.privileged_weight; {way_out}"):
        first(LossSettings(reasoning_weight=0, privileged_weight=1), read(tmp_path, LABELS, pooled))
    assert first(pooled, read(tmp_path, LABELS))["lm_loss"] == 0, "more than it needs is no harm"


@pytest.mark.parametrize("given", ["balanced", {"c": 3, "a": 1, "b": 1.5}])
def test_class_weights_are_those_of_the_rows_labels(tmp_path: Path, given: Any) -> None:
    weight_C = torch.tensor([1.0, 1.5, 3.0])  # inverse to 3, 2, 1, but for a factor
    logs = [
        first(LossSettings(class_weights=given), read(tmp_path, LABELS)),
        first(LossSettings(), read(tmp_path, LABELS), label_loss=LabelLoss(class_weight_C=weight_C)),
        first(LossSettings(), read(tmp_path, LABELS)),
    ]
    weighted, expected, equal = (log["classification_loss"] for log in logs)
    assert weighted == pytest.approx(expected)
    assert weighted != pytest.approx(equal)


def test_class_weights_without_their_labels_are_refused(tmp_path: Path) -> None:
    loss = LossSettings(class_weights={"a": 1, "b": 2})
    with pytest.raises(ConfigError, match=r"loss\.class_weights: give one weight for each of"):
        first(loss, read(tmp_path, LABELS))
    model = make_model("llama", loss=loss)
    nameless = DataLoader(rows(4), batch_size=4, collate_fn=lambda examples: make_batch(examples, model))
    with pytest.raises(ConfigError, match="the training loader's data set has no label names"):
        DHRDTrainer(model, nameless).train(1)


def test_rows_of_several_labels_are_learned_by_sigmoids(tmp_path: Path) -> None:
    several = [["a", "b"], ["c"], [], ["b"]]
    logs = [
        first(LossSettings(), read(tmp_path, several)),
        first(LossSettings(), read(tmp_path, several), label_loss=LabelLoss(multi_label=True)),
    ]
    assert logs[0]["classification_loss"] == logs[1]["classification_loss"]
    with pytest.raises(DataError, match="may have several labels each, but the model's label_loss has multi_label=F"):
        first(LossSettings(), read(tmp_path, several), label_loss=LabelLoss())
    with pytest.raises(DataError, match="have one label each, but the model's label_loss has multi_label=True"):
        first(LossSettings(), read(tmp_path, LABELS), label_loss=LabelLoss(multi_label=True))


class OwnRows(Dataset[Any]):
    """A data set of one's own: a list of rows, and what it calls their labels."""

    def __init__(self, labels: object) -> None:
        self.rows, self.labels = rows(4), labels

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self.rows[index]


def test_a_data_set_of_ones_own_is_trained_on() -> None:
    """Whatever it has under `labels`; only what needs the labels of its rows by name is refused."""
    collate = loader().collate_fn
    own = DataLoader(OwnRows(["a", "b", "c"]), batch_size=4, collate_fn=collate)
    assert DHRDTrainer(make_model("llama"), own).train(1)
    named = DataLoader(OwnRows(LabelSet(("a", "b", "c"))), batch_size=4, collate_fn=collate)
    model = make_model("llama", loss=LossSettings(class_weights="balanced"))
    with pytest.raises(ConfigError, match="balanced counts the rows of load_json_dataset; give weights by name"):
        DHRDTrainer(model, named).train(1)
