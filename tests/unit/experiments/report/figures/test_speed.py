"""Labels of the speed plot do not lie on each other."""

from __future__ import annotations

import pytest

from dhrd.experiments.report.figures.speed import spaced


def test_places_are_moved_apart_without_changing_their_order_or_their_middle() -> None:
    assert spaced([0.1, 0.5, 0.9], 0.2) == [0.1, 0.5, 0.9]
    moved = spaced([0.5, 0.5, 0.51], 0.1)
    assert moved == pytest.approx([0.4033, 0.5033, 0.6033], abs=1e-3)
    assert sum(moved) == pytest.approx(1.51)
