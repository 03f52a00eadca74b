"""What commands that ask a teacher share: flags of its settings, what a run would cost, and how it ended."""

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

Split = Annotated[str, typer.Option(help="Of superglue: and hub:; train, validation or test.")]
Answers = Annotated[Path, typer.Option(help="A .jsonl file; run again with the same one to go on.")]
INTERRUPTED = "answers so far are kept: run the same command again to go on"
"""What is said where Ctrl-C ends a run: nothing is lost."""


@dataclass(frozen=True, slots=True)
class AskingOptions:
    """Options of a run in which a teacher is asked about rows."""

    split: Split = "train"
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first rows.")] = None
    retry_rejected: Annotated[bool, typer.Option("--retry-rejected", help="Ask rejected rows again.")] = False
    require_all: Annotated[bool, typer.Option("--require-all", help="Exit with 1 where a row was rejected.")] = False
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count tokens and cost; send nothing.")] = False
    device: Device = None


def settings_of_teacher(*own: str) -> tuple[str, ...]:
    """The teacher's settings that are flags: those of every such command, and a command's own."""
    shared = (
        *("name", "base_url", "template", *own, "attempts", "temperature", "top_p"),
        *("max_tokens", "reasoning_effort", "timeout_s", "max_retries", "concurrency", "requests_per_minute"),
        *("tokens_per_minute", "input_price", "output_price", "max_cost", "tokenizer", "batch_size"),
    )
    return tuple(f"teacher.{name}" for name in shared)


def end(written: Written, *, require_all: bool) -> None:
    """Leave with 3 where rows are left to ask, or all were cut; with 1 where one was rejected and none may be."""
    if written.num_open or _is_all_cut(written):
        raise typer.Exit(3)
    if require_all and written.rejected:
        raise typer.Exit(1)


def print_survey(survey: Survey, config: RunConfig) -> None:
    """What a run would ask and cost."""
    each = (
        f"{survey.estimate.tokens_per_answer:.0f} each, {'the mean so far' if survey.estimate.measured else 'assumed'}"
    )
    say(f"{survey.num_rows:,} rows, {survey.num_rows - survey.num_open:,} of them settled; {survey.num_open:,} to ask")
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
    """What was rejected, sent and paid, and what is left to ask."""
    tally = written.tally
    if written.rejected:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in written.rejected.most_common())
        say(f"{written.rejected.total():,} rejected: {reasons}; --retry-rejected asks them again")
    if written.rejected["cut"]:
        say(f"a higher --max-tokens than {config.teacher.max_tokens:,} asks those that were cut again, and no others")
    failed = ", ".join(f"{count:,} {kind}" for kind, count in tally.failures.most_common())
    say(
        f"{tally.num_requests:,} requests in this run, {tally.num_answers:,} answered"
        + (f", {tally.failures.total():,} failed ({failed})" if failed else "")
    )
    paid = f", cost {written.cost:.4g}" if written.cost is not None else ""
    say(f"in all {tally.prompt_tokens:,} prompt tokens, {tally.completion_tokens:,} answer tokens{paid}")
    if tally.num_lost:
        most = f" {written.possible_cost:.4g}, which is" if written.possible_cost is not None else ""
        tokens = f"{tally.lost_prompt_tokens:,} prompt and {tally.lost_completion_tokens:,} answer tokens"
        say(f"{tally.num_lost:,} requests without an answer may be billed too: at most{most} {tokens}")
    _print_open(written)


def _print_open(written: Written) -> None:
    """Why rows are left to ask."""
    tally = written.tally
    if tally.num_unanswered:
        say(f"{tally.num_unanswered:,} rows got no answer ({tally.last_failure}); the same command again asks them")
    if tally.is_spent and written.num_open:
        say(f"max_cost is reached with {written.num_open} rows not asked; raise --max-cost and run again to go on")


def _is_all_cut(written: Written) -> bool:
    """Whether the limit left nothing of any answer: a job that goes on to train must not take this for done."""
    return not written.num_written and 0 < written.rejected["cut"] == written.rejected.total()
