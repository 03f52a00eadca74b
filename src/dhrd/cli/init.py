"""`dhrd init`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dhrd._terminal import say
from dhrd._text import dhrd_command
from dhrd.cli.options import Json, Set, write_json
from dhrd.errors import ConfigError


def init(
    file: Annotated[str, typer.Argument(help="Labelled rows, as data.train takes them.")],
    output: Annotated[Path, typer.Option(help="The file of settings to write.")] = Path("config.yaml"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is in --output.")] = False,
    overrides: Set = None,
    json_file: Json = None,
) -> None:
    """Write settings from a look at your rows.

    Above each setting stands why it is so. What is given by --set holds as it is: a column (data.columns.label=COLUMN),
    the validation rows (data.validation=FILE), the backbone (model.name_or_path=NAME).
    """
    from dhrd._files import is_stream, talking, writing
    from dhrd._outputs import JSON, YAML, Output, check_outputs
    from dhrd.artifact.owned import inputs_of
    from dhrd.config import load_config
    from dhrd.config.commented import to_yaml
    from dhrd.run.propose import as_json, propose

    given = load_config(None, overrides or (), data__train=file)
    check_outputs([Output("--output", output, YAML), Output("--json", json_file, JSON)], inputs_of(given))
    proposal = propose(given)
    if output.exists() and not is_stream(output) and not overwrite:
        raise ConfigError(f"--output {output}: is there already; replace it with --overwrite, or give another name")
    train, schema = dhrd_command("train", config=output), dhrd_command("config schema")
    text = to_yaml(proposal.settings, f"From a look at {file}. To train: {train}", f"All settings there are: {schema}")
    with writing(output) as target:
        target.write(text)
    write_json(json_file, as_json(proposal))
    with talking(output, json_file):
        if not is_stream(output):
            say(text)
        say(f"the settings are in {output}; next: {train}")
