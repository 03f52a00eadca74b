"""A run in shards through `dhrd.train`, broken off and gone on with; run as a script, one process of two.

The environment says which, as torchrun sets it, and that weights are in shards, as `accelerate launch` sets it.
"""

from __future__ import annotations

import json
import os
import sys
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

import dhrd
from helpers.models import run_config, texts
from helpers.runs import Stop

LOSSES = {"keyword_weight": 0.3, "privileged_weight": 0.4}
NUM_ROWS = 19  # in the short update one of two processes has no row


def train_some(
    backbone: str, output_dir: Path, *, batch_size: int, accumulation: int = 1, stop_at: int | None = None, **run: Any
) -> set[str]:
    """Train for two epochs of 3 updates.

    Args:
        backbone: A directory.
        output_dir: Of the run.
        batch_size: Of a process.
        accumulation: Micro-batches of an update.
        stop_at: Break off in this update, before the weights move.
        **run: Sections of the settings over these.

    Returns:
        The kinds of tensors that the optimizer moved.
    """
    kinds: set[str] = set()
    updates = count(1)

    def look(optimizer: Any, _args: Any, _kwargs: Any) -> None:
        if next(updates) == stop_at:  # in every process
            raise Stop
        moved = [p for group in optimizer.param_groups for p in group["params"]]
        kinds.update("shard" if isinstance(p, DTensor) else "whole" for p in moved)

    training = {"batch_size": batch_size, "gradient_accumulation_steps": accumulation, "learning_rate": 1e-3}
    sections: dict[str, Any] = {"model": {"name_or_path": backbone, "dropout": 0.0}, "loss": LOSSES}
    sections["training"] = {**training, "num_epochs": 2, "save_steps": 2, "selection": "best", "share_prefixes": False}
    for name, settings in run.items():
        sections[name] = sections.get(name, {}) | settings
    config = run_config(**sections, output_dir=str(output_dir))
    rows, handle = texts(NUM_ROWS), register_optimizer_step_pre_hook(look)
    checkpoint = output_dir if (output_dir / "checkpoints").is_dir() else None
    try:
        dhrd.train(
            config,
            train_dataset=rows,
            validation_dataset=rows[:5],
            checkpoint=checkpoint,
            device="cpu",
        )
    except Stop:
        assert stop_at is not None
    finally:
        handle.remove()
    return kinds


def work(folder: Path, runs: list[dict[str, Any]]) -> None:
    """As one process: one run after the other, and what each moved."""
    moved = [sorted(train_some(run.pop("backbone"), folder / run.pop("name"), **run)) for run in runs]
    (folder / f"moved-{os.environ['RANK']}.json").write_text(json.dumps(moved))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    work(Path(sys.argv[1]), json.loads(sys.argv[2]))
