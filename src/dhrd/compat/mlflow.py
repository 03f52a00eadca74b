"""The DHRD documents' MLflow names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dhrd._extras import require
from dhrd.training.trackers.mlflow import THIS_PROCESS, configure_mlflow


def enable_autologging() -> None:
    """Log params, metrics and artifact of every following training in this process to MLflow.

    The active run (`mlflow_run`) is used if there is one, else a new run; a second training in it gets a run inside it.

    Raises:
        MissingExtra: mlflow is not installed.
    """
    require("mlflow", extra="mlflow")
    THIS_PROCESS.autologs = True


@contextmanager
def mlflow_run(run_name: str | None = None, tags: Mapping[str, str] | None = None) -> Iterator[Any]:
    """Start an MLflow run for a block; training in it logs to the run if `enable_autologging()` was called.

    Args:
        run_name: Its name.
        tags: Its tags.

    Yields:
        The mlflow run.
    """
    mlflow = require("mlflow", extra="mlflow")
    if not THIS_PROCESS.is_configured and "MLFLOW_TRACKING_URI" not in os.environ:
        configure_mlflow()
    with mlflow.start_run(run_name=run_name, tags=dict(tags or {})) as run:
        yield run


__all__ = ["configure_mlflow", "enable_autologging", "mlflow_run"]
