"""Pooling over the input span alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dhrd.data.collate import collate, pad_inputs
from dhrd.data.prefixes import Pack
from dhrd.data.records import EncodedExample
from dhrd.data.tree import as_tree, lay_out
from dhrd.errors import ModelError
from dhrd.model.pooling import POOLERS, Pooler, pool, pool_rows, pooler, states_at

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


LAID_OUT = [[1, 2, 3], [1, 2, 4, 5], [9]]
PACKS = [Pack((0, 1), (0, 2), 5), Pack((2,), (0,), 1)]


@pytest.mark.parametrize(("name", "expected"), [("last", [[2.0], [4.0], [10.0]]), ("mean", [[1.0], [2.0], [10.0]])])
def test_pooling_follows_each_rows_path_in_a_tree(name: str, expected: list[list[float]]) -> None:
    hidden = torch.tensor([[0.0, 1.0, 2.0, 3.0, 4.0], [10.0, 7.0, 7.0, 7.0, 7.0]])[..., None]
    tree = lay_out(PACKS, LAID_OUT, pad_token_id=0)
    assert pool_rows(hidden, tree.place_BT, POOLERS[name]).tolist() == expected


def test_a_pooling_over_all_tokens_takes_those_of_the_prefix_too() -> None:
    tree = lay_out([Pack((0, 1), (2, 2), 3)], LAID_OUT, pad_token_id=0, num_prefix_tokens=2)
    hidden_SWD, prefix_PD = torch.tensor([[[1.0], [2.0], [3.0]]]), torch.tensor([[8.0], [4.0]])
    greatest = Pooler(reduce=lambda hidden, inside: hidden.masked_fill(~inside[..., None], -1e9).amax(1))
    assert pool_rows(hidden_SWD, tree.place_BT, greatest, prefix_PD).tolist() == [[8.0], [8.0]]
    assert pool_rows(hidden_SWD, tree.place_BT, greatest).tolist() == [[1.0], [3.0]]


@pytest.mark.parametrize(("name", "expected"), [("last", [[1.0], [2.0]]), ("mean", [[0.5], [1.0]])])
def test_in_a_tree_too_the_input_alone_is_pooled(name: str, expected: list[list[float]]) -> None:
    rows = [
        EncodedExample(id="short", input_ids=[1, 2], continuation_ids=[3, 4], label=(0,)),
        EncodedExample(id="long", input_ids=[1, 2, 3], continuation_ids=[5], label=(0,)),
    ]
    batch = as_tree(collate(rows, pad_token_id=0, num_labels=1), [Pack((0, 1), (0, 3), 5)], pad_token_id=0)
    hidden = torch.arange(5.0)[None, :, None]
    assert pool(hidden, batch, name).tolist() == expected  # type: ignore[arg-type]
    assert states_at(hidden, batch, torch.tensor([3, 3])).tolist() == [[3.0], [4.0]]
