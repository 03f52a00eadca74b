"""Queries per second of a cell's classifier, from text to label. Decoding is timed where it is done: `decoding.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dhrd.benchmark.measure import throughput
from dhrd.evaluation.finish import artifact_info
from dhrd.inference.classifier import Classifier

if TYPE_CHECKING:
    from dhrd.experiments.run_cell import Ready

_MAX_ROWS = 512


def measure(ready: Ready) -> dict[str, Any]:
    """Time the trained classifier on validation rows.

    Args:
        ready: A cell whose answers are read by the classification head.

    Returns:
        `queries_per_second` (the median of three repeats after a warm-up), `min`, `max`, `num_queries`, `engine`.
    """
    model = ready.model
    assert model is not None
    info = artifact_info(ready.cell.config, ready.rows, ready.data["train"], model)
    classifier = Classifier(model.causal_lm.base_model, model.head, ready.backbone.tokenizer, info)
    rows = ready.rows.validation[:_MAX_ROWS]
    found = throughput(lambda: classifier.predict(rows), len(rows))
    return {
        "queries_per_second": found.median_qps,
        "min": found.min_qps,
        "max": found.max_qps,
        "num_queries": found.num_queries,
        "num_repeats": found.num_repeats,
        "engine": f"dhrd, {classifier.engine.options.max_tokens_per_pass} tokens a pass",
        "mean_new_tokens": 0.0,
        "unparsable_share": None,
    }
