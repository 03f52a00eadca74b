"""`training.cache_frozen`: from kept states come the same losses and weights, and the frozen blocks run once a row."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import Tensor

from dhrd.data.batches import PlannedUpdates
from dhrd.data.sharing import Sharing
from dhrd.errors import ConfigError
from dhrd.model.adapters import blocks
from dhrd.model.dual_head import DualHeadModel
from dhrd.run import train as run
from dhrd.training.frozen import FrozenUpdates, place_of_states
from dhrd.training.step import train_step
from helpers.models import NUM_LABELS, difference, make_model, rows, step_of
from helpers.runs import make_config

TOLERANCE = 1e-5
NUM_ROWS, NUM_EPOCHS = 10, 3


def planned(model: DualHeadModel, **options: Any) -> PlannedUpdates:
    """Updates of two micro-batches of two rows; the last is short."""
    pad = model.tokenizer.pad_token_id
    assert isinstance(pad, int)
    return PlannedUpdates(
        examples=rows(NUM_ROWS),
        num_labels=NUM_LABELS,
        pad_token_id=pad,
        batch_size=2,
        gradient_accumulation_steps=2,
        **options,
    )


def kept(model: DualHeadModel, updates: PlannedUpdates) -> FrozenUpdates:
    return FrozenUpdates(updates=updates, model=model, accelerator=Accelerator(cpu=True, mixed_precision="no"))


def fitted(model: DualHeadModel, updates: Any) -> tuple[list[float], dict[str, Tensor]]:
    """The losses of a few epochs, and the weights after them."""
    state, losses = step_of(model, learning_rate=1e-3), []
    for epoch in range(NUM_EPOCHS):
        for step, batches in enumerate(updates.epoch(epoch), 1):
            losses.append(train_step(state, batches, step)["loss"])
    weights = model.trained_state()
    for name in weights:
        if name.endswith("c_attn.bias"):  # a key's bias has no gradient on paper: Adam makes steps out of its rounding
            weights[name] = weights[name].clone()
            weights[name].chunk(3)[1].zero_()
    return losses, weights


@pytest.mark.parametrize("family", ["llama", "gpt2", "mistral", "gemma3"])
def test_losses_and_weights_are_those_of_whole_passes(family: str) -> None:
    whole, from_kept = (make_model(family, freeze_layers=1) for _ in range(2))
    expected = fitted(whole, planned(whole))
    found = fitted(from_kept, kept(from_kept, planned(from_kept)))
    assert found[0] == pytest.approx(expected[0], rel=TOLERANCE)
    assert difference(found[1], expected[1]) < TOLERANCE
    assert expected[0][-1] < expected[0][0]  # it has learned, so the weights did move


@pytest.mark.parametrize("family", ["llama", "gpt2", "mistral", "gemma3"])
def test_rows_that_share_text_share_their_kept_states(family: str) -> None:
    whole, from_kept = (make_model(family, freeze_layers=1) for _ in range(2))
    alike = [replace(row, input_ids=list(range(30)) + row.input_ids) for row in rows(NUM_ROWS)]
    updates = [
        replace(planned(model), examples=alike, sharing=sharing)
        for model, sharing in ((whole, Sharing()), (from_kept, Sharing(pair=1e-4)))
    ]
    assert next(updates[1].epoch(0))[0].tree is not None
    expected, found = fitted(whole, updates[0]), fitted(from_kept, kept(from_kept, updates[1]))
    assert found[0] == pytest.approx(expected[0], rel=TOLERANCE)
    assert difference(found[1], expected[1]) < TOLERANCE


def test_frozen_blocks_run_once_a_row(caplog: pytest.LogCaptureFixture) -> None:
    model = make_model(freeze_layers=1)
    with caplog.at_level(logging.INFO, "dhrd"):
        updates = kept(model, planned(model))
    num_tokens = sum(len(row.input_ids) + len(row.continuation_ids) for row in rows(NUM_ROWS))
    assert f"{num_tokens} tokens will take" in caplog.text
    calls: list[int] = []
    frozen, upper = blocks(model.causal_lm)
    for number, block in enumerate((frozen, upper)):
        block.self_attn.register_forward_hook(lambda *_, number=number: calls.append(number))
    fitted(model, updates)
    num_batches = NUM_ROWS // 2
    assert (calls.count(0), calls.count(1)) == (num_batches, num_batches * NUM_EPOCHS)
    assert len(updates.kept) == NUM_ROWS
    assert sum(len(states) for states in updates.kept.values()) == num_tokens


def test_all_blocks_may_be_frozen() -> None:
    whole, from_kept = (make_model("gpt2", freeze_layers=2) for _ in range(2))
    expected, found = fitted(whole, planned(whole)), fitted(from_kept, kept(from_kept, planned(from_kept)))
    assert difference(found[1], expected[1]) < TOLERANCE


def test_a_whole_run(tiny_backbone: Path, tmp_path: Path) -> None:
    weights = []
    for name in ("false", "true"):
        config = make_config(
            tiny_backbone, tmp_path / name, "model.freeze_layers=1", f"training.cache_frozen={name}",
            "training.learning_rate=1e-3",
        )  # fmt: skip
        run.train(config, device="cpu")
        weights.append(load_file(Path(config.output_dir) / "model.safetensors"))
    assert difference(*weights) < TOLERANCE


def test_without_frozen_layers_it_is_refused(tiny_backbone: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cache_frozen caches the output of frozen layers: set model.freeze_layers"):
        make_config(tiny_backbone, tmp_path, "training.cache_frozen=true")


def test_few_rows_are_checked_however_large_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU a batch of 64 rows takes half a minute of a core."""
    model, seen = make_model(freeze_layers=1), list[int]()
    monkeypatch.setattr("dhrd.training.frozen.check_frozen", lambda _, batch: seen.append(len(batch.input_ids_BT)))
    kept(model, replace(planned(model), batch_size=NUM_ROWS))
    kept(model, planned(model))
    assert seen == [4, 2]


@pytest.mark.parametrize(("device", "num_bytes", "place"), [
    ("cpu", 1, "cpu"), ("mps", 1, "cpu"), ("cuda:1", 100, "cuda:1"), ("cuda:1", 101, "cpu"),
])  # fmt: skip
def test_states_stay_on_a_gpu_with_room(
    device: str, num_bytes: int, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: {1: (1000, 9000)}[device.index])
    assert place_of_states(torch.device(device), num_bytes) == torch.device(place)
