"""What studies of docs/results that are scripts share: cells that are kept, and paired differences over seeds."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from scipy import stats

from dhrd._files import writing


def done(path: Path, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A cell, measured unless it was before: a kill leaves it whole or absent."""
    if not path.is_file():
        cell = measure()
        with writing(path) as file:
            file.json(cell)
    return dict(json.loads(path.read_text(encoding="utf-8")))


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
