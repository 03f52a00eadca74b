"""Paired differences over seeds, for the studies of docs/results that are scripts here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, stdev

from scipy import stats


def interval(differences: Sequence[float]) -> dict[str, float]:
    """Their mean with its 95 % t interval; of one seed the mean alone."""
    middle = mean(differences)
    if len(differences) < 2:
        return {"mean": middle}
    half = float(stats.t.ppf(0.975, len(differences) - 1)) * stdev(differences) / len(differences) ** 0.5
    return {"mean": middle, "low": middle - half, "high": middle + half}


def compared(
    cells: Mapping[str, Sequence[Mapping[str, float]]], pairs: Sequence[tuple[str, str]], keys: Sequence[str]
) -> dict[str, object]:
    """The mean of each arm, and of each pair of arms the paired differences, over the seeds that both have.

    Args:
        cells: The figures of each seed, arm by arm.
        pairs: An arm, and what it is compared with.
        keys: The figures that are compared.
    """
    means = {arm: {key: mean(one[key] for one in rows) for key in rows[0]} for arm, rows in cells.items()}
    differences = {
        f"{arm} - {other}": {
            key: interval([one[key] - two[key] for one, two in zip(cells[arm], cells[other], strict=True)])
            for key in keys
        }
        for arm, other in pairs
    }
    return {"means": means, "differences": differences, "cells": cells}
