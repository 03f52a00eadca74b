"""`dhrd evaluate`"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from dhrd.cli.options import Checkpoint, Config, Device, Model, Set
from dhrd.errors import ConfigError


def evaluate(
    model: Model = None,
    data: Annotated[
        str | None, typer.Option(help="superglue:TASK, hub:NAME, or a file; default: the run's own.")
    ] = None,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "validation",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all metrics to this file.")] = None,
    predictions: Annotated[Path | None, typer.Option(help="Write one JSON object a row to this file.")] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first rows.")] = None,
    config: Config = None,
    overrides: Set = None,
    checkpoint: Checkpoint = None,
    device: Device = None,
) -> None:
    """Evaluate a trained classifier on labelled rows."""
    from dhrd import run
    from dhrd.cli.settings import inference_config
    from dhrd.cli.show import metrics_table
    from dhrd.model.files import writing

    directory = model or checkpoint
    if directory is None:
        raise ConfigError("give --model DIR, the directory that `dhrd train` wrote")
    found = run.evaluate(
        directory,
        data,
        split=split,
        config=inference_config(directory, config, overrides),
        device=device,
        limit=limit,
    )
    if json_file is not None:
        with writing(json_file) as file:
            file.write(json.dumps(found.metrics, indent=2, ensure_ascii=False) + "\n")
    if predictions is not None:
        with writing(predictions) as file:
            for row in found.rows():
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    cut = f"; {found.num_cut} inputs shortened" if found.num_cut else ""
    what = data or "the run's own data"
    metrics_table(found.metrics, f"{what}, {split}: {found.metrics['num_examples']} rows{cut}")
