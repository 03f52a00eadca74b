"""The reasoning bottleneck on nine families: the continuation sees the classified tokens and itself in every layer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from dhrd.config import LossSettings, ModelSettings
from dhrd.data.batches import Bottleneck
from dhrd.data.collate import collate
from dhrd.data.records import IGNORE, Batch, EncodedExample
from dhrd.model import bottleneck
from dhrd.model.dual_head import DualHeadModel
from helpers.models import FAMILIES, NUM_LABELS, make_model, rows

TOLERANCE = 1e-5


def batch_of(examples: list[EncodedExample], visible: int | None, side: Any = "right") -> Batch:
    return collate(
        examples,
        pad_token_id=0,
        num_labels=NUM_LABELS,
        lm_targets="continuation",
        padding_side=side,
        visible_input_tokens=[visible] * len(examples),
    )


def embedded(model: DualHeadModel, batch: Batch) -> Tensor:
    """d L_lm / d embedding of each token, (B, T), as its largest entry."""
    seen: list[Tensor] = []

    def keep(_module: Any, _inputs: Any, output: Tensor) -> Tensor:
        seen.append(output.detach().requires_grad_())
        return seen[-1]

    handle = model.causal_lm.get_input_embeddings().register_forward_hook(keep)
    model(batch).losses["reasoning"].backward()
    handle.remove()
    assert seen[0].grad is not None
    return seen[0].grad.abs().amax(-1)


def longest_first() -> list[EncodedExample]:
    return [row for row in rows(6) if len(row.input_ids) > 3 and len(row.continuation_ids) > 3]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("visible", [1, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_class_logits_are_those_without_it(family: str, visible: int, side: str) -> None:
    model, examples = make_model(family).eval(), longest_first()
    with torch.no_grad():
        plain, narrow = (model(batch_of(examples, count, side)) for count in (None, visible))
    torch.testing.assert_close(narrow.logits_BC, plain.logits_BC, atol=TOLERANCE, rtol=TOLERANCE)
    lm_losses = [float(output.losses["reasoning"]) for output in (plain, narrow)]
    assert lm_losses[0] != pytest.approx(lm_losses[1], rel=1e-6)  # it does something


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("family", FAMILIES)
def test_one_pass_is_the_input_then_the_rest_on_the_classified_tokens_alone(family: str, side: str) -> None:
    """What decoding computes, row by row, from a cache cut to the last keys and values of the input."""
    from transformers import DynamicCache

    visible = 2
    model, examples = make_model(family).eval(), longest_first()
    batch, body = batch_of(examples, visible, side), model.causal_lm.base_model
    with torch.no_grad():
        hidden_BTD = model.hidden_states(batch)
        for row, example in enumerate(examples):
            cache, length = DynamicCache(), len(example.input_ids)
            body(input_ids=torch.tensor([example.input_ids]), past_key_values=cache, use_cache=True)
            alone = body(
                input_ids=torch.tensor([example.continuation_ids]),
                position_ids=length + torch.arange(len(example.continuation_ids))[None],
                past_key_values=bottleneck.keep_last(cache, visible),
                use_cache=True,
            ).last_hidden_state[0]
            first = int(batch.pool_index_B[row]) + 1
            together = hidden_BTD[row, first : first + len(example.continuation_ids)]
            torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_lm_loss_reaches_the_rest_of_the_input_through_the_classified_tokens_alone(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what the classified token takes from the other tokens cut off, nothing of the loss reaches them; without
    the cut something does. With a plain mask the cut does not keep the loss from them."""
    from dhrd.model import pooling

    model, examples = make_model(family).eval(), longest_first()[:1]
    batch = batch_of(examples, 1)
    others = slice(0, int(batch.pool_index_B[0]))
    assert float(embedded(model, batch)[0, others].max()) > 0
    sound = pooling.visible_tokens

    def cut(batch: Batch) -> Tensor:
        visible_BTT = sound(batch)
        visible_BTT[0, batch.pool_index_B[0], others] = False
        return visible_BTT

    monkeypatch.setattr(pooling, "visible_tokens", cut)
    assert float(embedded(model, batch)[0, others].max()) == 0
    whole = replace(batch, visible_from_B=torch.zeros_like(batch.pool_index_B))
    assert float(embedded(model, whole)[0, others].max()) > 0


def test_no_rationale_token_reaches_the_class_logits() -> None:
    model, examples = make_model("llama").eval(), longest_first()
    changed = [replace(row, continuation_ids=[5] * len(row.continuation_ids)) for row in examples]
    with torch.no_grad():
        logits = [model(batch_of(some, 1)).logits_BC for some in (examples, changed)]
    torch.testing.assert_close(*logits, atol=0, rtol=0)


def test_a_row_without_it_beside_one_with_it_sees_all_of_its_input() -> None:
    model, examples = make_model("mistral").eval(), longest_first()[:2]
    mixed = collate(
        examples, pad_token_id=0, num_labels=NUM_LABELS, lm_targets="continuation", visible_input_tokens=[None, 1]
    )
    assert mixed.target_BT is not None
    with torch.no_grad():
        both = model.hidden_states(mixed)
        for row, visible in enumerate((None, 1)):
            alone = batch_of(examples[row : row + 1], visible)
            length = int(alone.attention_mask_BT.sum())
            torch.testing.assert_close(both[row, :length], model.hidden_states(alone)[0], atol=1e-5, rtol=1e-5)
    assert (mixed.target_BT[0] != IGNORE).any()


def test_share_and_start_are_a_pure_function_of_seed_epoch_and_row() -> None:
    narrow = Bottleneck(num_tokens=2, share=0.5, first_update=3)
    draw = lambda **changed: narrow.visible(range(400), **{"seed": 0, "epoch": 1, "update": 3} | changed)  # noqa: E731
    assert draw() == draw(update=9) and set(draw()) == {2, None}
    assert draw(epoch=2) != draw() != draw(seed=1)
    assert 150 < sum(count == 2 for count in draw()) < 250
    assert set(draw(update=2)) == {None}
    assert narrow.visible([7, 3], seed=0, epoch=1, update=3) == [draw()[7], draw()[3]]
    assert set(replace(narrow, share=1.0).visible(range(9), seed=0, epoch=0, update=3)) == {2}


def test_mean_pooling_refuses_it() -> None:
    with pytest.raises(ValueError, match="pooling: last"):
        ModelSettings(reasoning_bottleneck=True, pooling="mean")


def test_the_pooled_baseline_is_untouched_by_it() -> None:
    settings = LossSettings(reasoning_weight=0)
    assert make_model("llama", loss=settings, reasoning_bottleneck=True).loss_settings.names == ("classification",)
