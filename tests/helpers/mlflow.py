"""MLflow as in a fresh process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dhrd.training.trackers.mlflow import THIS_PROCESS


def fresh_mlflow(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """MLflow as in a fresh process, its files in a temporary directory: for a fixture to yield from."""
    module = pytest.importorskip("mlflow")
    monkeypatch.chdir(directory)
    monkeypatch.setattr(THIS_PROCESS, "is_configured", False)
    monkeypatch.setattr(THIS_PROCESS, "autologs", False)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_ALLOW_FILE_STORE", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID"):
        monkeypatch.setenv(name, "")  # so that it is put back as it was
        monkeypatch.delenv(name)
    yield module
    while module.active_run() is not None:
        module.end_run()
    module.set_tracking_uri(None)
    module.tracking.fluent._active_experiment_id = None


def the_run(mlflow: ModuleType, experiment: str = "dhrd") -> tuple[Any, Any]:
    """A client, and the only run of an experiment, read back through it."""
    client = mlflow.MlflowClient()
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    assert len(found) == 1
    return client, found[0]
