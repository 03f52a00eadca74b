"""`dhrd rationales generate`, `audit` and `convert`"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dhrd._terminal import say
from dhrd.cli.command import Command, SettingsCommand, given, interruptible
from dhrd.cli.options import Config, Device, Json, Set, grouped, write_json
from dhrd.cli.teacher import (
    INTERRUPTED,
    Answers,
    AskingOptions,
    Split,
    end,
    print_survey,
    print_written,
    settings_of_teacher,
)

if TYPE_CHECKING:
    from dhrd.config import RunConfig
    from dhrd.rationales.audit.audit import Audit
    from dhrd.rationales.convert import Converted
    from dhrd.rationales.output import Written

app = typer.Typer(
    help="Generate, audit and convert rationales.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
_CHANGES_SHOWN = 20
Data = Annotated[
    str | None, typer.Option("--data", help="Rows: superglue:TASK, hub:NAME or a file; default: data.train.")
]


class GenerateCommand(SettingsCommand):
    """`dhrd rationales generate`, with flags for the teacher's settings."""

    settings = settings_of_teacher("label_hidden", "samples")


@app.command(cls=GenerateCommand)
@grouped
def generate(
    context: typer.Context,
    output: Answers,
    data: Data = None,
    config: Config = None,
    overrides: Set = None,
    json_file: Json = None,
    *,
    asking: AskingOptions,
) -> None:
    """Ask a teacher for a rationale for each row. The key is read from OPENAI_API_KEY."""
    from dhrd._files import talking
    from dhrd._outputs import JSON, Output, check_outputs
    from dhrd.artifact.owned import inputs_of
    from dhrd.config import load_config

    resolved = load_config(config, overrides or (), **given(context))
    rows = _rows(data, resolved)
    check_outputs([Output("--json", json_file, JSON)], [*inputs_of(resolved, rows, config), output])
    from dhrd.rationales.generate import generate_rationales, survey_rationales

    if asking.dry_run:
        survey = survey_rationales(resolved, rows, output, split=asking.split, limit=asking.limit)
        write_json(json_file, survey.record(resolved.teacher))
        with talking(json_file):
            print_survey(survey, resolved)
        return
    with interruptible(INTERRUPTED):
        written = generate_rationales(
            resolved,
            rows,
            output,
            split=asking.split,
            limit=asking.limit,
            retry_rejected=asking.retry_rejected,
            device=asking.device,
        )
    write_json(json_file, written.record())
    with talking(json_file):
        _print_generated(written, resolved)
    end(written, require_all=asking.require_all)


@app.command(cls=Command)
def audit(
    rationales: Annotated[Path, typer.Argument(help="A .jsonl file with id and rationale.")],
    data: Data = None,
    split: Split = "train",
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the full report as JSON to this file.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write an HTML page for review to this file.")] = None,
    forbid: Annotated[
        list[str] | None, typer.Option(help="Regular expression that also counts as giving the label away; repeatable.")
    ] = None,
    allow: Annotated[
        list[str] | None, typer.Option(help="Word of a label that does not count as giving it away; repeatable.")
    ] = None,
    fix: Annotated[
        str | None,
        typer.Option(metavar="drop|strip", help="Write a cleaned file: drop flagged rows, or strip verdicts."),
    ] = None,
    kinds: Annotated[
        list[str] | None, typer.Option("--kind", help="With --fix drop: drop only rows with this flag; repeatable.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Cleaned file to write; default: RATIONALES.clean.jsonl.")] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model", help="Artifact with a reasoning head: also measure what each rationale is worth to it."
        ),
    ] = None,
    min_worth: Annotated[
        float | None, typer.Option(help="With --model: flag rationales worth less than this, in nats, as worthless.")
    ] = None,
    config: Config = None,
    overrides: Set = None,
    device: Device = None,
) -> None:
    """Check rationales: on topic, complete, not leaking the label."""
    from dhrd.config import load_config

    resolved = load_config(config, overrides or ())
    rows = _rows(data, resolved)
    from dhrd._files import talking, writing
    from dhrd._outputs import JSON, PAGE, RATIONALES, Output, check_outputs
    from dhrd.artifact.owned import inputs_of, model_files
    from dhrd.errors import ConfigError
    from dhrd.rationales.audit.audit import audit_rationales
    from dhrd.rationales.audit.fix import changes_beside
    from dhrd.rationales.audit.show import print_table, to_json, write_page

    clean = output or rationales.with_name(f"{rationales.stem}.clean.jsonl")
    _check_fix(fix, kinds, output)
    if min_worth is not None and model is None:
        raise ConfigError(f"--min-worth {min_worth:g} needs a model to measure worth; give --model DIR too")
    written = [Output("--json", json_file, JSON), Output("--html", html, PAGE)]
    if fix is not None:
        written += [Output("--output", clean, RATIONALES), Output("the list of changes", changes_beside(clean))]
    own = model_files(model) if model is not None else ()
    check_outputs(written, [*inputs_of(resolved, rationales, rows, config), *own])
    audited = audit_rationales(rationales, rows, config=resolved, split=split, forbid=forbid or (), allow=allow or ())
    if model is not None:
        from dhrd.run.audit.worth import with_worth

        audited = with_worth(audited, model, least=min_worth, device=device)
    with talking(json_file, html):
        print_table(audited)
    if json_file is not None:
        with writing(json_file) as file:
            file.json(to_json(audited))
    if html is not None:
        write_page(audited, html)
    with talking(json_file, html):
        if html is not None:
            say(f"the page is {html}")
        if fix is not None:
            _fix(audited, fix, kinds or [], clean)


