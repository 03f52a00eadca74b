"""Studies of tiny random models: what `dhrd reproduce` is asked for in tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dhrd.config import load_config
from dhrd.experiments import STUDIES
from dhrd.experiments.cells import Decoding
from dhrd.experiments.plan import Request, find_arms, find_tasks
from helpers_runs import settings, write_rows

DECODING = Decoding(max_new_tokens=12, temperature=0.0, top_p=1.0, batch_size=4, limit=6)


def make_request(
    backbone: Path,
    directory: Path,
    *overrides: str,
    study: str = "main",
    num_seeds: int = 1,
    arms: tuple[str, ...] | None = None,
    num_train: int = 20,
    **more: Any,
) -> Request:
    """A request over the files of `write_rows(directory)`; its cells and report go to `directory/out`."""
    write_rows(directory, num_train=num_train)
    base = load_config(overrides=settings(backbone, directory, "training.num_epochs=1", *overrides))
    return Request(
        study=STUDIES[study],
        base=base,
        tasks=find_tasks(base, None),
        backbones=(base.model.name_or_path,),
        num_seeds=num_seeds,
        arms=find_arms(STUDIES[study], arms),
        decoding=more.pop("decoding", DECODING),
        output_dir=directory / "out",
        **more,
    )
