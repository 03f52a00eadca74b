"""The DHRD documents' MLflow names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dhrd._extras import require
from dhrd.training.trackers.mlflow import THIS_PROCESS, configure_mlflow


def enable_autologging() -> None:
    """From now on every training in this process logs params, metrics and the artifact to MLflow.

    It logs to the active run (`mlflow_run`), or to a run of its own.

    Raises:
        MissingExtra: mlflow is not installed.
    """
    require("mlflow", extra="mlflow")
    THIS_PROCESS.autologs = True


@contextmanager
def mlflow_run(run_name: str | None = None, tags: Mapping[str, str] | None = None) -> Iterator[Any]:
    """An MLflow run around a block; training inside it logs to it once `enable_autologging()` was called.

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
