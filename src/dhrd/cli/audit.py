"""`dhrd audit labels`"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from dhrd._terminal import say
from dhrd.cli.command import Command, interruptible
from dhrd.cli.options import Config, Device, Json, Set, write_json

app = typer.Typer(help="Find labels that are probably wrong.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """A callback, so that typer keeps `labels` as a subcommand although it is the only one."""


@app.command(cls=Command)
def labels(
    output: Annotated[Path, typer.Option(help="Output .jsonl file: all rows, most doubtful first.")],
    data: Annotated[str | None, typer.Option(help="Labelled rows; default: data.train.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write an HTML page for review to this file.")] = None,
    folds: Annotated[
        int, typer.Option(min=2, help="Number of cross-validation folds; the classifier is trained once per fold.")
    ] = 5,
    config: Config = None,
    overrides: Set = None,
    device: Device = None,
    json_file: Json = None,
) -> None:
    """Find labels that are probably wrong.

    Labels are checked against out-of-fold predictions of the classifier and against the rationale alone. Finished folds
    are kept beside the output until it is written; after an interruption, the same command continues with the rest.
    """
    from dhrd._files import is_stream, talking
    from dhrd._outputs import JSON, JSON_LINES, PAGE, Output, check_outputs
    from dhrd.artifact.owned import inputs_of
    from dhrd.config import load_config
    from dhrd.data.sources import check_sources
    from dhrd.errors import ConfigError

    rows: dict[str, object] = {"data__train": data} if data is not None else {}
    resolved = load_config(config, overrides or (), **rows)  # type: ignore[arg-type]
    if resolved.data.train is None:
        raise ConfigError("no rows given; use --data FILE (or superglue:TASK, hub:NAME)")
    written = [Output("--output", output, JSON_LINES), Output("--html", html, PAGE), Output("--json", json_file, JSON)]
    check_outputs(written, inputs_of(resolved, config))
    check_sources(resolved)
    from dhrd.run.audit.labels import audit_labels
    from dhrd.run.audit.report import print_label_audit, write_label_audit, write_label_page

    kept = None if is_stream(output) else output.with_name(f"{output.name}.folds")
    with interruptible("finished folds are kept; run the same command again to continue"):
        audit = audit_labels(resolved, num_folds=folds, kept=kept, device=device)
    write_label_audit(audit, output)
    if html is not None:
        write_label_page(audit, html)
    if kept is not None:
        shutil.rmtree(kept)
    doubted = {"num_doubted": audit.num_doubted(), "num_doubted_by_both": audit.num_doubted(2)}
    counts = {"num_rows": len(audit.rows), "num_rationales": audit.num_rationales, **doubted}
    write_json(json_file, {"output": str(output), **counts})
    with talking(output, html, json_file):
        print_label_audit(audit)
        say(f"all rows are in {output}" + (f", the doubtful ones in {html}" if html is not None else ""))
