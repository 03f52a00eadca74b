"""Evaluation of the reasoning head's decoded answers: accuracy, readability and length.

Shape legend: B rows, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np

from dhrd.data.records import Example, LabelSet
from dhrd.data.rows import encode_labels, multi_hot
from dhrd.data.superglue import TASKS, Task
from dhrd.evaluation.evaluate import Evaluation, rows_fingerprint
from dhrd.inference.cot import Reasoner
from dhrd.inference.decoding import Decoded, Decoding, timed_decoding
from dhrd.metrics.intervals import wilson
from dhrd.metrics.metrics import compute_metrics
from dhrd.metrics.outcomes import Outcomes, groups_of


def evaluate_decoded(
    reasoner: Reasoner,
    examples: Sequence[Example],
    decoding: Decoding,
    *,
    num_resamples: int = 2000,
) -> Evaluation:
    """Evaluate the reasoning head on labelled rows; the seed of `decoding` is also used for the bootstrap.

    Raises:
        DataError: There are no rows, or one has an unknown label or cannot be encoded.
        ConfigError: An input and `max_new_tokens` are over the model's context.
    """
    labels = reasoner.info.labels
    gold_BC = encode_labels(examples, labels)
    inputs = reasoner.encoder.encode_examples(examples)
    timed = timed_decoding(reasoner, inputs, decoding)
    decoded = timed.decoded
    texts = [item.text for item in inputs]
    outcomes = decoded_outcomes(decoded, [example.id for example in examples], gold_BC, labels, groups_of(examples))
    task = TASKS.get(reasoner.info.task or "")
    metrics = decoded_metrics(
        outcomes, decoded, decoding.max_new_tokens, task=task, num_resamples=num_resamples, seed=decoding.seed
    )
    metrics["selected_on"] = reasoner.info.chosen_on == rows_fingerprint(texts)
    return Evaluation(
        metrics=metrics,
        outcomes=outcomes,
        texts=texts,
        decoded=decoded,
        decoding_s=timed.seconds,
        num_cut=sum(item.was_cut for item in inputs),
        num_mended=sum(item.was_mended for item in inputs),
    )


def decoded_outcomes(
    decoded: Sequence[Decoded],
    ids: Sequence[str],
    gold_BC: np.ndarray,
    labels: LabelSet,
    group_B: Sequence[str | None] | None = None,
) -> Outcomes:
    """The outcomes of decoded answers; an unreadable one has no label."""
    named = [
        answer.label if isinstance(answer.label, list) else [answer.label] if answer.label else [] for answer in decoded
    ]
    return Outcomes(
        ids=list(ids),
        gold_BC=gold_BC,
        predicted_BC=multi_hot([tuple(map(labels.names.index, names)) for names in named], len(labels)),
        labels=labels,
        readable_B=np.array([answer.label is not None for answer in decoded], dtype=bool),
        group_B=group_B,
    )


def decoded_metrics(
    outcomes: Outcomes,
    decoded: Sequence[Decoded],
    max_new_tokens: int,
    *,
    task: Task | None = None,
    num_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """The metrics of `compute_metrics` for decoded answers, and further ones.

    Args:
        outcomes: The outcomes of `decoded`, at least one row.
        decoded: The decoded rows.
        max_new_tokens: The limit used in decoding.
        task, num_resamples, seed: See `compute_metrics`.

    Returns:
        Those of `compute_metrics` with their intervals; `unparsable`, the share of answers that cannot be parsed
        (Wilson's interval), `mean_new_tokens`, and `max_new_tokens_reached`, the share of rows cut off by the limit.

    Raises:
        DataError: There are no rows, or they are not the task's.
    """
    metrics = compute_metrics(outcomes, task=task, num_resamples=num_resamples, seed=seed)
    num_unreadable = int((~outcomes.readable_B).sum())
    metrics["unparsable"] = num_unreadable / len(decoded)
    metrics["interval_95"]["unparsable"] = list(wilson(num_unreadable, len(decoded)))
    metrics["mean_new_tokens"] = fmean(answer.num_tokens for answer in decoded)
    metrics["max_new_tokens_reached"] = fmean(answer.num_tokens >= max_new_tokens for answer in decoded)
    return metrics
