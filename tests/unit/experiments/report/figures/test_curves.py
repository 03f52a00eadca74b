"""What is drawn of a training curve."""

from __future__ import annotations

import pytest

from dhrd.experiments.report.figures.curves import smoothed
from dhrd.experiments.report.schema import CurvePoint


def test_a_curve_is_smoothed_lightly_and_thinned() -> None:
    curve = [CurvePoint(step=step, lm_loss=2.0 + (step % 2)) for step in range(3000)]
    steps, losses = smoothed(curve, "lm_loss")
    assert len(steps) == len(losses) == 240 and (steps[0], steps[-1]) == (0, 2999)
    assert losses[10:-10] == pytest.approx([2.5] * 220, abs=0.01)
    few = [CurvePoint(step=step, lm_loss=float(step)) for step in range(5)]
    assert smoothed(few, "lm_loss")[1].tolist() == [0, 1, 2, 3, 4]
