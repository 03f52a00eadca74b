"""Evaluating a model or an artifact on labelled rows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dhrd.data.label_space import LabelSpace
from dhrd.data.records import Example, LabelSet
from dhrd.data.rows import encode_labels
from dhrd.data.superglue import TASKS, Task
from dhrd.decisions.certify import Labelled
from dhrd.decisions.decision import Decision, confidences
from dhrd.decisions.report import DecisionMetrics, decision_metrics, exact_interval
from dhrd.errors import ConfigError
from dhrd.inference.classifier import Classifier
from dhrd.inference.decoding import Decoded
from dhrd.inference.engine.batching import Forward, label_probabilities, predict_logits
from dhrd.inference.prediction import Answer
from dhrd.inference.streaming import Scored
from dhrd.metrics.calibration import risk_coverage
from dhrd.metrics.intervals import Interval, grouped_interval
from dhrd.metrics.metrics import compute_metrics
from dhrd.metrics.outcomes import Outcomes, groups_of
from dhrd.model.dual_head import DualHeadModel

WriteRow = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The evaluation of a set of rows by the classifier, the reasoning head, or a cascade of both.

    Args:
        metrics: The metrics of `compute_metrics` on all rows, and `selected_on`: whether a choice was made on these
            rows. Decoded answers add `decoded_metrics`, a cascade adds those of `evaluate_cascade`, and a classifier
            with a decision adds `decision` (see `decision_metrics`), with `risk_coverage` as in `calibration`.
        outcomes: The answers.
        texts: Each input as the model saw it; empty if `write_row` was given.
        decoded: The reasoning head's text; empty if it was not used.
        decoding_s: Seconds of decoding, from tokens to labels.
        asked_B: Which rows a cascade passes to the reasoning head; None without a cascade.
        decision: The classifier's decision, if any; rows on which it abstains have no label.
        num_cut: Number of truncated inputs.
        num_mended: Number of inputs that got a newline appended because they ended in the padding token.
    """

    metrics: dict[str, Any]
    outcomes: Outcomes
    texts: list[str]
    decoded: Sequence[Decoded] = ()
    decoding_s: float | None = None
    asked_B: np.ndarray | None = None
    decision: Decision | None = None
    num_cut: int = 0
    num_mended: int = 0

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield one dict per row: `id`, `input_text`, `gold`, `label` (None: unreadable, or `abstained`).

        A row with a group has `group`. The classifier adds `probabilities`, the reasoning head `rationale` and
        `num_tokens`; a cascade has `decided_by`, `probabilities` and `rationale`.

        Raises:
            ConfigError: `write_row` was given, so rows were not kept.
        """
        if len(self.texts) != len(self.outcomes.ids):
            raise ConfigError("rows passed to write_row are not kept; evaluate without it to get them")
        return self._rows()

    def _rows(self) -> Iterator[dict[str, Any]]:
        for index, row in enumerate(rows_of_outcomes(self.outcomes, self.texts, self.decision)):
            if self.asked_B is not None:
                by_reasoning = self.asked_B[index] and self.decoded[index].label is not None
                row["decided_by"] = "reasoning" if by_reasoning else "classifier"
            if self.decoded:
                row["rationale"] = self.decoded[index].rationale
            if self.decoded and self.asked_B is None:
                row["num_tokens"] = self.decoded[index].num_tokens
            yield row


def rows_of_outcomes(
    outcomes: Outcomes, texts: Iterable[str], decision: Decision | None = None
) -> Iterator[dict[str, Any]]:
    """Yield one dict per row for a classifier or decoded answers; see `Evaluation.rows`."""
    rows = _rows_of(outcomes, texts)
    if decision is None or outcomes.probabilities_BC is None:
        yield from rows
        return
    names, multi_label = outcomes.labels.names, outcomes.labels.multi_label
    answered_B = decision.answered(outcomes.probabilities_BC, names, multi_label=multi_label)
    sets = decision.label_sets(outcomes.probabilities_BC, names)
    for index, row in enumerate(rows):
        if decision.rules:
            row |= {"label": row["label"] if answered_B[index] else None, "abstained": not answered_B[index]}
        if sets is not None:
            row["label_set"] = sets[index]
        yield row


def _rows_of(outcomes: Outcomes, texts: Iterable[str]) -> Iterator[dict[str, Any]]:
    labels, none_J = outcomes.labels, np.zeros(len(outcomes.labels.slices), dtype=bool)
    for index, (row_id, text) in enumerate(zip(outcomes.ids, texts, strict=True)):
        gold = _label_of(outcomes.gold_BC[index], labels, outcomes.is_unlabelled_BJ[index])
        row: dict[str, Any] = {"id": row_id, "input_text": text, "gold": gold, "label": None}
        if outcomes.readable_B[index]:
            row["label"] = _label_of(outcomes.predicted_BC[index], labels, none_J)
        if outcomes.group_B is not None and (group := outcomes.group_B[index]) is not None:
            row["group"] = group
        if outcomes.probabilities_BC is not None:
            row["probabilities"] = dict(zip(labels.names, outcomes.probabilities_BC[index].tolist(), strict=True))
        yield row


def _label_of(hot_C: np.ndarray, labels: LabelSet, unlabelled_J: np.ndarray) -> Answer:
    """A row's label or labels; with several tasks a dict by task, with None for tasks without a label."""
    if isinstance(labels, LabelSpace):
        return {
            task.name: None if unlabelled else _label_of(hot_C[task.columns], task.labels, unlabelled_J)
            for task, unlabelled in zip(labels.tasks, unlabelled_J, strict=True)
        }
    names = [labels.names[index] for index in hot_C.nonzero()[0]]
    return names if labels.multi_label else names[0]


