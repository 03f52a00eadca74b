"""The cascade: rows that the classifier is unsure of are asked again, of the reasoning head.

A row whose confidence is under the threshold is decoded, and the label that its answer names takes the classifier's
place. At threshold 0 no row is asked: the pure classifier. At 1 every row is: pure chain of thought.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from numbers import Real

import numpy as np

from dhrd._text import dhrd_command, shown
from dhrd.artifact.info import ArtifactInfo
from dhrd.errors import ConfigError
from dhrd.inference.cot import Decoded, check_answers, check_sampling
from dhrd.inference.prediction import Prediction


@dataclass(frozen=True, slots=True, kw_only=True)
class CoT:
    """How the reasoning head answers, the options of `dhrd.inference.cot.decode`.

    Args:
        max_new_tokens: Longest rationale with its answer. The paper: 500.
        temperature: 0: greedy. The paper: 0.1.
        top_p: The paper: 0.7.
        batch_size: Rows decoded together.
        seed: Of sampling.

    Raises:
        ConfigError: One of them makes no sense.
    """

    max_new_tokens: int = 500
    temperature: float = 0.0
    top_p: float = 1.0
    batch_size: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        check_sampling(**asdict(self))


def check_cascade(info: ArtifactInfo, threshold: float | None) -> None:
    """Refuse a cascade that cannot mean anything.

    Raises:
        ConfigError: There is no threshold, it is out of range, or the reasoning head was not trained.
    """
    if not isinstance(threshold, Real) or isinstance(threshold, bool) or not 0 <= threshold <= 1:
        raise ConfigError(
            f"threshold {shown(threshold)}: a cascade asks rows under it, from 0 (none) to 1 (all); "
            f"{dhrd_command('evaluate', mode='cascade')} chooses one"
        )
    check_answers(info.sequence)
    if info.training.get("reasoning_weight") == 0:
        raise ConfigError(
            "the artifact was trained with loss.reasoning_weight: 0, so its reasoning head learned nothing that a "
            "cascade could ask; train with rationales, or leave the cascade out"
        )


def asked_rows(confidence_B: np.ndarray, threshold: float) -> np.ndarray:
    """Whether each row is asked, (B,): its confidence is under the threshold, or the threshold is 1."""
    return (confidence_B < threshold) | (threshold >= 1)


def redecided(predictions: Sequence[Prediction], asked_B: np.ndarray, decoded: Sequence[Decoded]) -> list[Prediction]:
    """Predictions with the answers of the rows that were asked; one that cannot be read leaves the classifier's label.

    Args:
        predictions: The classifier's, of all rows.
        asked_B: Which rows were asked.
        decoded: What was written for those, in order.
    """
    found = list(predictions)
    for index, one in zip(np.flatnonzero(asked_B), decoded, strict=True):
        if one.label is not None:
            found[index] = replace(found[index], label=one.label, decided_by="reasoning")
    return found
