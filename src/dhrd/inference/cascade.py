"""The cascade: rows that the classifier is unsure of are asked again, of the reasoning head.

A row whose confidence is under the threshold is decoded, and the label that its answer names takes the classifier's
place. At threshold 0 no row is asked: the pure classifier. At 1 every row is: pure chain of thought.
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
    """What asks the reasoning head about the rows that the classifier is unsure of. Any number of threads may use it.

    Args:
        info: The artifact's.
        reasoner: Gives its reasoning head, when it is asked first.
        decoding: How it answers.
        threshold: Rows whose confidence is under it are asked, 0: none, 1: all; None: those that the artifact's
            decision does not answer.

    Attributes:
        num_asked: Rows that were asked so far.

    Raises:
        ConfigError: As `check_cascade`.
    """

    def __init__(
        self, info: ArtifactInfo, reasoner: Callable[[], Reasoner], decoding: Decoding, threshold: float | None
    ) -> None:
        self.threshold = check_cascade(info, threshold)
        self.decoding = decoding
        self.num_asked = 0
        self._reasoner, self._info = reasoner, info
        self._lock = threading.Lock()  # around the count

    def decide(self, predictions: Sequence[Prediction], part: Scored) -> list[Prediction]:
        """The classifier's predictions of rows, those that are asked decided by what the reasoning head answers."""
        asked_B = rows_to_ask(self._info, part.probabilities_BC, self.threshold)
        if not asked_B.any():
            return list(predictions)
        with self._lock:
            self.num_asked += int(asked_B.sum())
        asked = [part.inputs[int(index)] for index in asked_B.nonzero()[0]]
        return redecided(predictions, asked_B, self._reasoner().decode(asked, self.decoding))


def check_cascade(info: ArtifactInfo, threshold: float | None) -> float | None:
    """The threshold of a cascade that can mean something; None: it asks by the artifact's decision.

    Raises:
        ConfigError: There is neither a threshold nor a decision, it is out of range, or the reasoning head was not
            trained.
    """
    check_one_task(info.labels, "a cascade")
    is_decided = threshold is None and info.decision is not None and info.decision.rules
    if not is_decided and not _is_share(threshold):
        raise ConfigError(
            f"threshold {shown(threshold)}: a cascade asks rows under it, from 0 (none) to 1 (all); "
            f"{dhrd_command('evaluate', mode='cascade')} chooses one, and with {dhrd_command('decide')} none is needed"
        )
    if not info.reasons:
        raise ConfigError(
            "the artifact was trained with loss.reasoning_weight: 0, so its reasoning head learned nothing that a "
            "cascade could ask; train with rationales, or leave the cascade out"
        )
    return None if threshold is None else float(threshold)


def _is_share(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and 0 <= float(value) <= 1


def rows_to_ask(info: ArtifactInfo, probabilities_BC: np.ndarray, threshold: float | None) -> np.ndarray:
    """Which rows the reasoning head is asked, (B,): those under the threshold, or else those left by the decision."""
    if threshold is None:
        return ~info.answered(probabilities_BC)
    return asked_rows(confidences(probabilities_BC, multi_label=info.labels.multi_label), threshold)


def asked_rows(confidence_B: np.ndarray, threshold: float) -> np.ndarray:
    """Whether each row is asked, (B,): its confidence is under the threshold, or the threshold is 1."""
    return (confidence_B < threshold) | (threshold >= 1)


def redecided(predictions: Sequence[Prediction], asked_B: np.ndarray, decoded: Sequence[Decoded]) -> list[Prediction]:
    """Predictions with the answers of the rows that were asked; one that cannot be read leaves what there was.

    Args:
        predictions: The classifier's, of all rows.
        asked_B: Which rows were asked.
        decoded: What was written for those, in order.
    """
    decided = list(predictions)
    for index, answer in zip(np.flatnonzero(asked_B), decoded, strict=True):
        if answer.label is not None:
            decided[index] = replace(decided[index], label=answer.label, decided_by="reasoning")
    return decided