@dataclass(slots=True)
class _Collected:
    """Collects numbers of streamed rows, and their texts unless `write_row` takes them."""

    labels: LabelSet
    decision: Decision | None
    write_row: WriteRow | None
    parts: list[Outcomes] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    num_cut: int = 0
    num_mended: int = 0
    fingerprint: int = 0

    def add(self, part: Scored[Any]) -> None:
        outcomes = Outcomes.of_probabilities(
            [example.id for example in part.rows],
            encode_labels(part.rows, self.labels),
            part.probabilities_BC,
            self.labels,
            groups_of(part.rows),
            unlabelled=[self.labels.unlabelled(example.label) for example in part.rows if example.label is not None],
        )
        texts = [item.text for item in part.inputs]
        self.parts.append(outcomes)
        self.num_cut += sum(item.was_cut for item in part.inputs)
        self.num_mended += sum(item.was_mended for item in part.inputs)
        self.fingerprint += _sum_of_hashes(texts)
        if self.write_row is None:
            self.texts += texts
            return
        for row in rows_of_outcomes(outcomes, texts, self.decision):
            self.write_row(row)


def evaluate_classifier(
    classifier: Classifier,
    examples: Iterable[Example],
    *,
    write_row: WriteRow | None = None,
    num_resamples: int = 2000,
) -> Evaluation:
    """Evaluate an artifact; memory grows by a few numbers per row, and by its text unless `write_row` takes it.

    Args:
        examples: Labelled rows, any number.
        write_row: Called with each of `Evaluation.rows` as soon as it is done.
        num_resamples: Number of resamples for bootstrap intervals.

    Raises:
        DataError: There are no rows, or one has an unknown label or cannot be encoded; rows before it were written.
    """
    decision = classifier.info.decision
    collected = _Collected(classifier.labels, decision, write_row)
    for part in classifier.scored(examples):
        collected.add(part)
    outcomes = Outcomes.concatenate(collected.parts, classifier.labels)
    task = TASKS.get(classifier.info.task or "")
    metrics = compute_metrics(outcomes, task=task, num_resamples=num_resamples)
    fingerprint = _as_fingerprint(collected.fingerprint)
    metrics["selected_on"] = classifier.info.chosen_on == fingerprint
    if decision is not None:
        metrics["decision"] = {
            **measure_decision(decision, outcomes, task, num_resamples=num_resamples),
            **_risk_coverage(outcomes),
            "selected_on": decision.fingerprint == fingerprint,
        }
    return Evaluation(
        metrics=metrics,
        outcomes=outcomes,
        texts=collected.texts,
        decision=decision,
        num_cut=collected.num_cut,
        num_mended=collected.num_mended,
    )


def labelled(outcomes: Outcomes) -> Labelled:
    """Convert a classifier's outcomes to the form used by decisions."""
    assert outcomes.probabilities_BC is not None
    labels = outcomes.labels
    return Labelled(
        probabilities_BC=outcomes.probabilities_BC,
        gold_BC=outcomes.gold_BC,
        names=labels.names,
        multi_label=labels.multi_label,
    )


