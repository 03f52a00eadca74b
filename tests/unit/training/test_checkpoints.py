"""Checkpoints: whole or refused, of this run or refused, and few."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from dhrd.config import RunConfig, load_config
from dhrd.errors import CheckpointError, ConfigError
from dhrd.model import precision
from dhrd.run import train as run
from dhrd.training import checkpoints, setup
from dhrd.training.checkpoint_files import find_checkpoint, whole_checkpoints
from dhrd.training.run_dir import read_run
from helpers.runs import Recorder, Stop, make_config, read_jsonl, rows


@dataclass(frozen=True)
class Broken:
    """A run of 10 updates that ended after the 7th, with checkpoints at 4 and 6."""

    config: RunConfig
    output: Path
    unbroken: bytes

    @property
    def checkpoints(self) -> Path:
        return self.output / "checkpoints"

    def resume(self, path: Path | None = None, **changes: object) -> run.TrainResult:
        config = self.config.model_copy(update=changes)
        return run.train(config, device="cpu", checkpoint=path or self.output)

    def is_as_if_unbroken(self) -> bool:
        steps = [row["step"] for row in read_jsonl(self.output / "metrics.jsonl") if "loss" in row]
        return steps == list(range(1, 11)) and (self.output / "model.safetensors").read_bytes() == self.unbroken


@pytest.fixture(scope="module")
def template(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Broken:
    directory = tmp_path_factory.mktemp("broken")
    config = make_config(tiny_backbone, directory, "training.batch_size=4", "training.save_steps=2")
    run.train(config.model_copy(update={"output_dir": str(directory / "whole")}), device="cpu")
    with pytest.raises(Stop):
        run.train(config, device="cpu", callbacks=[Recorder(fail_at=7)])
    return Broken(config, directory / "out", (directory / "whole" / "model.safetensors").read_bytes())


@pytest.fixture
def broken(template: Broken, tmp_path: Path) -> Broken:
    """A copy of it for one test."""
    output = shutil.copytree(template.output, tmp_path / "out")
    return replace(template, output=output, config=template.config.model_copy(update={"output_dir": str(output)}))


def names(broken: Broken) -> list[str]:
    return [path.name for path in whole_checkpoints(broken.checkpoints)]


def test_two_checkpoints_are_kept_and_the_run_goes_on_from_the_newest(
    broken: Broken, caplog: pytest.LogCaptureFixture
) -> None:
    assert names(broken) == ["step-00000004", "step-00000006"]
    with caplog.at_level(logging.WARNING, "dhrd"):
        assert broken.resume().steps == 10
    assert f"resuming after step 6 from {broken.checkpoints / 'step-00000006'}" in caplog.text
    assert broken.is_as_if_unbroken()


def test_one_checkpoint_may_be_named(broken: Broken) -> None:
    assert broken.resume(broken.checkpoints / "step-00000004").steps == 10
    assert broken.is_as_if_unbroken()


def test_the_checkpoints_folder_may_be_named(broken: Broken) -> None:
    assert broken.resume(broken.checkpoints).output_dir == broken.output
    assert broken.is_as_if_unbroken()


def test_partial_directories_are_ignored_and_swept(broken: Broken) -> None:
    partial = broken.checkpoints / ".partial-00000008"
    partial.mkdir()
    (partial / "model.safetensors").write_bytes(b"half")
    torn = broken.checkpoints / "step-00000009"  # not a whole one: state.json is written last
    torn.mkdir()
    (torn / "model.safetensors").write_bytes(b"half")
    assert find_checkpoint(broken.output) == broken.checkpoints / "step-00000006"
    with pytest.raises(Stop):
        run.train(broken.config, device="cpu", checkpoint=broken.output, callbacks=[Recorder(fail_at=9)])
    assert not partial.exists()
    assert names(broken)[-1] == "step-00000008"
    broken.resume()
    assert broken.is_as_if_unbroken()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def remove(path: Path) -> None:
    path.unlink()


def spoil(path: Path) -> None:
    path.write_bytes(b"not a checkpoint" * (path.stat().st_size // 16))


DAMAGES = [
    (harm, name)
    for harm in (cut, remove, spoil)
    for name in ("model.safetensors", "optimizer.pt", "rng-0.pt", "state.json")
    if (harm, name) != (remove, "state.json")  # then it is not a checkpoint at all
]


@pytest.mark.parametrize(("harm", "name"), DAMAGES, ids=[f"{harm.__name__} {name}" for harm, name in DAMAGES])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_taken(
    broken: Broken, harm: Callable[[Path], None], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    newest = broken.checkpoints / "step-00000006"
    before = (broken.output / "metrics.jsonl").read_bytes()
    harm(newest / name)
    with pytest.raises(CheckpointError) as caught:  # asked for by name it is an error
        broken.resume(newest)
    assert str(newest) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (broken.output / "metrics.jsonl").read_bytes() == before
    with caplog.at_level(logging.WARNING, "dhrd"):
        assert broken.resume().steps == 10
    assert "trying the previous checkpoint" in caplog.text
    assert broken.is_as_if_unbroken()


@pytest.mark.parametrize("place", ["restore_optimizer", "_load_tensors", "load_file"])
def test_a_lack_of_memory_is_no_damage(broken: Broken, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    def too_large(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, place, too_large)
        with pytest.raises(torch.OutOfMemoryError):
            broken.resume(broken.checkpoints / "step-00000006")
    assert broken.resume().steps == 10
    assert broken.is_as_if_unbroken()


def test_a_checkpoint_that_memory_does_not_suffice_for_is_not_told_to_be_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(*_: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(torch, "save", too_large)
    with pytest.raises(RuntimeError, match="allocate"):
        checkpoints._save_objects({}, tmp_path / "optimizer.pt")


def test_a_checkpoint_without_its_state_is_not_one(broken: Broken) -> None:
    (broken.checkpoints / "step-00000006" / "state.json").unlink()
    assert find_checkpoint(broken.output) == broken.checkpoints / "step-00000004"
    broken.resume()
    assert broken.is_as_if_unbroken()


def test_other_settings_are_refused_naming_them(broken: Broken) -> None:
    training = broken.config.training.model_copy(update={"learning_rate": 0.1, "batch_size": 2})
    with pytest.raises(CheckpointError) as caught:
        broken.resume(training=training, seed=5)
    message = str(caught.value)
    assert "training.learning_rate: 5e-05 there, 0.1 now" in message
    assert "training.batch_size: 4 there, 2 now" in message
    assert "seed: 0 there, 5 now" in message
    assert "num_epochs" not in message
    broken.resume()
    assert broken.is_as_if_unbroken()


def test_a_checkpoint_of_another_run_is_refused_naming_the_settings(broken: Broken) -> None:
    # Its own record of the config is gone, as when a checkpoint was copied: its state still tells
    (broken.checkpoints / "run.json").unlink()
    training = broken.config.training.model_copy(update={"clip_norm": 9.0})
    with pytest.raises(CheckpointError, match=r"config\.training\.clip_norm: 1\.0 in the checkpoint, 9\.0 now"):
        broken.resume(training=training)


def test_other_rows_are_refused(broken: Broken) -> None:
    changed = rows(20)
    changed[3]["rationale"] = "something else"
    told = "these are not as they were: the training rows; bring them back, or start over with"
    with pytest.raises(CheckpointError, match=told):
        run.train(broken.config, device="cpu", checkpoint=broken.output, train_dataset=changed)
    run.train(broken.config, device="cpu", checkpoint=broken.output, train_dataset=rows(20))
    assert broken.is_as_if_unbroken()


def test_tracking_may_differ_and_the_run_may_be_moved(template: Broken, broken: Broken, tmp_path: Path) -> None:
    moved = broken.output.rename(tmp_path / "moved")
    tracking = broken.config.tracking.model_copy(update={"run_name": "again", "report_to": ("tensorboard",)})
    result = broken.resume(moved, tracking=tracking, output_dir=template.config.output_dir)
    assert (result.output_dir, result.steps) == (moved, 10)
    assert (moved / "model.safetensors").read_bytes() == broken.unbroken
    record = json.loads((moved / "run.json").read_text(encoding="utf-8"))
    assert record["config"]["output_dir"] == str(moved), "where it is, not where it was started"


def test_a_directory_without_a_checkpoint_starts_over_and_says_so(
    tiny_backbone: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = make_config(tiny_backbone, tmp_path, "training.batch_size=4")
    with pytest.raises(Stop):
        run.train(config, device="cpu", callbacks=[Recorder(fail_at=3)])
    with caplog.at_level(logging.WARNING, "dhrd"):
        assert run.train(config, device="cpu", checkpoint=tmp_path / "out").steps == 10
    assert "no complete checkpoint yet; starting over" in caplog.text
    assert [row["step"] for row in read_jsonl(tmp_path / "out" / "metrics.jsonl") if "loss" in row] == list(
        range(1, 11)
    )


def test_a_finished_run_is_left_as_it_is(broken: Broken, caplog: pytest.LogCaptureFixture) -> None:
    broken.resume()
    before = {path.name: path.stat().st_mtime_ns for path in broken.output.iterdir()}
    with caplog.at_level(logging.WARNING, "dhrd"):
        assert broken.resume().was_finished
    assert "training is already finished; nothing to do" in caplog.text
    assert {path.name: path.stat().st_mtime_ns for path in broken.output.iterdir()} == before


def test_a_checkpoint_that_is_not_there(broken: Broken, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such directory; give a run's output_dir or a checkpoint in it"):
        broken.resume(tmp_path / "nowhere")


def test_a_damaged_record_of_the_run_is_an_error(broken: Broken) -> None:
    (broken.checkpoints / "run.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"run\.json: damaged"):
        broken.resume()


def test_a_used_output_dir_is_refused_unless_overwritten(broken: Broken) -> None:
    before = sorted(path.name for path in broken.checkpoints.iterdir())
    with pytest.raises(ConfigError, match="is not empty; resume with `checkpoint`"):
        run.train(broken.config, device="cpu")
    assert sorted(path.name for path in broken.checkpoints.iterdir()) == before
    assert run.train(broken.config, device="cpu", overwrite=True).steps == 10
    assert broken.is_as_if_unbroken()


def test_the_best_so_far_survives_a_restart(tiny_backbone: Path, tmp_path: Path) -> None:
    """Best weights, best value and patience are part of the position."""
    overrides = ["training.batch_size=4", "training.eval_steps=1", "training.save_steps=3", "training.selection=best"]
    overrides += ["training.metric=log_loss", "training.patience=9"]
    config = make_config(tiny_backbone, tmp_path, *overrides)
    whole = run.train(config.model_copy(update={"output_dir": str(tmp_path / "whole")}), device="cpu")
    with pytest.raises(Stop):
        run.train(config, device="cpu", callbacks=[Recorder(fail_at=8)])
    state = json.loads((tmp_path / "out/checkpoints/step-00000006/state.json").read_text(encoding="utf-8"))
    assert state["position"]["best_step"] in range(1, 7)
    result = run.train(config, device="cpu", checkpoint=tmp_path / "out")
    assert result.steps == whole.steps
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_best_that_a_checkpoint_counts_survives_a_better_one_that_is_not_reached_again(
    tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was killed after a better evaluation, and goes on where that one rounds to no better."""
    values = iter([1.0, 0.9, 0.8999999, 0.9000001, *[2.0] * 20])
    real = run.make_monitor

    def scripted(*arguments: Any) -> Any:
        monitor = real(*arguments)
        assert monitor is not None
        return replace(monitor, evaluate=lambda: {**monitor.evaluate(), "log_loss": next(values)})

    monkeypatch.setattr(run, "make_monitor", scripted)
    choosing = ["training.selection=best", "training.metric=log_loss", "training.eval_steps=1"]
    config = make_config(tiny_backbone, tmp_path, *choosing, "training.batch_size=4", "training.save_steps=2")
    with pytest.raises(Stop):
        run.train(config, device="cpu", callbacks=[Recorder(fail_at=4)])
    checkpoints = tmp_path / "out" / "checkpoints"
    assert sorted(path.name for path in checkpoints.glob("best-*")) == [
        "best-00000002.safetensors",  # of the newest checkpoint
        "best-00000003.safetensors",
    ]
    expected = load_file(checkpoints / "best-00000002.safetensors")["head.score.weight"]
    run.train(config, device="cpu", checkpoint=tmp_path / "out")
    assert torch.equal(load_file(tmp_path / "out" / "model.safetensors")["score.weight"], expected)
    assert not checkpoints.exists()


