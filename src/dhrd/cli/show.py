"""Tables for people."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

_DECODED = ("mean_new_tokens", "max_new_tokens_reached")
_METRICS = ("accuracy", "macro_f1", "micro_f1", "weighted_f1", "f1a", "em", "log_loss", "unparsable", *_DECODED)


def metrics_table(metrics: dict[str, Any], title: str) -> None:
    """Print metrics with their intervals, then each class."""
    console = Console()
    table = Table(title=title, title_justify="left")
    for column in ("metric", "value", "95 % interval"):
        table.add_column(column, justify="left" if column == "metric" else "right")
    for name in _METRICS:
        if name in metrics:
            low_high = metrics.get("interval_95", {}).get(name)
            shown = f"{low_high[0]:.3f} to {low_high[1]:.3f}" if low_high else ""
            table.add_row(name + (" (official)" if name in metrics["official"] else ""), f"{metrics[name]:.3f}", shown)
    console.print(table)
    classes = Table()
    for column in ("label", "precision", "recall", "f1", "support"):
        classes.add_column(column, justify="left" if column == "label" else "right")
    for name, row in metrics["per_class"].items():
        classes.add_row(name, *(f"{row[key]:.3f}" for key in ("precision", "recall", "f1")), str(row["support"]))
    console.print(classes)
    if metrics.get("selected_on"):
        console.print("The weights, or a temperature, were chosen on these very rows: expect less on new ones.")


def study_table(report: dict[str, Any]) -> None:
    """Print a study's answer, and each comparison in its task's first metric."""
    console = Console()
    for backbone in report["backbones"]:
        table = Table(title=f"{report['title']}: {backbone['name']}", title_justify="left")
        for column in ("task", "way", "metric", "mean", "95 % interval", "difference", "95 % interval"):
            table.add_column(column, justify="left" if column in ("task", "way", "metric") else "right")
        for task in backbone["tasks"]:
            for arm in task["arms"]:
                table.add_row(*_arm_row(task, arm))
        console.print(table)
    console.print(report["answer"], highlight=False)
    if report["undone"]:
        console.print(f"{len(report['undone'])} cells are not done; the report lists them.")


def _arm_row(task: dict[str, Any], arm: dict[str, Any]) -> list[str]:
    metric = task["metrics"][0]
    ours = (one for one in task["comparisons"] if one["other"] == arm["arm"] and one["metric"] == metric)
    found = next(ours, {"difference": None, "interval_95": None})
    difference = f"{found['difference']:+.3f}" if found["difference"] is not None else ""
    mark = "*" if arm["selected_on"] else ""
    return [
        task["task"],
        f"{arm['title']}, {len(arm['seeds'])} seed{'s' if len(arm['seeds']) > 1 else ''}",
        metric,
        f"{arm['mean'][metric]:.3f}{mark}",
        _interval(arm["interval_95"].get(metric)),
        difference,
        _interval(found["interval_95"], signed=True),
    ]


def _interval(low_high: Any, *, signed: bool = False) -> str:
    form = "{:+.3f} to {:+.3f}" if signed else "{:.3f} to {:.3f}"
    return form.format(*low_high) if low_high else ""
