"""One classifier, whoever loads it: as trained, dhrd, transformers, its pipeline, after merging, with the adapter."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

import dhrd
from dhrd.inference.engine.batching import predict_logits
from dhrd.model.dual_head import DualHeadModel
from dhrd.training import build
from helpers.models import FAMILIES, run_config, save_backbone, texts
from helpers.rows import make_tokenizer

TOLERANCE = 1e-4
LABELS = ["bill", "login", "mail"]
TEXTS = [row["input_text"] for row in texts(9)]


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., DualHeadModel]:
    """Train in `tmp_path / "out"` and give the model that was trained."""

    def train_there(family: str, tokenizer: dict[str, Any] | None = None, **sections: Any) -> DualHeadModel:
        kept: list[DualHeadModel] = []
        build_model = build.build_model
        monkeypatch.setattr(build, "build_model", lambda *given: kept.append(build_model(*given)) or kept[0])
        name = save_backbone(tmp_path / "backbone", family, tokenizer=make_tokenizer(**tokenizer or {}))
        training = {"num_epochs": 2, "learning_rate": 1e-2, "head_learning_rate": 1e-1}
        model = {"name_or_path": name} | sections.pop("model", {})
        config = run_config(model=model, training=training, output_dir=str(tmp_path / "out"), **sections)
        dhrd.train(config, train_dataset=texts(), device="cpu")
        return kept[0].eval()

    return train_there


def trained_logits(model: DualHeadModel) -> np.ndarray:
    """Of the model in memory."""
    pad = model.tokenizer.pad_token_id
    ids = model.tokenizer(TEXTS)["input_ids"]
    return predict_logits(lambda batch: model(batch).logits_BC, ids, pad_token_id=pad, batch_size=4)


def stock_logits(directory: Path, model: torch.nn.Module) -> np.ndarray:
    """Of a stock sequence classifier, as anyone calls it."""
    tokenizer = AutoTokenizer.from_pretrained(directory)
    with torch.no_grad():
        return model.eval()(**tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")).logits.numpy()


def pipeline_logits(directory: Path) -> np.ndarray:
    """Of `pipeline("text-classification")`, with all scores."""
    classify = pipeline("text-classification", model=str(directory), top_k=None, device="cpu")
    answers = classify(TEXTS, function_to_apply="none", batch_size=4)
    scores = [{one["label"]: one["score"] for one in answer} for answer in answers]
    return np.array([[score[name] for name in LABELS] for score in scores])


def dhrd_logits(directory: Path) -> np.ndarray:
    """Of `dhrd.Classifier`, whose probabilities are a softmax: logits up to a constant of each row."""
    return np.log(dhrd.Classifier.from_pretrained(directory, device="cpu", dtype=None).predict_proba(TEXTS))


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


def centred(logits: np.ndarray) -> np.ndarray:
    return logits - logits.mean(1, keepdims=True)


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_reader_gives_the_trained_models_logits(
    family: str, lora: bool, train: Callable[..., DualHeadModel], tmp_path: Path
) -> None:
    assert len(FAMILIES) == 9
    out, settings = tmp_path / "out", {"lora": {"r": 4, "alpha": 16}} if lora else {}
    expected = trained_logits(train(family, model=settings))
    assert expected.std(0).min() > 100 * TOLERANCE  # the rows differ in their logits

    stock, loading = AutoModelForSequenceClassification.from_pretrained(out, output_loading_info=True)
    assert not any(loading[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert stock.config.architectures == [type(stock).__name__]
    assert_same(stock_logits(out, stock), expected)
    assert_same(pipeline_logits(out), expected)
    assert_same(centred(dhrd_logits(out)), centred(expected))
    assert (out / "adapter").is_dir() == lora
    if lora:
        base = AutoModelForSequenceClassification.from_pretrained(tmp_path / "backbone", num_labels=3)
        assert np.abs(stock_logits(out, base) - expected).max() > 100 * TOLERANCE
        adapted = PeftModel.from_pretrained(base, str(out / "adapter"))
        assert_same(stock_logits(out, adapted), expected)
        assert_same(stock_logits(out, adapted.merge_and_unload()), expected)


@pytest.mark.parametrize("tokenizer", [{"pad": None}, {"pad": "<eos>"}, {"bos": "<bos>"}], ids=["no pad", "eos", "bos"])
def test_every_kind_of_tokenizer(
    tokenizer: dict[str, Any], train: Callable[..., DualHeadModel], tmp_path: Path
) -> None:
    expected, out = trained_logits(train("gpt2", tokenizer=tokenizer)), tmp_path / "out"
    assert_same(pipeline_logits(out), expected)
    assert_same(centred(dhrd_logits(out)), centred(expected))
    config = json.loads((out / "config.json").read_text())
    assert config["pad_token_id"] == AutoTokenizer.from_pretrained(out).pad_token_id is not None


@pytest.mark.parametrize("settings", [{"head": "mlp"}, {"pooling": "mean"}, {"head": "mlp", "pooling": "mean"}])
@pytest.mark.parametrize("family", ["gpt2", "opt", "gemma3"])
def test_what_is_not_stock_is_loaded_by_dhrd(
    family: str, settings: dict[str, str], train: Callable[..., DualHeadModel], tmp_path: Path
) -> None:
    expected = trained_logits(train(family, model=settings))
    assert_same(centred(dhrd_logits(tmp_path / "out")), centred(expected))


def test_bf16_weights_are_close(train: Callable[..., DualHeadModel], tmp_path: Path) -> None:
    expected = trained_logits(train("llama", model={"dtype": "bfloat16", "lora": {}}))
    classifier = dhrd.Classifier.from_pretrained(tmp_path / "out", device="cpu", dtype=None)
    assert classifier.body.dtype == torch.bfloat16
    probabilities = torch.softmax(torch.from_numpy(expected), 1).numpy()
    found = classifier.predict_proba(TEXTS)
    assert 0 < np.abs(found - probabilities).max() <= 0.03
