"""Evaluation of the cascade: accuracy against cost at every threshold, and choosing a threshold for a target.

Every row is decoded once, from which the result at any threshold follows exactly.

Shape legend: B rows, C classes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dhrd.data.records import Example
from dhrd.data.rows import encode_labels
from dhrd.data.superglue import TASKS
from dhrd.decisions.decision import confidences
from dhrd.errors import ConfigError, DataError
from dhrd.evaluation.decoded import decoded_outcomes
from dhrd.evaluation.evaluate import Evaluation, rows_fingerprint
from dhrd.inference.cascade import asked_rows, check_cascade, rows_to_ask
from dhrd.inference.classifier import Classifier
from dhrd.inference.decoding import Decoded, Decoding, timed_decoding
from dhrd.metrics.calibration import curve_points
from dhrd.metrics.intervals import accuracy_interval
from dhrd.metrics.metrics import compute_metrics
from dhrd.metrics.outcomes import Outcomes, groups_of

_ONE_OF = "give one of `threshold`, `target_accuracy` and `target_cost`"


@dataclass(frozen=True, slots=True, kw_only=True)
class BothHeads:
    """Labelled rows answered by both heads.

    Args:
        classified: The classifier's outcomes.
        written: The reasoning head's outcomes.
        texts: Each input as the model saw it.
        decoded: The reasoning head's text.
        classifier_s: Seconds the classifier took for all rows.
        decoding_s: Seconds the reasoning head took for all rows.
        num_cut: Number of truncated inputs.
    """

    classified: Outcomes
    written: Outcomes
    texts: list[str]
    decoded: list[Decoded]
    classifier_s: float
    decoding_s: float
    num_cut: int = 0

    @property
    def confidence_B(self) -> np.ndarray:
        """The classifier's confidences."""
        assert self.classified.probabilities_BC is not None
        return confidences(self.classified.probabilities_BC, multi_label=self.classified.labels.multi_label)

    def asked(self, threshold: float) -> np.ndarray:
        """Which rows are passed to the reasoning head, (B,)."""
        return asked_rows(self.confidence_B, threshold)

    def outcomes(self, asked_B: np.ndarray, *, abstains: bool = False) -> Outcomes:
        """The cascade's outcomes.

        Args:
            asked_B: Which rows are passed to the reasoning head.
            abstains: Whether such a row stays unanswered if the reasoning head's answer cannot be parsed.
        """
        by_reasoning_B = asked_B & self.written.readable_B
        predicted_BC = np.where(by_reasoning_B[:, None], self.written.predicted_BC, self.classified.predicted_BC)
        readable_B = ~asked_B | by_reasoning_B if abstains else self.classified.readable_B
        return replace(self.classified, predicted_BC=predicted_BC * readable_B[:, None], readable_B=readable_B)

    def seconds(self, asked_B: np.ndarray) -> float:
        """Seconds for all rows; decoding time is attributed to rows by their new tokens."""
        tokens_B = np.array([row.num_tokens for row in self.decoded], dtype=float) + 1  # the prompt's own step
        return self.classifier_s + self.decoding_s * float(tokens_B[asked_B].sum() / tokens_B.sum())


def answer(classifier: Classifier, examples: Sequence[Example], decoding: Decoding) -> BothHeads:
    """Answer labelled rows with both heads.

    Raises:
        DataError: There are no rows, or one has an unknown label or cannot be encoded.
        ConfigError: An input and `max_new_tokens` exceed the model's context.
    """
    if not examples:
        raise DataError("there are no rows to evaluate a cascade on; check the file and the split")
    ids, group_B = [example.id for example in examples], groups_of(examples)
    gold_BC = encode_labels(examples, classifier.labels)
    inputs = classifier.encoder.encode_examples(examples)
    reasoner = classifier.reasoner()
    began = time.perf_counter()
    probabilities_BC = classifier.predict_proba_encoded(inputs)
    classifier_s = time.perf_counter() - began
    timed = timed_decoding(reasoner, inputs, decoding)
    return BothHeads(
        classified=Outcomes.of_probabilities(ids, gold_BC, probabilities_BC, classifier.labels, group_B),
        written=decoded_outcomes(timed.decoded, ids, gold_BC, classifier.labels, group_B),
        texts=[item.text for item in inputs],
        decoded=timed.decoded,
        classifier_s=classifier_s,
        decoding_s=timed.seconds,
        num_cut=sum(item.was_cut for item in inputs),
    )


def curve(rows: BothHeads) -> list[dict[str, Any]]:
    """The cascade's results at each threshold from 0 to 1.

    Returns:
        At most 52 points with `threshold`, `share_asked`, `accuracy` (of several labels: all right) with
        `accuracy_interval_95`, `queries_per_second`, `relative_cost` (seconds over the classifier's alone).
    """
    above = np.nextafter(np.unique(rows.confidence_B), 1)  # a threshold just above a confidence passes that row on
    thresholds = np.unique([0.0, *above[curve_points(len(above))].clip(0, 1), 1.0])
    return [{"threshold": float(threshold), **point(rows, rows.asked(threshold))} for threshold in thresholds]


def point(rows: BothHeads, asked_B: np.ndarray, *, abstains: bool = False) -> dict[str, Any]:
    """What the cascade gives; see `BothHeads.outcomes`."""
    outcomes, taken_s = rows.outcomes(asked_B, abstains=abstains), rows.seconds(asked_B)
    return {
        "share_asked": float(asked_B.mean()),
        "accuracy": float(outcomes.hits_B.mean()),
        "accuracy_interval_95": list(accuracy_interval(outcomes)),
        "queries_per_second": len(rows.texts) / taken_s,
        "relative_cost": taken_s / rows.classifier_s,
    }


