"""The finished cells of a study, by what they are of."""

from __future__ import annotations

from dhrd.data.superglue import TASKS
from dhrd.errors import DataError
from dhrd.experiments.cell_result import CellResult
from dhrd.experiments.cells import Cell, short_name
from dhrd.experiments.outcome import Outcome
from dhrd.experiments.plan import Request, seeds
from dhrd.metrics.outcomes import Outcomes
from dhrd.metrics.paired import Pair


class Results:
    """What came of a request: its cells, and the files of those that are finished."""

    def __init__(self, request: Request, outcome: Outcome) -> None:
        self.request, self.outcome = request, outcome
        self._cells: dict[tuple[str, str, str, int], Cell] = {}
        self._results: dict[tuple[str, str, str, int], CellResult] = {}
        for cell in outcome.cells:
            key = (cell.task, cell.config.model.name_or_path, cell.arm.name, cell.config.seed)
            self._cells[key] = cell
            if (result := request.store.find(cell)) is not None:
                self._results[key] = result

    def name(self, backbone: str) -> str:
        """A backbone's name for tables: short, unless another of the request has the same short one."""
        same = [other for other in self.request.backbones if short_name(other) == short_name(backbone)]
        return short_name(backbone) if len(same) == 1 else backbone

    def all(self) -> list[CellResult]:
        """Every finished cell."""
        return list(self._results.values())

    def cell(self, task: str, backbone: str, arm: str, seed: int) -> Cell | None:
        """The cell, finished or not; None while its settings wait for a choice."""
        return self._cells.get((task, backbone, arm, seed))

    def result(self, task: str, backbone: str, arm: str, seed: int) -> CellResult | None:
        """A finished cell."""
        return self._results.get((task, backbone, arm, seed))

    def by_seed(self, task: str, backbone: str, arm: str) -> dict[int, CellResult]:
        """Seed -> a finished cell."""
        results = {seed: self.result(task, backbone, arm, seed) for seed in seeds(self.request, task)}
        return {seed: result for seed, result in results.items() if result is not None}

    def pairs(self, task: str, backbone: str, baseline: str, other: str) -> dict[int, Pair]:
        """Seed -> the outcomes of both arms, where both are there, on rows that both have.

        Raises:
            DataError: They have no row in common.
        """
        ours, theirs = self.by_seed(task, backbone, baseline), self.by_seed(task, backbone, other)
        return {seed: _same_rows(ours[seed].outcomes, theirs[seed].outcomes) for seed in ours if seed in theirs}


def _same_rows(first: Outcomes, second: Outcomes) -> Pair:
    """Both on the rows that both have: decoding may have been limited to some."""
    common = set(first.ids) & set(second.ids)
    if not common:
        raise DataError(
            "two arms have no rows in common, as they were run on different data; use another output directory"
        )
    kept = [
        outcomes.rows([index for index, row_id in enumerate(outcomes.ids) if row_id in common])
        for outcomes in (first, second)
    ]
    return kept[0], kept[1]


def metrics_of(name: str) -> tuple[str, ...]:
    """The metrics that a task is reported in, the first official one first."""
    task = TASKS.get(name)
    return task.metrics if task else ("accuracy", "macro_f1")
