"""A report's figures: `looks` is how arms are drawn, `drawing` what all figures share; a file for each figure else."""

from __future__ import annotations

from dhrd._extras import require
from dhrd.experiments.report.figures.by_rows import draw_by_rows
from dhrd.experiments.report.figures.confidence import draw_reliability, draw_risk_coverage
from dhrd.experiments.report.figures.curves import draw_curves
from dhrd.experiments.report.figures.differences import draw_differences
from dhrd.experiments.report.figures.drawing import DARK, Drawing
from dhrd.experiments.report.figures.looks import LOOKS, looks_of
from dhrd.experiments.report.figures.radar import draw_radars
from dhrd.experiments.report.figures.speed import draw_speed
from dhrd.experiments.report.schema import Report

__all__ = ["DARK", "LOOKS", "NAMES", "Drawing", "Drawings", "draw", "looks_of"]

_KINDS = {
    "by_rows": draw_by_rows,
    "differences": draw_differences,
    "radar": draw_radars,
    "reliability": draw_reliability,
    "risk_coverage": draw_risk_coverage,
    "speed": draw_speed,
    "curves": draw_curves,
}
NAMES = tuple(_KINDS)

Drawings = dict[str, list[Drawing]]
"""Drawings by `NAMES`."""


def draw(report: Report) -> Drawings:
    """Every figure that a report has data for.

    Returns:
        None where there is nothing to draw; `differences` for a screen, then for a phone; all others for each task, but
        `radar` for each backbone and `by_rows` once.

    Raises:
        MissingExtra: Matplotlib is not installed.
    """
    require("matplotlib", extra="report")
    looks = looks_of(report)
    return {name: list(draw_kind(report, looks)) for name, draw_kind in _KINDS.items()}
