"""Pooling over the input span alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dhrd.data.collate import collate, pad_inputs
from dhrd.data.records import EncodedExample
from dhrd.errors import ModelError
from dhrd.model.pooling import POOLERS, pool, pooler

PAD = 9
ROWS = [
    EncodedExample(id="pad inside and at its end", input_ids=[1, PAD, PAD], continuation_ids=[5, 6], label=(0,)),
    EncodedExample(id="bare", input_ids=[2, 3], continuation_ids=[], label=(0,)),
    EncodedExample(id="one token", input_ids=[4], continuation_ids=[7, 8, PAD, PAD], label=(0,)),
]


def states(padding_side: str) -> tuple[Tensor, object]:
    """Each position's state is (row, position within the row), so that a mean can be told by hand."""
    batch = collate(ROWS, pad_token_id=PAD, num_labels=1, padding_side=padding_side)
    row = torch.arange(len(ROWS))[:, None].expand_as(batch.position_ids_BT)
    noise = torch.where(batch.attention_mask_BT, 0.0, float("nan"))  # padding must not be touched
    return torch.stack([row + noise, batch.position_ids_BT + noise], dim=2), batch


@pytest.mark.parametrize("padding_side", ["right", "left"])
def test_last_is_the_inputs_last_token(padding_side: str) -> None:
    hidden, batch = states(padding_side)
    assert pool(hidden, batch, "last").tolist() == [[0, 2], [1, 1], [2, 0]]


@pytest.mark.parametrize("padding_side", ["right", "left"])
def test_mean_is_over_the_input(padding_side: str) -> None:
    hidden, batch = states(padding_side)
    assert pool(hidden.nan_to_num(1e6), batch, "mean").tolist() == [[0, 1], [1, 0.5], [2, 0]]


def test_the_mean_of_half_precision_states_is_summed_in_fp32() -> None:
    hidden = torch.full((1, 3000, 1), 1.0, dtype=torch.bfloat16)
    pooled = pool(hidden, pad_inputs([[1] * 3000], pad_token_id=PAD), "mean")
    assert pooled.dtype == torch.bfloat16
    assert pooled.item() == 1.0  # a bf16 sum of ones stops at 256


def test_an_unknown_pooling_is_refused() -> None:
    assert all(pooler(name) is POOLERS[name] for name in ("last", "mean"))
    with pytest.raises(ModelError, match=r"model\.pooling: max: unknown; give one of last, mean"):
        pooler("max")
