"""What a run will do, said before its first update."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dhrd.data.rows import load_rows
from dhrd.model.backbone import load_backbone
from dhrd.run.announce import announced
from dhrd.training.build import build
from helpers.runs import make_config


@pytest.mark.parametrize("overrides", [[], ["model.freeze_layers=1", "training.batch_size=4"]])
def test_it_is_what_the_run_then_does(tiny_backbone: Path, tmp_path: Path, overrides: list[str]) -> None:
    config = make_config(tiny_backbone, tmp_path, *overrides)
    parts = build(config, load_rows(config), load_backbone(config.model), "cpu")
    labels, updates, device = announced(parts)
    assert labels == "labels: 'keep' 7, 'return' 7, 'repair' 6"
    batches = [batch for update in parts.updates.epoch(0) for batch in update]
    num_updates = len(list(parts.updates.epoch(0)))
    assert updates.startswith(f"updates: {2 * num_updates} (2 epochs of {num_updates}); ")
    num_tokens = sum(batch.num_tokens for batch in batches)
    assert f"{num_tokens:,} tokens an epoch, {max(b.input_ids_BT.shape[1] for b in batches)} in the longest" in updates
    trained = sum(p.numel() for group in parts.state.optimizer.param_groups for p in group["params"])
    total = sum(p.numel() for p in parts.model.parameters())
    assert device.startswith("on ") and device.endswith(f"float32; {trained:,} of {total:,} weights are trained")
    assert (trained < total) == bool(overrides)


def test_each_of_several_tasks_has_its_labels(tiny_backbone: Path, tmp_path: Path) -> None:
    config = make_config(tiny_backbone, tmp_path, "tasks={what: {column: label}, again: {column: label}}")
    parts = build(config, load_rows(config), load_backbone(config.model), "cpu")
    told = [line for line in announced(parts) if line.startswith("labels of ")]
    assert told == [f"labels of {name}: 'keep' 7, 'return' 7, 'repair' 6" for name in ("what", "again")]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["loss.reasoning_weight=0"], r"rationales: \d+ rows have one, and no loss reads it: the pooled baseline"),
        (
            ["data.max_input_tokens=24", "data.max_sequence_tokens=24"],
            r"rationales: \d+ of \d+ are cut to data.max_sequence_tokens=24: raise it",
        ),
    ],
)
def test_rationales_that_are_lost_are_told(
    tiny_backbone: Path, tmp_path: Path, overrides: list[str], said: str
) -> None:
    config = make_config(tiny_backbone, tmp_path, *overrides)
    parts = build(config, load_rows(config), load_backbone(config.model), "cpu")
    *_, line = announced(parts)
    assert re.match(said, line), line
