"""Trackers through accelerate."""

from __future__ import annotations

from pathlib import Path

import pytest

from dhrd.run import train as run
from dhrd.training.trackers.accelerated import AccelerateTracker
from helpers.runs import make_config, read_jsonl


class Accelerated:
    """An accelerator, as far as trackers are concerned."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def init_trackers(self, name: str, config: dict[str, object], init_kwargs: dict[str, object]) -> None:
        self.calls.append(("init", name, config, init_kwargs))

    def log(self, values: dict[str, float], step: int) -> None:
        self.calls.append(("log", values, step))

    def end_training(self) -> None:
        self.calls.append(("end",))


def test_settings_are_plain_and_every_end_closes() -> None:
    accelerator = Accelerated()
    params = {"seed": 1, "rate": 0.5, "lora": None, "names": ["a"]}
    tracker = AccelerateTracker(accelerator, "mine", params)  # type: ignore[arg-type]
    tracker.log({"loss": 1.0}, 3)
    tracker.finish(None)
    tracker.abort("FAILED")
    plain = {"seed": 1, "rate": 0.5, "lora": "None", "names": "['a']"}
    assert accelerator.calls == [("init", "mine", plain, {}), ("log", {"loss": 1.0}, 3), ("end",), ("end",)]
    assert tracker.state() == {}


def test_weights_and_biases_gets_the_runs_name() -> None:
    accelerator = Accelerated()
    AccelerateTracker(accelerator, "mine", {}, "a run")  # type: ignore[arg-type]
    assert accelerator.calls == [("init", "mine", {}, {"wandb": {"name": "a run"}})]


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
