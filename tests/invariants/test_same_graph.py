"""DHRD costs nothing at inference: its artifact and the pooled baseline's are one graph, asserted and not timed."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import safe_open

import dhrd
from dhrd.model.flops import forward_cost
from helpers.runs import make_config, rows


def test_pooled_baseline_and_dhrd_leave_the_same_graph(tiny_backbone: Path, tmp_path: Path) -> None:
    shapes, configs, work = [], [], []
    for arm, weight in (("pooled", 0.0), ("dhrd", 1.0)):
        config = make_config(tiny_backbone, tmp_path / arm, f"loss.reasoning_weight={weight}")
        directory = dhrd.train(config).output_dir
        with safe_open(directory / "model.safetensors", framework="pt") as file:
            shapes.append({name: file.get_slice(name).get_shape() for name in file.keys()})  # noqa: SIM118
        configs.append(json.loads((directory / "config.json").read_text()))
        classifier = dhrd.Classifier.from_pretrained(directory, device="cpu")
        classifier.predict([row["input_text"] for row in rows(12)])
        work.append((classifier.engine.work, forward_cost(classifier.body)))
    assert len(shapes[0]) > 10
    assert shapes[0] == shapes[1]
    assert configs[0] == configs[1]
    assert work[0] == work[1]
