"""Where numbers go: metrics.jsonl, MLflow, TensorBoard."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import dhrd
from dhrd.errors import SaveError, UserError
from dhrd.run import train as run
from dhrd.training import tracker_backends as trackers
from dhrd.training.trackers import JsonlSink
from helpers.rows import write_jsonl
from helpers.runs import Recorder, Stop, make_config, read_jsonl

LINES = [
    {"step": 1, "loss": 1.5},
    {"step": 2, "loss": 1.25},
    {"step": 2, "eval_accuracy": 0.5},
    {"step": 3, "loss": 1.0},
]


def test_each_line_is_on_disk_at_once(tmp_path: Path) -> None:
    sink = JsonlSink(tmp_path / "new" / "metrics.jsonl")
    for number, line in enumerate(LINES, 1):
        sink.log({key: value for key, value in line.items() if key != "step"}, int(line["step"]))
        assert read_jsonl(tmp_path / "new" / "metrics.jsonl") == LINES[:number]


@pytest.mark.parametrize(("step", "kept"), [(0, 0), (1, 1), (2, 3), (3, 4), (9, 4)])
def test_lines_after_the_checkpoint_are_cut_off(tmp_path: Path, step: int, kept: int) -> None:
    path = write_jsonl(tmp_path / "metrics.jsonl", LINES)
    sink = JsonlSink(path, step)
    assert read_jsonl(path) == LINES[:kept]
    sink.log({"loss": 0.5}, step + 1)
    assert read_jsonl(path) == [*LINES[:kept], {"step": step + 1, "loss": 0.5}]


@pytest.mark.parametrize("torn", ['{"step": 4, "lo', '{"step": 4, "loss": 1.0}', "{", '{"step": 4, "loss": 0.\udc80'])
def test_a_torn_last_line_is_cut_off(tmp_path: Path, torn: str) -> None:
    path = write_jsonl(tmp_path / "metrics.jsonl", LINES)
    path.write_bytes(path.read_bytes() + torn.encode("utf-8", "surrogateescape"))
    JsonlSink(path, 4).log({"loss": 0.5}, 5)
    assert read_jsonl(path) == [*LINES, {"step": 5, "loss": 0.5}]


def test_a_place_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError, match=r"could not be saved \(File exists\)"):
        JsonlSink(tmp_path / "file" / "metrics.jsonl")


@pytest.fixture
def mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """MLflow as in a fresh process, its files in a temporary directory."""
    module = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trackers, "_configured", False)
    monkeypatch.setattr(trackers, "_autolog", False)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_ALLOW_FILE_STORE", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID"):
        monkeypatch.setenv(name, "")  # so that it is put back as it was
        monkeypatch.delenv(name)
    yield module
    while module.active_run() is not None:
        module.end_run()
    module.set_tracking_uri(None)
    module.tracking.fluent._active_experiment_id = None


def the_run(mlflow: ModuleType, experiment: str = "dhrd"):
    """The only run of an experiment, read back through a client."""
    client = mlflow.MlflowClient()
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    assert len(found) == 1
    return client, found[0]


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


def test_the_default_store_is_a_database() -> None:
    parameters = inspect.signature(dhrd.configure_mlflow).parameters
    assert parameters["tracking_uri"].default == "sqlite:///mlflow.db"
    assert parameters["experiment"].default == "dhrd"


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


def test_without_autologging_an_active_run_is_left_alone(
    mlflow: ModuleType, tiny_backbone: Path, tmp_path: Path
) -> None:
    config = make_config(tiny_backbone, tmp_path, "training.num_epochs=1")
    dhrd.configure_mlflow(tracking_uri=f"file:{tmp_path / 'mlruns'}")
    with dhrd.mlflow_run("training"):
        run.train(config, device="cpu")
    _, found = the_run(mlflow)
    assert (found.data.params, found.data.metrics) == ({}, {})


def test_tensorboard_events_are_written(tiny_backbone: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = make_config(tiny_backbone, tmp_path, "tracking.report_to=tensorboard", "tracking.experiment=board")
    run.train(config, device="cpu")
    folder = tmp_path / "out" / "board"
    assert list(folder.glob("events.out.tfevents.*"))
    seen = EventAccumulator(str(folder)).Reload()
    logged = [row for row in read_jsonl(tmp_path / "out" / "metrics.jsonl") if "loss" in row]
    assert [(event.step, event.value) for event in seen.Scalars("loss")] == [
        (row["step"], pytest.approx(row["loss"], rel=1e-6)) for row in logged
    ]
    assert "eval_accuracy" in seen.Tags()["scalars"]
