"""`dhrd rationales generate`, `audit` and `convert`"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dhrd._terminal import say
from dhrd.cli.command import Command, SettingsCommand, given
from dhrd.cli.options import Config, Device, Set

if TYPE_CHECKING:
    from dhrd.config import RunConfig
    from dhrd.rationales.audit.audit import Audit
    from dhrd.rationales.convert import Converted
    from dhrd.rationales.output import Generated
    from dhrd.rationales.survey import Survey

app = typer.Typer(
    help="Get rationales from a teacher, audit them, convert others.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
_CHANGES_SHOWN = 20
Data = Annotated[
    str | None, typer.Option("--data", help="The rows: superglue:TASK, hub:NAME or a file; default: data.train.")
]
Split = Annotated[str, typer.Option(help="Of superglue: and hub:; train, validation or test.")]


class GenerateCommand(SettingsCommand):
    """`dhrd rationales generate`, with flags for the teacher's settings."""

    settings = tuple(
        f"teacher.{name}"
        for name in (
            *("name", "base_url", "template", "label_hidden", "samples", "attempts", "temperature", "top_p"),
            *("max_tokens", "reasoning_effort", "timeout_s", "max_retries", "concurrency", "requests_per_minute"),
            *("tokens_per_minute", "input_price", "output_price", "max_cost", "tokenizer", "batch_size"),
        )
    )


@app.command(cls=GenerateCommand)
def generate(
    context: typer.Context,
    output: Annotated[Path, typer.Option(help="A .jsonl file; run again with the same one to go on.")],
    data: Data = None,
    split: Split = "train",
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first rows.")] = None,
    retry_rejected: Annotated[bool, typer.Option("--retry-rejected", help="Ask rejected rows again.")] = False,
    require_all: Annotated[bool, typer.Option("--require-all", help="Exit with 1 where a row was rejected.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count tokens and cost; send nothing.")] = False,
    config: Config = None,
    overrides: Set = None,
    device: Device = None,
) -> None:
    """Ask a teacher for a rationale for each row. The key comes from OPENAI_API_KEY."""
    from dhrd.config import load_config

    resolved = load_config(config, overrides or (), **given(context))
    rows = _rows(data, resolved)
    from dhrd.rationales.generate import generate_rationales, survey_rationales

    if dry_run:
        _print_survey(survey_rationales(resolved, rows, output, split=split, limit=limit), resolved)
        return
    try:
        generated = generate_rationales(
            resolved, rows, output, split=split, limit=limit, retry_rejected=retry_rejected, device=device
        )
    except KeyboardInterrupt:
        say("dhrd: interrupted; answers so far are kept: run the same command again to go on", file=sys.stderr)
        raise typer.Exit(130) from None
    _print_generated(generated, resolved)
    if generated.num_open or _is_all_cut(generated):
        raise typer.Exit(3)
    if require_all and generated.rejected:
        raise typer.Exit(1)


