"""One update: what it logs, what it clips, and that it stops before harm is done."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from dhrd.data.batches import PlannedUpdates
from dhrd.data.records import IGNORE, Batch
from dhrd.errors import NonFiniteError
from dhrd.model.dual_head import DualHeadModel
from dhrd.run import train as run
from dhrd.training import build
from dhrd.training.checkpoint_files import whole_checkpoints
from dhrd.training.checkpoints import Checkpoints
from dhrd.training.position import Position
from dhrd.training.setup import make_accelerator, make_train_state
from dhrd.training.step import TrainState, _refuse_non_finite, train_step
from helpers.runs import Recorder, make_config, read_jsonl

Prepared = tuple[TrainState, DualHeadModel, list[Batch]]


@pytest.fixture
def prepared(tiny_backbone: Path, tmp_path: Path) -> Prepared:
    """A train state, its model, and the one micro-batch of an update of 8 rows."""
    return prepare(tiny_backbone, tmp_path)


def prepare(backbone: Path, directory: Path, *overrides: str) -> Prepared:
    config = make_config(backbone, directory, "model.dropout=0", "training.schedule=constant", *overrides)
    rows = run.load_rows(config)
    loaded = run.load_backbone(config.model)
    data = build.encode(config, rows, loaded).train
    model = build.build_model(config, rows, loaded)
    updates = PlannedUpdates(examples=data.examples, num_labels=3, pad_token_id=loaded.tokenizer.pad_token_id)
    state = make_train_state(model, config, make_accelerator(config, "cpu"), 10)
    return state, model, next(batches for batches in updates.epoch(0) if len(batches[0].ids) == 8)


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def unchanged(model: torch.nn.Module, before: dict[str, torch.Tensor]) -> bool:
    return all(
        torch.equal(tensor.nan_to_num(7), before[name].nan_to_num(7)) for name, tensor in model.state_dict().items()
    )


def test_what_is_logged(prepared: Prepared) -> None:
    state, model, batches = prepared
    model.train()
    losses, counts = model(batches[0]).losses, model.loss_counts(batches[0])
    means = losses["classification"] / 8, losses["reasoning"] / counts["reasoning"]
    classification, lm = (float(mean.detach()) for mean in means)
    sum(means).backward()  # type: ignore[union-attr]
    norm = math.sqrt(sum(float(p.grad.square().sum()) for p in model.parameters() if p.grad is not None))
    model.zero_grad()
    log = train_step(state, batches, 1)
    assert set(log) == {
        "loss",
        "classification_loss",
        "lm_loss",
        "num_tokens",
        "rationale_share",
        "grad_norm",
        "learning_rate",
        "head_learning_rate",
        "tokens_per_second",
    }
    assert log["classification_loss"] == pytest.approx(classification)
    assert log["lm_loss"] == pytest.approx(lm)
    assert log["loss"] == pytest.approx(classification + lm)
    assert log["grad_norm"] == pytest.approx(norm, rel=1e-5)  # before clipping
    assert log["tokens_per_second"] > 0
    assert all(math.isfinite(value) for value in log.values())


def test_the_logged_loss_is_weighted(tiny_backbone: Path, tmp_path: Path) -> None:
    state, _, batches = prepare(
        tiny_backbone, tmp_path, "loss.classification_weight=0.25", "loss.reasoning_weight=0.75"
    )
    log = train_step(state, batches, 1)
    assert log["loss"] == pytest.approx(0.25 * log["classification_loss"] + 0.75 * log["lm_loss"])
    assert log["classification_loss"] != pytest.approx(log["lm_loss"], rel=0.1)


def test_the_rates_logged_are_those_used(tiny_backbone: Path, tmp_path: Path) -> None:
    state, _, batches = prepare(tiny_backbone, tmp_path, "training.warmup_steps=2", "training.learning_rate=0.5")
    logs = [train_step(state, batches, step) for step in (1, 2, 3)]
    assert [log["learning_rate"] for log in logs] == pytest.approx([0, 0.25, 0.5])
    assert [log["head_learning_rate"] for log in logs] == pytest.approx([0, 0.0005, 0.001])


def test_rationale_share_counts_rows_of_the_whole_update(prepared: Prepared) -> None:
    state, _, (batch,) = prepared
    assert batch.target_BT is not None
    reasoned = int((batch.target_BT != IGNORE).any(1).sum())
    assert 0 < reasoned < 8
    assert train_step(state, [batch], 1)["rationale_share"] == pytest.approx(reasoned / 8)
    bare = replace(batch, target_BT=torch.full_like(batch.target_BT, IGNORE))
    assert train_step(state, [batch, bare], 2)["rationale_share"] == pytest.approx(reasoned / 16)
    log = train_step(state, [bare], 3)
    assert (log["rationale_share"], log["lm_loss"]) == (0, 0)


@pytest.mark.parametrize("clip_norm", [0.01, None])
def test_clipping_bounds_the_update(prepared: Prepared, clip_norm: float | None) -> None:
    state, model, batches = prepared
    plain = torch.optim.SGD(model.parameters(), lr=1.0)  # so that the update is the gradient
    before = weights(model)
    settings = state.settings.model_copy(update={"clip_norm": clip_norm})
    log = train_step(replace(state, optimizer=plain, schedule=None, settings=settings), batches, 1)
    moved = math.sqrt(sum(float((p.detach() - before[name]).square().sum()) for name, p in model.named_parameters()))
    assert log["grad_norm"] > 0.1
    assert moved == pytest.approx(clip_norm or log["grad_norm"], rel=1e-3)


def test_an_update_moves_the_weights_and_leaves_no_gradient(prepared: Prepared) -> None:
    state, model, batches = prepared
    before = weights(model)
    train_step(state, batches, 1)  # warm-up: the rate of the first update is 0
    assert unchanged(model, before)
    train_step(state, batches, 2)
    assert not unchanged(model, before)
    assert all(parameter.grad is None for parameter in model.parameters())


Harm = Callable[[DualHeadModel], None]


def break_loss(model: DualHeadModel) -> None:
    with torch.no_grad():
        model.head.score.weight[0, 0] = math.nan


def break_lm_loss(model: DualHeadModel) -> None:
    sound = model.reasoning_loss

    def broken(*arguments: torch.Tensor) -> torch.Tensor:
        return sound(*arguments) * math.inf  # type: ignore[arg-type]

    model.reasoning_loss = broken  # type: ignore[method-assign]


def break_gradient(model: DualHeadModel) -> None:
    model.head.score.weight.register_hook(lambda gradient: gradient * math.inf)


@pytest.mark.parametrize(
    ("harm", "name"),
    [(break_loss, "classification_loss"), (break_lm_loss, "lm_loss"), (break_gradient, "grad_norm")],
)
def test_what_is_not_finite_stops_before_the_weights_change(prepared: Prepared, harm: Harm, name: str) -> None:
    state, model, batches = prepared
    train_step(state, batches, 1)
    train_step(state, batches, 2)
    harm(model)
    before, optimizer_before = weights(model), state.optimizer.state_dict()["state"][0]["step"].clone()
    with pytest.raises(NonFiniteError) as caught:
        train_step(state, batches, 17)
    message = str(caught.value)
    assert message.startswith(f"step 17: {name} is ")
    named = message.partition("Rows: ")[2].partition(".")[0].split(", ")
    assert sorted(named) == sorted(batches[0].ids)
    assert unchanged(model, before)
    assert torch.equal(state.optimizer.state_dict()["state"][0]["step"], optimizer_before)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(("scale", "is_refused"), [(2.0**16, False), (1.0, False), (0.5, True)])
def test_fp16_skips_updates_until_no_scale_can_help(prepared: Prepared, scale: float, is_refused: bool) -> None:
    """Without this a run of skipped updates would end with the weights it began with, and say nothing."""
    state, _, batches = prepared
    scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    scaler.scale(torch.ones(1))  # it makes its scale when it is first used
    accelerator = SimpleNamespace(mixed_precision="fp16", scaler=scaler)
    in_fp16 = SimpleNamespace(accelerator=accelerator, model=state.model, optimizer=state.optimizer)
    refused = pytest.raises(NonFiniteError, match=r"grad_norm is inf.*Set training.mixed_precision to bf16")
    with refused if is_refused else nullcontext():
        log = {"classification_loss": 0.5, "grad_norm": math.inf}
        _refuse_non_finite(cast(TrainState, in_fp16), log, batches, 3)


class Diverge(Recorder):
    """Spoils the head after a step, as too high a rate would."""

    def __init__(self, after: int, models: list[DualHeadModel]) -> None:
        super().__init__()
        self._after, self._models = after, models

    def log(self, values: object, step: int) -> None:
        super().log(values, step)  # type: ignore[arg-type]
        if step == self._after:
            break_loss(self._models[-1])


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> list[DualHeadModel]:
    """The models that runs build."""
    built: list[DualHeadModel] = []
    build_model = build.build_model

    def keep(*arguments: object) -> DualHeadModel:
        built.append(build_model(*arguments))  # type: ignore[arg-type]
        return built[-1]

    monkeypatch.setattr(build, "build_model", keep)
    return built


def test_reason_first_and_classify_after_is_a_setting(
    tiny_backbone: Path, tmp_path: Path, models: list[DualHeadModel]
) -> None:
    """Both losses are logged all along; the one that weighs nothing moves nothing."""
    courses = ("loss.reasoning_schedule=first_half", "loss.classification_schedule=second_half")
    more = ("training.weight_decay=0", "training.schedule=constant", "training.warmup_share=0", "model.dropout=0")
    heads: list[torch.Tensor] = []

    class Watch(Recorder):
        def log(self, values: Any, step: int) -> None:
            super().log(values, step)
            heads.append(models[0].head.score.weight.detach().clone())

    tracker = Watch()
    run.train(make_config(tiny_backbone, tmp_path, *courses, *more), device="cpu", callbacks=[tracker])
    updates = [(row, head) for row, head in zip(tracker.rows, heads, strict=True) if "loss" in row]
    assert len(updates) == 6
    for number, (row, head) in enumerate(updates):
        weighs, other = ("lm_loss", "classification_loss") if number < 3 else ("classification_loss", "lm_loss")
        assert row["loss"] == pytest.approx(row[weighs], rel=1e-6)
        assert row[other] > 0
        assert torch.equal(head, updates[0][1]) == (number < 3)


def test_a_run_that_diverges_leaves_its_last_checkpoint_and_log(
    tiny_backbone: Path, tmp_path: Path, models: list[DualHeadModel]
) -> None:
    config = make_config(tiny_backbone, tmp_path, "training.save_steps=1", "training.batch_size=4")
    whole = run.train(config.model_copy(update={"output_dir": str(tmp_path / "whole")}), device="cpu")
    tracker = Diverge(4, models)
    with pytest.raises(NonFiniteError, match=r"^step 5: classification_loss is nan"):
        # The checkpoint after step 4 holds the spoilt head; the one before it is sound
        run.train(config, device="cpu", callbacks=[tracker])
    assert tracker.ended == ["FAILED"]
    output = tmp_path / "out"
    assert [row["step"] for row in read_jsonl(output / "metrics.jsonl")] == [1, 2, 3, 4]
    assert not (output / "dhrd.json").exists()
    kept = whole_checkpoints(output / "checkpoints")
    assert [path.name for path in kept] == ["step-00000003", "step-00000004"]
    result = run.train(config, device="cpu", checkpoint=kept[0])
    assert result.steps == whole.steps == 10
    assert (output / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()


def test_the_checkpoint_of_a_stopped_run_restores(prepared: Prepared, tmp_path: Path) -> None:
    state, model, batches = prepared
    checkpoints = Checkpoints(tmp_path / "checkpoints", {})
    train_step(state, batches, 1)
    train_step(state, batches, 2)
    checkpoints.save(state, Position(step=2))
    before = weights(model)
    break_loss(model)
    with pytest.raises(NonFiniteError):
        train_step(state, batches, 3)
    assert checkpoints.restore(tmp_path / "checkpoints" / "step-00000002", state) == Position(step=2)
    assert unchanged(model, before)
    assert math.isfinite(train_step(state, batches, 3)["loss"])


class _Casts(TorchDispatchMode):
    """Counts how often each of some tensors is cast to bf16."""

    def __init__(self, tensors: list[torch.Tensor]) -> None:
        super().__init__()
        self.counts = {tensor.data_ptr(): 0 for tensor in tensors}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        is_cast = func is torch.ops.aten._to_copy.default and result.dtype == torch.bfloat16
        if is_cast and args[0].data_ptr() in self.counts:
            self.counts[args[0].data_ptr()] += 1
        return result


def test_an_update_casts_each_trained_weight_once(tiny_backbone: Path, tmp_path: Path) -> None:
    """And its gradients, in fp32, are those of micro-batches that cast for themselves."""
    state, model, batches = prepare(tiny_backbone, tmp_path, "training.mixed_precision=bf16", "training.clip_norm=null")
    micro_batches = batches * 3
    linear = [m.weight for layer in model.causal_lm.model.layers for m in layer.modules() if isinstance(m, nn.Linear)]
    assert len(linear) == 14
    names = dict(model.named_parameters())
    model.train()
    counts = {name: 3 * count for name, count in model.loss_counts(batches[0]).items()}
    for batch in micro_batches:
        with state.accelerator.autocast():
            losses = model(batch).losses
        sum(losses[name] / counts[name] for name in counts).backward()
    expected = {name: weight.grad.clone() for name, weight in names.items() if weight.grad is not None}
    model.zero_grad()
    found: dict[str, torch.Tensor] = {}
    state.optimizer.register_step_pre_hook(
        lambda *_: found.update({name: p.grad.clone() for name, p in names.items() if p.grad is not None})
    )
    with _Casts(linear) as casts:
        train_step(state, micro_batches, 1)
    assert set(casts.counts.values()) == {1}
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        assert gradient.dtype == torch.float32
        torch.testing.assert_close(gradient, expected[name], rtol=1e-6, atol=1e-7)
