"""`dhrd predict`"""

from __future__ import annotations

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
    output: Annotated[Path, typer.Option(help="A .jsonl file, one object a row; - is standard output.")],
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
    from dhrd._files import talking, writing
    from dhrd._outputs import JSON_LINES, Output, check_outputs
    from dhrd.cli.settings import inference_config, read_by
    from dhrd.run import predict as run

    settings = inference_config(model, config, overrides)
    check_outputs([Output("--output", output, JSON_LINES)], read_by(model, settings, input_file, config))
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
    count = 0
    with writing(output) as file:
        for row in rows:
            file.row(row)
            count += 1
    with talking(output):
        say(f"{count} rows are in {output}")