def measure_decision(
    decision: Decision, outcomes: Outcomes, task: Task | None = None, *, num_resamples: int = 2000
) -> DecisionMetrics:
    """`decision_metrics` of a classifier's outcomes, with intervals by a bootstrap over groups where rows have some.

    Args:
        decision: The artifact's decision.
        outcomes: At least one row.
        task: The SuperGLUE task, for its groups if the outcomes name none.
        num_resamples: Number of resamples of each bootstrap.
    """

    def interval(met_B: np.ndarray, about_B: np.ndarray) -> Interval:
        rows = outcomes.rows(np.flatnonzero(about_B).tolist())  # a group without such a row adds nothing to the share
        by_groups = grouped_interval(met_B[about_B], rows, task, num_resamples=num_resamples)
        return by_groups or exact_interval(met_B, about_B)

    return decision_metrics(decision, labelled(outcomes), interval)


def _risk_coverage(outcomes: Outcomes) -> dict[str, Any]:
    assert outcomes.probabilities_BC is not None
    confidence_B = confidences(outcomes.probabilities_BC, multi_label=outcomes.labels.multi_label)
    return risk_coverage(confidence_B, outcomes.hits_B)


def rows_fingerprint(texts: Iterable[str]) -> str:
    """An order-independent hash of inputs, to recognise rows on which a choice was made."""
    return _as_fingerprint(_sum_of_hashes(texts))


def _sum_of_hashes(texts: Iterable[str]) -> int:
    return sum(int.from_bytes(hashlib.sha256(text.encode("utf-8", "replace")).digest()[:8], "big") for text in texts)


def _as_fingerprint(total: int) -> str:
    return f"{total % 2**64:016x}"


def trained_logits(model: DualHeadModel, input_ids: Sequence[list[int]]) -> np.ndarray:
    """A trained model's class logits of given inputs, (rows, C), without autocast, for `parity`."""
    model.eval()
    forward, device = (lambda batch: model(batch).logits_BC), model.head.score.weight.device
    return _compared_logits((forward, device), input_ids, model.tokenizer.pad_token_id)


def parity(trained_BC: np.ndarray, classifier: Classifier, input_ids: Sequence[list[int]]) -> dict[str, float]:
    """Compare an artifact with the model that it was written from, which need not be in memory any more.

    Args:
        trained_BC: The `trained_logits` of the inputs.
        classifier: The artifact.
        input_ids: Token ids of each input.

    Returns:
        See `compare_forwards`.
    """
    forward = classifier.logits, classifier.device
    artifact_BC = _compared_logits(forward, input_ids, classifier.tokenizer.pad_token_id)
    return _compare_logits(trained_BC, artifact_BC, classifier.labels)


def compare_forwards(
    ours: tuple[Forward, Any],
    theirs: tuple[Forward, Any],
    input_ids: Sequence[list[int]],
    *,
    pad_token_id: int,
    labels: LabelSet,
) -> dict[str, float]:
    """Compare two forward functions, each with its device, on the same inputs in batches of 32.

    Returns:
        `num_examples`, `max_logit_difference`, and the values of `agreement`.
    """
    first_BC, second_BC = (_compared_logits(one, input_ids, pad_token_id) for one in (ours, theirs))
    return _compare_logits(first_BC, second_BC, labels)


def _compared_logits(ours: tuple[Forward, Any], input_ids: Sequence[list[int]], pad_token_id: int) -> np.ndarray:
    forward, device = ours
    return predict_logits(forward, input_ids, pad_token_id=pad_token_id, batch_size=32, device=device)


def _compare_logits(first_BC: np.ndarray, second_BC: np.ndarray, labels: LabelSet) -> dict[str, float]:
    p_BC, q_BC = (label_probabilities(logits_BC, labels) for logits_BC in (first_BC, second_BC))
    return {
        "num_examples": len(first_BC),
        "max_logit_difference": float(np.abs(first_BC - second_BC).max()),
        **agreement(p_BC, q_BC, labels),
    }


def agreement(p_BC: np.ndarray, q_BC: np.ndarray, labels: LabelSet) -> dict[str, float]:
    """Compare two sets of probabilities of the same rows.

    Returns:
        `max_probability_difference`, `label_agreement`: the share of rows with the same label or set of labels; with
        several tasks, the same for each task.
    """
    same_B = np.ones(len(p_BC), dtype=bool)
    for task in labels.slices:
        p, q = p_BC[:, task.columns], q_BC[:, task.columns]
        same_B &= ((p >= 0.5) == (q >= 0.5)).all(1) if task.labels.multi_label else p.argmax(1) == q.argmax(1)
    return {"max_probability_difference": float(np.abs(p_BC - q_BC).max()), "label_agreement": float(same_B.mean())}
