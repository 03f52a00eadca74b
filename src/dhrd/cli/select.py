"""`dhrd select`"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dhrd._terminal import say
from dhrd.cli.command import interruptible
from dhrd.cli.options import Config, Device, Dtype, Json, Set, write_json
from dhrd.errors import ConfigError

if TYPE_CHECKING:
    from dhrd.config import RunConfig
    from dhrd.run.select.select import Selection
    from dhrd.run.select.strategies import SelectionQuery


def select(
    pool: Annotated[str, typer.Argument(help="Rows to choose from: a file, or as data.train.")],
    num_rows: Annotated[int, typer.Option("-n", "--num-rows", min=1, help="Number of rows to select.")],
    model: Annotated[
        Path | None,
        typer.Option("--model", help="Artifact, trained by `dhrd train` on the rows known so far; random needs none."),
    ] = None,
    purpose: Annotated[str, typer.Option("--for", help="What the rows will get next: label or rationale.")] = "label",
    strategy: Annotated[
        str, typer.Option(help="random, margin, diverse or badge; a tenth of the rows is always drawn at random.")
    ] = "random",
    exclude: Annotated[
        list[Path] | None, typer.Option(help="File of known rows to exclude, matched by id or text; repeatable.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Output .jsonl file, or - for stdout.")] = Path("-"),
    folds: Annotated[
        int | None,
        typer.Option(
            min=2, help="With --for rationale, instead of --model: number of folds to train; random needs none."
        ),
    ] = None,
    task: Annotated[str | None, typer.Option(help="With several tasks, the one to select rows for.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
    config: Config = None,
    overrides: Set = None,
    device: Device = None,
    dtype: Dtype = "auto",
    json_file: Json = None,
) -> None:
    """Select the rows most worth a label or a rationale.

    The output has the rows' own columns, so that `dhrd rationales generate` accepts it, and adds `selected_by`, `score`
    and, for rows drawn at random, `inclusion_probability`.
    """
    from dhrd._files import is_stream, talking
    from dhrd._outputs import JSON, JSON_LINES, Output, check_outputs
    from dhrd.artifact.owned import inputs_of
    from dhrd.cli.settings import check_inputs, inference_config, read_by
    from dhrd.config import load_config
    from dhrd.data.sources import check_sources
    from dhrd.run.select.strategies import SelectionQuery

    query = SelectionQuery(num_rows=num_rows, strategy=strategy, exclude=tuple(exclude or ()), seed=seed, task=task)
    _check_reader(purpose, strategy, model, folds)
    outputs = [Output("--output", output, JSON_LINES), Output("--json", json_file, JSON)]
    if model is None:
        resolved = load_config(config, overrides or (), data__train=pool)
        check_outputs(outputs, inputs_of(resolved, config, *query.exclude))
        if folds is not None:
            check_sources(resolved)
            selection = _out_of_fold(query, folds, output, resolved, device)
        else:
            selection = _drawn(query, resolved, labels_required=purpose == "rationale")
    else:
        settings = inference_config(model, config, overrides)
        check_outputs(outputs, read_by(model, settings, pool, config, *query.exclude))
        check_inputs(model, pool, settings, split="train", labels_required=purpose == "rationale")
        from dhrd.run.select import select as run

        choose = run.select_for_labels if purpose == "label" else run.select_for_rationales
        selection = choose(model, pool, query, config=settings, device=device, dtype=dtype)
    _write(selection, output)
    if folds is not None and not is_stream(output):
        shutil.rmtree(_folds_beside(output))
    write_json(json_file, {"output": str(output), "for": purpose, "strategy": strategy, **_counts(selection)})
    with talking(output, json_file):
        say(f"{_summary_line(selection)}: {output}")


def _check_reader(purpose: str, strategy: str, model: Path | None, folds: int | None) -> None:
    """The rows are read by one model, or out of fold, or are drawn unread."""
    if purpose not in ("label", "rationale"):
        raise ConfigError(f"--for {purpose}: unknown; give label or rationale")
    if model is not None and folds is not None:
        raise ConfigError("--model scores rows it was not trained on, --folds trains new models; give one of them")
    if folds is not None and purpose == "label":
        raise ConfigError("--folds needs --for rationale, as rows without labels cannot be trained on; leave it out")
    if model is None and folds is None and strategy != "random":
        trained = "trained on the rows labelled so far" if purpose == "label" else "trained on other rows"
        instead = "" if purpose == "label" else "--folds 5, or "
        raise ConfigError(f"--strategy {strategy} needs a model, and none is given: {instead}--model DIR, {trained}")


def _out_of_fold(query: SelectionQuery, folds: int, output: Path, resolved: RunConfig, device: str | None) -> Selection:
    """Select out of fold; finished folds are kept beside the output until it is written, to resume after a kill."""
    from dhrd._files import is_stream
    from dhrd.run.select.select import select_out_of_fold

    kept = None if is_stream(output) else _folds_beside(output)
    with interruptible("finished folds are kept; run the same command again to continue"):
        return select_out_of_fold(resolved, query, num_folds=folds, kept=kept, device=device)


def _drawn(query: SelectionQuery, resolved: RunConfig, *, labels_required: bool) -> Selection:
    from dhrd.data.sources import open_source

    open_source(resolved.data.train, resolved.data, tasks=resolved.tasks).check(labels_required=labels_required)
    from dhrd.run.select.select import select_at_random

    return select_at_random(resolved, query, for_rationales=labels_required)


def _write(selection: Selection, output: Path) -> None:
    from dhrd.run.select.select import write_selected

    write_selected(selection, output)


def _folds_beside(output: Path) -> Path:
    return output.with_name(f"{output.name}.folds")


def _counts(selection: Selection) -> dict[str, int]:
    pool = selection.pool
    return {
        "num_rows": len(selection.rows),
        "num_random": sum(row.inclusion_probability is not None for row in selection.rows),
        "num_pool": len(pool.rows),
        "num_excluded": pool.num_excluded,
        "num_repeated": pool.num_repeated,
    }


def _summary_line(selection: Selection) -> str:
    """What was selected, for the terminal."""
    counts = _counts(selection)
    left_out = f"{counts['num_excluded']:,} known and {counts['num_repeated']:,} duplicates left out"
    chosen = f"selected {counts['num_rows']:,} of {counts['num_pool']:,} rows ({left_out})"
    return f"{chosen}, {counts['num_random']:,} of them drawn at random"
