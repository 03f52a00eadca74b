"""`dhrd evaluate`"""

from __future__ import annotations

from contextlib import nullcontext
from itertools import starmap
from pathlib import Path
from typing import Annotated, Any

import typer

from dhrd.cli.options import Checkpoint, Config, Device, Json, Model, Set, write_json
from dhrd.errors import ConfigError

_WITH_SPLITS = ("superglue:", "policy_desk:", "hub:")


def evaluate(
    model: Model = None,
    data: Annotated[
        str | None, typer.Option(help="superglue:TASK, hub:NAME, a file, or - for stdin; default: the run's own data.")
    ] = None,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "validation",
    json_file: Json = None,
    predictions: Annotated[Path | None, typer.Option(help="Write one JSON object per row to this file.")] = None,
    limit: Annotated[int | None, typer.Option(help="Use only the first N rows.")] = None,
    mode: Annotated[
        str,
        typer.Option(help="classifier; cot: use the reasoning head; cascade: use it where the classifier is unsure."),
    ] = "classifier",
    max_new_tokens: Annotated[
        int, typer.Option(min=1, help="cot, cascade: maximum tokens of rationale and answer.")
    ] = 500,
    temperature: Annotated[
        float, typer.Option(help="cot, cascade: sampling temperature; 0 is greedy (paper: 0.1).")
    ] = 0.0,
    top_p: Annotated[float, typer.Option(help="cot, cascade: nucleus sampling probability (paper: 0.7).")] = 1.0,
    batch_size: Annotated[int, typer.Option(min=1, help="cot, cascade: rows decoded together.")] = 16,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="cascade: use the reasoning head below this confidence; overrides the decision."
        ),
    ] = None,
    target_accuracy: Annotated[
        float | None, typer.Option(min=0, max=1, help="cascade: choose the cheapest threshold with this accuracy.")
    ] = None,
    target_cost: Annotated[
        float | None,
        typer.Option(min=1, help="cascade: choose the best threshold within this multiple of the classifier's time."),
    ] = None,
    dev_data: Annotated[
        str | None, typer.Option(help="cascade: rows to choose the threshold on; default: those held out in training.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="cascade: plot accuracy over queries/s to this .svg or .png file.")
    ] = None,
    config: Config = None,
    overrides: Set = None,
    checkpoint: Checkpoint = None,
    device: Device = None,
) -> None:
    """Evaluate a classifier or its reasoning head on labelled rows."""
    directory = _directory(model, checkpoint)
    if plot is not None and mode != "cascade":
        raise ConfigError(f"--plot {plot} needs --mode cascade, got {mode}; leave it out or change the mode")
    from dhrd._files import talking, writing
    from dhrd._outputs import FIGURE, JSON, JSON_LINES, Output, check_outputs
    from dhrd.cli.settings import check_inputs, inference_config, read_by
    from dhrd.cli.show import cascade_table, decision_table, metrics_table

    settings = inference_config(directory, config, overrides)
    outputs = [("--json", json_file, JSON), ("--predictions", predictions, JSON_LINES), ("--plot", plot, FIGURE)]
    check_outputs(starmap(Output, outputs), read_by(directory, settings, data, dev_data, config))
    check_inputs(directory, data, settings, split=split)
    from dhrd.run import evaluate as run

    with writing(predictions) if predictions is not None else nullcontext() as file:
        evaluation = run.evaluate(
            directory,
            data,
            split=split,
            config=settings,
            device=device,
            limit=limit,
            mode=mode,  # type: ignore[arg-type]  # checked there
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            batch_size=batch_size,
            threshold=threshold,
            target_accuracy=target_accuracy,
            target_cost=target_cost,
            dev_data=dev_data,
            write_row=file.row if file is not None else None,
        )
    metrics = evaluation.metrics
    write_json(json_file, metrics)
    _draw(metrics, plot)
    cut = f"; {evaluation.num_cut} inputs shortened" if evaluation.num_cut else ""
    with talking(json_file, predictions, plot):
        metrics_table(metrics, f"{rows_named(data, split)}: {metrics['num_examples']} rows{cut}")
        if mode == "cascade":
            cascade_table(metrics)
        if "decision" in metrics:
            decision_table(metrics)


def _directory(model: Path | None, checkpoint: Path | None) -> Path:
    """The artifact, given by either of two options."""
    directory = model or checkpoint
    if directory is None:
        raise ConfigError("no model given; use --model DIR, a directory written by `dhrd train`")
    if checkpoint is not None and checkpoint != directory:
        raise ConfigError(f"--model {model} and --checkpoint {checkpoint} are the same option; give one of them")
    return directory


def rows_named(data: str | None, split: str) -> str:
    """What was evaluated: a file, or a source with its split."""
    from dhrd.config.published import masked

    if data is None:
        return f"the run's own data, {split}"
    return f"{data}, {split}" if data.startswith(_WITH_SPLITS) else masked(data)


def _draw(metrics: dict[str, Any], plot: Path | None) -> None:
    if plot is not None:
        from dhrd.benchmark.plots import plot_cascade

        plot_cascade(metrics, plot)
