"""A resumed run is an unbroken one, bit for bit in fp32 on the CPU, with dropout on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import dhrd
from dhrd.config import RunConfig
from dhrd.training import checkpoints as state
from helpers.models import run_config, save_backbone, texts

NUM_STEPS = 9  # 3 epochs of 12 rows, 4 or 5 an update


class Stop:
    """A tracker that ends the run after an update, once."""

    def __init__(self, step: int, error: BaseException) -> None:
        self.step, self.error, self.seen = step, error, list[int]()

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.seen.append(step)
        if step == self.step and "loss" in values:
            raise self.error

    def state(self) -> dict[str, str]:
        return {}

    def finish(self, artifact: Path | None) -> None:
        pass

    def abort(self, status: str) -> None:
        pass


DROPOUT: dict[str, Any] = {"gpt2": {"resid_pdrop": 0.2, "embd_pdrop": 0.2}, "llama": {"attention_dropout": 0.2}}


def config_of(tmp_path: Path, name: str, family: str, model: dict[str, Any], training: dict[str, Any]) -> RunConfig:
    backbone = tmp_path / "backbone"
    if not backbone.is_dir():
        save_backbone(backbone, family, **DROPOUT[family])
    return run_config(
        model={"name_or_path": str(backbone), "dropout": 0.3} | model,
        training={
            "num_epochs": 3,
            "batch_size": 5,
            "learning_rate": 1e-2,
            "schedule": "cosine",
            "warmup_steps": 2,
            "clip_norm": 1.0,
            **training,
        },
        data={"dev_share": 0.0, "validation": "in memory" if training.get("selection") else None},
        output_dir=str(tmp_path / name),
    )


def data_of(config: RunConfig) -> dict[str, Any]:
    """The rows of a run."""
    rows = texts(17)
    validation = {"validation_dataset": rows[12:]} if config.training.selection == "best" else {}
    return {"train_dataset": rows[:12], "device": "cpu"} | validation


def weights(config: RunConfig) -> dict[str, torch.Tensor]:
    return load_file(Path(config.output_dir) / "model.safetensors")


def logged(config: RunConfig) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (Path(config.output_dir) / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "tokens_per_second"} for line in lines]


def assert_same_run(broken: RunConfig, whole: RunConfig) -> None:
    ours, theirs = weights(broken), weights(whole)
    assert ours.keys() == theirs.keys()
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []
    assert logged(broken) == logged(whole)
    assert len([line for line in logged(whole) if "loss" in line]) == NUM_STEPS


RUNS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "full, each epoch": ("gpt2", {}, {}),
    "full, every 2 updates": ("llama", {}, {"save_steps": 2}),
    "lora, two micro-batches": (
        "gpt2",
        {"lora": {"r": 4, "dropout": 0.2}},
        {"save_steps": 2, "batch_size": 2, "gradient_accumulation_steps": 2},
    ),
    "best weights": ("llama", {}, {"save_steps": 2, "selection": "best", "metric": "log_loss", "eval_steps": 1}),
    "the last weights too": (
        "llama",
        {},
        {"save_steps": 2, "selection": "best", "metric": "log_loss", "eval_steps": 4},
    ),
}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, RunConfig]]:
    """The folder and config of a run that nothing stopped, by its name in `RUNS`."""
    done: dict[str, tuple[Path, RunConfig]] = {}

    def run(name: str) -> tuple[Path, RunConfig]:
        if name not in done:
            folder = tmp_path_factory.mktemp("unbroken")
            config = config_of(folder, "unbroken", *RUNS[name])
            assert dhrd.train(config, **data_of(config)).steps == NUM_STEPS
            done[name] = folder, config
        return done[name]

    return run


@pytest.mark.parametrize("stop_after", [1, 4, 8, 9])
@pytest.mark.parametrize("name", RUNS)
def test_a_resumed_run_is_an_unbroken_one(
    name: str, stop_after: int, unbroken: Callable[[str], tuple[Path, RunConfig]]
) -> None:
    folder, whole = unbroken(name)
    broken = whole.model_copy(update={"output_dir": str(folder / f"stopped after {stop_after}")})
    with pytest.raises(KeyboardInterrupt):
        dhrd.train(broken, callbacks=[Stop(stop_after, KeyboardInterrupt())], **data_of(broken))
    assert not (Path(broken.output_dir) / "dhrd.json").exists()

    torch.manual_seed(99)  # another process has another random state
    resumed = Stop(-1, KeyboardInterrupt())
    result = dhrd.train(broken, checkpoint=broken.output_dir, callbacks=[resumed], **data_of(broken))
    every = broken.training.save_steps or 3
    assert result.steps == NUM_STEPS
    assert resumed.seen[0] == every * ((stop_after - 1) // every) + 1  # not from the beginning where it could go on
    assert_same_run(broken, whole)


def test_resuming_twice_and_from_a_named_checkpoint(unbroken: Callable[[str], tuple[Path, RunConfig]]) -> None:
    folder, whole = unbroken("full, every 2 updates")
    broken = whole.model_copy(update={"output_dir": str(folder / "stopped twice")})
    out = Path(broken.output_dir)
    with pytest.raises(RuntimeError, match="first"):
        dhrd.train(broken, callbacks=[Stop(5, RuntimeError("first"))], **data_of(broken))
    with pytest.raises(RuntimeError, match="second"):
        dhrd.train(broken, checkpoint=out, callbacks=[Stop(7, RuntimeError("second"))], **data_of(broken))
    assert sorted(path.name for path in (out / "checkpoints").glob("step-*")) == ["step-00000004", "step-00000006"]
    named = Stop(-1, RuntimeError())
    dhrd.train(broken, checkpoint=out / "checkpoints" / "step-00000004", callbacks=[named], **data_of(broken))
    assert named.seen[0] == 5
    assert_same_run(broken, whole)


def test_dropout_is_what_makes_the_random_state_matter(
    unbroken: Callable[[str], tuple[Path, RunConfig]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, whole = unbroken("full, every 2 updates")
    broken = whole.model_copy(update={"output_dir": str(folder / "without its random state")})
    with pytest.raises(KeyboardInterrupt):
        dhrd.train(broken, callbacks=[Stop(5, KeyboardInterrupt())], **data_of(broken))
    monkeypatch.setattr(state, "restore_rng", lambda *_: None)
    dhrd.train(broken, checkpoint=broken.output_dir, **data_of(broken))
    ours, theirs = weights(broken), weights(whole)
    assert any(not torch.equal(ours[name], theirs[name]) for name in theirs)
