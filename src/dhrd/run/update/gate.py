"""The gate of an update: what it did to the answers on new and on old rows, and whether it may be published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from dhrd.data.records import Example, LabelSet
from dhrd.data.rows import encode_labels
from dhrd.data.superglue import TASKS
from dhrd.inference.classifier import Classifier
from dhrd.metrics.compare import compare
from dhrd.metrics.intervals import Interval, wilson
from dhrd.metrics.outcomes import Outcomes, groups_of

NAMES = ("old model", "updated model")


@dataclass(frozen=True, slots=True)
class Flips:
    """Answers that flipped in one direction.

    Args:
        num_rows: How many.
        share: Of all rows.
        interval_95: Wilson's, of the share.
    """

    num_rows: int
    share: float
    interval_95: Interval

    @classmethod
    def of(cls, flipped_B: np.ndarray) -> Flips:
        """From whether each row flipped."""
        num_rows = int(flipped_B.sum())
        return cls(num_rows, num_rows / len(flipped_B), wilson(num_rows, len(flipped_B)))


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerChange:
    """What an update did to the answers on some rows.

    Args:
        num_rows: Their number.
        before: Accuracy of the old model.
        after: Accuracy of the updated one.
        interval_95: Of the difference, paired by a bootstrap over rows; None where the rows do not vary.
        mended: Wrong before, right now.
        broken: Right before, wrong now.
        verdict: The difference in a sentence.
    """

    num_rows: int
    before: float
    after: float
    interval_95: Interval | None
    mended: Flips
    broken: Flips
    verdict: str

    @classmethod
    def of(cls, before: Outcomes, after: Outcomes, task: str | None = None) -> AnswerChange:
        """From the outcomes of both models, on the same rows in the same order.

        Raises:
            DataError: There are no rows, or two have one id.
        """
        known = TASKS.get(task or "")
        compared = compare([(before, after)], metric="accuracy", task=known, names=NAMES)
        interval = compared["interval_95"]
        ours_B, theirs_B = before.hits_B, after.hits_B
        return cls(
            num_rows=len(before.ids),
            before=float(ours_B.mean()),
            after=float(theirs_B.mean()),
            interval_95=tuple(interval) if interval else None,
            mended=Flips.of(~ours_B & theirs_B),
            broken=Flips.of(ours_B & ~theirs_B),
            verdict=compared["verdict"],
        )

    @property
    def difference(self) -> float:
        """Accuracy after, minus before."""
        return self.after - self.before

    def falls(self, most: float) -> bool:
        """Whether the accuracy falls by more than `most`, with the better end of its interval."""
        best = self.interval_95[1] if self.interval_95 is not None else self.difference
        return best < -most


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateGate:
    """What is told of an update.

    Args:
        new: What it did on new rows.
        old: What it did on old rows.
        max_regression: How far the accuracy on old rows may fall.
        num_new: New rows that it was trained on.
        num_replayed: Old ones.
    """

    new: AnswerChange
    old: AnswerChange
    max_regression: float
    num_new: int = 0
    num_replayed: int = 0

    @property
    def holds(self) -> bool:
        """Whether the updated model may be published."""
        return not self.old.falls(self.max_regression)

    def to_json(self) -> dict[str, object]:
        """What the report holds; shares, not points."""
        return {"published": self.holds, **asdict(self)}


def outcomes_of(classifier: Classifier, examples: Sequence[Example], labels: LabelSet) -> Outcomes:
    """What an artifact answers to labelled rows, whether or not a decision would let it.

    Args:
        classifier: Its labels are the first of `labels`.
        examples: At least one, each with an id of its own.
        labels: The label set of the outcomes: labels that the artifact does not have get no probability.

    Raises:
        DataError: A row has an unknown label, or cannot be encoded.
    """
    probabilities_BC = classifier.predict_proba(examples)
    num_absent = len(labels) - len(classifier.labels)
    return Outcomes.of_probabilities(
        [example.id for example in examples],
        encode_labels(examples, labels),
        np.pad(probabilities_BC, ((0, 0), (0, num_absent))),
        labels,
        groups_of(examples),
    )
