"""The documents' evaluator: the metrics of a model over a loader's batches."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from dhrd.compat.evaluator import DHRDEvaluator
from dhrd.data.records import LabelSet
from dhrd.errors import DataError
from helpers.models import make_batch, make_model, rows


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


def test_batches_without_labels_are_refused() -> None:
    model = make_model("llama")
    with pytest.raises(DataError, match="the batches have no labels; collate them with num_labels"):
        DHRDEvaluator(model).evaluate([replace(make_batch(rows(2), model), label_BC=None)])
