"""`dhrd compare`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dhrd._terminal import say, show_table
from dhrd.cli.options import Json, write_json

if TYPE_CHECKING:
    from dhrd.data.superglue import Task


def compare(
    baseline: Annotated[
        Path,
        typer.Argument(help="Output of `dhrd evaluate --predictions`, or a directory with one such file per seed."),
    ],
    other: Annotated[
        Path, typer.Argument(help="The same for the other model; files in directories are paired by name.")
    ],
    metric: Annotated[
        str | None, typer.Option(help="accuracy, macro_f1 …; default: the task's first official metric, else accuracy.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="SuperGLUE task; default: inferred from the row ids.")] = None,
    json_file: Json = None,
) -> None:
    """Test whether a model beats another on the same rows."""
    from dhrd._files import talking
    from dhrd._outputs import JSON, Output, check_outputs
    from dhrd.data.records import LabelSet
    from dhrd.metrics.compare import compare as compare_outcomes
    from dhrd.metrics.metrics import main_metric
    from dhrd.metrics.outcomes import pair
    from dhrd.metrics.prediction_files import read_together

    paths = _paths(baseline, other)
    given = _task(task) if task is not None else None
    labels = LabelSet(given.labels, given.words) if given else None
    files = [path for both in paths for path in both]
    check_outputs([Output("--json", json_file, JSON)], files)
    outcomes = read_together(files, labels)
    aligned = [
        pair(outcomes[0], one, names=(str(files[0]), str(file)))[1] for one, file in zip(outcomes, files, strict=True)
    ]
    pairs = list(zip(aligned[::2], aligned[1::2], strict=True))
    known = given or _task_of(outcomes[0].ids, outcomes[0].labels.names)
    ours, theirs = (str(path) if baseline.name == other.name else path.name for path in (baseline, other))
    comparison = compare_outcomes(
        pairs, metric=metric or main_metric(known), task=known, names=(f"the baseline {ours}", theirs)
    )
    write_json(json_file, comparison)
    with talking(json_file):
        _print(comparison, [path.name for path, _ in paths], f"{other} minus {baseline}")


def _paths(baseline: Path, other: Path) -> list[tuple[Path, Path]]:
    """Pairs of files to compare: the two given, or those of the same name in two directories."""
    from dhrd.errors import DataError

    if baseline.is_dir() != other.is_dir():
        one, two = ("a directory", "not") if baseline.is_dir() else ("not a directory", "one")
        raise DataError(f"{baseline} is {one} and {other} is {two}; give two files or two directories")
    if not baseline.is_dir():
        return [(baseline, other)]
    names, theirs = ({path.name for path in one.glob("*.jsonl")} for one in (baseline, other))
    for directory, missing in ((other, names - theirs), (baseline, theirs - names)):
        if missing:
            raise DataError(
                f"{directory} has no {', '.join(sorted(missing))}; both directories must have files of the same names, "
                "one per seed"
            )
    if not names:
        raise DataError(
            f"{baseline} contains no .jsonl files; give a directory of `dhrd evaluate --predictions` output"
        )
    return [(baseline / name, other / name) for name in sorted(names)]


def _task(name: str) -> Task:
    from dhrd.data.superglue import TASKS
    from dhrd.errors import ConfigError

    if name not in TASKS:
        raise ConfigError(f"--task {name}: unknown; give one of {', '.join(TASKS)}")
    return TASKS[name]


def _task_of(ids: list[str], labels: tuple[str, ...]) -> Task | None:
    """The task that all ids and labels belong to; None if that is uncertain."""
    import re

    from dhrd.data.superglue import TASKS

    task = TASKS.get(ids[0].partition("-")[0])
    if task is None or task.labels != labels:
        return None
    pattern = re.compile(rf"{task.name}-(train|dev|val|validation|test)(-\d+){{{task.num_id_numbers}}}")
    return task if all(pattern.fullmatch(one) for one in ids) else None


def _print(comparison: dict[str, Any], files: list[str], title: str) -> None:
    seeds = f", {comparison['num_seeds']} seeds" if comparison["num_seeds"] > 1 else ""
    intervals = {"overall": (comparison["interval_95"], comparison["p_value"])}
    if comparison["num_seeds"] > 1:
        intervals["rows alone"] = (comparison["rows_interval_95"], None)
    show_table(
        (comparison["metric"], "difference", "95 % interval", "p"),
        (
            [name, f"{comparison['difference']:+.4f}", _interval(interval), _p(p)]
            for name, (interval, p) in intervals.items()
        ),
        title=f"{title}: {comparison['num_rows']:,} rows{seeds}",
        left=(comparison["metric"],),
    )
    show_table(
        ("file", "difference", "only baseline right", "only other right", "p (McNemar)"),
        (
            [name, f"{gap:+.4f}", str(test["only_baseline"]), str(test["only_other"]), _p(test["p_value"])]
            for name, gap, test in zip(files, comparison["seed_differences"], comparison["mcnemar"], strict=True)
        ),
        left=("file",),
    )
    if (num_groups := comparison["num_groups"]) is not None:
        say(f"the rows come in {num_groups:,} groups; McNemar's p takes each row as drawn by itself: it is too small")
    say(f"interval: {comparison['interval_method']}", comparison["verdict"])


def _p(value: float | None) -> str:
    """Format a p-value, which is never shown as 0."""
    return "" if value is None else "<0.0001" if value < 0.0001 else f"{value:.4f}"


def _interval(interval: list[float] | None) -> str:
    return f"{interval[0]:+.4f} to {interval[1]:+.4f}" if interval else ""
