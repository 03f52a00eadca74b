"""Calibration against scikit-learn and by hand; temperatures found again; the head that carries one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk
from scipy.special import expit, softmax
from sklearn.calibration import calibration_curve
from transformers import pipeline

import dhrd
from dhrd.config import resolve
from dhrd.errors import ConfigError, DataError
from dhrd.metrics.calibration import calibration, fit_temperature
from helpers.runs import make_config, rows


def drawn(num_rows: int, num_classes: int = 3, *, temperature: float = 1.0, seed: int = 0) -> tuple[Any, Any]:
    """Logits that are `temperature` times too large, and labels drawn from the probabilities of the right ones."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (num_rows, num_classes))
    gold = (softmax(logits, 1).cumsum(1) < rng.random((num_rows, 1))).sum(1)
    return logits * temperature, gold


@pytest.mark.parametrize("num_classes", [2, 5])
def test_scores_are_scikit_learns(num_classes: int) -> None:
    logits, gold = drawn(400, num_classes, temperature=3.0)
    p = softmax(logits, 1)
    found = calibration(p, gold)
    assert found["log_loss"] == pytest.approx(sk.log_loss(gold, p, labels=range(num_classes)))
    each = [sk.brier_score_loss(gold == k, p[:, k]) for k in range(num_classes)]
    assert found["brier"] == pytest.approx(sum(each))
    confidence, right = p.max(1), p.argmax(1) == gold
    accuracy, mean = calibration_curve(right, confidence, n_bins=15)
    bins = found["reliability"]
    assert [one["accuracy"] for one in bins] == pytest.approx(accuracy.tolist())
    assert [one["confidence"] for one in bins] == pytest.approx(mean.tolist())
    assert sum(one["count"] for one in bins) == 400
    assert all(one["low"] < one["confidence"] <= one["high"] for one in bins)
    assert 0.05 < found["ece"] < 0.5
    json.dumps(found, allow_nan=False)


def test_by_hand() -> None:
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]])
    found = calibration(p, np.array([0, 1, 1, 1]), num_bins=2)  # right, wrong, right, right
    assert found["brier"] == pytest.approx(2 * (0.1**2 + 0.8**2 + 0.3**2 + 0.4**2) / 4)
    assert found["reliability"] == [
        {"low": 0.5, "high": 1.0, "confidence": pytest.approx(0.75), "accuracy": 0.75, "count": 4}
    ]
    assert found["ece"] == pytest.approx(0)
    assert found["risk_coverage"] == [
        {"coverage": 0.25, "risk": 0.0, "threshold": 0.9},
        {"coverage": 0.5, "risk": 0.5, "threshold": 0.8},
        {"coverage": 0.75, "risk": pytest.approx(1 / 3), "threshold": 0.7},
        {"coverage": 1.0, "risk": 0.25, "threshold": 0.6},
    ]
    assert found["aurc"] == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 4) / 4)


def test_ece_by_plain_loops_with_confidences_on_the_edges() -> None:
    p_top = np.array([0.5, 0.6, 0.6, 0.7, 1.0, 1.0, 0.9])
    p, gold = np.stack([p_top, 1 - p_top], 1), np.array([0, 1, 0, 0, 0, 1, 0])
    found = calibration(p, gold, num_bins=10)
    expected = 0.0
    for index in range(10):
        inside = (p_top > index / 10 + 1e-12) & (p_top <= (index + 1) / 10 + 1e-12)
        if inside.any():
            expected += inside.sum() / 7 * abs((gold[inside] == 0).mean() - p_top[inside].mean())
    assert found["ece"] == pytest.approx(expected)
    assert sum(one["count"] for one in found["reliability"]) == 7


def test_rows_of_equal_confidence_are_answered_together_in_any_order() -> None:
    p_top, right = np.array([0.9, 0.9, 0.9, 0.6]), np.array([1, 0, 1, 0])
    p = np.stack([p_top, 1 - p_top], 1)
    order = np.array([1, 3, 0, 2])
    found, again = calibration(p, 1 - right), calibration(p[order], 1 - right[order])
    assert found == again
    assert [point["coverage"] for point in found["risk_coverage"]] == [0.75, 1.0]
    assert found["aurc"] == pytest.approx((3 * (1 / 3) + 1 / 2) / 4)


def test_the_curve_of_many_rows_has_few_points_and_ends_with_all_rows() -> None:
    logits, gold = drawn(3000)
    p = softmax(logits, 1)
    found = calibration(p, gold)
    points = found["risk_coverage"]
    assert len(points) == 50
    assert points[-1]["coverage"] == 1
    assert points[-1]["risk"] == pytest.approx((p.argmax(1) != gold).mean())
    for point in points[::7]:
        kept = p.max(1) >= point["threshold"]
        assert point["coverage"] == pytest.approx(kept.mean())
        assert point["risk"] == pytest.approx((p.argmax(1) != gold)[kept].mean())


def test_no_rows_are_refused() -> None:
    with pytest.raises(DataError, match="no rows"):
        calibration(np.empty((0, 2)), np.empty(0, dtype=int))
    with pytest.raises(DataError, match="no rows"):
        fit_temperature(np.empty((0, 2)), np.empty((0, 2)))


@pytest.mark.parametrize("temperature", [0.2, 1.0, 4.0])
def test_a_temperature_is_found_again(temperature: float) -> None:
    logits, gold = drawn(20_000, temperature=temperature)
    found = fit_temperature(logits, np.eye(3)[gold])
    assert found == pytest.approx(temperature, rel=0.05)
    before, after = (calibration(softmax(logits / t, 1), gold) for t in (1.0, found))
    assert after["log_loss"] <= before["log_loss"]
    assert after["ece"] < 0.02


