"""Weights in shards on two processes (FSDP2): the same run as in one process, and it goes on after a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import helpers.shards
from helpers.models import difference, save_backbone
from helpers.processes import two_processes

TOLERANCE = 1e-5
RUNS: dict[str, dict[str, Any]] = {
    "llama": {"backbone": "llama"},
    "gemma3": {"backbone": "gemma3"},
    "clipped": {"backbone": "llama", "training": {"clip_norm": 0.5}},
    "frozen below, recomputed, calibrated": {
        "backbone": "llama",
        "model": {"freeze_layers": 1, "head": "mlp", "pooling": "mean"},
        "training": {"gradient_checkpointing": True, "calibrate": True},
    },
    "the classifier alone": {"backbone": "llama", "loss": {"reasoning_weight": 0.0, "keyword_weight": 0.0}},
}
BACKBONES = sorted({run["backbone"] for run in RUNS.values()})


@pytest.fixture(scope="module")
def folder(commands: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every run in one process, `one NAME`, and in shards, `two NAME`; one of the latter is broken off and goes on."""
    folder = tmp_path_factory.mktemp("shards")
    backbones = {family: save_backbone(folder / family, family) for family in BACKBONES}
    runs = {name: run | {"backbone": backbones[run["backbone"]]} for name, run in RUNS.items()}
    llama = {"backbone": backbones["llama"]}
    apart: list[dict[str, Any]] = [{**run, "name": f"two {name}", "batch_size": 4} for name, run in runs.items()]
    apart.append({**llama, "name": "two llama, accumulated", "batch_size": 2, "accumulation": 2})
    apart.append({**llama, "name": "two llama, stopped", "batch_size": 4, "stop_at": 4})
    apart.append({**llama, "name": "two llama, stopped", "batch_size": 4})
    sharded = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}  # as `accelerate launch` says it
    with two_processes(commands, helpers.shards.__file__, str(folder), json.dumps(apart), **sharded):
        for name, run in runs.items():
            assert helpers.shards.train_some(**run, output_dir=folder / f"one {name}", batch_size=8) == {"whole"}
    for rank in range(2):  # not a copy of the weights in each
        assert json.loads((folder / f"moved-{rank}.json").read_text()) == [["shard"]] * len(apart)
    return folder


def logged(output_dir: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (output_dir / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "tokens_per_second"} for line in lines]


@pytest.mark.parametrize("name", [*RUNS, "llama, accumulated"])
def test_shards_are_the_same_run(folder: Path, name: str) -> None:
    one, two = folder / f"one {name.removesuffix(', accumulated')}", folder / f"two {name}"
    files = [sorted(str(path.relative_to(place)) for path in place.rglob("*")) for place in (one, two)]
    assert files[0] == files[1]
    for file in [file for file in files[0] if file.endswith(".safetensors")]:
        ours, theirs = load_file(two / file), load_file(one / file)
        assert ours.keys() == theirs.keys()
        assert difference(ours, theirs) < TOLERANCE, file
        assert all(tensor.isfinite().all() for tensor in ours.values())
    for mine, other in zip(logged(two), logged(one), strict=True):
        assert mine == pytest.approx(other, rel=1e-4)
    assert len(logged(two)) == 6 + 2
    config, dhrd = (
        [json.loads((place / file).read_text()) for place in (one, two)] for file in ("config.json", "dhrd.json")
    )
    assert config[0] == config[1]
    for info in dhrd:
        info.pop("calibration", None), info.pop("training")
        info.pop("digests")  # of weights that are alike and not the same bit for bit, as compared above
    assert dhrd[0] == dhrd[1]


def test_the_runs_moved_the_weights(folder: Path) -> None:
    before, after = (
        load_file(folder / "llama" / "model.safetensors"),
        load_file(folder / "two llama" / "model.safetensors"),
    )
    assert difference({name: after[name] for name in before if name in after}, before) > 100 * TOLERANCE


def test_a_run_in_shards_goes_on_after_a_checkpoint(folder: Path) -> None:
    """With the same weights to the bit, best weights among them."""
    whole, stopped = (load_file(folder / f"two llama{name}" / "model.safetensors") for name in ("", ", stopped"))
    assert whole.keys() == stopped.keys()
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)
    steps = [line["step"] for line in logged(folder / "two llama, stopped") if "loss" in line]
    assert steps == [1, 2, 3, 4, 5, 6]
