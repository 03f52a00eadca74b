"""A short run through `dhrd.train` that keeps every gradient; run as a script, one process of several.

The environment says which (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT), as torchrun sets it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

import dhrd
from helpers.models import run_config, texts

SPLITS = {"2 processes x 4": (4, 1), "2 processes x 2 x 2": (2, 2)}
"""Of two processes: name -> (rows in a micro-batch, micro-batches in an update)."""

NUM_ROWS = 19  # 8 + 8 + 3: in the short update two processes of 4 rows have 3 rows and none


def train_some(backbone: str, output_dir: Path, batch_size: int, accumulation: int) -> dict[str, Tensor]:
    """Train for one epoch of 3 updates.

    Returns:
        The gradients that the optimizer was given in each update, by number.
    """
    kept: dict[str, Tensor] = {}
    losses: list[float] = []

    def keep_gradients(optimizer: Any, _args: Any, _kwargs: Any) -> None:
        for number, parameter in enumerate(p for group in optimizer.param_groups for p in group["params"]):
            kept[f"update {len(losses)}, parameter {number}"] = parameter.grad.clone()
        losses.append(0.0)

    handle = register_optimizer_step_pre_hook(keep_gradients)
    config = run_config(
        model={"name_or_path": backbone, "dropout": 0.0},
        loss={"keyword_weight": 0.3, "privileged_weight": 0.4},
        training={
            "num_epochs": 1,
            "batch_size": batch_size,
            "gradient_accumulation_steps": accumulation,
            "learning_rate": 1e-3,
        },
        output_dir=str(output_dir),
    )
    rows = texts(NUM_ROWS)
    result = dhrd.train(config, train_dataset=rows, validation_dataset=rows[:5], device="cpu")
    handle.remove()
    assert result.steps == len(losses) == 3
    return kept


def weights_of(output_dir: Path) -> dict[str, Tensor]:
    """What the run saved."""
    return load_file(output_dir / "model.safetensors")


def work(backbone: str, folder: Path) -> None:
    """As one process of two: the same rows with and without accumulation."""
    for name, (batch_size, accumulation) in SPLITS.items():
        gradients = train_some(backbone, folder / name, batch_size, accumulation)
        if torch.distributed.get_rank() == 0:
            save_file(gradients, folder / name / "gradients.safetensors")
    torch.distributed.barrier()
    try:
        train_some(backbone, folder / next(iter(SPLITS)), 4, 1)
    except dhrd.ConfigError as error:
        (folder / f"refused-{torch.distributed.get_rank()}").write_text(str(error))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    work(sys.argv[1], Path(sys.argv[2]))
