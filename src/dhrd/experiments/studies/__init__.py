"""One file a study."""

from dhrd.experiments.studies import (
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
