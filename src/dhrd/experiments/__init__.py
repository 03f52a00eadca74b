"""The paper's tables and figures, and what goes beyond them: one file a study, each a grid of cells."""

from dhrd.experiments import (
    ablation,
    baselines,
    controlled,
    data_scale,
    main,
    reasoning,
    schedules,
    throughput,
    weights,
)
from dhrd.experiments.study import Study

STUDIES: dict[str, Study] = {
    module.STUDY.name: module.STUDY
    for module in (main, ablation, weights, throughput, baselines, data_scale, schedules, reasoning, controlled)
}

__all__ = ["STUDIES", "Study"]
