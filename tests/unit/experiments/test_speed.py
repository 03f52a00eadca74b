"""Queries per second of a cell's classifier."""

from __future__ import annotations

from pathlib import Path

from helpers.experiments import make_request, performed


def test_a_classifiers_speed_is_from_text_to_label(tiny_backbone: Path, tmp_path: Path) -> None:
    found = performed(make_request(tiny_backbone, tmp_path, study="throughput", arms=("dhrd",)))
    assert found["speed"]["num_queries"] == 9
    assert 0 < found["speed"]["min"] <= found["speed"]["queries_per_second"] <= found["speed"]["max"]
    assert found["metrics"]["num_examples"] == 9
