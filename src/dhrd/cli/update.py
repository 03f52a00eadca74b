"""`dhrd update`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dhrd._terminal import say, show_table
from dhrd.cli.command import SettingsCommand, given, interruptible
from dhrd.cli.options import Config, Device, Json, Set, write_json

if TYPE_CHECKING:
    from dhrd.run.update.gate import AnswerChange, Flips, UpdateGate


class UpdateCommand(SettingsCommand):
    """`dhrd update`, with flags for the most common settings."""

    settings = ("training.num_epochs", "seed")


def update(
    context: typer.Context,
    model: Annotated[
        Path, typer.Option("--model", help="Artifact to start from: a directory written by `dhrd train`.")
    ],
    new: Annotated[str, typer.Option(help="New labelled rows: a file, superglue:TASK or hub:NAME.")],
    output: Annotated[Path, typer.Option(help="Directory for the updated artifact, written if the gate passes.")],
    replay: Annotated[str | None, typer.Option(help="Old labelled rows to mix in with the new ones.")] = None,
    replay_share: Annotated[float, typer.Option(help="Share of old rows among the training rows.")] = 0.5,
    kl: Annotated[
        float,
        typer.Option(help="Weight (0 to 1) of the old model's answer in a replayed row's target."),
    ] = 0.0,
    rate_factor: Annotated[
        float | None,
        typer.Option(
            help="Learning rates, relative to those of the old run; default: 0.3, or 1 if that was an update too."
        ),
    ] = None,
    eval_new: Annotated[str | None, typer.Option(help="New rows to judge by; default: a share of --new.")] = None,
    eval_old: Annotated[str | None, typer.Option(help="Old rows to judge by; default: a share of --replay.")] = None,
    eval_share: Annotated[float, typer.Option(help="Share to hold out, drawn by the seed.")] = 0.2,
    max_regression: Annotated[
        float,
        typer.Option(
            help="Largest drop in accuracy on old rows; not published if the drop's whole interval is above it."
        ),
    ] = 0.01,
    config: Config = None,
    overrides: Set = None,
    device: Device = None,
    json_file: Json = None,
) -> None:
    """Continue training an artifact on new rows, behind a gate.

    If accuracy on old rows drops too far, the command exits with 3 and leaves the updated model and its report in
    OUTPUT.rejected. After an interruption, the same command continues.
    """
    from dhrd._files import talking
    from dhrd._outputs import JSON, Output, check_outputs
    from dhrd.cli.settings import check_inputs, read_by
    from dhrd.config import load_config
    from dhrd.run.update.rows import UpdateSettings
    from dhrd.run.update.start import check_update_place, update_config

    settings = UpdateSettings(
        model=model,
        new=new,
        output=output,
        replay=replay,
        replay_share=replay_share,
        kl=kl,
        eval_new=eval_new,
        eval_old=eval_old,
        eval_share=eval_share,
        max_regression=max_regression,
    )
    base = update_config(model, load_config(config) if config is not None else None, rate_factor=rate_factor)
    resolved = load_config(None, overrides or (), base=base, **given(context))
    given_rows = [spec for spec in (new, replay, eval_new, eval_old) if spec is not None]
    check_outputs([Output("--json", json_file, JSON)], read_by(model, resolved, *given_rows, config))
    check_update_place(output)
    for spec in given_rows:
        check_inputs(model, spec, resolved, split="train")
    from dhrd.run.update.update import update as run

    with interruptible("run the same command again to continue"):
        updated = run(settings, resolved, device=device)
    write_json(json_file, {"output_dir": str(updated.output_dir), **updated.gate.to_json()})
    with talking(json_file):
        _print_gate(updated.gate)
        if updated.gate.holds:
            say(f"the updated classifier is in {updated.output_dir}, with its report, update.json")
        else:
            say(
                f"not published: accuracy on old rows drops by more than {max_regression:g} over its whole interval; "
                f"the model and its report, update.json, are in {updated.output_dir}"
            )
    if not updated.gate.holds:
        raise typer.Exit(3)


def _print_gate(gate: UpdateGate) -> None:
    changes = {"new": gate.new, "old": gate.old}
    show_table(
        ("rows", "before", "after", "difference", "95 % interval", "fixed", "broken"),
        ([f"{name}, {change.num_rows}", *_row(change)] for name, change in changes.items()),
        title=f"accuracy, updated with {gate.num_new} new rows and {gate.num_replayed} replayed",
        left=("rows",),
    )
    say(*(f"{name} rows: {change.verdict}" for name, change in changes.items()))


def _row(change: AnswerChange) -> list[str]:
    interval = change.interval_95
    return [
        f"{change.before:.3f}",
        f"{change.after:.3f}",
        f"{change.difference:+.3f}",
        f"{interval[0]:+.3f} to {interval[1]:+.3f}" if interval else "",
        _flips(change.mended),
        _flips(change.broken),
    ]


def _flips(flips: Flips) -> str:
    low, high = flips.interval_95
    return f"{flips.num_rows} ({low:.1%} to {high:.1%})"
