"""Options that several commands share, alone and in groups."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer


def complete_setting(incomplete: str) -> list[str]:
    """Settings with a given prefix, for shell completion of `--set`."""
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
Device = Annotated[
    str | None,
    typer.Option("--device", help="cpu, cuda or mps; default: a CUDA GPU, in training also mps, else the CPU."),
]
Artifact = Annotated[Path, typer.Option("--model", help="Artifact: a directory written by `dhrd train`.")]
Model = Annotated[Path | None, typer.Option("--model", help="Artifact: a directory written by `dhrd train`.")]
Checkpoint = Annotated[Path | None, typer.Option("--checkpoint", help="Alias of --model.")]
Dtype = Annotated[
    str, typer.Option("--dtype", help="auto (bfloat16 where it is faster, else float32), float32, bfloat16 or float16.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Reject rows over the token limit instead of truncating them.")]
Json = Annotated[Path | None, typer.Option("--json", help="Write the result as JSON to this file; -: standard output.")]


@dataclass(frozen=True, slots=True)
class ClassifierOptions:
    """How the classifier runs: options of the commands that run it on many rows, named as in `Classifier`."""

    device: Device = None
    dtype: Dtype = "auto"
    share_prefixes: Annotated[
        bool, typer.Option("--sharing/--no-sharing", help="Compute text that several rows start with only once.")
    ] = True
    compile: Annotated[
        bool, typer.Option("--compile", help="Use torch.compile: a slower start, then faster passes.")
    ] = False
    max_tokens_per_pass: Annotated[
        int | None, typer.Option(min=1, help="Limit the tokens, and so the memory, of a forward pass.")
    ] = None


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Expand groups of options in a command's signature, so that Typer sees the single options.

    Args:
        command: Each parameter annotated with a dataclass is a group, whose fields are the options.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}

    @wraps(command)
    def ungrouped(**values: Any) -> None:
        for name, kind in groups.items():
            values[name] = kind(**{field.name: values.pop(field.name) for field in fields(kind)})
        command(**values)

    own = inspect.signature(command).parameters.items()
    parameters = [
        parameter
        for name, given in own
        for parameter in (_parameters(groups[name]) if name in groups else [given.replace(annotation=hints[name])])
    ]
    keywords = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    ungrouped.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]
    return ungrouped


def _parameters(group: Any) -> Iterator[inspect.Parameter]:
    """A group's fields as parameters."""
    hints = get_type_hints(group, include_extras=True)
    for field in fields(group):
        default = inspect.Parameter.empty if field.default is MISSING else field.default
        yield inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[field.name]
        )


def write_json(path: Path | None, result: Any) -> None:
    """Write the result of a `--json` option; does nothing if `path` is None."""
    from dhrd._files import writing

    if path is not None:
        with writing(path) as file:
            file.json(result)
