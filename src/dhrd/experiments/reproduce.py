"""`dhrd reproduce`: choose what is to be chosen, and run the cells of a study that are not there yet."""

from __future__ import annotations

import time
from contextlib import nullcontext

from dhrd.experiments.cache import Cache
from dhrd.experiments.outcome import Outcome
from dhrd.experiments.plan import Request
from dhrd.experiments.schedule import EntryState, Progress, run_entries
from dhrd.experiments.workers import in_process, workers


def reproduce(request: Request, *, jobs: int = 1, device: str | None = None) -> Outcome:
    """Run what is not there yet of a study.

    Args:
        request: What to reproduce.
        jobs: Cells at a time, each in a process of its own with its share of the cores.
        device: "cpu", "cuda" or "mps"; None: the best available.

    Returns:
        The cells, the choices, and what failed; finished cells are files in `request.store`.

    Raises:
        UserError: The first cell cannot be run for a reason that the user can mend.
        SaveError: A finished cell could not be written.
    """
    cache = Cache(device)
    entry = EntryState(request.study.name, request, cache)
    with workers(jobs, cache) if jobs > 1 else nullcontext(in_process(cache)) as submit:
        run_entries(Progress([entry]), submit, jobs=jobs, raises=True)
    return entry.outcome


def today() -> str:
    """The date, for the report."""
    return time.strftime("%Y-%m-%d", time.gmtime())