@app.command(cls=Command)
def audit(
    rationales: Annotated[Path, typer.Argument(help="A .jsonl file of id, rationale.")],
    data: Data = None,
    split: Split = "train",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write everything to this file.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page to skim to this file.")] = None,
    forbid: Annotated[
        list[str] | None, typer.Option(help="A regular expression that gives the label away too; repeatable.")
    ] = None,
    allow: Annotated[
        list[str] | None, typer.Option(help="A label's word that does not give it away; repeatable.")
    ] = None,
    fix: Annotated[
        str | None, typer.Option(metavar="drop|strip", help="Write a cleaned file: without flagged rows, or verdicts.")
    ] = None,
    kinds: Annotated[
        list[str] | None, typer.Option("--kind", help="With --fix drop: only such flags; repeatable.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="The cleaned file; default: RATIONALES.clean.jsonl.")] = None,
    model: Annotated[
        Path | None, typer.Option("--model", help="An artifact with a reasoning head: what is each worth to it?")
    ] = None,
    min_worth: Annotated[
        float | None, typer.Option(help="With --model: flag as worthless what is worth less, in nats.")
    ] = None,
    config: Config = None,
    overrides: Set = None,
    device: Device = None,
) -> None:
    """Check rationales: about their rows, without the label, whole."""
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
        raise ConfigError(f"--min-worth {min_worth:g}: worth is told by a model; give --model DIR too")
    written = [Output("--json", json_file, JSON), Output("--html", html, PAGE)]
    if fix is not None:
        written += [Output("--output", clean, RATIONALES), Output("the list of changes", changes_beside(clean))]
    own = model_files(model) if model is not None else ()
    check_outputs(written, [*inputs_of(resolved, rationales, rows, config), *own])
    audited = audit_rationales(rationales, rows, config=resolved, split=split, forbid=forbid or (), allow=allow or ())
    if model is not None:
        from dhrd.run.rationale_worth import with_worth

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
    output: Annotated[Path, typer.Option(help="A .jsonl file.")],
    shape: Annotated[str, typer.Option(help="columns, copa-sse, winowhy or multirc-evidence.")] = "columns",
    id_part: Annotated[str | None, typer.Option("--id", help="The row's id: a column, a path, or a template.")] = None,
    rationale: Annotated[str | None, typer.Option(help="The rationale: a column, a path, or a template.")] = None,
    rows: Annotated[str | None, typer.Option(help="Path to a list, an element (`row`) a row.")] = None,
    choices: Annotated[str | None, typer.Option(help="Path to a list of explanations (`found`).")] = None,
    rating: Annotated[str | None, typer.Option(help="Path within one to its rating; the best is taken.")] = None,
    where: Annotated[str | None, typer.Option(help="A template that gives True for what counts.")] = None,
    teacher: Annotated[str | None, typer.Option(help="Who wrote them, for the output.")] = None,
) -> None:
    """Bring rationales of another shape into the form of training."""
    from dhrd._files import talking
    from dhrd.rationales.convert import convert_rationales, shape_of

    parts = {"id": id_part, "rationale": rationale, "rows": rows, "choices": choices, "rating": rating}
    asked = shape_of(shape, **parts, where=where, teacher=teacher)
    converted = convert_rationales(source, output, asked)
    with talking(output):
        _print_converted(converted, output)


def _print_converted(converted: Converted, output: Path) -> None:
    say(f"{converted.num_rationales:,} rationales from {converted.num_records:,} records: {output}")
    if converted.num_without:
        say(f"{converted.num_without:,} rows have none there")
    if converted.conflicting:
        some = ", ".join(converted.conflicting[:5]) + (" …" if len(converted.conflicting) > 5 else "")
        say(f"{len(converted.conflicting):,} ids have two different ones and were left out: {some}")


def _check_fix(fix: str | None, kinds: list[str] | None, output: Path | None) -> None:
    from dhrd.errors import ConfigError
    from dhrd.rationales.audit.fix import check_kinds

    if fix not in (None, "drop", "strip"):
        raise ConfigError(f"--fix {fix}: unknown; give drop or strip")
    if kinds and fix != "drop":
        raise ConfigError("--kind picks what --fix drop leaves out; give --fix drop, or leave it out")
    if output is not None and fix is None:
        raise ConfigError(f"--output {output}: is the cleaned file; give --fix drop or --fix strip too")
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
        raise ConfigError("no rows are given: --data FILE (or superglue:TASK, hub:NAME)")
    return rows


def _print_survey(survey: Survey, config: RunConfig) -> None:
    from dhrd.rationales.teacher.tally import cost

    each = (
        f"{survey.estimate.tokens_per_answer:.0f} each, {'the mean so far' if survey.estimate.measured else 'assumed'}"
    )
    say(f"{survey.num_rows:,} rows, {survey.num_rows - survey.num_open:,} of them settled; {survey.num_open:,} to ask")
    if survey.warning:
        say(survey.warning)
    say(f"prompts: {survey.prompt_tokens:,} tokens ({survey.counted_by})")
    say(f"answers: {survey.completion_tokens:,} tokens expected ({each}), at most {survey.most_completion_tokens:,}")
    expected = cost(config.teacher, survey.prompt_tokens, survey.completion_tokens)
    if expected is None:
        say("cost: unknown; give --input-price and --output-price, per million tokens")
        return
    attempts = config.teacher.attempts * config.teacher.samples
    most = cost(config.teacher, survey.prompt_tokens * attempts, survey.most_completion_tokens)
    paid = cost(config.teacher, survey.before.prompt_tokens, survey.before.completion_tokens)
    say(f"cost: {expected:.4g} expected, at most {most:.4g}; {paid:.4g} paid so far")


def _print_generated(generated: Generated, config: RunConfig) -> None:
    tally = generated.tally
    say(f"{generated.num_rationales:,} of {generated.num_rows:,} rows have a rationale: {generated.output}")
    if generated.num_disagreeing:
        say(f"{generated.num_disagreeing:,} of them end in another label than the one given: audit them")
    if generated.rejected:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in generated.rejected.most_common())
        say(f"{generated.rejected.total():,} rejected: {reasons}; --retry-rejected asks them again")
    if generated.rejected["cut"]:
        say(f"a higher --max-tokens than {config.teacher.max_tokens:,} asks those that were cut again, and no others")
    failed = ", ".join(f"{count:,} {kind}" for kind, count in tally.failures.most_common())
    say(
        f"{tally.num_requests:,} requests in this run, {tally.num_answers:,} answered"
        + (f", {tally.failures.total():,} failed ({failed})" if failed else "")
    )
    paid = f", cost {generated.cost:.4g}" if generated.cost is not None else ""
    say(f"in all {tally.prompt_tokens:,} prompt tokens, {tally.completion_tokens:,} answer tokens{paid}")
    if tally.num_lost:
        most = f" {generated.possible_cost:.4g}, which is" if generated.possible_cost is not None else ""
        tokens = f"{tally.lost_prompt_tokens:,} prompt and {tally.lost_completion_tokens:,} answer tokens"
        say(f"{tally.num_lost:,} requests without an answer may be billed too: at most{most} {tokens}")
    _print_open(generated)


def _print_open(generated: Generated) -> None:
    """Why rows are left to ask."""
    tally = generated.tally
    if tally.num_unanswered:
        say(f"{tally.num_unanswered:,} rows got no answer ({tally.last_failure}); the same command again asks them")
    if tally.is_spent and generated.num_open:
        say(f"max_cost is reached with {generated.num_open} rows not asked; raise --max-cost and run again to go on")


def _is_all_cut(generated: Generated) -> bool:
    """Whether the limit left nothing of any answer: a job that goes on to train must not take this for done."""
    return not generated.num_rationales and 0 < generated.rejected["cut"] == generated.rejected.total()
