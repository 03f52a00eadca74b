"""`dhrd label`"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dhrd._terminal import say
from dhrd.cli.command import SettingsCommand, given, interruptible
from dhrd.cli.options import Config, Json, Set, grouped, write_json
from dhrd.cli.teacher import INTERRUPTED, Answers, AskingOptions, end, print_survey, print_written, settings_of_teacher

if TYPE_CHECKING:
    from dhrd.config import RunConfig
    from dhrd.rationales.output import Written
    from dhrd.rationales.survey import Survey


class LabelCommand(SettingsCommand):
    """`dhrd label`, with flags for the teacher's settings."""

    settings = settings_of_teacher("labels", "votes")


@grouped
def label(
    context: typer.Context,
    output: Answers,
    data: Annotated[
        str | None, typer.Option("--data", help="Rows without labels: a file or hub:NAME; default: only --gold.")
    ] = None,
    gold: Annotated[
        str | None, typer.Option(help="A few rows with labels, asked first to measure the teacher's accuracy.")
    ] = None,
    min_accuracy: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Stop with exit code 3 if the accuracy on the gold rows is lower."),
    ] = None,
    config: Config = None,
    overrides: Set = None,
    json_file: Json = None,
    *,
    asking: AskingOptions,
) -> None:
    """Ask a teacher to label rows. The key is read from OPENAI_API_KEY.

    The teacher is asked several times per row, and each label gets its share of the answers: a soft label, which
    `dhrd train` accepts.
    """
    from dhrd._files import talking
    from dhrd._outputs import JSON, Output, check_outputs
    from dhrd.artifact.owned import inputs_of
    from dhrd.config import load_config
    from dhrd.errors import ConfigError

    resolved = load_config(config, overrides or (), **given(context))
    if min_accuracy is not None and gold is None:
        raise ConfigError(f"`min_accuracy={min_accuracy:g}` needs gold rows; give `gold=FILE`")
    read = inputs_of(resolved, data, gold, resolved.teacher.labels, config)
    check_outputs([Output("--json", json_file, JSON)], [*read, output])
    from dhrd.rationales.label import label_rows, survey_labels

    if asking.dry_run:
        surveys = survey_labels(resolved, data, output, gold=gold, split=asking.split, limit=asking.limit)
        _print_surveys(dict(zip(("rows", "gold"), surveys, strict=True)), resolved, json_file)
        return
    with interruptible(INTERRUPTED):
        labelled = label_rows(
            resolved,
            data,
            output,
            gold=gold,
            min_accuracy=min_accuracy,
            split=asking.split,
            limit=asking.limit,
            retry_rejected=asking.retry_rejected,
            device=asking.device,
        )
    rows, known = labelled.rows, labelled.gold
    write_json(json_file, {"rows": rows and rows.record(), "gold": known and known.record()})
    if rows is not None:
        with talking(json_file):
            _print_labelled(rows, resolved)
        end(rows, require_all=asking.require_all)
    elif known is not None and known.is_below(min_accuracy):
        say(f"dhrd: accuracy on the gold rows is below --min-accuracy {min_accuracy:g}; stopped", file=sys.stderr)
        raise typer.Exit(3)
    elif known is not None and known.num_open:
        raise typer.Exit(3)


def _print_surveys(surveys: Mapping[str, Survey | None], config: RunConfig, json_file: Path | None) -> None:
    """Print the surveys of the gold rows, then of the others."""
    from dhrd._files import talking

    write_json(json_file, {name: survey and survey.record(config.teacher) for name, survey in surveys.items()})
    with talking(json_file):
        for name, survey in reversed([*surveys.items()]):
            if survey is not None:
                say(f"{name}, {config.teacher.votes} votes each:")
                print_survey(survey, config)


def _print_labelled(written: Written, config: RunConfig) -> None:
    say(f"{written.num_written:,} of {written.num_rows:,} rows have a label: {written.output}")
    votes, unreadable = written.noted["votes"], written.noted["unreadable_votes"]
    say(f"{written.noted['unanimous']:,} of them unanimous; {votes:,} votes, {unreadable:,} unreadable")
    print_written(written, config)
