"""MLflow: the store, and a run read back from it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import dhrd
from dhrd.errors import UserError
from dhrd.run import train as run
from dhrd.training.trackers.mlflow import mlflow_key
from helpers.mlflow import fresh_mlflow, the_run
from helpers.rows import write_jsonl
from helpers.runs import Recorder, Stop, make_config, read_jsonl


@pytest.fixture
def mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    yield from fresh_mlflow(tmp_path, monkeypatch)


def test_a_file_store_is_allowed_for_the_process_and_said_once(
    mlflow: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    uri = f"file:{tmp_path / 'mlruns'}"
    with caplog.at_level(logging.WARNING, "dhrd"):
        dhrd.configure_mlflow(tracking_uri=uri, experiment="first")
        dhrd.configure_mlflow(tracking_uri=uri, experiment="second")
    assert os.environ["MLFLOW_ALLOW_FILE_STORE"] == "true"
    assert [record.getMessage().partition(" is set")[0] for record in caplog.records] == [
        "mlflow: MLFLOW_ALLOW_FILE_STORE=true"
    ]
    assert mlflow.get_tracking_uri() == uri
    assert {one.name for one in mlflow.MlflowClient().search_experiments()} >= {"first", "second"}


def test_the_users_own_choice_is_left_alone(
    mlflow: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "1")
    dhrd.configure_mlflow(tracking_uri=f"file:{tmp_path / 'mlruns'}")
    assert os.environ["MLFLOW_ALLOW_FILE_STORE"] == "1"


def test_a_store_that_cannot_be_used_is_the_users_error(mlflow: ModuleType) -> None:
    with pytest.raises(UserError, match=r"^tracking\.uri: nonsense://x cannot be used \(") as caught:
        dhrd.configure_mlflow(tracking_uri="nonsense://x")
    assert "\n" not in str(caught.value)


def test_a_run_is_read_back_with_params_metrics_and_artifact(
    mlflow: ModuleType, tiny_backbone: Path, tmp_path: Path
) -> None:
    tracking = ["tracking.report_to=mlflow", f"tracking.uri=file:{tmp_path / 'mlruns'}", "tracking.experiment=mine"]
    config = make_config(tiny_backbone, tmp_path, *tracking, "tracking.run_name=first", "training.batch_size=4")
    result = run.train(config, device="cpu")
    client, found = the_run(mlflow, "mine")
    assert (found.info.status, found.info.run_name) == ("FINISHED", "first")
    assert found.data.params["training.batch_size"] == "4"
    assert found.data.params["model.name_or_path"] == str(tiny_backbone)
    assert found.data.params["model.lora"] == "None"
    history = {point.step: point.value for point in client.get_metric_history(found.info.run_id, "lm_loss")}
    logged = [row for row in read_jsonl(tmp_path / "out" / "metrics.jsonl") if "lm_loss" in row]
    assert history == pytest.approx({row["step"]: row["lm_loss"] for row in logged})
    assert len(history) == 10
    assert found.data.metrics["eval_accuracy"] == pytest.approx(result.metrics["accuracy"])
    folder = Path(mlflow.artifacts.download_artifacts(run_id=found.info.run_id, artifact_path="model"))
    kept = {path.name for path in folder.iterdir()}
    assert kept == {path.name for path in (tmp_path / "out").iterdir()}
    assert (folder / "model.safetensors").read_bytes() == (tmp_path / "out" / "model.safetensors").read_bytes()
    assert dhrd.Classifier.from_pretrained(folder, device="cpu").predict("case 1: keep") in (
        ["keep"],
        ["return"],
        ["repair"],
    )
    assert mlflow.active_run() is None


def test_a_resumed_run_is_the_same_mlflow_run(mlflow: ModuleType, tiny_backbone: Path, tmp_path: Path) -> None:
    tracking = ["tracking.report_to=mlflow", f"tracking.uri=file:{tmp_path / 'mlruns'}"]
    config = make_config(tiny_backbone, tmp_path, *tracking, "training.batch_size=4", "training.save_steps=3")
    with pytest.raises(Stop):
        run.train(config, device="cpu", callbacks=[Recorder(fail_at=7)])
    _, found = the_run(mlflow)
    assert found.info.status == "FAILED"
    assert mlflow.active_run() is None
    run.train(config, device="cpu", checkpoint=tmp_path / "out")
    client, again = the_run(mlflow)
    assert again.info.run_id == found.info.run_id
    assert again.info.status == "FINISHED"
    steps = {point.step for point in client.get_metric_history(again.info.run_id, "loss")}
    assert steps == set(range(1, 11))


def test_what_users_call_their_labels_is_part_of_a_key(mlflow: ModuleType, tiny_backbone: Path, tmp_path: Path) -> None:
    """Signs that MLflow refuses, and names that only these tell apart."""
    rows = [{"input_text": f"case {i}", "label": ("C+", "C#", "a//b")[i % 3]} for i in range(9)]
    data = write_jsonl(tmp_path / "signs.jsonl", rows)
    weights = 'loss.class_weights={"C+": 2, "C#": 1, "a//b": 3}'
    tracking = ["tracking.report_to=mlflow", f"tracking.uri=file:{tmp_path / 'mlruns'}"]
    few = ("training.num_epochs=1", "data.validation=null", "loss.reasoning_weight=0")
    run.train(make_config(tiny_backbone, tmp_path, *tracking, *few, weights, f"data.train={data}"), device="cpu")
    _, found = the_run(mlflow)
    params = found.data.params
    assert [params[mlflow_key(f"loss.class_weights.{label}")] for label in ("C+", "C#", "a//b")] == [
        "2.0",
        "1.0",
        "3.0",
    ]
    assert mlflow_key("loss.class_weights.yes") == "loss.class_weights.yes"
    assert len(mlflow_key("x" * 400)) <= 250 and mlflow_key("x" * 400) != mlflow_key("x" * 401)
