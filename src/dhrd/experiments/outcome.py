"""The state of a study: its cells, the choices made by finished cells, and failures."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from dhrd.experiments.cache import Cache
from dhrd.experiments.cells import Cell
from dhrd.experiments.plan import Candidates, Choices, Request, choice_cells, choose, final_cells, planned
from dhrd.training.identity import flat

logger = logging.getLogger("dhrd")


@dataclass
class Outcome:
    """The result of a call.

    Args:
        cells: The table's own cells; those that wait for a choice are left out.
        choices: What was chosen for which task, backbone and arm.
        candidates: The cells behind the choices.
        failures: Key of a cell that failed, and why.
    """

    cells: list[Cell] = field(default_factory=list)
    choices: Choices = field(default_factory=dict)
    candidates: Candidates = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def judges(self) -> list[Cell]:
        """The cells behind the choices, in order."""
        return [cell for points in self.candidates.values() for _, cells in points for cell in cells]


def look(request: Request, cache: Cache, known: Outcome | None = None) -> Outcome:
    """What a call would run or find finished, given the choices made so far; nothing is run.

    Args:
        request: What to look for.
        cache: Loads its rows.
        known: An earlier look, whose failures still hold; only choices not in it are logged.
    """
    before = known or Outcome()
    candidates = before.candidates or choice_cells(request, cache)
    chosen = {key: choose(request, points) for key, points in candidates.items()}
    choices = {key: point for key, point in chosen.items() if point is not None}
    for (task, backbone, arm), point in choices.items():
        if (task, backbone, arm) not in before.choices:
            logger.info("chosen for %s, %s: %s", task, arm, ", ".join(f"{k}={v}" for k, v in flat(point).items()))
    failures = before.failures | _without_choice(request, candidates)
    return Outcome(final_cells(request, cache, choices), choices, candidates, failures)


def _without_choice(request: Request, candidates: Candidates) -> dict[str, str]:
    """The cells that diverged where every candidate has one, and why."""
    found: dict[str, str] = {}
    for points in candidates.values():
        lost = [
            {cell.key: why for cell in cells if (why := request.store.diverged(cell)) is not None}
            for _, cells in points
        ]
        if all(lost):
            found |= {key: why for each in lost for key, why in each.items()}
    return found


def num_waiting(request: Request, outcome: Outcome) -> int:
    """Cells of the table whose settings are still to be chosen."""
    return sum(1 for _ in planned(request)) - len(outcome.cells)
