"""Device, precision and processes of a run."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import torch
from transformers import OpenAIGPTConfig

from dhrd.config import RunConfig
from dhrd.data.collate import collate
from dhrd.data.records import EncodedExample
from dhrd.errors import ConfigError
from dhrd.model import precision
from dhrd.model.backbone import Backbone
from dhrd.training import setup
from dhrd.training.setup import Precision, choose_precision, make_accelerator, make_train_state, place, start_processes
from dhrd.training.step import train_step
from helpers.models import VOCAB_SIZE, causal_lm_of, make_model, run_config
from helpers.rows import make_tokenizer


def test_what_is_asked_for_is_not_measured() -> None:
    assert choose_precision("bf16", "cpu") == Precision("bf16")
    assert choose_precision("no", "cpu") == Precision("no")


@pytest.mark.parametrize(("bfloat16", "mixed"), [(200.0, "bf16"), (50.0, "no")])
def test_auto_is_what_was_measured(monkeypatch: pytest.MonkeyPatch, bfloat16: float, mixed: str) -> None:
    def rates(shapes: precision.Shapes) -> precision.ProductRates:
        return precision.ProductRates(shapes=shapes, num_tokens=512, num_threads=1, float32=100.0, bfloat16=bfloat16)

    monkeypatch.setattr(precision, "product_rates", rates)
    monkeypatch.setattr(setup, "product_rates", rates)
    chosen = choose_precision("auto", "cpu")
    assert chosen.mixed == mixed
    assert chosen.measured is not None and chosen.measured["bfloat16"] == bfloat16


def test_a_device_that_cannot_is_refused() -> None:
    with pytest.raises(ConfigError, match="fp16 needs a GPU; use bf16 or no"):
        start_processes(run_config(training={"mixed_precision": "fp16"}), "cpu")


def test_a_run_may_have_another_precision_than_the_one_before_it() -> None:
    for mixed in ("no", "bf16", "no"):
        accelerator = make_accelerator(RunConfig(), "cpu", Precision(mixed))  # type: ignore[arg-type]
        assert (accelerator.mixed_precision, accelerator.device.type) == (mixed, "cpu")


@pytest.mark.parametrize(("devices", "expected"), [
    (["cpu", None], ["cpu", "cuda"]), (["cpu", "cuda"], ["cpu", "cuda"]), ([None, "cpu"], ["cuda", "cpu"]),
])  # fmt: skip
def test_a_run_may_be_on_another_device_than_the_one_before_it(
    devices: list[str | None], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    found = [make_accelerator(RunConfig(), device, Precision("no")).device.type for device in devices]
    assert found == expected


def test_processes_wait_for_the_one_that_evaluates_and_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """NCCL gives up after ten minutes, and the launcher ends all of them."""
    given: dict[str, Any] = {}

    def start(**options: Any) -> None:
        given.update(options)
        raise InterruptedError

    launched = {
        "OMP_NUM_THREADS": "1",
        "WORLD_SIZE": "2",
        "RANK": "0",
        "LOCAL_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "1",
    }
    for name, value in launched.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.distributed, "init_process_group", start)
    with pytest.raises(InterruptedError):
        start_processes(RunConfig(), "cpu")
    assert given["timeout"] >= timedelta(hours=12)


@pytest.mark.parametrize(("quantization", "expected"), [(None, "meta"), ("nf4", "cpu")])
def test_a_model_is_on_its_device_before_anything_is_chosen_for_it(quantization: str | None, expected: str) -> None:
    model, accelerator = make_model(), make_accelerator(RunConfig(), "cpu", Precision("no"))
    accelerator.state.device = torch.device("meta")
    lora = {"r": 4} if quantization else None
    place(model, run_config(model={"quantization": quantization, "lora": lora}), accelerator)
    assert model.causal_lm.device.type == model.head.score.weight.device.type == expected


def test_a_train_state_holds_the_model_and_its_plan() -> None:
    model = make_model("llama")
    config = run_config(training={"schedule": "linear", "clip_norm": 2.0, "learning_rate": 1e-3})
    state = make_train_state(model, config, make_accelerator(config, "cpu", Precision("no")), num_updates=4)
    assert state.model is model and state.wrapped is model  # one process, fp32: nothing is wrapped
    assert (state.settings.clip_norm, state.num_updates) == (2.0, 4)
    rates = []
    for _ in range(4):
        rates.append(state.optimizer.param_groups[0]["lr"])
        state.optimizer.step()
        assert state.schedule is not None
        state.schedule.step()
    assert rates == pytest.approx([1e-3 * left / 4 for left in (4, 3, 2, 1)])
    assert state.weights_at(1) == {"classification": 1.0, "reasoning": 1.0}


def test_gradient_checkpointing_changes_no_gradient() -> None:
    gradients = []
    for checkpointing in (False, True):
        model = make_model("llama")
        config = run_config(training={"gradient_checkpointing": checkpointing})
        state = make_train_state(model, config, make_accelerator(config, "cpu", Precision("no")), num_updates=1)
        state.wrapped.train()
        state.model.causal_lm(input_ids=torch.arange(9)[None]).logits.sum().backward()
        gradients.append(model.causal_lm.model.layers[0].self_attn.q_proj.weight.grad)
        assert model.causal_lm.is_gradient_checkpointing == checkpointing
    torch.testing.assert_close(gradients[1], gradients[0])


def test_a_family_without_gradient_checkpointing_is_refused_naming_the_setting() -> None:
    small = OpenAIGPTConfig(vocab_size=VOCAB_SIZE, n_embd=16, n_layer=1, n_head=2)
    model = make_model(backbone=Backbone(causal_lm_of(small), make_tokenizer(), "tiny"))
    config = run_config(training={"gradient_checkpointing": True})
    with pytest.raises(ConfigError, match=r"training.gradient_checkpointing: OpenAIGPTLMHeadModel does not support it"):
        make_train_state(model, config, make_accelerator(config, "cpu", Precision("no")), num_updates=1)


def test_compiled_layers_make_the_same_update() -> None:
    """In fp32 within 1e-6, dropout of the head included; what was run to compile them leaves no trace."""
    rows = [
        EncodedExample(id=str(n), input_ids=[5] * n, continuation_ids=[7, 9] * (n % 3), label=(n % 3,))
        for n in (9, 4, 7)
    ]
    batch, weights = collate(rows, pad_token_id=0, num_labels=3), []
    for compiled in (False, True):
        model = make_model("llama")
        config = run_config(training={"warmup_share": 0, "schedule": "constant", "compile": compiled})
        torch.manual_seed(0)
        state = make_train_state(model, config, make_accelerator(config, "cpu", Precision("no")), num_updates=4)
        assert all(parameter.grad is None for parameter in model.parameters())
        for step in (1, 2):
            train_step(state, [batch], step)
        weights.append(model.trained_state())
    assert weights[0].keys() == weights[1].keys()
    for name, expected in weights[0].items():
        moved = (weights[1][name] - expected).norm() / expected.norm()
        assert float(moved) < 1e-6, name
