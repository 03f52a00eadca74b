"""One forward pass gives what two give: loss and every gradient; and the class logits see no rationale."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from dhrd.config import LossSettings
from dhrd.data.records import IGNORE, Batch, EncodedExample
from dhrd.model.dual_head import DualHeadModel
from helpers.models import (
    FAMILIES,
    clone,
    difference,
    gradients_of_step,
    make_batch,
    make_model,
    rows,
)

TOLERANCE = 1e-5
WEIGHTS = LossSettings(classification_weight=0.7, reasoning_weight=1.3)


def test_all_nine_families_are_here() -> None:
    assert len(FAMILIES) == 9


def stock_labels(batch: Batch, targets: list[bool]) -> Tensor:
    """Labels of a stock `ForCausalLM`, which shifts them itself."""
    labels = batch.input_ids_BT.masked_fill(~batch.attention_mask_BT, IGNORE)
    return labels.masked_fill(~torch.tensor(targets)[:, None], IGNORE)


def two_passes(model: DualHeadModel, examples: list[EncodedExample]) -> tuple[float, dict[str, Tensor]]:
    """The stock causal language model over the sequences, then the backbone over the inputs alone."""
    whole = make_batch(examples, model)
    inputs = make_batch([replace(example, continuation_ids=[]) for example in examples], model)
    lm_loss = model.causal_lm(
        input_ids=whole.input_ids_BT,
        attention_mask=whole.attention_mask_BT.long(),
        labels=stock_labels(whole, [bool(example.continuation_ids) for example in examples]),
        use_cache=False,
    ).loss
    hidden = model.causal_lm.base_model(
        input_ids=inputs.input_ids_BT, attention_mask=inputs.attention_mask_BT.long(), use_cache=False
    ).last_hidden_state
    last = torch.tensor([len(example.input_ids) - 1 for example in examples])
    logits = hidden[torch.arange(len(examples)), last] @ model.head.score.weight.T
    label_loss = torch.nn.functional.cross_entropy(logits, torch.tensor([example.label[0] for example in examples]))
    loss = WEIGHTS.classification_weight * label_loss + WEIGHTS.reasoning_weight * lm_loss
    loss.backward()
    return float(loss.detach()), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("family", FAMILIES)
def test_one_pass_is_two_passes(family: str) -> None:
    model, examples = make_model(family, loss=WEIGHTS), rows(7)
    assert len({len(e.input_ids) for e in examples}) > 3
    assert any(not e.continuation_ids for e in examples)
    loss, theirs = two_passes(clone(model), examples)
    micro_batches = [make_batch(part, model) for part in (examples[:4], examples[4:])]  # the last is short
    log, ours = gradients_of_step(model, micro_batches)
    assert len(ours) == len(dict(model.named_parameters()))
    assert log["loss"] == pytest.approx(loss, rel=TOLERANCE)
    assert difference(ours, theirs) < TOLERANCE


def input_gradient(model: DualHeadModel, batch: Batch) -> Tensor:
    """d (a random sum of the class logits) / d (input embeddings), (B, T, D)."""
    kept: list[Tensor] = []

    def keep(_module: Any, _given: Any, embeddings: Tensor) -> Tensor:
        kept.append(embeddings.detach().requires_grad_())
        return kept[0]

    handle = model.causal_lm.get_input_embeddings().register_forward_hook(keep)
    logits = model(batch).logits_BC
    handle.remove()
    weight = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1))
    return torch.autograd.grad((logits * weight).sum(), kept[0])[0]


@pytest.mark.parametrize("padding_side", ["right", "left"])
@pytest.mark.parametrize("family", FAMILIES)
def test_class_logits_see_no_rationale(family: str, padding_side: str) -> None:
    model = make_model(family)
    examples = [example for example in rows(6) if example.continuation_ids]
    batch = make_batch(examples, model, padding_side=padding_side)
    positions = torch.arange(batch.input_ids_BT.shape[1])
    rationale_BT = (positions > batch.pool_index_B[:, None]) & batch.attention_mask_BT
    input_BT = (positions <= batch.pool_index_B[:, None]) & batch.attention_mask_BT
    assert int(rationale_BT.sum()) == sum(len(example.continuation_ids) for example in examples)

    gradient = input_gradient(model, batch)
    assert bool((gradient[rationale_BT] == 0).all())
    assert bool((gradient[input_BT].abs().sum(1) > 0).any())

    ends = batch.pool_start_B + batch.attention_mask_BT.sum(1) - 1
    control = input_gradient(model, replace(batch, pool_index_B=ends))
    last = rationale_BT & (positions > ends[:, None] - 3)
    assert bool((control[last].abs().sum(1) > 0).all())


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_no_gradient_reaches_rationales_through_either_pooling(pooling: str) -> None:
    model = make_model("llama", pooling=pooling, head="mlp")
    examples = [example for example in rows(6) if example.continuation_ids]
    batch = make_batch(examples, model)
    rationale_BT = (torch.arange(batch.input_ids_BT.shape[1]) > batch.pool_index_B[:, None]) & batch.attention_mask_BT
    gradient = input_gradient(model, batch)
    assert bool((gradient[rationale_BT] == 0).all())
    assert float(gradient.abs().max()) > 0


@pytest.mark.parametrize("targets", ["all", "continuation"])
@pytest.mark.parametrize("family", FAMILIES)
def test_lm_loss_is_the_stock_one(family: str, targets: str) -> None:
    model, examples = make_model(family), rows(6)
    batch = make_batch(examples, model, lm_targets=targets)
    labels = stock_labels(batch, [bool(example.continuation_ids) for example in examples])
    if targets == "continuation":
        labels = labels.masked_fill(torch.arange(labels.shape[1]) <= batch.pool_index_B[:, None], IGNORE)
    with torch.no_grad():
        stock = model.causal_lm(
            input_ids=batch.input_ids_BT, attention_mask=batch.attention_mask_BT.long(), labels=labels, use_cache=False
        ).loss
    log, _ = gradients_of_step(model, [batch])
    assert log["lm_loss"] == pytest.approx(float(stock), rel=TOLERANCE)
    if family == "gemma3":
        assert model.causal_lm.config.final_logit_softcapping == 5.0
        model.causal_lm.config.final_logit_softcapping = None
        with torch.no_grad():
            uncapped = model.causal_lm(input_ids=batch.input_ids_BT, attention_mask=batch.attention_mask_BT.long(),
                                       labels=labels, use_cache=False).loss  # fmt: skip
        assert abs(float(uncapped) - float(stock)) > 100 * TOLERANCE * float(stock)


@pytest.mark.parametrize("family", FAMILIES)
def test_lm_loss_on_the_input_alone_is_the_stock_one(family: str) -> None:
    """Rows without a rationale count as the others do, and a continuation, were it run, would change nothing."""
    model, examples = make_model(family), rows(6)
    inputs = [replace(example, continuation_ids=[]) for example in examples]
    batch = make_batch(inputs, model, lm_targets="input")
    with torch.no_grad():
        stock = model.causal_lm(
            input_ids=batch.input_ids_BT,
            attention_mask=batch.attention_mask_BT.long(),
            labels=stock_labels(batch, [True] * 6),
            use_cache=False,
        ).loss
    log, gradients = gradients_of_step(clone(model), [batch])
    assert log["lm_loss"] == pytest.approx(float(stock), rel=TOLERANCE)
    assert log["rationale_share"] == 0
    other, found = gradients_of_step(model, [make_batch(examples, model, lm_targets="input")])
    assert other["lm_loss"] == pytest.approx(float(stock), rel=TOLERANCE)
    assert difference(found, gradients) < TOLERANCE
