"""The gate of an update: how it changed the answers on new and old rows, and whether it may be published."""

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

NAMES = ("the old model", "the updated model")


@dataclass(frozen=True, slots=True)
class Flips:
    """The answers that flipped in one direction.

    Args:
        num_rows: Their number.
        share: Their share of all rows.
        interval_95: Wilson's interval of the share.
    """

    num_rows: int
    share: float
    interval_95: Interval

    @classmethod
    def of(cls, flipped_B: np.ndarray) -> Flips:
        """Build from a flag for each row."""
        num_rows = int(flipped_B.sum())
        return cls(num_rows, num_rows / len(flipped_B), wilson(num_rows, len(flipped_B)))


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerChange:
    """How an update changed the answers on some rows.

    Args:
        num_rows: Their number.
        before: Accuracy of the old model.
        after: Accuracy of the updated one.
        interval_95: Interval of the difference, by a paired bootstrap over rows; None if the rows do not vary.
        mended: Wrong before, right now.
        broken: Right before, wrong now.
        verdict: The difference as a sentence.
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
        """Build from the outcomes of both models on the same rows, in the same order.

        Raises:
            DataError: There are no rows, or two have the same id.
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
        """Whether the accuracy falls by more than `most` even at the upper end of the interval."""
        best = self.interval_95[1] if self.interval_95 is not None else self.difference
        return best < -most


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateGate:
    """The report on an update.

    Args:
        new: Its effect on new rows.
        old: Its effect on old rows.
        max_regression: The largest allowed drop in accuracy on old rows.
        num_new: Number of new rows trained on.
        num_replayed: Number of old rows trained on.
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
        """The report as JSON; differences are shares, not percentage points."""
        return {"published": self.holds, **asdict(self)}


def outcomes_of(classifier: Classifier, examples: Sequence[Example], labels: LabelSet) -> Outcomes:
    """An artifact's outcomes on labelled rows, ignoring its decision.

    Args:
        classifier: The classifier, whose labels are the first of `labels`.
        examples: At least one row, with unique ids.
        labels: The label set of the outcomes; labels that the artifact does not have get probability 0.

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
