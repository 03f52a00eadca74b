"""The documents' evaluator: the metrics of a model over a loader's batches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Subset

from dhrd.artifact.info import ArtifactInfo
from dhrd.artifact.write import kind_of, save_artifact
from dhrd.compat.dataset import DHRDDataset, load_json_dataset
from dhrd.compat.evaluator import DHRDEvaluator
from dhrd.config import DataSettings
from dhrd.data.records import LabelSet
from dhrd.data.sources import open_source
from dhrd.errors import DataError
from dhrd.evaluation.evaluate import evaluate_classifier
from dhrd.inference.classifier import Classifier
from dhrd.metrics.intervals import wilson
from dhrd.model.dual_head import DualHeadModel
from helpers.artifacts import LABELS
from helpers.models import make_backbone, make_batch, make_model, rows
from helpers.rows import make_tokenizer, write_jsonl


def test_metrics_are_of_all_batches() -> None:
    model, examples = make_model("llama"), rows(9)
    batches = [make_batch(examples[i : i + 4], model) for i in range(0, 9, 4)]
    with torch.no_grad():
        right = [model.eval()(batch).logits_BC.argmax(1) == batch.label_BC.argmax(1) for batch in batches]
    metrics = DHRDEvaluator(model.train()).evaluate(batches, intervals=False)
    assert metrics["num_examples"] == 9
    assert metrics["accuracy"] == pytest.approx(float(torch.cat(right).float().mean()))
    assert "interval_95" not in metrics
    assert not model.training
    assert "interval_95" in DHRDEvaluator(model).evaluate(batches)


def test_labels_are_the_data_sets_own_where_it_has_some() -> None:
    model = make_model("llama")
    batch = make_batch(rows(6), model)
    assert set(DHRDEvaluator(model).evaluate([batch], intervals=False)["per_class"]) == {"0", "1", "2"}

    class Loader(list[object]):
        dataset = SimpleNamespace(labels=LabelSet(("a", "b", "c")))

    assert set(DHRDEvaluator(model).evaluate(Loader([batch]), intervals=False)["per_class"]) == {"a", "b", "c"}


@pytest.fixture
def of_groups(tmp_path: Path) -> tuple[DualHeadModel, Path]:
    """A model, and 120 rows in groups of 12 that have the label in common."""
    given = [
        {"id": str(i), "input_text": f"case {i}", "label": LABELS.names[i // 12 % 3], "group": f"g{i // 12}"}
        for i in range(120)
    ]
    model = make_model("llama", backbone=make_backbone(tokenizer=make_tokenizer()))
    return model, write_jsonl(tmp_path / "rows.jsonl", given)


def test_whole_groups_are_resampled_as_in_evaluate(of_groups: tuple[DualHeadModel, Path], tmp_path: Path) -> None:
    model, path = of_groups
    save_artifact(tmp_path / "artifact", model, ArtifactInfo(kind=kind_of(model), labels=LABELS))
    classifier = Classifier.from_pretrained(tmp_path / "artifact", device="cpu", dtype=None)
    expected = evaluate_classifier(classifier, open_source(path, DataSettings()).load()).metrics
    data = load_json_dataset(path, model.tokenizer, labels=LABELS)
    metrics = DHRDEvaluator(model).evaluate(DataLoader(data, batch_size=16, collate_fn=data.collate_fn))
    assert metrics["interval_95"] == expected["interval_95"]
    assert metrics["interval_95"]["accuracy"] != list(wilson(round(120 * metrics["accuracy"]), 120))


def test_rows_keep_their_groups_in_any_order_and_in_subsets(of_groups: tuple[DualHeadModel, Path]) -> None:
    model, path = of_groups
    data = load_json_dataset(path, model.tokenizer, labels=LABELS)
    part = Subset(data, range(7, 90))

    def evaluate(**how: Any) -> dict[str, Any]:
        return DHRDEvaluator(model).evaluate(DataLoader(part, batch_size=16, collate_fn=data.collate_fn, **how))

    assert evaluate(shuffle=True)["interval_95"] == evaluate()["interval_95"]


def test_rows_of_one_id_have_each_their_group(of_groups: tuple[DualHeadModel, Path]) -> None:
    model, path = of_groups
    data = load_json_dataset(path, model.tokenizer, labels=LABELS)
    twice = DHRDDataset([replace(row, id="same") for row in data.examples], LABELS, data.pad_token_id)
    one, other = (
        DHRDEvaluator(model).evaluate(DataLoader(rows, batch_size=16, collate_fn=data.collate_fn))
        for rows in (data, twice)
    )
    assert one == other


def test_rows_without_groups_count_each(of_groups: tuple[DualHeadModel, Path]) -> None:
    model, path = of_groups
    data = load_json_dataset(path, model.tokenizer, labels=LABELS)
    alone = DHRDDataset([replace(row, group=None) for row in data.examples], LABELS, data.pad_token_id)
    metrics = DHRDEvaluator(model).evaluate(DataLoader(alone, batch_size=16, collate_fn=data.collate_fn))
    assert metrics["interval_95"]["accuracy"] == list(wilson(round(120 * metrics["accuracy"]), 120))


def test_batches_without_labels_are_refused() -> None:
    model = make_model("llama")
    with pytest.raises(DataError, match="the batches have no labels; collate them with num_labels"):
        DHRDEvaluator(model).evaluate([replace(make_batch(rows(2), model), label_BC=None)])
