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
Artifact = Annotated[Path, typer.Option("--model", help="The artifact: a directory that `dhrd train` wrote.")]
Model = Annotated[Path | None, typer.Option("--model", help="The artifact: a directory that `dhrd train` wrote.")]
Checkpoint = Annotated[Path | None, typer.Option("--checkpoint", help="The same as --model.")]
Dtype = Annotated[
    str, typer.Option("--dtype", help="auto: bf16 where it is faster, else float32; or float32, bfloat16, float16.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Refuse rows over the limit instead of cutting them.")]
Json = Annotated[
    Path | None, typer.Option("--json", help="Write the result as JSON to this file; -: to standard output.")
]


@dataclass(frozen=True, slots=True)
class ClassifierOptions:
    """How the classifier runs: options of the commands that put many rows through it, by `Classifier`'s own names."""

    device: Device = None
    dtype: Dtype = "auto"
    share_prefixes: Annotated[
        bool, typer.Option("--sharing/--no-sharing", help="Compute text that rows begin with in common once.")
    ] = True
    compile: Annotated[
        bool, typer.Option("--compile", help="torch.compile the layers: slower to start, then faster.")
    ] = False
    max_tokens_per_pass: Annotated[int | None, typer.Option(min=1, help="Bounds the memory of a forward pass.")] = None


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """A command of which some parameters are groups of options, as Typer reads commands: with the options themselves.

    Args:
        command: A parameter that is annotated with a dataclass is a group: each field is an option.
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
    """The fields of a group of options."""
    hints = get_type_hints(group, include_extras=True)
    for field in fields(group):
        default = inspect.Parameter.empty if field.default is MISSING else field.default
        yield inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[field.name]
        )


def write_json(path: Path | None, result: Any) -> None:
    """Write what `Json` asks for; None: nothing is."""
    from dhrd._files import writing

    if path is not None:
        with writing(path) as file:
            file.json(result)
