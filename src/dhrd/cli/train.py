"""`dhrd train`"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from dhrd._terminal import say
from dhrd.cli.options import Config, Device, Set


def train(
    config: Config = None,
    overrides: Set = None,
    batch_size: Annotated[int | None, typer.Option(help="training.batch_size")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="training.learning_rate")] = None,
    num_epochs: Annotated[int | None, typer.Option(help="training.num_epochs")] = None,
    output_dir: Annotated[Path | None, typer.Option(help="output_dir")] = None,
    seed: Annotated[int | None, typer.Option(help="seed")] = None,
    device: Device = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Go on with the run in this output_dir, or from one checkpoint in it.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that is in output_dir.")] = False,
) -> None:
    """Train a classifier and write it to output_dir."""
    from dhrd.cli.show import metrics_table
    from dhrd.config import load_config
    from dhrd.run import train as run

    given = {
        "training__batch_size": batch_size,
        "training__learning_rate": learning_rate,
        "training__num_epochs": num_epochs,
        "output_dir": str(output_dir) if output_dir else None,
        "seed": seed,
    }
    settings: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    base = _own_config(checkpoint) if checkpoint is not None and config is None else None
    resolved = load_config(config, overrides or (), base=base, **settings)
    try:
        result = run.train(resolved, checkpoint=checkpoint, overwrite=overwrite, device=device)
    except KeyboardInterrupt:
        where = checkpoint or resolved.output_dir
        say(f"dhrd: interrupted; go on with: dhrd train --checkpoint {where}", file=sys.stderr)
        raise typer.Exit(130) from None
    if result.metrics:
        metrics_table(result.metrics, f"validation, {result.metrics['num_examples']} rows")
    say(f"the classifier is in {result.output_dir}")


def _own_config(checkpoint: Path) -> Any:
    """The settings that the run to go on with was started with."""
    from dhrd.training.run_dir import started_run

    return started_run(checkpoint)
