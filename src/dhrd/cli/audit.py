"""`dhrd audit labels`"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from dhrd._terminal import say
from dhrd.cli.command import Command, interruptible
from dhrd.cli.options import Config, Device, Json, Set, write_json

app = typer.Typer(help="Find the labels that are probably wrong.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """One command so far; this keeps its name."""


@app.command(cls=Command)
def labels(
    output: Annotated[Path, typer.Option(help="A .jsonl file: every row, the most doubtful first.")],
    data: Annotated[str | None, typer.Option(help="The labelled rows; default: data.train.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page to go through to this file.")] = None,
    folds: Annotated[int, typer.Option(min=2, help="The classifier is trained so many times.")] = 5,
    config: Config = None,
    overrides: Set = None,
    device: Device = None,
    json_file: Json = None,
) -> None:
    """Find the labels that are probably wrong.

    Two witnesses tell them: the classifier, out of fold, and the rationale alone. Folds that are done are kept beside
    the output until it is written, so the same command goes on after a kill.
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
        raise ConfigError("no rows are given: --data FILE (or superglue:TASK, hub:NAME)")
    written = [Output("--output", output, JSON_LINES), Output("--html", html, PAGE), Output("--json", json_file, JSON)]
    check_outputs(written, inputs_of(resolved, config))
    check_sources(resolved)
    from dhrd.run.audit.labels import audit_labels
    from dhrd.run.audit.report import print_label_audit, write_label_audit, write_label_page

    kept = None if is_stream(output) else output.with_name(f"{output.name}.folds")
    with interruptible("folds that are done are kept: run the same command again to go on"):
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
        say(f"every row is in {output}" + (f", and the doubted ones in {html}" if html is not None else ""))
