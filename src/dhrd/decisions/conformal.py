"""Sets of labels that contain the right one with a given probability: split conformal prediction.

Shape legend: B rows, C classes.
"""

from __future__ import annotations

import math

import numpy as np

from dhrd.decisions.decision import LabelSets
from dhrd.errors import DataError


def label_sets(probabilities_BC: np.ndarray, gold_BC: np.ndarray, coverage: float) -> LabelSets:
    """Choose the threshold of label sets that cover new rows (Sadinle, Lei and Wasserman, 2019; Vovk et al., 2005).

    A row's score is the least probability among its right labels. Among B such scores and that of a new row, all ranks
    are equally likely, so the new one is below the ⌊(B + 1)(1 − coverage)⌋-th smallest with probability at most
    1 − coverage.

    Args:
        probabilities_BC: Probabilities of rows that the model was not trained on.
        gold_BC: The right labels, 0/1; a row without any label is covered by every set.
        coverage: Minimum probability that a set contains all right labels, over draws of these rows and a new one.

    Raises:
        DataError: There are too few rows for this coverage.
    """
    assert 0 < coverage < 1, coverage
    score_B = np.where(gold_BC == 1, probabilities_BC, np.inf).min(axis=1)
    rank = math.floor(
        (len(score_B) + 1) * (1 - coverage) + 1e-9
    )  # in floating point, 1 - 0.9 is slightly less than a tenth
    if not rank:
        needed = math.ceil(1 / (1 - coverage) - 1e-9) - 1
        raise DataError(f"label sets with coverage {coverage:g} need at least {needed} rows, got {len(score_B)}")
    return LabelSets(coverage=coverage, threshold=min(1.0, float(np.sort(score_B)[rank - 1])))
