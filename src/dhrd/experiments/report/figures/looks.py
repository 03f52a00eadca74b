"""How each arm is drawn in every figure and named in every table: by colour, marker and dashes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from dhrd.experiments.report.numbers import NOTHING
from dhrd.experiments.report.schema import Report

Style = dict[str, Any]
"""Arguments of Matplotlib's by name."""


class Look(NamedTuple):
    """A colour on white, a marker and dashes as Matplotlib takes them, and the marker in text."""

    colour: str
    marker: str
    symbol: str
    dashes: str | tuple[int, tuple[float, ...]]


LOOKS = (
    Look("#6a7078", "o", "●", "-"),
    Look("#0b68cb", "s", "■", "-"),
    Look("#c27400", "^", "▲", (0, (5, 1.5))),
    Look("#00805f", "D", "◆", (0, (7, 2, 1.5, 2))),
    Look("#a8478a", "v", "▼", (0, (1.5, 1.5))),
    Look("#c4450c", "P", "✚", "-"),
    Look("#2f93cc", "X", "✖", (0, (5, 1.5))),
    Look("#7d7300", "p", "⬟", (0, (1.5, 1.5))),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmLook:
    """What one way of training is called and how it is drawn.

    Args:
        name: As the report's cells name it.
        title: As people read it.
        index: Its place among the arms.
    """

    name: str
    title: str
    index: int

    @property
    def style(self) -> int:
        """The number of its look."""
        return self.index % len(LOOKS)

    @property
    def look(self) -> Look:
        """Its colour, marker and dashes."""
        return LOOKS[self.style]

    @property
    def line(self) -> Style:
        """The style of a line, as Matplotlib arguments."""
        return {"color": self.look.colour, "linestyle": self.look.dashes}


Looks = dict[str, ArmLook]
"""By the arm's name."""


def looks_of(report: Report) -> Looks:
    """Every arm of a report by name, in order of appearance; the first is usually the baseline."""
    titles: dict[str, str] = {}
    for _, _, cell in report.cells():
        titles.setdefault(cell.arm, cell.title or cell.arm or NOTHING)
    for _, task in report.tasks():
        for comparison in task.comparisons:
            for name in (comparison.baseline, comparison.other):
                titles.setdefault(name, name or NOTHING)
    return {name: ArmLook(name=name, title=title, index=index) for index, (name, title) in enumerate(titles.items())}
