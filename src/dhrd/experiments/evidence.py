"""Running the undone cells of a list of studies: any number of processes, a deadline, any order of interruption."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from dhrd.errors import DhrdError, UserError
from dhrd.experiments.agenda import Entry
from dhrd.experiments.cache import Cache
from dhrd.experiments.cell_result import CellResult
from dhrd.experiments.cells import Cell, unfinished
from dhrd.experiments.plan import Request
from dhrd.experiments.reproduce import Outcome, look, num_waiting
from dhrd.experiments.workers import WorkerDied, result_of, run_in_worker, workers

logger = logging.getLogger("dhrd")


@dataclass
class EntryState:
    """An entry, and how far it is.

    Args:
        name: The entry's.
        request: What it asks for.
        cache: Loads its rows.
        outcome: Its cells and choices.
        todo: Cells without a file that can be run now, in order.
        num_cells: All of them, those that still wait for a choice too.
        num_waiting: Cells whose settings are still to be chosen.
        num_failed: Cells that this call could not run.
        seconds: That the cells of this call took.
    """

    name: str
    request: Request
    cache: Cache
    outcome: Outcome = field(default_factory=Outcome)
    todo: list[Cell] = field(default_factory=list)
    num_cells: int = 0
    num_waiting: int = 0
    num_failed: int = 0
    seconds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.refresh()

    def refresh(self) -> None:
        """Look again at what is there: choices that are made unlock cells."""
        self.outcome = look(self.request, self.cache)
        cells = [*self.outcome.judges, *self.outcome.cells]
        self.num_waiting = num_waiting(self.request, self.outcome)
        self.todo = list(unfinished(cells, self.request.store))
        self.num_cells = len({cell.key for cell in cells}) + self.num_waiting

    @property
    def num_done(self) -> int:
        """Finished cells."""
        return self.num_cells - self.num_waiting - self.num_failed - len(self.todo)


@dataclass
class Progress:
    """What a call did.

    Args:
        works: The entries that could be looked at.
        problems: Name of an entry that could not, and why.
        failures: Title of a cell that failed, and why.
        num_run: Cells that this call finished.
        num_cut: Cells that the deadline ended in the middle.
    """

    works: list[EntryState] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    num_run: int = 0
    num_cut: int = 0


def look_at(
    entries: Sequence[Entry], data: Path, cache: Cache, overrides: Sequence[str] = (), *, prepare: bool = True
) -> Progress:
    """How far each entry is. One whose rows are missing is a problem and no hindrance to the others.

    Args:
        entries: The most urgent first.
        data: The folder that `{data}` stands for.
        cache: Loads rows.
        overrides: `section.key=value` for all entries.
        prepare: Make rows that are not there.
    """
    progress = Progress()
    for entry in entries:
        try:
            request = (entry.ready if prepare else entry.request)(data, overrides)
            progress.works.append(EntryState(entry.name, request, cache))
        except DhrdError as error:
            progress.problems[entry.name] = str(error)
            logger.error("%s: %s", entry.name, error)
    return progress


def run_agenda(
    progress: Progress, cache: Cache, *, jobs: int = 1, threads: int | None = None, seconds: float | None = None
) -> None:
    """Run undone cells in order; each is a file as soon as it is finished.

    Args:
        progress: What `look_at` found; filled in.
        cache: Its device and places are the workers' too.
        jobs: Cells at a time, each in a process of its own.
        threads: Of each process; None: its share of the cores.
        seconds: From now; cells that by the mean so far would not finish in time are not begun, and those that run
            then are ended.

    Raises:
        WorkerDied: For want of memory.
        SaveError: A cell could not be written.
    """
    deadline_s = time.monotonic() + seconds if seconds is not None else float("inf")
    with workers(jobs, cache, threads) as pool:
        _Run(progress, pool, jobs, deadline_s).run()


@dataclass
class _Started:
    work: EntryState
    cell: Cell
    began_s: float


@dataclass
class _Run:
    progress: Progress
    pool: ProcessPoolExecutor
    jobs: int
    deadline_s: float
    running: dict[Future[CellResult], _Started] = field(default_factory=dict)

    def run(self) -> None:
        while True:
            for work, cell in self._next():
                self.running[self.pool.submit(run_in_worker, cell)] = _Started(work, cell, time.monotonic())
            if not self.running:
                return
            left_s = self.deadline_s - time.monotonic()
            done, _ = wait(self.running, timeout=max(0.0, min(left_s, 1e6)), return_when=FIRST_COMPLETED)
            if not done and left_s <= 0:
                self._cut()
                return
            for future in done:
                self._finish(future)

    def _cut(self) -> None:
        """The cells that run are undone again."""
        self.progress.num_cut = len(self.running)
        for started in self.running.values():
            started.work.todo.insert(0, started.cell)

    def _next(self) -> Iterator[tuple[EntryState, Cell]]:
        """As many cells as there are free processes. A key that two entries share is run once."""
        for work in self.progress.works:
            while work.todo and len(self.running) < self.jobs and self._fits(work):
                cell = work.todo.pop(0)
                if not self._is_taken(work, cell):
                    yield work, cell

    def _is_taken(self, work: EntryState, cell: Cell) -> bool:
        runs = any(
            started.cell.key == cell.key and started.work.request.store.directory == work.request.store.directory
            for started in self.running.values()
        )
        return runs or work.request.store.has(cell)

    def _fits(self, work: EntryState) -> bool:
        known = work.seconds or [seconds for other in self.progress.works for seconds in other.seconds]
        return time.monotonic() + (fmean(known) if known else 0.0) <= self.deadline_s

    def _finish(self, future: Future[CellResult]) -> None:
        started = self.running.pop(future)
        work, cell = started.work, started.cell
        try:
            result = result_of(future)
        except WorkerDied:
            raise
        except DhrdError as error:
            self.progress.failures[f"{work.name} · {cell.title}"] = str(error)
            logger.error("%s: %s: failed: %s", work.name, cell.title, error)
            work.num_failed += 1
            if isinstance(error, UserError) and not work.seconds:
                work.num_failed += len(work.todo)
                work.todo.clear()  # the rest of the entry would fail alike
            return
        work.request.store.save(cell, result)
        self.progress.num_run += 1
        work.seconds.append(time.monotonic() - started.began_s)
        logger.info("%s: %s: %s, %.0f s", work.name, cell.title, result.headline, work.seconds[-1])
        if cell.fold is not None and not self._judged(work, cell):
            self._unlock(work)

    def _judged(self, work: EntryState, cell: Cell) -> bool:
        """Whether a choice for this cell's arm still lacks a cell."""
        cells = [*work.todo, *(started.cell for started in self.running.values() if started.work is work)]
        return any(
            other.fold is not None and (other.task, other.arm.name) == (cell.task, cell.arm.name) for other in cells
        )

    def _unlock(self, work: EntryState) -> None:
        work.refresh()
        running = {started.cell.key for started in self.running.values() if started.work is work}
        failed = self.progress.failures
        work.todo = [
            cell for cell in work.todo if cell.key not in running and f"{work.name} · {cell.title}" not in failed
        ]
