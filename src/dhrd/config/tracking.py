"""The settings of experiment tracking."""

from __future__ import annotations

from typing import Annotated, Literal

from dhrd.config.section import OneOrMore, Section


class TrackingSettings(Section):
    """Where metrics are logged besides metrics.jsonl."""

    report_to: Annotated[tuple[Literal["mlflow", "wandb", "tensorboard"], ...], OneOrMore] = ()
    """Trackers to use."""
    uri: str | None = None
    """MLflow's tracking URI; null: sqlite:///mlflow.db."""
    experiment: str = "dhrd"
    """Name of the experiment or project."""
    run_name: str | None = None
    """Name of the run in MLflow and Weights & Biases."""
