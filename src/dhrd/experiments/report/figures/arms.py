"""Arms, and how each is drawn in every figure and swatch alike: by colour, marker and dashes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dhrd.experiments.report.figures.svg import ARM_COLOURS
from dhrd.experiments.report.schema import cells, tasks

NUM_COLOURS = len(ARM_COLOURS)

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
_DASHES = ("-", "-", (0, (5, 1.5)), (0, (7, 2, 1.5, 2)), (0, (1.5, 1.5)), "-", (0, (5, 1.5)), (0, (1.5, 1.5)))
MARKER_PATHS = (
    "M2 8a6 6 0 1 0 12 0a6 6 0 1 0-12 0z",
    "M3 3h10v10H3z",
    "M8 2l6.5 11.5h-13z",
    "M8 1l7 7-7 7-7-7z",
    "M8 14L1.5 2.5h13z",
    "M6 2h4v4h4v4h-4v4H6v-4H2V6h4z",
    "M4.5 1.5L8 5l3.5-3.5 3 3L11 8l3.5 3.5-3 3L8 11l-3.5 3.5-3-3L5 8 1.5 4.5z",
    "M8 1.5l6.5 4.7-2.5 7.6H4L1.5 6.2z",
)
"""The markers' shapes in a box of 16, for swatches in text."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """What one way of training is called and how it is drawn, everywhere alike.

    Args:
        name: As the report's cells name it.
        title: As people read it.
        index: Its place among the arms; decides colour, marker and dashes.
    """

    name: str
    title: str
    index: int

    @property
    def style(self) -> int:
        """The number of its colour and marker."""
        return self.index % NUM_COLOURS

    @property
    def colour(self) -> str:
        """The stand-in that becomes the page's `--arm-N`."""
        return ARM_COLOURS[self.style]

    @property
    def marker(self) -> str:
        """Its shape, as Matplotlib names it."""
        return _MARKERS[self.style]

    @property
    def dashes(self) -> Any:
        """Its line style, as Matplotlib takes it."""
        return _DASHES[self.style]


def arms_of(report: dict[str, Any]) -> dict[str, Arm]:
    """Every arm of a report by name, in order of appearance.

    Args:
        report: As `report_format.complete` gives it.

    Returns:
        The arms; the first is usually the baseline.
    """
    titles: dict[str, str] = {}
    for _, _, arm in cells(report):
        titles.setdefault(str(arm["arm"]), str(arm["title"] or arm["arm"] or "–"))
    for _, task in tasks(report):
        for comparison in task["comparisons"]:
            for name in (comparison["baseline"], comparison["other"]):
                titles.setdefault(str(name), str(name or "–"))
    return {name: Arm(name=name, title=title, index=index) for index, (name, title) in enumerate(titles.items())}
