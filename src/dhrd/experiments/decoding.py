"""Cells that answer by chain of thought: decode, read the answers, and time it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from dhrd.data.rows import multi_hot
from dhrd.data.sequence import EncodedInput, SequenceTemplate
from dhrd.evaluation.decoded import decoded_metrics, decoded_outcomes
from dhrd.experiments.cell_result import Answers, CellSpeed, Metrics
from dhrd.experiments.cells import Cell
from dhrd.experiments.trained_cell import TrainedCell
from dhrd.inference.cot import Decoded, check_answers, decode
from dhrd.training.build import sequence_template

_MARKER_TOKENS = 16  # room for the marker between input and rationale
_FEW_RESAMPLES = 10  # a cell's own intervals are not shown: the report works out those over seeds


def decode_rows(trained: TrainedCell) -> Answers:
    """Decode the held-out rows, or as many as `Decoding.limit` allows, drawn by the seed.

    Args:
        trained: A student, or an untrained backbone.

    Returns:
        In the metrics an answer that cannot be read is wrong, and `unparsable` their share; the speed is from tokens to
        labels in one pass over the rows.
    """
    cell, labels = trained.cell, trained.rows.labels
    chosen = drawn(len(trained.held_out), cell.decoding.limit, cell.config.seed)
    examples = [trained.held_out[index] for index in chosen]
    inputs = [EncodedInput(trained.data.validation.texts[index], trained.held_out[index].input_ids) for index in chosen]
    run = _decoder(trained)
    began = time.perf_counter()
    decoded = run(inputs)
    seconds = time.perf_counter() - began
    ids = [example.id for example in examples]
    gold_BC = multi_hot([example.label for example in examples], len(labels))
    outcomes = decoded_outcomes(decoded, ids, gold_BC, labels)
    metrics = decoded_metrics(
        outcomes, decoded, cell.decoding.max_new_tokens, task=trained.rows.task, num_resamples=_FEW_RESAMPLES
    )
    return Answers(metrics=metrics, outcomes=outcomes, speed=_speed(cell, metrics, len(inputs), seconds))


def drawn(num_rows: int, limit: int | None, seed: int) -> list[int]:
    """Indices of at most `limit` rows, drawn by a seed, in order."""
    if limit is None or limit >= num_rows:
        return list(range(num_rows))
    return sorted(random.Random(f"decode {seed}").sample(range(num_rows), limit))


def _decoder(trained: TrainedCell) -> Callable[[Sequence[EncodedInput]], list[Decoded]]:
    """What decodes, ready to start: building an engine is no part of its speed."""
    cell, model, tokenizer, labels = trained.cell, trained.causal_lm, trained.backbone.tokenizer, trained.rows.labels
    template = sequence_template(cell.config) if cell.arm.trained else SequenceTemplate()
    check_answers(template)
    settings: dict[str, Any] = {
        "max_new_tokens": cell.decoding.max_new_tokens,
        "temperature": cell.decoding.temperature,
        "top_p": cell.decoding.top_p,
        "seed": cell.config.seed,
    }
    if cell.arm.engine == "vllm":
        from dhrd.inference.vllm import VllmDecoder

        longest = cell.config.data.max_input_tokens + cell.decoding.max_new_tokens
        engine = VllmDecoder(model, tokenizer, max_model_len=longest + _MARKER_TOKENS, template=template)
        return lambda inputs: engine.decode(inputs, labels, **settings)
    settings |= {"batch_size": cell.decoding.batch_size, "template": template}
    return lambda inputs: decode(model, tokenizer, inputs, labels, **settings)


def _speed(cell: Cell, metrics: Metrics, num_queries: int, seconds: float) -> CellSpeed:
    decoding, rate = cell.decoding, num_queries / seconds
    how = "temperature 0" if not decoding.temperature else f"temperature {decoding.temperature}, top-p {decoding.top_p}"
    batch = f", batch {decoding.batch_size}" if cell.arm.engine == "transformers" else ""
    return CellSpeed(
        queries_per_second=rate,
        min=rate,
        max=rate,
        num_queries=num_queries,
        num_repeats=1,
        engine=f"{cell.arm.engine}{batch}, {how}, at most {decoding.max_new_tokens} new tokens",
        mean_new_tokens=metrics["mean_new_tokens"],
        unparsable_share=metrics["unparsable"],
    )
