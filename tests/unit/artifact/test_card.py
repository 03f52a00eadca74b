"""The model card: its text, and what the hub reads at its head."""

from __future__ import annotations

from typing import Any

import pytest
from huggingface_hub import ModelCard

from dhrd.artifact.card import model_card
from dhrd.artifact.info import ArtifactInfo
from dhrd.config import load_config
from helpers.artifacts import LABELS

METRICS = {
    "num_examples": 40,
    "accuracy": 0.75,
    "macro_f1": 0.7,
    "interval_95": {"accuracy": (0.6, 0.87), "macro_f1": None},
    "selected_on": True,
}


def card(**fields: Any) -> str:
    training = {"backbone": "tiny", "num_train_examples": 8, "num_with_rationale": 6, "steps": 3, "seed": 1}
    info = ArtifactInfo(**{"kind": "sequence_classifier", "labels": LABELS, "training": training | fields})
    return model_card(info, load_config(output_dir="runs/mail", data__validation="rows.jsonl"))


def test_the_hub_reads_metrics_with_their_intervals() -> None:
    data = ModelCard(card(metrics=METRICS)).data
    assert (data.library_name, data.pipeline_tag, data.model_name) == ("transformers", "text-classification", "mail")
    assert data.tags == ["dhrd", "dual-head-reasoning-distillation"]
    found = {result.metric_type: result for result in data.eval_results or []}
    assert {name: result.metric_value for name, result in found.items()} == {"accuracy": 0.75, "macro_f1": 0.7}
    assert found["accuracy"].metric_args == {"num_examples": 40, "interval_95": [0.6, 0.87]}
    assert found["macro_f1"].metric_args == {"num_examples": 40}
    assert {result.dataset_name for result in found.values()} == {"rows.jsonl"}


@pytest.mark.parametrize(
    ("backbone", "train", "base_model", "datasets"),
    [
        ("some-org/a-model-of-135M", "hub:some-org/mails:en", "some-org/a-model-of-135M", ["some-org/mails"]),
        ("./models/mine", "mails.jsonl", None, None),
        ("package:some/file.gguf", "superglue:cb", None, None),
    ],
)
def test_the_hub_reads_where_it_comes_from(
    backbone: str, train: str, base_model: str | None, datasets: list[str] | None
) -> None:
    info = ArtifactInfo(kind="sequence_classifier", labels=LABELS)
    data = ModelCard(model_card(info, load_config(model__name_or_path=backbone, data__train=train))).data
    assert (data.base_model, data.datasets) == (base_model, datasets)


def test_people_read_them_too() -> None:
    text = card(metrics=METRICS)
    assert "| accuracy | 0.750 | 0.600 to 0.870 |" in text
    assert "| macro_f1 | 0.700 |  |" in text
    assert "40 rows of `rows.jsonl`; the weights, or a temperature, were chosen on these rows." in text
    assert "8 training rows" in text and "6 with a rationale; 3 updates, seed 1." in text


def test_without_rows_there_are_no_results() -> None:
    text = card()
    assert "## Results" not in text
    assert ModelCard(text).data.eval_results is None


@pytest.mark.parametrize(
    ("kind", "loads"),
    [("sequence_classifier", "pipeline("), ("dhrd_classifier", "Classifier"), ("causal_lm", "AutoModelForCausalLM")],
)
def test_each_kind_says_how_it_is_loaded(kind: Any, loads: str) -> None:
    text = model_card(ArtifactInfo(kind=kind, labels=LABELS), load_config())
    assert loads in text
    assert ("vllm serve" in text) == (kind == "sequence_classifier")
