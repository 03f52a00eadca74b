"""The cascade: rows on which the classifier is unsure are passed on to the reasoning head.

A row with a confidence below the threshold is decoded, and the label in its answer replaces the classifier's. At
threshold 0 no row is decoded (classifier only), at 1 every row is (chain of thought only).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from numbers import Real

import numpy as np

from dhrd._text import dhrd_command, shown
from dhrd.artifact.info import ArtifactInfo
from dhrd.data.label_space import check_one_task
from dhrd.decisions.decision import confidences
from dhrd.errors import ConfigError
from dhrd.inference.cot import Reasoner
from dhrd.inference.decoding import Decoded, Decoding
from dhrd.inference.prediction import Prediction
from dhrd.inference.streaming import Scored


@dataclass(frozen=True, slots=True, kw_only=True)
class CoT(Decoding):
    """How the reasoning head answers: `Decoding` by its public name."""


class Cascade:
    """Passes rows on which the classifier is unsure to the reasoning head. Thread-safe.

    Args:
        info: The artifact's info.
        reasoner: Returns the reasoning head; called when it is first needed.
        decoding: Decoding options.
        threshold: Rows with a lower confidence are passed on (0: none, 1: all); None: those on which the artifact's
            decision abstains.

    Attributes:
        num_asked: Number of rows passed on so far.

    Raises:
        ConfigError: See `check_cascade`.
    """

    def __init__(
        self, info: ArtifactInfo, reasoner: Callable[[], Reasoner], decoding: Decoding, threshold: float | None
    ) -> None:
        self.threshold = check_cascade(info, threshold)
        self.decoding = decoding
        self.num_asked = 0
        self._reasoner, self._info = reasoner, info
        self._lock = threading.Lock()  # guards the count

    def decide(self, predictions: Sequence[Prediction], part: Scored) -> list[Prediction]:
        """The classifier's predictions, with the rows passed on decided by the reasoning head."""
        asked_B = rows_to_ask(self._info, part.probabilities_BC, self.threshold)
        if not asked_B.any():
            return list(predictions)
        with self._lock:
            self.num_asked += int(asked_B.sum())
        asked = [part.inputs[int(index)] for index in asked_B.nonzero()[0]]
        return redecided(predictions, asked_B, self._reasoner().decode(asked, self.decoding))


def check_cascade(info: ArtifactInfo, threshold: float | None) -> float | None:
    """Check a cascade's threshold; None: the artifact's decision determines which rows are passed on.

    Raises:
        ConfigError: There is neither a threshold nor a decision, the threshold is out of range, or the reasoning head
            was not trained.
    """
    check_one_task(info.labels, "a cascade")
    is_decided = threshold is None and info.decision is not None and info.decision.rules
    if not is_decided and not _is_share(threshold):
        raise ConfigError(
            f"threshold {shown(threshold)}: give a confidence from 0 to 1, below which the reasoning head is used; "
            f"{dhrd_command('evaluate', mode='cascade')} chooses one, and {dhrd_command('decide')} makes it unnecessary"
        )
    if not info.reasons:
        raise ConfigError(
            "the artifact was trained with loss.reasoning_weight: 0, so its reasoning head is untrained and "
            "cannot serve a cascade; train with rationales, or leave the cascade out"
        )
    return None if threshold is None else float(threshold)


def _is_share(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and 0 <= float(value) <= 1


def rows_to_ask(info: ArtifactInfo, probabilities_BC: np.ndarray, threshold: float | None) -> np.ndarray:
    """Which rows to pass on, (B,): those below the threshold or, without one, those the decision abstains on."""
    if threshold is None:
        return ~info.answered(probabilities_BC)
    return asked_rows(confidences(probabilities_BC, multi_label=info.labels.multi_label), threshold)


def asked_rows(confidence_B: np.ndarray, threshold: float) -> np.ndarray:
    """Whether each row is passed on, (B,): its confidence is below the threshold, or the threshold is 1."""
    return (confidence_B < threshold) | (threshold >= 1)


def redecided(predictions: Sequence[Prediction], asked_B: np.ndarray, decoded: Sequence[Decoded]) -> list[Prediction]:
    """Replace predictions by the reasoning head's answers; unreadable answers keep the classifier's prediction.

    Args:
        predictions: The classifier's predictions of all rows.
        asked_B: Which rows were passed on.
        decoded: The decoded rows, in order.
    """
    decided = list(predictions)
    for index, answer in zip(np.flatnonzero(asked_B), decoded, strict=True):
        if answer.label is not None:
            decided[index] = replace(decided[index], label=answer.label, decided_by="reasoning")
    return decided