def choose_threshold(
    points: Sequence[dict[str, Any]], *, target_accuracy: float | None = None, target_cost: float | None = None
) -> float:
    """Choose the threshold for a target; the cheaper one among equals.

    Args:
        points: Points from `curve`, on rows that the model was not trained on.
        target_accuracy: Choose the cheapest point with at least this accuracy.
        target_cost: Choose the most accurate point with at most this relative cost; 1: the classifier alone.

    Raises:
        ConfigError: No threshold reaches it.
    """
    assert (target_accuracy is None) != (target_cost is None)
    cheapest_first = sorted(points, key=lambda point: point["relative_cost"])
    if target_cost is not None:
        within = [point for point in cheapest_first if point["relative_cost"] <= target_cost]
        if not within:
            raise ConfigError(f"`target_cost` {target_cost}: the classifier alone costs 1; give 1 or more")
        return float(max(within, key=lambda point: point["accuracy"])["threshold"])
    reaching = [point for point in cheapest_first if point["accuracy"] >= target_accuracy]
    if not reaching:
        best = max(cheapest_first, key=lambda point: point["accuracy"])
        raise ConfigError(
            f"`target_accuracy` {target_accuracy}: no threshold reaches it on the rows for choosing; the best is "
            f"{best['accuracy']:.3f} at threshold {best['threshold']:.3f}"
        )
    return float(reaching[0]["threshold"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """How a cascade's threshold is determined: given, chosen on other rows, or (neither) by the artifact's decision.

    Args:
        threshold: The given threshold, or None.
        target_accuracy, target_cost: See `choose_threshold`.
        choose_on: With a target: labelled rows that the model was not trained on.

    Raises:
        ConfigError: Several of the first three are given.
    """

    threshold: float | None = None
    target_accuracy: float | None = None
    target_cost: float | None = None
    choose_on: Sequence[Example] = ()

    def __post_init__(self) -> None:
        if self.num_given > 1:
            raise ConfigError(_ONE_OF)

    @property
    def num_given(self) -> int:
        """Number of the first three that are given."""
        return sum(given is not None for given in (self.threshold, self.target_accuracy, self.target_cost))


def evaluate_cascade(
    classifier: Classifier,
    examples: Sequence[Example],
    decoding: Decoding,
    choice: Choice,
) -> Evaluation:
    """Evaluate a cascade at a given threshold, at one chosen on other rows, or by the artifact's decision.

    All labelled rows are decoded, for a complete curve.

    Returns:
        The metrics are those of `compute_metrics`, without log loss; `threshold` (None: the decision's), `share_asked`,
        `unreadable_share` of the answers to rows that were asked, `queries_per_second`, `relative_cost`, `curve`, and
        `chosen_on`: the rows of the choice and the target. `selected_on`: these very rows chose the threshold, the
        decision that is asked, or the weights.

    Raises:
        ConfigError: As `check_cascade` and `choose_threshold`, or the choice is the decision's and there is none.
        DataError: As `answer`.
    """
    by_decision = not choice.num_given
    if by_decision and classifier.info.decision is None:
        raise ConfigError(_ONE_OF)
    # With a target, the threshold is chosen below; 0.0 only passes the check.
    threshold = check_cascade(classifier.info, None if by_decision else choice.threshold or 0.0)
    chosen: dict[str, Any] | None = None
    texts: list[str] = []
    if choice.threshold is None and not by_decision:
        dev = answer(classifier, choice.choose_on, decoding)
        texts = dev.texts
        target = {"target_accuracy": choice.target_accuracy, "target_cost": choice.target_cost}
        threshold = choose_threshold(curve(dev), **target)
        chosen = {**target, "num_rows": len(texts), "threshold": threshold, **point(dev, dev.asked(threshold))}
    rows = answer(classifier, examples, decoding)
    assert rows.classified.probabilities_BC is not None
    asked_B = rows_to_ask(classifier.info, rows.classified.probabilities_BC, threshold)
    outcomes = rows.outcomes(asked_B, abstains=by_decision)
    metrics = _metrics(rows, outcomes, asked_B, classifier.info.task)
    at_threshold = {"threshold": threshold, **point(rows, asked_B, abstains=by_decision)}
    metrics |= {name: value for name, value in at_threshold.items() if not name.startswith("accuracy")}
    metrics["chosen_on"] = chosen
    metrics["selected_on"] = rows_fingerprint(rows.texts) in _chosen_on(classifier, texts, by_decision=by_decision)
    return Evaluation(
        metrics=metrics,
        outcomes=outcomes,
        texts=rows.texts,
        decoded=rows.decoded,
        decoding_s=rows.decoding_s,
        asked_B=asked_B,
        num_cut=rows.num_cut,
    )


def _chosen_on(classifier: Classifier, texts: Sequence[str], *, by_decision: bool) -> Iterator[str | None]:
    """The fingerprints of rows that a choice was made on: of the weights, of the decision, of the threshold."""
    yield classifier.info.chosen_on
    if by_decision and classifier.info.decision is not None:
        yield classifier.info.decision.fingerprint
    if texts:
        yield rows_fingerprint(texts)


def _metrics(rows: BothHeads, outcomes: Outcomes, asked_B: np.ndarray, task: str | None) -> dict[str, Any]:
    if not outcomes.readable_B.all():  # these metrics support rows without a readable answer
        outcomes = replace(outcomes, probabilities_BC=None)
    metrics = compute_metrics(outcomes, task=TASKS.get(task or ""))
    metrics.pop("log_loss", None)  # decoded labels have no probability
    unreadable = float((~rows.written.readable_B[asked_B]).mean()) if asked_B.any() else None
    return metrics | {"unreadable_share": unreadable, "curve": curve(rows)}
