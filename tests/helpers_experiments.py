"""Studies of tiny random models: what `dhrd reproduce` is asked for in tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dhrd.config import load_config
from dhrd.data.records import LabelSet
from dhrd.evaluation.outcomes import Outcomes
from dhrd.experiments import STUDIES
from dhrd.experiments.asked import find_arms, find_tasks
from dhrd.experiments.cell_result import CellData, CellResult
from dhrd.experiments.cells import Decoding
from dhrd.experiments.plan import Request
from helpers_runs import settings, write_rows

_LABELS = LabelSet(("keep", "return"))
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


def cell_result(**metrics: float) -> CellResult:
    """A finished cell of one row, with these metrics."""
    hot_BC = np.eye(2, dtype=np.int64)[:1]
    return CellResult(
        metrics=metrics,
        outcomes=Outcomes(ids=["r0"], gold_BC=hot_BC, predicted_BC=hot_BC, labels=_LABELS),
        selected_on=False,
        data=CellData(num_train=1, num_with_rationale=1),
        curve=[],
        steps=1,
        train_tokens=1,
        seconds={"total": 1.0},
        device="cpu",
        precision="no",
        threads=1,
        versions={},
    )
