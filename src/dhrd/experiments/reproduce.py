"""`dhrd reproduce`: make the open choices, and run the missing cells of a study."""

from __future__ import annotations

import time
from contextlib import nullcontext

from dhrd.experiments.cache import Cache
from dhrd.experiments.outcome import Outcome
from dhrd.experiments.plan import Request
from dhrd.experiments.schedule import EntryState, Progress, run_entries
from dhrd.experiments.workers import in_process, workers


def reproduce(request: Request, *, jobs: int = 1, device: str | None = None) -> Outcome:
    """Run the missing cells of a study.

    Args:
        request: What to reproduce.
        jobs: Number of cells run at the same time, each in its own process with its share of the cores.
        device: "cpu", "cuda" or "mps"; None: the best available.

    Returns:
        The cells, the choices, and what failed; finished cells are files in `request.store`.

    Raises:
        UserError: The first cell cannot be run for a reason that the user can fix.
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
