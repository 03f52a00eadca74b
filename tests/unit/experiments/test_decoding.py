"""Cells that answer by chain of thought."""

from __future__ import annotations

from pathlib import Path

import pytest

from dhrd.experiments.decoding import drawn
from dhrd.experiments.report.summary import summarize
from dhrd.experiments.reproduce import reproduce
from helpers.experiments import make_request, performed
from helpers.rows import write_jsonl
from helpers.runs import rows


def test_all_seeds_decode_the_same_rows_so_that_they_are_averaged(tiny_backbone: Path, tmp_path: Path) -> None:
    request = make_request(tiny_backbone, tmp_path, study="throughput", arms=("cot_student",), num_seeds=2)
    report = summarize(request, reproduce(request, device="cpu"), command="dhrd …", created="2026-01-01")
    (task,) = report.backbones[0].tasks
    (arm,) = task.arms
    assert task.num_validation == 6  # the limit
    assert arm.mean["accuracy"] == pytest.approx(sum(one.values["accuracy"] for one in arm.seeds) / 2)


def test_a_limit_draws_from_all_rows() -> None:
    assert drawn(5, None) == drawn(5, 9) == [0, 1, 2, 3, 4]
    few = drawn(1000, 10)
    assert few == sorted(set(few)) and len(few) == 10 and few[-1] > 500


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
    assert "groups" not in found["outcomes"]


def test_decoded_rows_keep_their_groups(tiny_backbone: Path, tmp_path: Path) -> None:
    request = make_request(tiny_backbone, tmp_path, study="throughput", arms=("cot_untuned",))
    write_jsonl(tmp_path / "validation.jsonl", [{**row, "group": f"text of {row['id']}"} for row in rows(9)])
    outcomes = performed(request)["outcomes"]
    assert outcomes["groups"] == [f"text of {row_id}" for row_id in outcomes["ids"]]


def test_an_untuned_backbone_is_decoded_as_it_is(tiny_backbone: Path, tmp_path: Path) -> None:
    found = performed(make_request(tiny_backbone, tmp_path, study="throughput", arms=("cot_untuned",)))
    assert found["steps"] == 0
    assert "train" not in found["seconds"]