@app.command(cls=Command)
def convert(
    source: Annotated[Path, typer.Argument(help="A .json, .jsonl, .csv, .tsv or .parquet file.")],
    output: Annotated[Path, typer.Option(help="Output .jsonl file.")],
    shape: Annotated[str, typer.Option(help="columns, copa-sse, winowhy or multirc-evidence.")] = "columns",
    id_part: Annotated[
        str | None, typer.Option("--id", help="Where the row's id is: a column, a path, or a template.")
    ] = None,
    rationale: Annotated[
        str | None, typer.Option(help="Where the rationale is: a column, a path, or a template.")
    ] = None,
    rows: Annotated[str | None, typer.Option(help="Path to a list with one element (`row`) per row.")] = None,
    choices: Annotated[str | None, typer.Option(help="Path to a list of explanations (`found`) of a row.")] = None,
    rating: Annotated[
        str | None, typer.Option(help="Path, within an explanation, to its rating; the best-rated one is used.")
    ] = None,
    where: Annotated[str | None, typer.Option(help="Template that renders to True for what to keep.")] = None,
    teacher: Annotated[str | None, typer.Option(help="Author of the rationales, recorded in the output.")] = None,
    config: Config = None,
    overrides: Set = None,
    json_file: Json = None,
) -> None:
    """Convert rationales from other formats for training."""
    from dhrd._files import talking
    from dhrd._outputs import JSON, RATIONALES, Output, check_outputs
    from dhrd.artifact.owned import inputs_of
    from dhrd.config import load_config
    from dhrd.rationales.convert import convert_rationales, shape_of

    resolved = load_config(config, overrides or ())
    written = [Output("--output", output, RATIONALES), Output("--json", json_file, JSON)]
    check_outputs(written, inputs_of(resolved, source, config))
    mapped = resolved.data.columns if shape == "columns" else {}
    parts = {"id": id_part or mapped.get("id"), "rationale": rationale or mapped.get("rationale")}
    found = {"rows": rows, "choices": choices, "rating": rating, "where": where}
    converted = convert_rationales(source, output, shape_of(shape, **parts, **found, teacher=teacher), config=resolved)
    write_json(json_file, {"output": str(output), **asdict(converted)})
    with talking(output, json_file):
        _print_converted(converted, output)


def _print_converted(converted: Converted, output: Path) -> None:
    say(f"{converted.num_rationales:,} rationales from {converted.num_records:,} records: {output}")
    if converted.num_without:
        say(f"{converted.num_without:,} rows have no rationale there")
    if converted.conflicting:
        some = ", ".join(converted.conflicting[:5]) + (" …" if len(converted.conflicting) > 5 else "")
        say(f"{len(converted.conflicting):,} ids have two different rationales and were skipped: {some}")


def _check_fix(fix: str | None, kinds: list[str] | None, output: Path | None) -> None:
    from dhrd.errors import ConfigError
    from dhrd.rationales.audit.fix import check_kinds

    if fix not in (None, "drop", "strip"):
        raise ConfigError(f"--fix {fix}: unknown; give drop or strip")
    if kinds and fix != "drop":
        raise ConfigError("--kind needs --fix drop; give both, or leave --kind out")
    if output is not None and fix is None:
        raise ConfigError(f"--output {output} is for the cleaned file; give --fix drop or --fix strip too")
    check_kinds(kinds or [])


def _fix(audit: Audit, mode: str, kinds: list[str], output: Path) -> None:
    from dhrd.rationales.audit.fix import fix, write_fixed

    kept, changes = fix(audit, mode, kinds)  # type: ignore[arg-type]
    beside = write_fixed(output, kept, changes)
    for change in changes[:_CHANGES_SHOWN]:
        say(change.line())
    if len(changes) > _CHANGES_SHOWN:
        say(f"… and {len(changes) - _CHANGES_SHOWN:,} more")
    say(f"{len(kept):,} of {len(audit.lines):,} rationales are in {output}; every change is in {beside}")


def _rows(data: str | None, config: RunConfig) -> str:
    from dhrd.errors import ConfigError

    rows = data or config.data.train
    if rows is None:
        raise ConfigError("no rows given; use --data FILE (or superglue:TASK, hub:NAME)")
    return rows


def _print_generated(written: Written, config: RunConfig) -> None:
    say(f"{written.num_written:,} of {written.num_rows:,} rows have a rationale: {written.output}")
    if num_disagreeing := written.noted["naming_another_label"]:
        say(f"{num_disagreeing:,} of them conclude with a label other than the given one; audit them")
    print_written(written, config)
