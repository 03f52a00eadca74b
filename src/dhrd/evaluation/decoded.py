"""Labelled rows answered in words by the reasoning head: how often the answer is right, readable, and how long.

Shape legend: B rows, C classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np

from dhrd.data.records import Example, LabelSet
from dhrd.data.rows import encode_labels, multi_hot
from dhrd.data.superglue import TASKS, Task
from dhrd.evaluation.evaluate import rows_fingerprint
from dhrd.inference.cot import Decoded, Reasoner
from dhrd.metrics.intervals import wilson
from dhrd.metrics.metrics import Predictions, compute_metrics

_UNREADABLE = "\0"  # no label's name


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedEvaluation:
    """A decoded set of labelled rows.

    Args:
        metrics: See `decoded_metrics`, and `selected_on`: whether a choice was made on these very rows.
        ids: The rows' ids.
        texts: Each input as the model saw it.
        decoded: What was written.
        gold_BC: 0/1.
        predicted_BC: 0/1; all zero where the answer cannot be read.
        readable_B: Where it can: with several labels at once none at all is an answer, too.
        labels: The C labels.
        num_cut: Inputs that were shortened.
        num_mended: Inputs to which a newline was added because they ended in the padding token.
    """

    metrics: dict[str, Any]
    ids: list[str]
    texts: list[str]
    decoded: list[Decoded]
    gold_BC: np.ndarray
    predicted_BC: np.ndarray
    readable_B: np.ndarray
    labels: LabelSet
    num_cut: int = 0
    num_mended: int = 0

    def rows(self) -> Iterable[dict[str, Any]]:
        """One dict a row: `id`, `input_text`, `gold`, `label` (None: unreadable), `rationale`, `num_tokens`."""
        for row_id, text, gold_C, one in zip(self.ids, self.texts, self.gold_BC, self.decoded, strict=True):
            gold = [self.labels.names[index] for index in gold_C.nonzero()[0]]
            yield {
                "id": row_id,
                "input_text": text,
                "gold": gold if self.labels.multi_label else gold[0],
                "label": one.label,
                "rationale": one.rationale,
                "num_tokens": one.num_tokens,
            }


def evaluate_decoded(
    reasoner: Reasoner,
    examples: Sequence[Example],
    *,
    max_new_tokens: int = 500,
    temperature: float = 0.0,
    top_p: float = 1.0,
    batch_size: int = 16,
    num_resamples: int = 2000,
    seed: int = 0,
) -> DecodedEvaluation:
    """Let the reasoning head answer labelled rows.

    Args:
        reasoner: The loaded artifact.
        examples: Labelled rows.
        max_new_tokens: The paper: 500.
        temperature: 0: greedy. The paper: 0.1.
        top_p: The paper: 0.7.
        batch_size: Rows decoded together.
        num_resamples: Of the bootstrap intervals.
        seed: Of sampling and the bootstrap.

    Raises:
        DataError: There are no rows, or one has an unknown label or cannot be encoded.
        ConfigError: An input and `max_new_tokens` are over the model's context.
    """
    labels = reasoner.info.labels
    gold_BC = encode_labels(examples, labels)
    inputs = reasoner.encoder.encode_examples(examples)
    decoded = reasoner.decode(
        inputs, max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p, batch_size=batch_size, seed=seed
    )
    ids, texts = [example.id for example in examples], [item.text for item in inputs]
    metrics = decoded_metrics(
        decoded,
        gold_BC,
        labels,
        ids=ids,
        max_new_tokens=max_new_tokens,
        task=TASKS.get(reasoner.info.task or ""),
        num_resamples=num_resamples,
        seed=seed,
    )
    chosen_on = reasoner.info.training.get("selected_on") or {}
    metrics["selected_on"] = chosen_on.get("fingerprint") == rows_fingerprint(texts)
    return DecodedEvaluation(
        metrics=metrics,
        ids=ids,
        texts=texts,
        decoded=decoded,
        gold_BC=gold_BC,
        predicted_BC=predicted_labels(decoded, labels),
        readable_B=readable_rows(decoded),
        labels=labels,
        num_cut=sum(item.was_cut for item in inputs),
        num_mended=sum(item.was_mended for item in inputs),
    )


def decoded_metrics(
    decoded: Sequence[Decoded],
    gold_BC: np.ndarray,
    labels: LabelSet,
    *,
    ids: Sequence[str],
    max_new_tokens: int,
    task: Task | None = None,
    num_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """The numbers of `compute_metrics`, but for the log loss, for answers in words.

    An answer that cannot be read is wrong, and no label's prediction. In MultiRC it calls an answer not right, and its
    question is not exact.

    Args:
        decoded: What was written, at least one row.
        gold_BC: 0/1.
        labels: The C labels.
        ids: The rows' ids.
        max_new_tokens: As they were decoded with.
        task: Adds its official metrics.
        num_resamples: Of each bootstrap.
        seed: Of each bootstrap.

    Returns:
        Those of `compute_metrics` with their intervals, and `unparsable`, the share of answers that cannot be read
        (Wilson's interval), `mean_new_tokens`, and `max_new_tokens_reached`, the share of rows that were cut there.
        `confusion_matrix` has a last column for what cannot be read, None among its `columns`. Multi-label: it is
        left out there, being neither a false positive nor a true one.

    Raises:
        DataError: There are no rows, or they are not the task's.
    """
    predicted_BC, readable_B = predicted_labels(decoded, labels), readable_rows(decoded)
    settings: dict[str, Any] = {"num_resamples": num_resamples, "seed": seed}
    said = Predictions(ids=list(ids), probabilities_BC=predicted_BC, gold_BC=gold_BC, labels=labels)
    compute = _several if labels.multi_label else _single
    metrics = compute(said, readable_B, settings)
    metrics["official"] = list(task.metrics) if task else []
    if task is not None and "f1a" in task.metrics:
        _add_answers(metrics, said, readable_B, task, settings)
    num_unreadable = int((~readable_B).sum())
    metrics["unparsable"] = num_unreadable / len(decoded)
    metrics["interval_95"]["unparsable"] = list(wilson(num_unreadable, len(decoded)))
    metrics["mean_new_tokens"] = fmean(one.num_tokens for one in decoded)
    metrics["max_new_tokens_reached"] = fmean(one.num_tokens >= max_new_tokens for one in decoded)
    del metrics["log_loss"]  # words have no probabilities
    return metrics


def predicted_labels(decoded: Sequence[Decoded], labels: LabelSet) -> np.ndarray:
    """0/1, (B, C); all zero where the answer cannot be read."""
    named = [one.label if isinstance(one.label, list) else [one.label] if one.label else [] for one in decoded]
    return multi_hot([tuple(labels.names.index(name) for name in names) for names in named], len(labels))


def readable_rows(decoded: Sequence[Decoded]) -> np.ndarray:
    """Whether each answer can be read, (B,)."""
    return np.array([one.label is not None for one in decoded], dtype=bool)


def _single(said: Predictions, readable_B: np.ndarray, settings: dict[str, Any]) -> dict[str, Any]:
    """What cannot be read is one more class, which no row has: its F1 is 0, its weight is 0."""
    num_labels = len(said.labels)
    unreadable_B1 = ~readable_B[:, None]
    extended = replace(
        said,
        probabilities_BC=np.hstack([said.probabilities_BC, unreadable_B1]),
        gold_BC=np.hstack([said.gold_BC, np.zeros_like(unreadable_B1)]).astype(np.int64),
        labels=LabelSet((*said.labels.names, _UNREADABLE)),
    )
    metrics = compute_metrics(extended, **settings)
    del metrics["per_class"][_UNREADABLE]
    metrics["absent"] = [name for name in metrics["absent"] if name != _UNREADABLE]
    metrics["macro_f1"] = fmean(row["f1"] for row in metrics["per_class"].values())
    of_more = metrics["interval_95"]["macro_f1"]  # a mean over one class more, 0 in every resample
    metrics["interval_95"]["macro_f1"] = [min(1.0, end * (num_labels + 1) / num_labels) for end in of_more]
    names, table = list(said.labels.names), metrics["confusion_matrix"]
    counts = {"cells": table["cells"]} if "cells" in table else {"counts": table["counts"][:num_labels]}
    metrics["confusion_matrix"] = {"labels": names, "columns": [*names, None], **counts}
    return metrics


def _several(said: Predictions, readable_B: np.ndarray, settings: dict[str, Any]) -> dict[str, Any]:
    """No label at all is an answer, what cannot be read is none: it must not be right where no label is."""
    metrics = compute_metrics(said, **settings)
    hits_B = (said.predicted_BC == said.gold_BC).all(axis=1) & readable_B
    metrics["accuracy"] = float(hits_B.mean())
    metrics["interval_95"]["accuracy"] = list(wilson(int(hits_B.sum()), len(hits_B)))
    return metrics


def _add_answers(
    metrics: dict[str, Any], said: Predictions, readable_B: np.ndarray, task: Task, settings: dict[str, Any]
) -> None:
    """MultiRC: for f1a what cannot be read is not called right, for em it is the wrong one of the two labels."""
    not_right, wrong = said.predicted_BC.copy(), said.predicted_BC.copy()
    not_right[~readable_B] = (1, 0)
    wrong[~readable_B] = 1 - said.gold_BC[~readable_B]
    for name, predicted_BC in (("f1a", not_right), ("em", wrong)):
        found = compute_metrics(replace(said, probabilities_BC=predicted_BC), task=task, **settings)
        metrics[name] = found[name]
        metrics["interval_95"][name] = found["interval_95"][name]
