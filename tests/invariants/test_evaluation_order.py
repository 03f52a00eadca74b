"""Predictions do not depend on the rows beside them: not on their order, not on the batch size."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

import dhrd
from dhrd.data.records import LabelSet
from dhrd.evaluation.live import LiveModel
from dhrd.inference.engine.batching import predict_logits
from dhrd.inference.engine.options import Options
from helpers.models import FAMILIES, make_model, rows, run_config, save_backbone, texts

TOLERANCE = 1e-5
LABELS = LabelSet(("a", "b", "c"))


@pytest.mark.parametrize("family", FAMILIES)
def test_evaluating_a_model(family: str) -> None:
    model, examples = make_model(family), rows(13)
    shuffled = random.Random(0).sample(examples, len(examples))
    assert [e.id for e in shuffled] != [e.id for e in examples]
    live = LiveModel.of(model)
    metrics = live.evaluate(examples, LABELS)
    assert metrics["num_examples"] == 13
    for some, max_tokens in ((examples, 1), (examples, 40), (shuffled, 40)):
        live.engine.passes.options = Options(max_tokens_per_pass=max_tokens, pass_overhead_tokens=0)
        found = live.evaluate(some, LABELS)
        for name in ("accuracy", "macro_f1", "log_loss"):
            assert found[name] == pytest.approx(metrics[name], rel=TOLERANCE), name
        assert found["confusion_matrix"] == metrics["confusion_matrix"]


def test_logits_come_back_in_the_order_of_the_rows() -> None:
    model, examples = make_model("llama").eval(), rows(13)

    def logits(order: list[int], batch_size: int) -> np.ndarray:
        ids = [examples[i].input_ids for i in order]
        found = predict_logits(lambda b: model(b).logits_BC, ids, pad_token_id=256, batch_size=batch_size)
        return found[np.argsort(order)]

    order = list(range(13))
    expected = logits(order, 32)
    assert len({tuple(row) for row in expected.round(3).tolist()}) == 13
    for some, batch_size in ((order, 1), (order[::-1], 4), (random.Random(1).sample(order, 13), 5)):
        np.testing.assert_allclose(logits(some, batch_size), expected, rtol=TOLERANCE, atol=TOLERANCE)


def test_evaluation_leaves_dropout_as_it_was() -> None:
    model, examples = make_model("llama", dropout=0.5), rows(5)
    model.train()
    live = LiveModel.of(model)
    first = live.evaluate(examples, LABELS)["log_loss"]
    assert model.training
    assert live.evaluate(examples, LABELS)["log_loss"] == first


def test_classifying_texts(tmp_path: Path) -> None:
    config = run_config(
        model={"name_or_path": save_backbone(tmp_path / "backbone", "mistral")}, output_dir=str(tmp_path / "out")
    )
    dhrd.train(config, train_dataset=texts(), device="cpu")
    classifier = dhrd.Classifier.from_pretrained(tmp_path / "out", device="cpu", dtype=None)
    given = [row["input_text"] for row in texts(11)]
    expected = classifier.predict_proba(given)
    for batch_size, window in ((1, 1024), (3, 4), (32, 1)):
        classifier.batch_size = batch_size
        np.testing.assert_allclose(classifier.predict_proba(given), expected, rtol=TOLERANCE, atol=TOLERANCE)
        streamed = [list(one.probabilities.values()) for one in classifier.stream(given, window=window)]
        np.testing.assert_allclose(streamed, expected, rtol=TOLERANCE, atol=TOLERANCE)
    np.testing.assert_allclose(classifier.predict_proba(given[::-1])[::-1], expected, rtol=TOLERANCE, atol=TOLERANCE)
