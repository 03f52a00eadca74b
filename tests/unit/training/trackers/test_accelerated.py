"""Trackers through accelerate."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from dhrd.run import train as run
from dhrd.training.position import Position
from dhrd.training.trackers.accelerated import AccelerateTracker
from helpers.runs import Recorder, Stop, make_config, read_jsonl

NOTHING: dict[str, object] = {"wandb": {}, "tensorboard": {}}


class Accelerated:
    """An accelerator, as far as trackers are concerned."""

    is_main_process = True
    logging_dir = None

    def __init__(self, *trackers: object) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.trackers = trackers

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
    assert accelerator.calls == [("init", "mine", plain, NOTHING), ("log", {"loss": 1.0}, 3), ("end",), ("end",)]
    assert tracker.state() == {}


def test_weights_and_biases_gets_the_runs_name() -> None:
    accelerator = Accelerated()
    AccelerateTracker(accelerator, "mine", {}, "a run")  # type: ignore[arg-type]
    assert accelerator.calls == [("init", "mine", {}, NOTHING | {"wandb": {"name": "a run"}})]


def test_a_resumed_run_is_the_same_run_of_weights_and_biases() -> None:
    first = Accelerated(SimpleNamespace(name="wandb", tracker=SimpleNamespace(id="abc")))
    state = AccelerateTracker(first, "mine", {}).state()  # type: ignore[arg-type]
    again = Accelerated()
    AccelerateTracker(again, "mine", {}, "a run", Position(step=6, tracker=state))  # type: ignore[arg-type]
    told = {"wandb": {"name": "a run", "id": "abc", "resume": "allow"}, "tensorboard": {"purge_step": 7}}
    assert again.calls == [("init", "mine", {}, told)]


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


def test_an_overwritten_runs_curve_is_gone_and_a_resumed_ones_goes_on(tiny_backbone: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def steps() -> list[int]:
        return [event.step for event in EventAccumulator(str(tmp_path / "out" / "dhrd")).Reload().Scalars("loss")]

    board = ("tracking.report_to=tensorboard", "training.batch_size=4", "training.save_steps=3")
    config = make_config(tiny_backbone, tmp_path, *board)
    run.train(config, device="cpu")
    assert steps() == [*range(1, 11)]
    with pytest.raises(Stop):
        run.train(config, device="cpu", overwrite=True, callbacks=[Recorder(fail_at=8)])
    assert len(steps()) < 10
    run.train(config, device="cpu", checkpoint=tmp_path / "out")
    assert steps() == [*range(1, 11)]
