"""The documents' MLflow names: a block around training, once autologging is on."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

import dhrd
from dhrd.compat.dataset import DHRDDataset
from dhrd.data.records import LabelSet
from dhrd.run import train as run
from helpers.mlflow import fresh_mlflow, the_run
from helpers.models import make_model
from helpers.models import rows as encoded
from helpers.runs import Recorder, Stop, make_config


@pytest.fixture
def mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    yield from fresh_mlflow(tmp_path, monkeypatch)


def test_the_default_store_is_a_database() -> None:
    parameters = inspect.signature(dhrd.configure_mlflow).parameters
    assert parameters["tracking_uri"].default == "sqlite:///mlflow.db"
    assert parameters["experiment"].default == "dhrd"


def test_the_documents_way_logs_to_the_active_run(mlflow: ModuleType, tiny_backbone: Path, tmp_path: Path) -> None:
    config = make_config(tiny_backbone, tmp_path, "training.num_epochs=1")
    dhrd.configure_mlflow(tracking_uri=f"file:{tmp_path / 'mlruns'}", experiment="dhrd")
    dhrd.enable_autologging()
    with dhrd.mlflow_run("training", tags={"stage": "test"}) as active:
        run.train(config, device="cpu")
        assert mlflow.active_run().info.run_id == active.info.run_id  # ours to end, not the trainer's
    client, found = the_run(mlflow)
    assert found.info.run_id == active.info.run_id
    assert (found.info.status, found.info.run_name) == ("FINISHED", "training")
    assert found.data.tags["stage"] == "test"
    assert found.data.params["training.num_epochs"] == "1"
    assert {"loss", "classification_loss", "lm_loss", "grad_norm", "eval_accuracy"} <= set(found.data.metrics)
    assert {one.path for one in client.list_artifacts(found.info.run_id, "model")} >= {
        "model/dhrd.json",
        "model/model.safetensors",
        "model/config.json",
    }
    assert (tmp_path / "mlruns").is_dir()


def test_each_training_of_a_run_has_its_own_settings(mlflow: ModuleType, tiny_backbone: Path, tmp_path: Path) -> None:
    """A second one logs to a run inside the active one, which keeps those of the first."""
    dhrd.configure_mlflow(tracking_uri=f"file:{tmp_path / 'mlruns'}", experiment="dhrd")
    dhrd.enable_autologging()
    with dhrd.mlflow_run("sweep") as active:
        for rate in (1e-3, 2e-3):
            own = (f"training.learning_rate={rate}", f"output_dir={tmp_path / str(rate)}")
            run.train(make_config(tiny_backbone, tmp_path, "training.num_epochs=1", *own), device="cpu")
            assert mlflow.active_run().info.run_id == active.info.run_id
    by_rate = {found.data.params["training.learning_rate"]: found for found in runs_of(mlflow)}
    assert by_rate.keys() == {"0.001", "0.002"}
    assert by_rate["0.001"].info.run_id == by_rate["0.002"].data.tags["mlflow.parentRunId"] == active.info.run_id
    assert {found.info.status for found in by_rate.values()} == {"FINISHED"}


def test_a_training_that_goes_on_in_another_run_has_its_settings_there(
    mlflow: ModuleType, tiny_backbone: Path, tmp_path: Path
) -> None:
    dhrd.configure_mlflow(tracking_uri=f"file:{tmp_path / 'mlruns'}", experiment="dhrd")
    dhrd.enable_autologging()
    config = make_config(tiny_backbone, tmp_path, "training.batch_size=4", "training.save_steps=3")
    with pytest.raises(Stop), dhrd.mlflow_run("first"):
        run.train(config, device="cpu", callbacks=[Recorder(fail_at=7)])
    with dhrd.mlflow_run("second"):
        run.train(config, device="cpu", checkpoint=tmp_path / "out")
    by_name = {found.info.run_name: found.data for found in runs_of(mlflow)}
    assert by_name["second"].params["training.batch_size"] == "4" and "loss" in by_name["second"].metrics


def runs_of(mlflow: ModuleType) -> list[Any]:
    client = mlflow.MlflowClient()
    found = client.search_runs([client.get_experiment_by_name("dhrd").experiment_id])
    assert len(found) == 2
    return list(found)


def test_without_autologging_an_active_run_is_left_alone(
    mlflow: ModuleType, tiny_backbone: Path, tmp_path: Path
) -> None:
    config = make_config(tiny_backbone, tmp_path, "training.num_epochs=1")
    dhrd.configure_mlflow(tracking_uri=f"file:{tmp_path / 'mlruns'}")
    with dhrd.mlflow_run("training"):
        run.train(config, device="cpu")
    _, found = the_run(mlflow)
    assert (found.data.params, found.data.metrics) == ({}, {})


def test_a_training_that_fails_ends_its_run(mlflow: ModuleType, tmp_path: Path) -> None:
    """Or the next one in this process would log to it."""
    dhrd.configure_mlflow(tracking_uri=f"file:{tmp_path / 'mlruns'}", experiment="dhrd")
    dhrd.enable_autologging()
    model, data = make_model("llama"), DHRDDataset(encoded(4), LabelSet(("a", "b", "c")), pad_token_id=0)
    with torch.no_grad():
        model.head.score.weight[0, 0] = torch.nan
    with pytest.raises(dhrd.DhrdError, match="classification_loss is nan"):
        dhrd.DHRDTrainer(model, DataLoader(data, batch_size=4, collate_fn=data.collate_fn)).train(num_epochs=1)
    assert mlflow.active_run() is None
    assert the_run(mlflow)[1].info.status == "FAILED"
