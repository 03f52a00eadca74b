"""An artifact to update, and rows to update it with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dhrd.run.train import train
from dhrd.run.update.rows import UpdateSettings
from helpers.rows import write_jsonl
from helpers.runs import make_config, rows


def train_old(backbone: Path, directory: Path, *overrides: str) -> Path:
    """An artifact of a short run on `train.jsonl`, which lies beside it."""
    return train(make_config(backbone, directory, "training.num_epochs=1", *overrides), device="cpu").output_dir


def write_new(path: Path, count: int = 16, *, label: str = "refund") -> Path:
    """New rows, every second with a label that the old ones do not have."""
    found = rows(count + 100)[100:]
    return write_jsonl(path, [row | {"label": label} if number % 2 else row for number, row in enumerate(found)])


def settings_of(directory: Path, model: Path, **given: Any) -> UpdateSettings:
    """An update of `model` with `new.jsonl`, which is written, replaying `train.jsonl`."""
    new = write_new(directory / "new.jsonl")
    replay = str(model.parent / "train.jsonl")
    return UpdateSettings(**{"model": model, "new": str(new), "replay": replay, "output": directory / "new"} | given)
