"""Every arm of the study of ways trains, through the real path, on generated mail."""

from __future__ import annotations

from pathlib import Path

import pytest

from dhrd.config import load_config
from dhrd.experiments.cache import Cache
from dhrd.experiments.cells import Cell
from dhrd.experiments.run_cell import run_cell
from dhrd.experiments.studies.reasoning import STUDY
from dhrd.experiments.study import Arm
from dhrd.training.step import LOG_NAMES


@pytest.fixture(scope="module")
def cache() -> Cache:
    return Cache("cpu")


@pytest.mark.parametrize("arm", STUDY.arms, ids=lambda arm: arm.name)
def test_every_arm_trains(arm: Arm, tiny_backbone: Path, cache: Cache) -> None:
    common = [
        f"model.name_or_path={tiny_backbone}",
        "data.train=policy_desk:rows=24,noise=0.25",
        "data.validation=policy_desk:rows=8",
        "data.max_input_tokens=200",
        "data.max_sequence_tokens=230",
        "training.num_epochs=1",
    ]
    config = load_config(
        base=load_config(overrides=common), **{name.replace(".", "__"): value for name, value in arm.settings.items()}
    )
    result = run_cell(
        Cell(task="policy_desk", arm=arm, config=config, rows_hash=cache.rows_hash(config)), cache
    ).model_dump()
    assert len(result["outcomes"]["ids"]) == 8 and result["steps"] == 3
    logged = {name for name, key in LOG_NAMES.items() if result["curve"][-1].get(key)}
    assert logged == {name for name in config.loss.names if name in logged} and "classification" in logged
