"""`dhrd config show` and `dhrd config schema`"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from dhrd._text import escaped
from dhrd.cli.command import Command, SettingsCommand
from dhrd.cli.options import Json, Set, write_json

app = typer.Typer(help="Print settings and their schema.", no_args_is_help=True, rich_markup_mode=None)


@app.command(cls=SettingsCommand)
def show(
    file: Annotated[Path | None, typer.Argument(help="YAML file of settings.")] = None,
    config: Annotated[Path | None, typer.Option("--config", help="The same as the argument.")] = None,
    overrides: Set = None,
    json_file: Json = None,
) -> None:
    """Print the resolved settings as YAML, defaults included."""
    import yaml

    from dhrd.config import load_config
    from dhrd.config.settings_yaml import SettingsDumper

    resolved = load_config(file or config, overrides or ()).model_dump(mode="json")
    write_json(json_file, resolved)
    if json_file is not None:
        return
    text = yaml.dump(resolved, Dumper=SettingsDumper, sort_keys=False, allow_unicode=True)
    if escaped(text) != text:  # control characters are written as YAML escapes
        text = yaml.dump(resolved, Dumper=SettingsDumper, sort_keys=False)
    print(text, end="")


@app.command(cls=Command)
def schema() -> None:
    """Print the JSON schema of all settings, with descriptions."""
    from dhrd.config import RunConfig

    print(json.dumps(RunConfig.model_json_schema(), indent=2, ensure_ascii=False))
