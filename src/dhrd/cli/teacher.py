"""What commands that ask a teacher share: flags for its settings, cost estimates and the final summary."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dhrd._terminal import say
from dhrd.cli.options import Device

if TYPE_CHECKING:
    from dhrd.config import RunConfig
    from dhrd.rationales.output import Written
    from dhrd.rationales.survey import Survey

Split = Annotated[str, typer.Option(help="Split of superglue: and hub: data: train, validation or test.")]
Answers = Annotated[
    Path, typer.Option(help="Output .jsonl file; an interrupted run continues when run again with the same file.")
]
INTERRUPTED = "answers so far are kept; run the same command again to continue"
"""Printed when Ctrl-C ends a run."""


@dataclass(frozen=True, slots=True)
class AskingOptions:
    """Options of a run that asks a teacher about rows."""

    split: Split = "train"
    limit: Annotated[int | None, typer.Option(min=1, help="Use only the first N rows.")] = None
    retry_rejected: Annotated[bool, typer.Option("--retry-rejected", help="Ask rejected rows again.")] = False
    require_all: Annotated[bool, typer.Option("--require-all", help="Exit with 1 if any row was rejected.")] = False
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Estimate tokens and cost without sending anything.")] = (
        False
    )
    device: Device = None


def settings_of_teacher(*own: str) -> tuple[str, ...]:
    """The teacher's settings that have flags: those shared by all such commands, and a command's own."""
    shared = (
        *("name", "base_url", "template", *own, "attempts", "temperature", "top_p"),
        *("max_tokens", "reasoning_effort", "timeout_s", "max_retries", "concurrency", "requests_per_minute"),
        *("tokens_per_minute", "input_price", "output_price", "max_cost", "tokenizer", "batch_size"),
    )
    return tuple(f"teacher.{name}" for name in shared)


def end(written: Written, *, require_all: bool) -> None:
    """Exit with 3 if rows are left to ask or all answers were cut, with 1 if `require_all` and a row was rejected."""
    if written.num_open or _is_all_cut(written):
        raise typer.Exit(3)
    if require_all and written.rejected:
        raise typer.Exit(1)


def print_survey(survey: Survey, config: RunConfig) -> None:
    """Print what a run would ask and cost."""
    each = (
        f"{survey.estimate.tokens_per_answer:.0f} each, {'the mean so far' if survey.estimate.measured else 'assumed'}"
    )
    say(f"{survey.num_rows:,} rows, {survey.num_rows - survey.num_open:,} of them done; {survey.num_open:,} to ask")
    if survey.warning:
        say(survey.warning)
    say(f"prompts: {survey.prompt_tokens:,} tokens ({survey.counted_by})")
    say(f"answers: {survey.completion_tokens:,} tokens expected ({each}), at most {survey.most_completion_tokens:,}")
    cost = survey.costs(config.teacher)
    if cost is None:
        say("cost: unknown; give --input-price and --output-price, per million tokens")
        return
    say(f"cost: {cost['expected']:.4g} expected, at most {cost['most']:.4g}; {cost['paid']:.4g} paid so far")


def print_written(written: Written, config: RunConfig) -> None:
    """Print what was rejected, sent and paid, and what is left to ask."""
    tally = written.tally
    if written.rejected:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in written.rejected.most_common())
        say(f"{written.rejected.total():,} rejected: {reasons}; --retry-rejected asks them again")
    if written.rejected["cut"]:
        say(f"a --max-tokens above {config.teacher.max_tokens:,} asks only those that were cut again")
    failed = ", ".join(f"{count:,} {kind}" for kind, count in tally.failures.most_common())
    say(
        f"{tally.num_requests:,} requests in this run, {tally.num_answers:,} answered"
        + (f", {tally.failures.total():,} failed ({failed})" if failed else "")
    )
    paid = f", cost {written.cost:.4g}" if written.cost is not None else ""
    say(f"total: {tally.prompt_tokens:,} prompt tokens, {tally.completion_tokens:,} answer tokens{paid}")
    if tally.num_lost:
        most = f" ({written.possible_cost:.4g})" if written.possible_cost is not None else ""
        tokens = f"{tally.lost_prompt_tokens:,} prompt and {tally.lost_completion_tokens:,} answer tokens"
        say(f"{tally.num_lost:,} requests without an answer may also be billed: at most {tokens}{most}")
    _print_open(written)


def _print_open(written: Written) -> None:
    """Print why rows are left to ask."""
    tally = written.tally
    if tally.num_unanswered:
        say(f"{tally.num_unanswered:,} rows got no answer ({tally.last_failure}); run the command again to retry them")
    if tally.is_spent and written.num_open:
        say(f"max_cost was reached with {written.num_open} rows left; raise --max-cost and run again to continue")


def _is_all_cut(written: Written) -> bool:
    """Whether every answer was cut off by the token limit; a script must not go on to train on such an output."""
    return not written.num_written and 0 < written.rejected["cut"] == written.rejected.total()
