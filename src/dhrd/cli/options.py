"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def complete_setting(incomplete: str) -> list[str]:
    """The settings that begin as given, for the shell to complete `--set`."""
    from dhrd.config.load import setting_names

    names = list(setting_names())
    return [
        f"{name}="
        for name in names
        if name.startswith(incomplete) and not any(other.startswith(f"{name}.") for other in names)
    ]


Config = Annotated[Path | None, typer.Option("--config", help="YAML file of settings; see `dhrd config schema`.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="SECTION.KEY=VALUE",
        help="Override a setting; repeatable.",
        autocompletion=complete_setting,
    ),
]
Device = Annotated[str | None, typer.Option("--device", help="cpu, cuda or mps; default: the best there is.")]
Model = Annotated[Path | None, typer.Option("--model", help="The artifact: a directory that `dhrd train` wrote.")]
Checkpoint = Annotated[Path | None, typer.Option("--checkpoint", help="The same as --model.")]
Dtype = Annotated[
    str, typer.Option("--dtype", help="auto: bf16 where it is faster, else float32; or float32, bfloat16, float16.")
]
Sharing = Annotated[
    bool, typer.Option("--sharing/--no-sharing", help="Compute text that rows begin with in common once.")
]
Compile = Annotated[bool, typer.Option("--compile", help="torch.compile the layers: slower to start, then faster.")]
Json = Annotated[
    Path | None, typer.Option("--json", help="Write the result as JSON to this file; -: to standard output.")
]
MaxTokens = Annotated[
    int | None, typer.Option("--max-tokens-per-pass", min=1, help="Bounds the memory of a forward pass.")
]


def write_json(path: Path | None, result: Any) -> None:
    """Write what `Json` asks for; None: nothing is."""
    from dhrd._files import writing

    if path is not None:
        with writing(path) as file:
            file.json(result)