def test_the_config_of_a_run_is_found_again(broken: Broken) -> None:
    found = read_run(broken.output)
    assert found is not None
    assert found.model_copy(update={"output_dir": broken.config.output_dir}) == broken.config
    assert load_config(base=found) == found
    assert read_run(broken.output / "nothing") is None


def test_a_resumed_run_keeps_the_precision_that_it_began_with(
    tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The measurement is told to flip: the run must not notice, and must end as if unbroken."""
    config = make_config(tiny_backbone, tmp_path, "training.mixed_precision=auto", "training.save_steps=2")
    whole = config.model_copy(update={"output_dir": str(tmp_path / "whole")})
    output = Path(config.output_dir)
    _measure(monkeypatch, float32=100.0, bfloat16=200.0)
    run.train(whole, device="cpu")
    with pytest.raises(Stop):
        run.train(config, device="cpu", callbacks=[Recorder(fail_at=3)])
    _measure(monkeypatch, float32=200.0, bfloat16=100.0)
    run.train(config, device="cpu", checkpoint=output)
    records = [json.loads((path / "run.json").read_text(encoding="utf-8")) for path in (output, tmp_path / "whole")]
    assert records[0]["precision"] == records[1]["precision"]
    assert records[0]["precision"]["mixed"] == "bf16"
    assert records[0]["precision"]["measured"]["bfloat16"] == 200.0
    assert (output / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()


def test_a_new_run_takes_what_is_measured(tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = make_config(tiny_backbone, tmp_path, "training.mixed_precision=auto", "training.num_epochs=1")
    _measure(monkeypatch, float32=200.0, bfloat16=100.0)
    run.train(config, device="cpu")
    record = json.loads((Path(config.output_dir) / "run.json").read_text(encoding="utf-8"))
    assert record["precision"]["mixed"] == "no"
    assert record["precision"]["measured"]["shapes"] == [[16, 16], [16, 32], [32, 16]]


def test_a_checkpoint_of_another_precision_is_refused(broken: Broken) -> None:
    record = broken.checkpoints / "run.json"
    saved = json.loads(record.read_text(encoding="utf-8"))
    record.write_text(json.dumps(saved | {"precision": {"mixed": "bf16"}}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="precision: 'no' in the checkpoint, 'bf16' now"):
        broken.resume()
    record.write_text(json.dumps(saved | {"precision": {"mixed": "bf16", "why": "?"}}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="damaged"):
        broken.resume()


def _measure(monkeypatch: pytest.MonkeyPatch, *, float32: float, bfloat16: float) -> None:
    def rates(shapes: precision.Shapes) -> precision.ProductRates:
        return precision.ProductRates(shapes=shapes, num_tokens=512, num_threads=1, float32=float32, bfloat16=bfloat16)

    monkeypatch.setattr(precision, "product_rates", rates)
    monkeypatch.setattr(setup, "product_rates", rates)
