"""How well a teacher labels rows whose labels are known: its quality, before money is spent on the rest.

Shape legend: B rows with a readable vote, C labels.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import cohen_kappa_score

from dhrd.metrics.calibration import calibration
from dhrd.metrics.intervals import Interval, wilson
from dhrd.rationales.teacher.answers import Rationale, Rejection
from dhrd.rationales.teacher.prompt import Questions
from dhrd.rationales.teacher.session import Session


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gold:
    """Votes for rows whose labels are known.

    Args:
        share_BC: Each label's share of the votes.
        gold_B: The right label.
        num_open: Rows that have no answer yet.
        rejected: Rows without a readable vote, by reason.
    """

    share_BC: np.ndarray
    gold_B: np.ndarray
    num_open: int
    rejected: Counter[str]

    @property
    def num_rows(self) -> int:
        """The number of all rows."""
        return len(self.gold_B) + self.num_open + self.rejected.total()

    @property
    def num_right(self) -> int:
        """Rows with most votes for the right label; ties go to the first label in the set's order."""
        return int((self.share_BC.argmax(1) == self.gold_B).sum())

    @property
    def accuracy(self) -> float | None:
        """The accuracy on the rows with a readable vote; None if there is none."""
        return self.num_right / len(self.gold_B) if len(self.gold_B) else None

    @property
    def interval(self) -> Interval | None:
        """The 95 % interval of the accuracy (Wilson)."""
        return wilson(self.num_right, len(self.gold_B)) if len(self.gold_B) else None

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa of the teacher's labels and the right ones; None if all are one label, or there are none."""
        if not len(self.gold_B):
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of one label alone: it is then no number
            kappa = float(cohen_kappa_score(self.gold_B, self.share_BC.argmax(1)))
        return None if math.isnan(kappa) else kappa

    @property
    def calibration(self) -> dict[str, Any]:
        """How well agreement predicts accuracy; {} if there are no rows."""
        return calibration(self.share_BC, self.gold_B) if len(self.gold_B) else {}

    def is_below(self, accuracy: float | None) -> bool:
        """Whether fewer rows than asked for got the right label: one without a readable vote did not."""
        num_answered = len(self.gold_B) + self.rejected.total()
        return accuracy is not None and (not num_answered or self.num_right / num_answered < accuracy)

    def record(self) -> dict[str, object]:
        """For a manifest."""
        measured = self.calibration
        return {
            "rows": self.num_rows,
            "with_a_vote": len(self.gold_B),
            "right": self.num_right,
            "accuracy": self.accuracy,
            "interval_95": self.interval,
            "kappa": self.kappa,
            **{name: measured.get(name) for name in ("ece", "brier", "reliability")},
            "rejected": dict(sorted(self.rejected.items())),
            "not_asked": self.num_open,
        }

    def lines(self) -> Iterator[str]:
        """The findings, one sentence each."""
        if self.accuracy is None or self.interval is None:
            yield f"gold: none of {self.num_rows:,} rows has a readable vote"
            return
        low, high = self.interval
        kappa = "none (one label alone)" if self.kappa is None else f"{self.kappa:.2f}"
        yield (
            f"gold: {self.num_right:,} of {len(self.gold_B):,} rows right: accuracy {self.accuracy:.3f} (95 % interval "
            f"{low:.3f} to {high:.3f}), kappa {kappa}"
        )
        if missing := self.num_rows - len(self.gold_B):
            yield f"gold: {missing:,} further rows have no readable vote"
        measured = self.calibration
        for bin_ in measured["reliability"]:
            rows = f"{bin_['count']:,} rows, {bin_['accuracy']:.2f} of them right"
            yield f"gold: votes that agree by {bin_['confidence']:.2f}: {rows}"
        yield f"gold: expected calibration error of the agreement {measured['ece']:.3f}"


def read_gold(questions: Questions, session: Session) -> Gold:
    """Judge all answers to rows whose labels are known."""
    shares: list[list[float]] = []
    gold: list[int] = []
    rejected: Counter[str] = Counter()
    num_open = 0
    for question in questions:
        standing = session.standing(question)
        if standing is None:
            num_open += 1
        elif isinstance(standing, Rejection):
            rejected[standing.reason] += 1
        else:
            shares.append(vote_shares(standing, len(questions.labels)))
            gold.append(question.label[0])
    share_BC = np.array(shares, dtype=np.float64).reshape(len(shares), len(questions.labels))
    return Gold(share_BC=share_BC, gold_B=np.array(gold, dtype=np.int64), num_open=num_open, rejected=rejected)


def vote_shares(votes: Sequence[Rationale], num_labels: int) -> list[float]:
    """Each label's share of votes for one label each."""
    counts = Counter(index for vote in votes for index in vote.label or ())
    return [counts[index] / len(votes) for index in range(num_labels)]
