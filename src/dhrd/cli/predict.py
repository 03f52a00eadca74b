"""`dhrd predict`"""

from __future__ import annotations

import json
import os
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
    from dhrd.model.artifact import saving

    settings = inference_config(model, config, overrides)
    # A device, a pipe or a link (/dev/stdout) is written to as it is: renaming over it would put a file in its place.
    direct = output.is_symlink() or (output.exists() and not output.is_file())
    partial = output if direct else output.with_name(output.name + ".partial")
    count = 0
    with saving(str(output)), partial.open("w", encoding="utf-8") as file:
        for row in run.predict(model, input_file, config=settings, device=device):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    if not direct:
        os.replace(partial, output)
    print(f"{count} rows are in {output}", file=sys.stderr if direct else sys.stdout)
