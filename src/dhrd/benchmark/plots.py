"""Figures of speed: of a benchmark against batch size and input length, of a cascade against accuracy."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dhrd._extras import require
from dhrd._files import writing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dhrd.benchmark.result import BenchmarkResult


def plot(result: BenchmarkResult, path: Path) -> None:
    """Write the figures side by side, in the format of the path's ending.

    Raises:
        MissingExtra: Matplotlib is not installed.
        SaveError: The file could not be written.
    """
    require("matplotlib", extra="report")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    batches, lengths = figure.subplots(1, 2)
    _against_batch_size(batches, result)
    _against_length(lengths, result)
    rows, machine = result.rows, result.conditions
    title = f"{rows.num_rows} rows of {rows.mean_tokens:.0f} tokens, {machine.dtype}, {machine.device}"
    figure.suptitle(title, fontsize=10)
    _write(figure, path)


def _against_batch_size(axes: Axes, result: BenchmarkResult) -> None:
    sweep = result.sweeps.batch_size
    if sweep:
        sizes = [point.batch_size for point in sweep]
        axes.plot(sizes, [point.queries_per_second for point in sweep], "s-", label="transformers pipeline")
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [str(size) for size in sizes])
    for name, dashes in (("dhrd", "-"), ("dhrd_without_sharing", "--"), ("loop", ":")):
        if contender := result.contenders.get(name):
            colour = "C1" if name.startswith("dhrd") else "C2"
            axes.axhline(contender.queries_per_second.median, ls=dashes, color=colour, label=contender.title)
    axes.set(xlabel="rows a batch", ylabel="queries per second", ylim=(0, None))
    axes.legend(fontsize=8)


def _against_length(axes: Axes, result: BenchmarkResult) -> None:
    sweep = result.sweeps.length
    for name, marker in (("dhrd", "o"), ("pipeline_1", "s"), ("pipeline_32", "^")):
        points = [
            (point.num_tokens, point.queries_per_second[name]) for point in sweep if name in point.queries_per_second
        ]
        if points:
            axes.plot(*zip(*points, strict=True), f"{marker}-", color="C1" if name == "dhrd" else None, label=name)
    if sweep:
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks([point.num_tokens for point in sweep], [str(point.num_tokens) for point in sweep])
        axes.legend(fontsize=8)
    axes.set(xlabel="tokens of every row", ylabel="queries per second")


def plot_cascade(metrics: dict[str, Any], path: Path) -> None:
    """Write accuracy against queries per second, from the classifier alone to chain of thought alone.

    Raises:
        MissingExtra: Matplotlib is not installed.
        SaveError: The file could not be written.
    """
    require("matplotlib", extra="report")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes, curve = figure.subplots(), metrics["curve"]
    rates, accuracies = ([point[key] for point in curve] for key in ("queries_per_second", "accuracy"))
    low, high = zip(*(point["accuracy_interval_95"] for point in curve), strict=True)
    axes.fill_between(rates, low, high, alpha=0.15, linewidth=0, label="95 % interval of each point")
    axes.plot(rates, accuracies, ".-")
    threshold = metrics["threshold"]
    chosen = "the decision" if threshold is None else f"threshold {threshold:.3f}"
    axes.plot(metrics["queries_per_second"], metrics["accuracy"], "o", label=chosen)
    axes.annotate("classifier alone", (rates[0], accuracies[0]), fontsize=8, ha="right", va="bottom")
    axes.annotate("chain of thought alone", (rates[-1], accuracies[-1]), fontsize=8, va="bottom")
    axes.set(xlabel="queries per second", ylabel="accuracy", xscale="log")
    axes.legend(fontsize=8)
    _write(figure, path)


def _write(figure: Figure, path: Path) -> None:
    drawn = io.BytesIO()
    figure.savefig(drawn, format="svg" if path.suffix.lower() == ".svg" else "png")
    with writing(path) as file:
        file.write(drawn.getvalue())
