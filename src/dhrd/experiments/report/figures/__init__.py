"""A report's figures. `svg` is the page's side of a drawing, `arms` how arms look; a file for each figure else."""

from __future__ import annotations

from typing import Any

from dhrd._extras import require
from dhrd.experiments.report.figures.arms import MARKER_PATHS, NUM_COLOURS, Arm, arms_of
from dhrd.experiments.report.figures.by_rows import draw_by_rows
from dhrd.experiments.report.figures.confidence import draw_reliability, draw_risk_coverage
from dhrd.experiments.report.figures.curves import draw_curves
from dhrd.experiments.report.figures.differences import draw_differences
from dhrd.experiments.report.figures.radar import draw_radars
from dhrd.experiments.report.figures.speed import draw_speed
from dhrd.experiments.report.figures.svg import DARK, LIGHT, Drawing, as_file

__all__ = ["DARK", "LIGHT", "MARKER_PATHS", "NAMES", "NUM_COLOURS", "Arm", "Drawing", "arms_of", "as_file", "draw"]

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


def draw(report: dict[str, Any]) -> dict[str, list[Drawing]]:
    """Every figure that a report has data for.

    Args:
        report: As `report_format.complete` gives it.

    Returns:
        Drawings by `NAMES`, none where there is nothing to draw; `differences` for a screen, then for a phone; all
        others for each task, but `radar` for each backbone and `by_rows` once.

    Raises:
        MissingExtra: Matplotlib is not installed.
    """
    require("matplotlib", extra="report")
    arms = arms_of(report)
    return {name: list(draw_kind(report, arms)) for name, draw_kind in _KINDS.items()}
