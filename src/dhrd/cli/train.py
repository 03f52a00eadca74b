"""`dhrd train`"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dhrd._terminal import say, show_table
from dhrd.cli.command import SettingsCommand, given
from dhrd.cli.options import Config, Device, Set
from dhrd.errors import ConfigError

if TYPE_CHECKING:
    from dhrd.config import RunConfig
    from dhrd.run.rounds import Round


class TrainCommand(SettingsCommand):
    """`dhrd train`, with flags for the settings that are changed most."""

    settings = ("training.batch_size", "training.learning_rate", "training.num_epochs", "output_dir", "seed")


def train(
    context: typer.Context,
    config: Config = None,
    overrides: Set = None,
    device: Device = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Go on with the run in this output_dir, or from one checkpoint in it.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that is in output_dir.")] = False,
    rounds: Annotated[
        int | None,
        typer.Option(min=2, help="At most so many: the model writes missing rationales and is trained anew."),
    ] = None,
) -> None:
    """Train a classifier and write it to output_dir."""
    from dhrd.config import load_config

    base = None
    if checkpoint is not None and config is None:  # the settings that the run to go on with was started with
        from dhrd.training.run_dir import started_run

        base = started_run(checkpoint)
    resolved = load_config(config, overrides or (), base=base, **given(context))
    resolved.check_choices(has_validation=resolved.data.validation is not None)
    from dhrd.data.sources import check_sources

    check_sources(resolved.data)  # before torch is loaded, which takes seconds
    if rounds is not None:
        if checkpoint is not None or overwrite:
            raise ConfigError("--rounds goes on by the same command; leave --checkpoint and --overwrite out")
        _train_rounds(resolved, rounds, device)
        return
    from dhrd.cli.show import metrics_table
    from dhrd.run import train as run

    try:
        result = run.train(resolved, checkpoint=checkpoint, overwrite=overwrite, device=device)
    except KeyboardInterrupt:
        where = checkpoint or resolved.output_dir
        say(f"dhrd: interrupted; go on with: dhrd train --checkpoint {where}", file=sys.stderr)
        raise typer.Exit(130) from None
    if result.metrics:
        metrics_table(result.metrics, f"validation, {result.metrics['num_examples']} rows")
    say(f"the classifier is in {result.output_dir}")


def _train_rounds(config: RunConfig, num_rounds: int, device: str | None) -> None:
    from dhrd.run.rounds import train_rounds

    try:
        result, rounds = train_rounds(config, num_rounds, device=device)
    except KeyboardInterrupt:
        say("dhrd: interrupted; run the same command again to go on", file=sys.stderr)
        raise typer.Exit(130) from None
    show_table(
        ("round", "rationales", "its own", "label told", "log loss", "accuracy"),
        map(_row_of_round, rounds),
        title="rounds, on the rows held out",
        left=("round",),
    )
    say(f"the classifier of the round with the least log loss is in {result.output_dir}")


def _row_of_round(one: Round) -> list[str]:
    counts = one.number, one.num_rationales, one.num_own, one.num_told
    return [*map(str, counts), f"{one.log_loss:.4f}", f"{one.accuracy:.3f}"]
