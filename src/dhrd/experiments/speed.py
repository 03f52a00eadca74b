"""Queries per second of a cell's classifier, from text to label. Decoding is timed where it is done: `decoding.py`."""

from __future__ import annotations

from dhrd.benchmark.measure import throughput
from dhrd.experiments.cell_result import CellSpeed
from dhrd.experiments.trained_cell import TrainedCell
from dhrd.inference.classifier import Classifier
from dhrd.run.finish import artifact_info

_MAX_ROWS = 512


def measure(trained: TrainedCell) -> CellSpeed:
    """Time the trained classifier on validation rows: the median of three repeats after a warm-up.

    Args:
        trained: A cell whose answers are read by the classification head.
    """
    model = trained.model
    assert model is not None
    info = artifact_info(trained.cell.config, trained.rows, trained.data.train, model)
    classifier = Classifier(model.causal_lm.base_model, model.head, trained.backbone.tokenizer, info)
    rows = trained.rows.validation[:_MAX_ROWS]
    speed = throughput(lambda: classifier.predict(rows), len(rows))
    return CellSpeed(
        queries_per_second=speed.median_qps,
        min=speed.min_qps,
        max=speed.max_qps,
        num_queries=speed.num_queries,
        num_repeats=speed.num_repeats,
        engine=f"dhrd, {classifier.engine.options.max_tokens_per_pass} tokens a pass",
    )
