"""`dhrd train`"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from dhrd._terminal import say
from dhrd.cli.command import SettingsCommand, given
from dhrd.cli.options import Config, Device, Set


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
    from dhrd.training.run_dir import check_place

    check_sources(resolved.data)  # before torch is loaded, which takes seconds
    check_place(resolved, checkpoint, overwrite=overwrite)
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
