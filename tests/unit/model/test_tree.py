"""Each row's vector from its own tokens alone, wherever they lie in a pack."""

from __future__ import annotations

import pytest
import torch

from dhrd.data.prefixes import Pack
from dhrd.data.tree import lay_out
from dhrd.model.pooling import POOLERS, Pooler
from dhrd.model.tree import pool_rows

ROWS = [[1, 2, 3], [1, 2, 4, 5], [9]]
PACKS = [Pack((0, 1), (0, 2), 5), Pack((2,), (0,), 1)]


@pytest.mark.parametrize(("name", "expected"), [("last", [[2.0], [4.0], [10.0]]), ("mean", [[1.0], [2.0], [10.0]])])
def test_pooling_follows_each_rows_path(name: str, expected: list[list[float]]) -> None:
    hidden = torch.tensor([[0.0, 1.0, 2.0, 3.0, 4.0], [10.0, 7.0, 7.0, 7.0, 7.0]])[..., None]
    pooled = pool_rows(hidden, lay_out(PACKS, ROWS, pad_token_id=0), POOLERS[name])
    assert pooled.tolist() == expected


def test_a_pooling_over_all_tokens_takes_those_of_the_prefix_too() -> None:
    batch = lay_out([Pack((0, 1), (2, 2), 3)], ROWS, pad_token_id=0, num_prefix_tokens=2)
    hidden_BTD, prefix_PD = torch.tensor([[[1.0], [2.0], [3.0]]]), torch.tensor([[8.0], [4.0]])
    greatest = Pooler(reduce=lambda hidden, inside: hidden.masked_fill(~inside[..., None], -1e9).amax(1))
    assert pool_rows(hidden_BTD, batch, greatest, prefix_PD).tolist() == [[8.0], [8.0]]
    assert pool_rows(hidden_BTD, batch, greatest).tolist() == [[1.0], [3.0]]