@pytest.mark.parametrize("temperature", [0.3, 2.5])
def test_with_several_labels_too(temperature: float) -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (8000, 4))
    gold = (rng.random(logits.shape) < expit(logits)).astype(float)
    found = fit_temperature(logits * temperature, gold, multi_label=True)
    assert found == pytest.approx(temperature, rel=0.05)


def test_the_temperature_has_the_least_log_loss_of_all() -> None:
    logits, gold = drawn(50, temperature=2.0, seed=5)
    found = fit_temperature(logits, np.eye(3)[gold])
    least = min(sk.log_loss(gold, softmax(logits / t, 1), labels=range(3)) for t in np.geomspace(0.01, 100, 200))
    assert sk.log_loss(gold, softmax(logits / found, 1), labels=range(3)) <= least + 1e-9


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("right", [True, False])
def test_rows_that_decide_nothing_leave_the_probabilities(
    right: bool, scale: float, caplog: pytest.LogCaptureFixture
) -> None:
    """All right: colder is always better. All wrong: hotter is."""
    gold = np.eye(2)[[0, 1, 1, 0]]
    logits = (gold if right else 1 - gold) * scale
    for multi_label in (False, True):
        caplog.clear()
        centred = logits - scale / 2
        assert fit_temperature(centred, gold, multi_label=multi_label) == 1.0
        assert "determine no temperature" in caplog.text


def trained(backbone: Path, directory: Path, *overrides: str) -> Path:
    """On rows that the tiny model knows: of others it knows nothing, so that no temperature would be best."""
    known = f"data.validation={directory / 'train.jsonl'}"
    lively = ("training.num_epochs=1", "training.head_learning_rate=0.05", known)
    return dhrd.train(make_config(backbone, directory, *lively, *overrides), device="cpu").output_dir


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_the_head_carries_the_temperature(head: str, tiny_backbone: Path, tmp_path: Path) -> None:
    plain, calibrated = (
        trained(
            tiny_backbone,
            tmp_path / name,
            f"model.head={head}",
            f"training.head_learning_rate={0.05 if head == 'linear' else 0.02}",
            f"training.calibrate={name == 'yes'}",
        )
        for name in ("no", "yes")
    )
    texts = [row["input_text"] for row in rows(30)]
    before, after = (dhrd.Classifier.from_pretrained(one, device="cpu", dtype=None) for one in (plain, calibrated))
    temperature = after.info.calibration["temperature"]
    assert before.info.calibration["temperature"] == 1
    assert abs(temperature - 1) > 0.01
    assert before.predict(texts) == after.predict(texts)
    expected = softmax(np.log(before.predict_proba(texts)) / temperature, 1)
    assert np.allclose(after.predict_proba(texts), expected, atol=1e-5)
    if head == "linear":
        answers = pipeline("text-classification", model=str(calibrated), top_k=None, device="cpu")(texts)
        scores = [{one["label"]: one["score"] for one in answer} for answer in answers]
        names = after.labels.names
        assert np.allclose([[score[name] for name in names] for score in scores], expected, atol=1e-5)
    metrics = [one.info.training["metrics"] for one in (before, after)]
    assert metrics[1]["accuracy"] == metrics[0]["accuracy"]
    assert metrics[1]["log_loss"] < metrics[0]["log_loss"]


@pytest.mark.parametrize("dev_share", [0.0, 0.5])
def test_rows_of_a_temperature_are_rows_of_a_choice(dev_share: float, tiny_backbone: Path, tmp_path: Path) -> None:
    out = trained(tiny_backbone, tmp_path, "training.calibrate=true", f"data.dev_share={dev_share}")
    info = dhrd.Classifier.from_pretrained(out, device="cpu", dtype=None).info
    assert info.training["selected_on"]["rows"].startswith("0.5 of" if dev_share else str(tmp_path))
    assert info.training["metrics"]["selected_on"] == (dev_share == 0)
    assert dhrd.evaluate(out).metrics["selected_on"] == (dev_share == 0)


def test_several_labels_keep_theirs(tiny_backbone: Path, tmp_path: Path) -> None:
    tagged = [row | {"label": [row["label"]] if n % 3 else []} for n, row in enumerate(rows(24))]
    found = []
    for name in ("no", "yes"):
        config = make_config(
            tiny_backbone, tmp_path / name, f"training.calibrate={name == 'yes'}", "data.dev_share=0.5",
            "data.validation=null", "training.head_learning_rate=0.1",
        )  # fmt: skip
        trained = dhrd.train(config, train_dataset=tagged, device="cpu").output_dir
        found.append(dhrd.Classifier.from_pretrained(trained, device="cpu", dtype=None))
    texts = [row["input_text"] for row in rows(40)]
    assert found[0].predict(texts) == found[1].predict(texts)
    assert found[1].info.calibration["temperature"] != 1


def test_a_temperature_needs_rows_and_a_classifier() -> None:
    calibrate = {"training": {"calibrate": True}}
    with pytest.raises(ConfigError, match=r"training\.calibrate needs held-out rows .* set data\.dev_share"):
        resolve(calibrate).check_choices(has_validation=False)
    with pytest.raises(ConfigError, match=r"there is no classifier; leave out training\.calibrate"):
        resolve(calibrate | {"data": {"dev_share": 0.1}, "loss": {"classification_weight": 0}})
    assert resolve(calibrate | {"data": {"validation": "v.jsonl"}}).training.calibrate
