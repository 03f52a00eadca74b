"""`dhrd reproduce`"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dhrd._terminal import say, show_table
from dhrd.cli.command import interruptible
from dhrd.cli.options import Config, Device, Set

if TYPE_CHECKING:
    from dhrd.experiments.outcome import Outcome
    from dhrd.experiments.plan import Request

_STUDIES = (
    "main, ablation, weights, throughput (the paper's), "
    "baselines, data_scale, schedules, reasoning, controlled (beyond it)"
)


def reproduce(
    study: Annotated[str, typer.Argument(help=_STUDIES)],
    tasks: Annotated[
        str | None,
        typer.Option(
            help="SuperGLUE tasks, comma-separated, or all; default: the task in the settings, else all available."
        ),
    ] = None,
    backbones: Annotated[
        str | None, typer.Option(help="Backbones, comma-separated; default: model.name_or_path.")
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1, help="Number of seeds, counted up from the settings' seed; default: the study's own, else 5."
        ),
    ] = None,
    arms: Annotated[
        str | None, typer.Option(help="Arms of the study, comma-separated; default: all but optional ones.")
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(help="Encoder for arms that use one: a hub name, a directory, or package:NAME/DIRECTORY."),
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(metavar="SECTION.KEY=V1,V2", help="Tune a setting for each arm on training rows; repeatable."),
    ] = None,
    config: Config = None,
    overrides: Set = None,
    output: Annotated[
        Path | None, typer.Option(help="Directory for cells/ and the report; default: reproduce/STUDY.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Cells to run at a time, each in its own process.")] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list the cells and their estimated run time.")
    ] = False,
    report_only: Annotated[bool, typer.Option("--report-only", help="Report the finished cells; run nothing.")] = False,
    decode_limit: Annotated[
        int | None, typer.Option(min=1, help="Decode only N of the validation rows, the same for all seeds.")
    ] = None,
    max_new_tokens: Annotated[
        int, typer.Option(min=1, help="Maximum tokens of rationale and answer (paper: 500).")
    ] = 500,
    temperature: Annotated[float, typer.Option(min=0.0, help="Sampling temperature (paper: 0.1).")] = 0.1,
    top_p: Annotated[float, typer.Option(min=0.01, max=1.0, help="Nucleus sampling probability (paper: 0.7).")] = 0.7,
    decode_batch_size: Annotated[int, typer.Option(min=1, help="Rows decoded together.")] = 16,
    device: Device = None,
) -> None:
    """Reproduce a table of the paper, with confidence intervals.

    Each finished cell is saved as a file: the same command continues an interrupted run, and cells from several
    machines can be merged by copying them into one directory.
    """
    from dhrd.config import load_config

    base = load_config(config, overrides or ())
    from dhrd.experiments.asked import RequestNames, check_data
    from dhrd.experiments.cells import CellDecoding

    decoding = CellDecoding(
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        batch_size=decode_batch_size,
        limit=decode_limit,
    )
    request = RequestNames(
        study=study,
        base=base,
        tasks=_names(tasks),
        backbones=_names(backbones),
        num_seeds=seeds,
        arms=_names(arms),
        encoder=encoder,
        grid=grid or (),
        decoding=decoding,
        output_dir=output,
    ).request()
    check_data(request)
    _check_reports(request, config)
    if dry_run:
        _show_cells(request, device, jobs)
        return
    outcome = _run(request, jobs, device, run=not report_only)
    _report(request, outcome)
    if outcome.failures:
        say(f"dhrd: error: {len(outcome.failures)} cells failed; see the report", file=sys.stderr)
        raise typer.Exit(1)


def _check_reports(request: Request, config: Path | None) -> None:
    """Refuse a directory in which the report would overwrite an input."""
    from dhrd._outputs import Output, check_outputs
    from dhrd.artifact.owned import inputs_of, model_files
    from dhrd.experiments.report.render import NAMES

    if not request.output_dir.is_dir():
        return
    rationales = str(request.base.data.rationales or "")
    specs = [spec for task in request.tasks for spec in (f"superglue:{task}", rationales.replace("{task}", task))]
    backbones = [path for name in request.backbones for path in model_files(name)]
    outputs = [Output("--output", request.output_dir / name) for name in NAMES]
    check_outputs(outputs, [*inputs_of(request.base, config, *specs), *backbones])


def _names(text: str | None) -> tuple[str, ...] | None:
    return tuple(name.strip() for name in text.split(",") if name.strip()) if text is not None else None


def _run(request: Request, jobs: int, device: str | None, *, run: bool) -> Outcome:
    from dhrd.experiments.cache import Cache
    from dhrd.experiments.outcome import look
    from dhrd.experiments.reproduce import reproduce

    with interruptible("finished cells are kept; run the same command again to continue"):
        return reproduce(request, jobs=jobs, device=device) if run else look(request, Cache(device))


def _show_cells(request: Request, device: str | None, jobs: int) -> None:
    from dhrd._progress import in_words
    from dhrd.experiments.cache import Cache
    from dhrd.experiments.cells import unfinished
    from dhrd.experiments.estimate import estimate
    from dhrd.experiments.outcome import look, num_waiting

    cache = Cache(device)
    outcome = look(request, cache)
    cells = [*outcome.judges, *outcome.cells]
    todo = list(unfinished(cells, request.store))
    seconds = estimate(todo, cache)
    show_table(
        ("cell", "estimate"),
        ([cell.title, in_words(seconds[cell.key]) if cell.key in seconds else "done"] for cell in cells),
        title=f"{request.study.title}: {len(cells)} cells",
        left=("cell",),
    )
    if waiting := num_waiting(request, outcome):
        say(f"{waiting} more cells depend on settings that these will choose.")
    say(
        f"{len(todo)} to run, {in_words(sum(seconds.values()))} one after another"
        + (f"; with --jobs {jobs} they share the same cores" if jobs > 1 else "")
    )


def _report(request: Request, outcome: Outcome) -> None:
    from dhrd.cli.show import study_table
    from dhrd.experiments.report.render import write_report
    from dhrd.experiments.report.summary import summarize
    from dhrd.experiments.reproduce import today

    report = summarize(request, outcome, command=_command(), created=today())
    paths = write_report(report, request.output_dir)
    study_table(report)
    say("the report is in " + ", ".join(map(str, paths)))


def _command() -> str:
    import shlex

    from dhrd.config.published import masked

    return shlex.join(["dhrd", *(masked(argument) for argument in sys.argv[1:] if argument != "--report-only")])
