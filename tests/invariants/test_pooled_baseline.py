"""`reasoning_weight: 0` is the stock sequence classifier: the same steps, and no rationale token is run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

import dhrd
from dhrd.config import LossSettings
from dhrd.data.records import EncodedExample
from dhrd.model.backbone import Backbone
from dhrd.model.dual_head import DualHeadModel
from dhrd.training.step import train_step
from helpers.models import (
    FAMILIES,
    NUM_LABELS,
    clone,
    difference,
    make_batch,
    make_causal_lm,
    make_model,
    rows,
    run_config,
    step_of,
    texts,
)
from helpers.rows import make_tokenizer

TOLERANCE = 1e-5
POOLED = LossSettings(reasoning_weight=0.0)


def stock_classifier(model: DualHeadModel) -> PreTrainedModel:
    """The family's own sequence classifier with the model's weights."""
    config = model.causal_lm.config
    config.num_labels = NUM_LABELS
    config.pad_token_id = model.tokenizer.pad_token_id
    stock = AutoModelForSequenceClassification.from_config(config)
    missing, unexpected = stock.load_state_dict(named_as_stock(model.state_dict()), strict=False)
    assert not missing
    assert not unexpected
    return stock.train()


def named_as_stock(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our names to a sequence classifier's; the LM head has none."""
    kept = {n.removeprefix("causal_lm.").removeprefix("head."): t for n, t in state.items()}
    return {n: t for n, t in kept.items() if not n.startswith(("lm_head", "embed_out"))}


def stock_steps(stock: PreTrainedModel, parts: Sequence[Sequence[EncodedExample]], optimizer: Any) -> list[float]:
    """What anyone would write with transformers alone."""
    losses = []
    for part in parts:
        width = max(len(example.input_ids) for example in part)
        pad = stock.config.pad_token_id
        output = stock(
            input_ids=torch.tensor([e.input_ids + [pad] * (width - len(e.input_ids)) for e in part]),
            attention_mask=torch.tensor([[1] * len(e.input_ids) + [0] * (width - len(e.input_ids)) for e in part]),
            labels=torch.tensor([e.label[0] for e in part]),
        )
        output.loss.backward()
        nn.utils.clip_grad_norm_(stock.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(output.loss.detach()))
    return losses


@pytest.mark.parametrize("family", FAMILIES)
def test_pooled_steps_are_stock_steps(family: str) -> None:
    assert len(FAMILIES) == 9
    model = make_model(family, loss=POOLED)
    examples = [EncodedExample(id=e.id, input_ids=e.input_ids, continuation_ids=[], label=e.label) for e in rows(9)]
    parts = [examples[:4], examples[4:8], examples[8:]]
    stock = stock_classifier(clone(model))
    state = step_of(model, learning_rate=1e-3, head_learning_rate=None, clip_norm=1.0)
    eps = 1e-3  # where a gradient is 0 on paper (OPT's key bias), Adam would blow rounding up with its default
    groups = [
        {"params": [p for p in stock.parameters() if (p.ndim >= 2) == decays], "weight_decay": 0.01 * decays}
        for decays in (False, True)
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.999), eps=eps)
    for group in state.optimizer.param_groups:
        group["eps"] = eps

    before = {name: tensor.clone() for name, tensor in named_as_stock(model.state_dict()).items()}
    theirs = stock_steps(stock, parts, optimizer)
    ours = [train_step(state, [make_batch(part, model)], i)["loss"] for i, part in enumerate(parts)]

    assert ours == pytest.approx(theirs, rel=TOLERANCE)
    moved = {name: tensor - before[name] for name, tensor in named_as_stock(model.state_dict()).items()}
    expected = {name: tensor - before[name] for name, tensor in stock.state_dict().items()}
    assert difference(moved, expected) < 100 * TOLERANCE  # of a change by a thousandth: far below 1e-5 of the weights
    assert difference(named_as_stock(model.state_dict()), stock.state_dict()) < TOLERANCE


def tokens_run(tmp_path: Path, **loss: float | str) -> tuple[int, int]:
    """(tokens that went through the backbone in training, those of the inputs)."""
    counts: list[int] = []
    causal_lm = make_causal_lm("llama")

    def count(_module: nn.Module, _given: Any, options: dict[str, Tensor]) -> None:
        if torch.is_grad_enabled():
            counts.append(int(options["attention_mask"].sum()))

    causal_lm.base_model.register_forward_pre_hook(count, with_kwargs=True)
    config = run_config(
        loss=loss, training={"num_epochs": 2, "share_prefixes": False}, output_dir=str(tmp_path / f"{loss}")
    )
    tokenizer, data = make_tokenizer(), texts(10)
    dhrd.train(config, train_dataset=data, backbone=Backbone(causal_lm, tokenizer, "tiny llama"), device="cpu")
    assert len(counts) == 4
    return sum(counts), 2 * sum(len(tokenizer(row["input_text"])["input_ids"]) for row in data)


def test_the_pooled_baseline_runs_no_rationale_token(tmp_path: Path) -> None:
    run, inputs = tokens_run(tmp_path, reasoning_weight=0.0)
    assert run == inputs
    run, inputs = tokens_run(tmp_path, reasoning_weight=1.0)
    assert run > 1.5 * inputs


@pytest.mark.parametrize("loss", [{"reasoning_weight": 0.0, "keyword_weight": 1.0}, {"lm_targets": "input"}])
def test_words_of_rationales_and_lm_loss_on_x_run_no_rationale_token(tmp_path: Path, loss: dict[str, Any]) -> None:
    run, inputs = tokens_run(tmp_path, **loss)
    assert run == inputs


def test_what_reads_the_rationales_end_runs_it_without_the_lm_loss_too(tmp_path: Path) -> None:
    run, inputs = tokens_run(tmp_path, reasoning_weight=0.0, privileged_weight=1.0)
    assert run > 1.5 * inputs
