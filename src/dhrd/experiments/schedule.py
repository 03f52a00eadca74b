"""Running the undone cells of studies: any number of processes, a deadline, any order of interruption."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from dhrd.errors import DhrdError, NonFiniteError, SaveError, UserError
from dhrd.experiments.agenda import Entry
from dhrd.experiments.cache import Cache
from dhrd.experiments.cell_result import CellResult
from dhrd.experiments.cells import Cell, unfinished
from dhrd.experiments.outcome import Outcome, look, num_waiting
from dhrd.experiments.plan import Request
from dhrd.experiments.workers import Submit, WorkerDied, result_of, workers

logger = logging.getLogger("dhrd")

_STEPS = ("train", "evaluate", "speed")


@dataclass
class EntryState:
    """An entry, and how far it is.

    Args:
        name: The entry's name.
        request: The entry's request.
        cache: Loads its rows.
        outcome: Its cells and choices, and what failed in this call.
        todo: Cells without a file that can be run now, in order.
        running: Keys of cells that are being run.
        num_cells: All of them, those that still wait for a choice too.
        num_waiting: Cells whose settings are still to be chosen.
        num_refused: Cells that are not tried, as the first one failed for a reason that they share.
        seconds: Seconds that the cells of this call took.
    """

    name: str
    request: Request
    cache: Cache
    outcome: Outcome = field(default_factory=Outcome)
    todo: list[Cell] = field(default_factory=list)
    running: set[str] = field(default_factory=set)
    num_cells: int = 0
    num_waiting: int = 0
    num_refused: int = 0
    seconds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.refresh()

    def refresh(self) -> None:
        """Look again at what is there: choices that are made unlock cells."""
        self.outcome = look(self.request, self.cache, self.outcome)
        cells = [*self.outcome.judges, *self.outcome.cells]
        self.num_waiting = num_waiting(self.request, self.outcome)
        tried = self.running | self.outcome.failures.keys()
        self.todo = [cell for cell in unfinished(cells, self.request.store) if cell.key not in tried]
        self.num_cells = len({cell.key for cell in cells}) + self.num_waiting

    @property
    def num_done(self) -> int:
        """Finished cells."""
        undone = len(self.outcome.failures) + self.num_refused + len(self.todo) + len(self.running)
        return self.num_cells - self.num_waiting - undone

    def refuse(self) -> None:
        """Try no other cell: each would fail alike."""
        self.num_refused += len(self.todo)
        self.todo.clear()


@dataclass
class Progress:
    """What a call did.

    Args:
        works: The entries that could be looked at.
        problems: Name of an entry that could not, and why.
        num_run: Cells that this call finished.
        num_cut: Cells that the deadline ended in the middle.
    """

    works: list[EntryState] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    num_run: int = 0
    num_cut: int = 0

    @property
    def failures(self) -> dict[str, str]:
        """Title of a cell that failed, and why."""
        return {
            f"{work.name} · {cell.title}": work.outcome.failures[cell.key]
            for work in self.works
            for cell in (*work.outcome.judges, *work.outcome.cells)
            if cell.key in work.outcome.failures
        }


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
        cache: The cache, whose device and places the workers use too.
        jobs: Number of cells run at the same time, each in its own process.
        threads: Threads of each process; None: its share of the cores.
        seconds: Time limit; cells that, judging by the mean so far, would not finish in time are not started, and
            cells still running at the limit are ended.

    Raises:
        WorkerDied: A worker ran out of memory.
        SaveError: A cell could not be written.
    """
    deadline_s = time.monotonic() + seconds if seconds is not None else float("inf")
    with workers(jobs, cache, threads) as submit:
        run_entries(progress, submit, jobs=jobs, deadline_s=deadline_s)


def run_entries(
    progress: Progress, submit: Submit, *, jobs: int = 1, deadline_s: float = float("inf"), raises: bool = False
) -> None:
    """Run undone cells in order, with what runs a cell.

    One cell's failure leaves the others to run; only where one fails by the user's doing before any of the entry is
    finished, the rest of the entry would too.

    Args:
        progress: The entries; filled in.
        submit: Has a cell run.
        jobs: Cells at a time.
        deadline_s: By `time.monotonic()`; as `run_agenda`'s `seconds`.
        raises: Raise what the first cell of an entry fails by through the user's doing, instead of noting it.

    Raises:
        UserError: With `raises`.
        WorkerDied: A worker ran out of memory.
        SaveError: A cell could not be written.
    """
    began_s, run = time.monotonic(), _Run(progress, submit, jobs, deadline_s, raises)
    run.run()
    if progress.num_run:
        wall_s = time.monotonic() - began_s
        share = 100 * run.steps_s / max(wall_s, 1e-9) / min(max(jobs, 1), progress.num_run)
        told = "%d cells in %.1f min, %.0f %% of it training and evaluating"
        logger.info(told, progress.num_run, wall_s / 60, share)


