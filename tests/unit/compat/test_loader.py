"""Loaders whose labels are not the model's are refused, with both label sets and the way out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Subset

from dhrd.compat.dataset import DHRDDataset, load_json_dataset
from dhrd.compat.evaluator import DHRDEvaluator
from dhrd.compat.trainer import DHRDTrainer
from dhrd.data.records import LabelSet
from dhrd.errors import DataError
from dhrd.model.dual_head import DualHeadModel
from helpers.models import make_batch, make_model, rows
from helpers.rows import make_tokenizer, write_jsonl

WAY_OUT = r"load_json_dataset\(…, labels=train_dataset\.labels\)"


def read(directory: Path, labels: Sequence[object], given: LabelSet | None = None) -> DHRDDataset:
    path = write_jsonl(
        directory / "rows.jsonl", [{"input_text": f"case {i}", "label": y} for i, y in enumerate(labels)]
    )
    return load_json_dataset(path, make_tokenizer(), labels=given)


def loader(data: DHRDDataset, *, part: bool = False) -> DataLoader[object]:
    return DataLoader(Subset(data, [0]) if part else data, batch_size=4, collate_fn=data.collate_fn)


@pytest.fixture
def trained(tmp_path: Path) -> tuple[DualHeadModel, DHRDDataset]:
    model, data = make_model("llama"), read(tmp_path, [0, 1, 2])
    DHRDTrainer(model, loader(data)).train(num_epochs=1)
    return model, data


@pytest.mark.parametrize("part", [False, True])
@pytest.mark.parametrize("labels", [["b", "c", "d"], [1, 2], [2, 1, 5], [[0, 1], [2]]])
def test_another_files_labels_are_not_scored_by_position(
    trained: tuple[DualHeadModel, DHRDDataset], tmp_path: Path, labels: list[object], part: bool
) -> None:
    model, data = trained
    other = loader(read(tmp_path, labels), part=part)
    with pytest.raises(DataError, match=rf"the rows have .*those of training the labels '0', '1', '2'; .*{WAY_OUT}"):
        DHRDEvaluator(model).evaluate(other)
    with pytest.raises(DataError, match=WAY_OUT):
        DHRDTrainer(model, loader(data), eval_dataloader=other).train(num_epochs=1)


def test_with_the_labels_of_training_a_file_may_lack_some(
    trained: tuple[DualHeadModel, DHRDDataset], tmp_path: Path
) -> None:
    model, data = trained
    found = DHRDEvaluator(model).evaluate(loader(read(tmp_path, [2, 1], data.labels)), intervals=False)
    assert found["num_examples"] == 2
    assert DHRDTrainer(model, loader(data), loader(read(tmp_path, [2, 1], data.labels))).train(1)


def test_data_sets_one_after_the_other_are_what_they_are_apart(tmp_path: Path) -> None:
    """Several labels a row: their own loss and metrics, also where a subset of a concatenation is read."""
    data = read(tmp_path, [[0, 1], [2], [0], []])
    joined = ConcatDataset([Subset(data, [0, 1]), ConcatDataset([Subset(data, [2, 3])])])
    model = make_model("llama")
    DHRDTrainer(model, loader(data)).train(num_epochs=1)
    plain, found = (
        DHRDEvaluator(model).evaluate(DataLoader(part, batch_size=4, collate_fn=data.collate_fn), intervals=False)
        for part in (data, Subset(joined, range(4)))
    )
    assert found == plain and "micro_f1" in found


def test_data_sets_of_different_labels_are_not_joined_by_position(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    one, other = read(tmp_path, ["bill", "mail"]), read(tmp_path / "other", ["mail", "zoo"])
    joined = DataLoader(ConcatDataset([one, other]), batch_size=4, collate_fn=one.collate_fn)
    with pytest.raises(DataError, match=rf"have the labels 'bill', 'mail' and the labels 'mail', 'zoo'; .*{WAY_OUT}"):
        DHRDTrainer(make_model("llama"), joined).train(num_epochs=1)


def test_another_number_of_labels_than_the_models_is_refused(tmp_path: Path) -> None:
    model, other = make_model("llama"), read(tmp_path, ["x", "y"])
    with pytest.raises(DataError, match=r"the labels 'x', 'y', but the model has 3 labels; .* with num_labels=2$"):
        DHRDEvaluator(model).evaluate(loader(other))
    with pytest.raises(DataError, match="the model has 3 labels"):
        DHRDTrainer(model, loader(other)).train(num_epochs=1)
    batch = replace(make_batch(rows(2), model), label_BC=torch.eye(2))
    with pytest.raises(DataError, match="the batches have 2 labels, but the model 3"):
        DHRDEvaluator(model).evaluate([batch])
