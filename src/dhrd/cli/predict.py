"""`dhrd predict`"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from dhrd._terminal import say
from dhrd.cli.options import Compile, Config, Device, Dtype, MaxTokens, Set, Sharing


def predict(
    model: Annotated[Path, typer.Option("--model", help="The artifact: a directory that `dhrd train` wrote.")],
    input_file: Annotated[
        str, typer.Option("--input", help="A file or directory of rows, - for JSON lines on stdin, or as data.train.")
    ],
    output: Annotated[Path, typer.Option(help="Where to write one JSON object a row.")],
    config: Config = None,
    overrides: Set = None,
    device: Device = None,
    dtype: Dtype = "auto",
    sharing: Sharing = True,
    compile: Compile = False,
    max_tokens_per_pass: MaxTokens = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse rows over the limit instead of cutting them.")
    ] = False,
) -> None:
    """Label rows: `id`, `label` and the probability of each label, in the input's order."""
    from dhrd import run
    from dhrd.cli.settings import inference_config
    from dhrd.model.files import is_stream, writing

    settings = inference_config(model, config, overrides)
    count = 0
    with writing(output) as file:
        rows = run.predict(
            model,
            input_file,
            config=settings,
            device=device,
            dtype=dtype,
            share_prefixes=sharing,
            compile=compile,
            max_tokens_per_pass=max_tokens_per_pass,
            strict=strict,
        )
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    say(f"{count} rows are in {output}", file=sys.stderr if is_stream(output) else sys.stdout)