@dataclass
class _Started:
    work: EntryState
    cell: Cell
    began_s: float


@dataclass
class _Run:
    progress: Progress
    submit: Submit
    jobs: int
    deadline_s: float
    raises: bool
    running: dict[Future[CellResult], _Started] = field(default_factory=dict)
    steps_s: float = 0.0

    def run(self) -> None:
        while True:
            for started in self._next():
                started.work.running.add(started.cell.key)
                self.running[self.submit(started.cell)] = started
            if not self.running:
                return
            left_s = self.deadline_s - time.monotonic()
            done, _ = wait(self.running, timeout=max(0.0, min(left_s, 1e6)), return_when=FIRST_COMPLETED)
            if not done and left_s <= 0:
                self._cut()
                return
            for future in done:
                self._finish(self.running.pop(future), future)

    def _cut(self) -> None:
        """The cells that run are undone again."""
        self.progress.num_cut = len(self.running)
        for started in self.running.values():
            started.work.running.remove(started.cell.key)
            started.work.todo.insert(0, started.cell)

    def _next(self) -> Iterator[_Started]:
        """As many cells as there are free processes. A key that two entries share is run once."""
        for work in self.progress.works:
            while work.todo and len(self.running) < max(self.jobs, 1) and self._fits(work):
                cell = work.todo.pop(0)
                if not self._is_taken(work, cell):
                    yield _Started(work, cell, time.monotonic())

    def _is_taken(self, work: EntryState, cell: Cell) -> bool:
        return any(cell.key in other.running for other in self._sharing(work)) or work.request.store.settled(cell)

    def _fits(self, work: EntryState) -> bool:
        known = work.seconds or [seconds for other in self.progress.works for seconds in other.seconds]
        return time.monotonic() + (fmean(known) if known else 0.0) <= self.deadline_s

    def _finish(self, started: _Started, future: Future[CellResult]) -> None:
        work, cell = started.work, started.cell
        work.running.remove(cell.key)
        try:
            result = result_of(future)
        except (WorkerDied, SaveError):
            raise
        except DhrdError as error:
            self._fail(work, cell, error)
            return
        work.request.store.save(cell, result)
        self.progress.num_run += 1
        self.steps_s += sum(result.seconds.get(name, 0.0) for name in _STEPS)
        work.seconds.append(time.monotonic() - started.began_s)
        place = f"{work.name} [{work.num_done}/{work.num_cells}]"
        logger.info("%s: %s: %s, %.1f min", place, cell.title, result.headline, work.seconds[-1] / 60)
        self._choose(work, cell)

    def _choose(self, work: EntryState, cell: Cell) -> None:
        """The last cell of a choice unlocks those that wait for it, in entries that share the choice too."""
        if cell.fold is None:
            return
        if not self._judged(work, cell):
            work.refresh()
        for other in self._sharing(work):
            if other is not work and other.num_waiting:
                other.refresh()

    def _sharing(self, work: EntryState) -> Iterator[EntryState]:
        """The entries that keep their cells in the same directory, the entry itself among them."""
        mine = work.request.store.directory
        return (other for other in self.progress.works if other.request.store.directory == mine)

    def _fail(self, work: EntryState, cell: Cell, error: DhrdError) -> None:
        if cell.fold is not None and isinstance(error, NonFiniteError):
            work.request.store.save_diverged(cell, str(error))
            logger.info("%s: %s: diverged, so these settings lose: %s", work.name, cell.title, error)
            self._choose(work, cell)
            return
        work.outcome.failures[cell.key] = str(error)
        is_refused = isinstance(error, UserError) and not work.num_done
        if is_refused and self.raises:
            raise error
        logger.error("%s: %s: failed: %s", work.name, cell.title, error)
        if is_refused:
            work.refuse()
        else:
            self._choose(work, cell)

    def _judged(self, work: EntryState, cell: Cell) -> bool:
        """Whether a choice for this cell's arm still lacks a cell."""
        cells = [*work.todo, *(started.cell for started in self.running.values() if started.work is work)]
        return any(
            other.fold is not None
            and (other.task, other.backbone, other.arm.name) == (cell.task, cell.backbone, cell.arm.name)
            for other in cells
        )
