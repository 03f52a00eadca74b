"""How well a classifier's probabilities are calibrated, and the temperature that calibrates them.

Shape legend: B rows, C classes.
"""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from sklearn.metrics import log_loss

from dhrd.data.rows import one_hot
from dhrd.errors import DataError

logger = logging.getLogger("dhrd")

_MAX_POINTS = 50  # of the risk-coverage curve: as many as a plot can show
_LOWEST, _HIGHEST = 0.01, 100.0  # beyond them a temperature makes probabilities 0 and 1, or all equal


def calibration(probabilities_BC: np.ndarray, gold_B: np.ndarray, num_bins: int = 15) -> dict[str, Any]:
    """How well probabilities are calibrated, for tasks with one label per row.

    Args:
        probabilities_BC: Each label's probability; rows sum to one.
        gold_B: The right class of each row.
        num_bins: Bins of equal width over the probability of the most probable label, its confidence.

    Returns:
        - `ece`: expected calibration error (Guo et al., 2017), Σ_bins (count / B) · |accuracy − confidence|.
        - `brier`: mean over rows of Σ_classes (p − y)², between 0 and 2: Brier's own (1950), for two classes twice
          scikit-learn's `brier_score_loss`.
        - `log_loss`: in nats.
        - `reliability`: the bins that are not empty, `low` < confidence <= `high`, with their mean `confidence`, their
          `accuracy` and their `count`.
        - `risk_coverage`: the share of wrong answers (`risk`) among the rows with confidence of at least `threshold`,
          and the share of these rows (`coverage`); at most 50 points, the last covers all rows.
        - `aurc`: area under that curve: the mean over rows of the risk with the row's own confidence as threshold.

    Raises:
        DataError: There are no rows.
    """
    if not len(gold_B):
        raise DataError("there are no rows to measure calibration on; check the file and the split")
    p_BC, num_classes = probabilities_BC.astype(np.float64), probabilities_BC.shape[1]
    assert p_BC.shape[0] == len(gold_B)
    confidence_B, right_B = p_BC.max(axis=1), p_BC.argmax(axis=1) == gold_B
    bins = _reliability(confidence_B, right_B, num_bins)
    return {
        "ece": sum(bin_["count"] * abs(bin_["accuracy"] - bin_["confidence"]) for bin_ in bins) / len(gold_B),
        "brier": float(((p_BC - one_hot(gold_B, num_classes)) ** 2).sum(axis=1).mean()),
        "log_loss": float(log_loss(gold_B, p_BC, labels=range(num_classes))),
        "reliability": bins,
        **risk_coverage(confidence_B, right_B),
    }


def _reliability(confidence_B: np.ndarray, right_B: np.ndarray, num_bins: int) -> list[dict[str, Any]]:
    edges = np.linspace(0, 1, num_bins + 1)
    bin_B = np.digitize(confidence_B, edges[1:-1], right=True)
    return [
        {
            "low": float(edges[index]),
            "high": float(edges[index + 1]),
            "confidence": float(confidence_B[bin_B == index].mean()),
            "accuracy": float(right_B[bin_B == index].mean()),
            "count": int((bin_B == index).sum()),
        }
        for index in np.unique(bin_B)
    ]


def risk_coverage(confidence_B: np.ndarray, right_B: np.ndarray) -> dict[str, Any]:
    """The risk-coverage curve, one point per confidence: rows of equal confidence are answered together or not at all.

    Returns:
        `risk_coverage` and `aurc`, as in `calibration`.
    """
    threshold_K, group_B, count_K = np.unique(-confidence_B, return_inverse=True, return_counts=True)
    covered_K = count_K.cumsum()
    risk_K = np.bincount(group_B, weights=~right_B).cumsum() / covered_K
    points = [
        {
            "coverage": float(covered_K[k] / len(right_B)),
            "risk": float(risk_K[k]),
            "threshold": float(-threshold_K[k]),
        }
        for k in curve_points(len(covered_K))
    ]
    return {"risk_coverage": points, "aurc": float((count_K * risk_K).sum() / len(right_B))}


def curve_points(num_points: int) -> np.ndarray:
    """Indices of the points of a curve to return: at most as many as a plot can show, including the first and last."""
    return np.unique(np.linspace(0, num_points - 1, _MAX_POINTS).round().astype(int))


def fit_temperature(logits_BC: np.ndarray, gold_BC: np.ndarray, *, multi_label: bool = False, task: str = "") -> float:
    """The temperature T that minimises the log loss of logits / T (Guo et al., 2017), between 0.01 and 100.

    If no T in between is best, these rows do not determine one, and 1 is returned with a warning: with every row right,
    a lower T is always better, and with answers no better than chance, a higher one.

    Args:
        logits_BC: Logits of rows that the weights were not trained on.
        gold_BC: 0/1: one-hot, or multi-hot for multi-label.
        multi_label: Use binary cross-entropy of a sigmoid per label instead of cross-entropy of the softmax.
        task: Its name, for the warning, where there are several.

    Raises:
        DataError: There are no rows.
    """
    if not len(logits_BC):
        raise DataError("there are no rows to fit a temperature on; check the file and the split")
    logits_BC, gold_BC = logits_BC.astype(np.float64), gold_BC.astype(np.float64)
    loss = _sigmoid_loss if multi_label else _softmax_loss
    low, high = math.log(_LOWEST), math.log(_HIGHEST)
    best = minimize_scalar(
        lambda log_t: loss(logits_BC / math.exp(log_t), gold_BC),
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-6},
    )
    # A flat end is as good as the bound: with every row right the loss is 0 long before it
    best_end = min(loss(logits_BC / bound, gold_BC) for bound in (_LOWEST, _HIGHEST))
    if not low + 0.01 < best.x < high - 0.01 or best.fun >= best_end:
        logger.warning(
            "calibration%s: the %d held-out rows determine no temperature (all right, or no better than chance), so "
            "probabilities are not changed; hold out more rows",
            f" of {task}" if task else "",
            len(logits_BC),
        )
        return 1.0
    return math.exp(best.x)


def _softmax_loss(logits_BC: np.ndarray, gold_BC: np.ndarray) -> float:
    return float((logsumexp(logits_BC, axis=1) - (gold_BC * logits_BC).sum(axis=1)).mean())


def _sigmoid_loss(logits_BC: np.ndarray, gold_BC: np.ndarray) -> float:
    return float((np.logaddexp(0, logits_BC) - gold_BC * logits_BC).mean())
