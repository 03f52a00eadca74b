"""`dhrd reproduce`: choose what is to be chosen, run the cells that are not there yet, write the report."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, field

from dhrd.errors import DhrdError, SaveError, UserError
from dhrd.experiments.cache import Cache
from dhrd.experiments.cell_result import CellResult
from dhrd.experiments.cells import Cell, CellStore, unfinished
from dhrd.experiments.plan import Candidates, Choices, Request, choice_cells, choose, final_cells, planned
from dhrd.experiments.run_cell import run_cell
from dhrd.experiments.workers import WorkerDied, result_of, run_in_worker, workers
from dhrd.training.identity import flat

logger = logging.getLogger("dhrd")


@dataclass
class Outcome:
    """What a call left.

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


def reproduce(request: Request, *, jobs: int = 1, device: str | None = None) -> Outcome:
    """Run what is not there yet of a study.

    Args:
        request: What to reproduce.
        jobs: Cells at a time, each in a process of its own with its share of the cores.
        device: "cpu", "cuda", "mps"; None: the best there is.

    Returns:
        The cells, the choices, and what failed; finished cells are files in `request.store`.

    Raises:
        UserError: The first cell cannot be run for a reason that the user can mend.
        SaveError: A finished cell could not be written.
    """
    cache = Cache(device)
    outcome = Outcome(candidates=choice_cells(request, cache))
    outcome.failures |= run_cells(outcome.judges, request.store, cache, jobs)
    outcome.choices = _choices(request, outcome.candidates)
    outcome.cells = final_cells(request, cache, outcome.choices)
    outcome.failures |= run_cells(outcome.cells, request.store, cache, jobs)
    return outcome


def look(request: Request, cache: Cache) -> Outcome:
    """What a call would run or find finished, by the choices that are made already; nothing is run."""
    candidates = choice_cells(request, cache)
    choices = _choices(request, candidates)
    return Outcome(cells=final_cells(request, cache, choices), choices=choices, candidates=candidates)


def num_waiting(request: Request, outcome: Outcome) -> int:
    """Cells of the table whose settings are still to be chosen."""
    return sum(1 for _ in planned(request)) - len(outcome.cells)


def _choices(request: Request, candidates: Candidates) -> Choices:
    chosen = {key: choose(request, points) for key, points in candidates.items()}
    for (task, _, arm), point in chosen.items():
        if point is not None:
            logger.info("chosen for %s, %s: %s", task, arm, ", ".join(f"{k}={v}" for k, v in flat(point).items()))
    return {key: point for key, point in chosen.items() if point is not None}


def run_cells(cells: Sequence[Cell], store: CellStore, cache: Cache, jobs: int = 1) -> dict[str, str]:
    """Run the cells that have no file yet, and write each as it is finished.

    One cell's failure leaves the others to run; only if the very first fails by the user's doing, the rest would too.

    Returns:
        Key of a cell that failed -> why.
    """
    todo = list(unfinished(cells, store))
    failures: dict[str, str] = {}
    began_s, steps_s = time.perf_counter(), 0.0
    for number, (cell, attempt) in enumerate(_attempts(todo, cache, jobs), 1):
        title = f"[{number}/{len(todo)}] {cell.title}"
        try:
            result = attempt()
        except (WorkerDied, SaveError):
            raise
        except DhrdError as error:
            if isinstance(error, UserError) and number == 1:
                raise
            failures[cell.key] = str(error)
            logger.error("%s: failed: %s", title, error)
            continue
        store.save(cell, result)
        steps_s += sum(result.seconds.get(name, 0.0) for name in ("train", "evaluate", "speed"))
        logger.info("%s: %s, %.1f min", title, result.headline, result.seconds["total"] / 60)
    if todo:
        wall_s = time.perf_counter() - began_s
        share = 100 * steps_s / wall_s / min(max(jobs, 1), len(todo))
        logger.info("%d cells in %.1f min, %.0f %% of it training and evaluating", len(todo), wall_s / 60, share)
    return failures


Attempt = Callable[[], CellResult]


def _attempts(cells: Sequence[Cell], cache: Cache, jobs: int) -> Iterator[tuple[Cell, Attempt]]:
    """Each cell with a call that gives its result, or raises what running it raised."""
    if jobs <= 1 or len(cells) <= 1:
        for cell in cells:
            yield cell, lambda cell=cell: run_cell(cell, cache)  # type: ignore[misc]
        return
    with workers(jobs, cache) as pool:
        futures = {pool.submit(run_in_worker, cell): cell for cell in cells}
        for future in as_completed(futures):
            yield futures[future], lambda future=future: result_of(future)  # type: ignore[misc]


def today() -> str:
    """The date, for the report."""
    return time.strftime("%Y-%m-%d", time.gmtime())
