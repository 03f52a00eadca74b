"""Optimizer groups and schedules, against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from dhrd.config import ModelSettings, TrainingSettings
from dhrd.model.backbone import Backbone
from dhrd.model.dual_head import DualHeadModel
from dhrd.training.optim import learning_rates, make_optimizer, make_schedule
from helpers.rows import make_tokenizer


def make_model(**model: object) -> DualHeadModel:
    """A tiny gpt2, whose linear layers and norms have biases."""
    tokenizer = make_tokenizer()
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=8, n_layer=2, n_head=2, n_positions=64)
    backbone = Backbone(GPT2LMHeadModel(config), tokenizer, "tiny")
    return DualHeadModel(num_labels=3, settings=ModelSettings(**model), backbone=backbone)


def by_name(model: DualHeadModel, optimizer: torch.optim.Optimizer) -> dict[str, dict]:
    """The group that each trained parameter is in."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {names[id(p)]: group for group in optimizer.param_groups for p in group["params"]}


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_norms_and_biases_do_not_decay_and_all_else_does(head: str) -> None:
    model = make_model(head=head)
    groups = by_name(model, make_optimizer(model, TrainingSettings(weight_decay=0.3)))
    assert set(groups) == {name for name, _ in model.named_parameters()}
    plain = {name for name in groups if name.endswith("bias") or ".ln_" in name}
    assert {name for name, group in groups.items() if group["weight_decay"] == 0} == plain
    assert {group["weight_decay"] for name, group in groups.items() if name not in plain} == {0.3}
    assert len(plain) >= 18  # 2 blocks x (4 linear biases + 2 norms x 2) + the last norm x 2


def test_each_parameter_is_in_one_group_and_frozen_ones_in_none() -> None:
    model = make_model(freeze_layers=1)
    optimizer = make_optimizer(model, TrainingSettings())
    inside = [id(p) for group in optimizer.param_groups for p in group["params"]]
    trained = [id(p) for p in model.parameters() if p.requires_grad]
    assert sorted(inside) == sorted(trained)
    assert len(trained) < len(list(model.parameters()))


@pytest.mark.parametrize(("given", "head_rate"), [(0.02, 0.02), (None, 0.001)])
def test_the_head_has_its_own_rate_or_the_backbones(given: float | None, head_rate: float) -> None:
    model = make_model(head="mlp")
    settings = TrainingSettings(learning_rate=0.001, head_learning_rate=given)
    optimizer = make_optimizer(model, settings)
    for name, group in by_name(model, optimizer).items():
        assert group["lr"] == (head_rate if name.startswith("head.") else 0.001), name
    assert learning_rates(optimizer) == {"learning_rate": 0.001, "head_learning_rate": head_rate}


def test_adamw_has_the_documents_betas() -> None:
    optimizer = make_optimizer(make_model(), TrainingSettings())
    assert isinstance(optimizer, torch.optim.AdamW)
    assert {group["betas"] for group in optimizer.param_groups} == {(0.9, 0.999)}


def rates(num_updates: int, **training: object) -> list[float]:
    """The backbone's rate at each update, as a share of its peak; the head's must follow it."""
    model = make_model()
    settings = TrainingSettings(learning_rate=0.5, head_learning_rate=2.0, **training)
    optimizer = make_optimizer(model, settings)
    schedule = make_schedule(optimizer, settings, num_updates)
    seen = []
    for _ in range(num_updates):
        now = learning_rates(optimizer)
        assert now["head_learning_rate"] == pytest.approx(4 * now["learning_rate"])
        seen.append(now["learning_rate"] / 0.5)
        optimizer.step()
        schedule.step()
    return seen


def test_linear_rises_from_0_and_falls_towards_0() -> None:
    expected = [0, 0.25, 0.5, 0.75, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]
    assert rates(10, schedule="linear", warmup_steps=4) == pytest.approx(expected)


def test_cosine() -> None:
    falling = [(1 + math.cos(math.pi * k / 6)) / 2 for k in range(6)]
    assert rates(8, schedule="cosine", warmup_steps=2) == pytest.approx([0, 0.5, *falling])


def test_constant_stays_at_the_peak_after_warm_up() -> None:
    assert rates(6, schedule="constant", warmup_steps=2) == pytest.approx([0, 0.5, 1, 1, 1, 1])
    assert rates(3, schedule="constant", warmup_steps=0) == pytest.approx([1, 1, 1])


def test_warm_up_as_a_share_is_rounded_up_and_steps_replace_it() -> None:
    assert rates(10, schedule="constant", warmup_share=0.25)[:5] == pytest.approx([0, 1 / 3, 2 / 3, 1, 1])
    assert rates(10, schedule="constant", warmup_share=0.25, warmup_steps=1)[:3] == pytest.approx([0, 1, 1])
    assert rates(4, schedule="constant", warmup_share=0.0) == pytest.approx([1, 1, 1, 1])
