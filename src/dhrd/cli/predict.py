"""`dhrd predict`"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from dhrd.cli.options import Config, Device, Set


def predict(
    model: Annotated[Path, typer.Option("--model", help="The artifact: a directory that `dhrd train` wrote.")],
    input_file: Annotated[
        str, typer.Option("--input", help="A .json, .jsonl, .csv or .parquet file, or as data.train.")
    ],
    output: Annotated[Path, typer.Option(help="Where to write one JSON object a row.")],
    config: Config = None,
    overrides: Set = None,
    device: Device = None,
) -> None:
    """Label rows: `id`, `label` and the probability of each label, in the input's order."""
    from dhrd import run
    from dhrd.cli.settings import inference_config
    from dhrd.model.files import is_stream, writing

    settings = inference_config(model, config, overrides)
    count = 0
    with writing(output) as file:
        for row in run.predict(model, input_file, config=settings, device=device):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    print(f"{count} rows are in {output}", file=sys.stderr if is_stream(output) else sys.stdout)
