"""Tables for people."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

_METRICS = ("accuracy", "macro_f1", "micro_f1", "weighted_f1", "f1a", "em", "log_loss")


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
        console.print("The weights were chosen on these very rows: expect less on new ones.")
