"""`dhrd train`"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dhrd._files import talking
from dhrd._terminal import say, show_table
from dhrd._text import dhrd_command
from dhrd.cli.command import SettingsCommand, given, interruptible
from dhrd.cli.options import Config, Device, Json, Set, write_json
from dhrd.errors import ColumnError, ConfigError

if TYPE_CHECKING:
    from dhrd.config import RunConfig
    from dhrd.run.rounds import Round


class TrainCommand(SettingsCommand):
    """`dhrd train`, with flags for the most common settings."""

    rows_option = "--set data.train=FILE, or a config file as written by dhrd init FILE"
    settings = ("training.batch_size", "training.learning_rate", "training.num_epochs", "output_dir", "seed")


def train(
    context: typer.Context,
    config: Config = None,
    overrides: Set = None,
    device: Device = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Resume the run in this output_dir, or from a checkpoint in it.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing run in output_dir.")] = False,
    rounds: Annotated[
        int | None,
        typer.Option(min=2, help="Maximum rounds; in each the model writes missing rationales and is retrained."),
    ] = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print only warnings and the result.")] = False,
    json_file: Json = None,
) -> None:
    """Train a classifier and write it to output_dir."""
    if quiet:
        logging.getLogger("dhrd").setLevel(logging.WARNING)
    from dhrd.config import load_config

    base = None
    if checkpoint is not None and config is None:  # the settings that the run was started with
        from dhrd.training.run_dir import started_run

        base = started_run(checkpoint)
    resolved = load_config(config, overrides or (), base=base, **given(context))
    resolved.check_choices(has_validation=resolved.data.validation is not None)
    from dhrd._outputs import JSON, Output, check_outputs
    from dhrd.artifact.owned import inputs_of
    from dhrd.data.sources import check_sources
    from dhrd.training.run_dir import check_place

    with _suggest_init(resolved.data.train):
        check_sources(resolved)  # before torch is loaded, which takes seconds
    check_outputs([Output("--json", json_file, JSON)], inputs_of(resolved, config))
    if rounds is not None:
        if checkpoint is not None or overwrite:
            raise ConfigError("--rounds resumes by running the same command; leave --checkpoint and --overwrite out")
        _train_rounds(resolved, rounds, device, json_file)
        return
    check_place(resolved, checkpoint, overwrite=overwrite)
    from accelerate import PartialState

    from dhrd.cli.show import metrics_table
    from dhrd.run import train as run

    with interruptible(f"continue with: dhrd train --checkpoint {checkpoint or resolved.output_dir}"):
        result = run.train(resolved, checkpoint=checkpoint, overwrite=overwrite, device=device)
    if not PartialState().is_main_process:  # the others have no metrics, and one result is enough
        return
    write_json(json_file, {**asdict(result), "output_dir": str(result.output_dir)})
    with talking(json_file):
        if result.metrics:
            metrics_table(result.metrics, f"validation, {result.metrics['num_examples']} rows")
        say(f"the classifier is in {result.output_dir}")
        if not quiet:
            say(*_next(str(result.output_dir), has_validation=bool(result.metrics)))


@contextmanager
def _suggest_init(rows: str | None) -> Iterator[None]:
    """Add a note that names `dhrd init` to errors about columns."""
    try:
        yield
    except ColumnError as error:
        error.add_note(f"{dhrd_command('init')} {rows} inspects the columns and writes a config")
        raise


def _next(model: str, *, has_validation: bool) -> Iterator[str]:
    """The next commands, with placeholders in capitals."""
    data = {} if has_validation else {"data": "LABELLED"}
    for command in (
        dhrd_command("evaluate", model=model, **data),
        dhrd_command("predict", model=model, input="ROWS", output="labels.jsonl"),
        dhrd_command("serve", model=model),
    ):
        yield f"next: {command}"


def _train_rounds(config: RunConfig, num_rounds: int, device: str | None, json_file: Path | None) -> None:
    from dhrd.run.rounds import train_rounds

    with interruptible("run the same command again to continue"):
        result, rounds = train_rounds(config, num_rounds, device=device)
    extra = {"output_dir": str(result.output_dir), "rounds": [asdict(one) for one in rounds]}
    write_json(json_file, {**asdict(result), **extra})
    with talking(json_file):
        show_table(
            ("round", "rationales", "self-written", "label given", "log loss", "accuracy"),
            map(_row_of_round, rounds),
            title="rounds, on the held-out rows",
            left=("round",),
        )
        say(f"the classifier of the round with the lowest log loss is in {result.output_dir}")


def _row_of_round(one: Round) -> list[str]:
    counts = one.number, one.num_rationales, one.num_own, one.num_told
    return [*map(str, counts), f"{one.log_loss:.4f}", f"{one.accuracy:.3f}"]
