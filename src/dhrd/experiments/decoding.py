"""Cells that answer by chain of thought: decode, read the answers, and time it."""

from __future__ import annotations

import random
from dataclasses import replace

from dhrd.data.inputs import EncodedInput
from dhrd.data.rows import multi_hot
from dhrd.evaluation.decoded import decoded_metrics, decoded_outcomes
from dhrd.experiments.cell_result import Answers, CellSpeed
from dhrd.experiments.cells import Cell
from dhrd.experiments.trained_cell import TrainedCell
from dhrd.inference.cot import TransformersDecoder
from dhrd.inference.decoding import Decoder, TimedDecoding, timed_decoding
from dhrd.inference.vllm import VllmDecoder
from dhrd.metrics.outcomes import groups_of

_FEW_RESAMPLES = 10  # a cell's own intervals are not shown: the report works out those over seeds


def decode_rows(trained: TrainedCell) -> Answers:
    """Decode the held-out rows, or as many of them as `CellDecoding.limit` allows.

    Args:
        trained: A student, or an untrained backbone.

    Returns:
        In the metrics an answer that cannot be read is wrong, and `unparsable` their share; the speed is from tokens to
        labels in one pass over the rows.
    """
    cell, labels = trained.cell, trained.rows.labels
    chosen = drawn(len(trained.held_out), cell.decoding.limit)
    examples = [trained.held_out[index] for index in chosen]
    inputs = [EncodedInput(trained.data.validation.texts[index], trained.held_out[index].input_ids) for index in chosen]
    decoding = replace(cell.decoding, seed=cell.config.seed)
    timed = timed_decoding(_decoder(trained), inputs, decoding)
    ids = [example.id for example in examples]
    gold_BC = multi_hot([example.label for example in examples], len(labels))
    outcomes = decoded_outcomes(timed.decoded, ids, gold_BC, labels, groups_of(examples))
    metrics = decoded_metrics(
        outcomes, timed.decoded, decoding.max_new_tokens, task=trained.rows.task, num_resamples=_FEW_RESAMPLES
    )
    return Answers(metrics=metrics, outcomes=outcomes, speed=_speed(cell, timed))


def drawn(num_rows: int, limit: int | None) -> list[int]:
    """Indices of at most `limit` rows, in order: the same for all seeds, whose answers are averaged row by row."""
    if limit is None or limit >= num_rows:
        return list(range(num_rows))
    return sorted(random.Random("decode").sample(range(num_rows), limit))


def _decoder(trained: TrainedCell) -> Decoder:
    """What decodes, ready to start."""
    cell, model, tokenizer, labels = trained.cell, trained.causal_lm, trained.backbone.tokenizer, trained.rows.labels
    if cell.arm.engine != "vllm":
        return TransformersDecoder(model, tokenizer, labels)
    return VllmDecoder(
        model,
        tokenizer,
        labels,
        max_input_tokens=cell.config.data.max_input_tokens,
        max_new_tokens=cell.decoding.max_new_tokens,
    )


def _speed(cell: Cell, timed: TimedDecoding) -> CellSpeed:
    decoding, rate = cell.decoding, timed.queries_per_second
    how = "temperature 0" if not decoding.temperature else f"temperature {decoding.temperature}, top-p {decoding.top_p}"
    batch = f", batch {decoding.batch_size}" if cell.arm.engine == "transformers" else ""
    return CellSpeed(
        queries_per_second=rate,
        min=rate,
        max=rate,
        num_queries=len(timed.decoded),
        num_repeats=1,
        engine=f"{cell.arm.engine}{batch}, {how}, at most {decoding.max_new_tokens} new tokens",
        mean_new_tokens=timed.mean_new_tokens,
        unparsable_share=timed.unparsable_share,
    )
