"""Cells that answer by chain of thought."""

from __future__ import annotations

from pathlib import Path

from helpers.experiments import make_request, performed


def test_a_student_is_decoded(tiny_backbone: Path, tmp_path: Path) -> None:
    found = performed(make_request(tiny_backbone, tmp_path, study="throughput", arms=("cot_student",)))
    metrics, speed = found["metrics"], found["speed"]
    assert metrics["num_examples"] == 6  # the limit
    assert 0 <= metrics["unparsable"] <= 1
    assert metrics["accuracy"] <= 1 - metrics["unparsable"]
    assert 0 < metrics["mean_new_tokens"] <= 12
    assert speed["queries_per_second"] > 0
    assert speed["unparsable_share"] == metrics["unparsable"]
    assert "transformers, batch 4" in speed["engine"]
    assert found["outcomes"]["probabilities"] is None


def test_an_untuned_backbone_is_decoded_as_it_is(tiny_backbone: Path, tmp_path: Path) -> None:
    found = performed(make_request(tiny_backbone, tmp_path, study="throughput", arms=("cot_untuned",)))
    assert found["steps"] == 0
    assert "train" not in found["seconds"]
