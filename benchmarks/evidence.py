"""Run the next undone cells of the pre-registered list of studies.

    python benchmarks/evidence.py                        everything, one cell after another
    python benchmarks/evidence.py --list                 how far each entry is
    python benchmarks/evidence.py --only cb --jobs 2     one entry, two cells at a time
    python benchmarks/evidence.py --seconds 600          what fits into ten minutes
    python benchmarks/evidence.py --report               the reports of what is there

Finished cells are files, each written whole, so it can be killed at any moment and goes on where it was; cells of
several machines merge by copying files. It runs at low priority, one thread a process unless `--threads` says more.
A cell of SmolLM2 with rationales, 64 rows a batch, takes 9 GB and more on a CPU, and 5 to 9 with
`--set training.max_tokens_per_micro_batch=2048`: so much memory a job.
"""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from dhrd.errors import DhrdError
from dhrd.experiments.agenda import read_agenda
from dhrd.experiments.cache import Cache
from dhrd.experiments.report.render import write_report
from dhrd.experiments.report.summary import summarize
from dhrd.experiments.reproduce import today
from dhrd.experiments.schedule import Progress, look_at, run_agenda


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What a run of the list needs, here and in `gpu.py`."""
    parser.add_argument("--plan", type=Path, default=Path("docs/results/plan.yaml"))
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="an entry; repeatable")
    parser.add_argument("--jobs", type=int, default=1, help="cells at a time, each in a process of its own")
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the folder that {data} stands for")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", dest="overrides")
    parser.add_argument("--backbone-path", action="append", default=[], metavar="NAME=DIR", help="load NAME from DIR")
    parser.add_argument("--device")


def places(given: Sequence[str]) -> dict[str, str]:
    """Name -> directory of `--backbone-path`."""
    return {name: directory for name, _, directory in (one.rpartition("=") for one in given)}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--seconds", type=float, help="from now")
    parser.add_argument("--list", action="store_true", help="how many cells of each entry are done")
    parser.add_argument("--report", action="store_true", help="write the report of each entry; run nothing")
    given, began_s = parser.parse_args(arguments), time.monotonic()
    runs = not (given.list or given.report)
    logging.basicConfig(level=logging.INFO if runs else logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    cache = Cache(given.device, places(given.backbone_path))
    agenda = read_agenda(given.plan)
    progress = look_at(agenda.chosen(given.only), given.data, cache, given.overrides, prepare=runs)
    if given.report:
        report(progress, Counter(Path(entry.output) for entry in agenda.entries), repeating(given, parser))
    elif runs:
        os.nice(15)
        left_s = given.seconds and given.seconds - (time.monotonic() - began_s)
        run_agenda(progress, cache, jobs=given.jobs, threads=given.threads, seconds=left_s)
    show(progress)
    return int(bool(progress.failures or progress.problems))


def repeating(given: argparse.Namespace, parser: argparse.ArgumentParser) -> str:
    """The command that runs the same list with the same settings."""
    asked = [f"--{name} {shlex.quote(str(getattr(given, name)))}" for name in ("plan", "data")]
    own = [f"--{name} {shlex.quote(str(parser.get_default(name)))}" for name in ("plan", "data")]
    options = [option for option in asked if option not in own]
    options += [f"--set {shlex.quote(override)}" for override in given.overrides]
    return " ".join(["python benchmarks/evidence.py", *options])


def report(progress: Progress, shared: Mapping[Path, int], command: str) -> None:
    """Write each entry's report to its output, or where several entries share one, below it unless it has its name."""
    for work in progress.works:
        request = work.request
        summary = summarize(request, work.outcome, command=f"{command} --only {work.name}", created=today())
        is_owner = shared[request.output_dir] == 1 or request.output_dir.name == work.name
        place = request.output_dir if is_owner else request.output_dir / work.name
        print(f"{work.name}: {', '.join(map(str, write_report(summary, place)))}")


def show(progress: Progress) -> None:
    for work in progress.works:
        waiting = f", {work.num_waiting} wait for a choice" if work.num_waiting else ""
        print(f"{work.name}: {work.num_done} of {work.num_cells} cells{waiting}")
    for name, why in progress.problems.items():
        print(f"{name}: cannot run: {why}")
    for title, why in progress.failures.items():
        print(f"failed: {title}: {why}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DhrdError as error:
        print(f"evidence: error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
