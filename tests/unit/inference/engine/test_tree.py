"""Packs as tensors, told by hand: each row sees its own tokens alone."""

from __future__ import annotations

import pytest
import torch

from dhrd.inference.engine.prefixes import Pack
from dhrd.inference.engine.tree import lay_out, pool_rows
from dhrd.model.pooling import POOLERS, Pooler

ROWS = [[1, 2, 3], [1, 2, 4, 5], [9]]
PACKS = [Pack((0, 1), (0, 2), 5), Pack((2,), (0,), 1)]


def test_a_shared_token_lies_there_once() -> None:
    batch = lay_out(PACKS, ROWS, pad_token_id=0)
    assert batch.rows == [0, 1, 2]
    assert batch.input_ids_BT.tolist() == [[1, 2, 3, 4, 5], [9, 0, 0, 0, 0]]
    assert batch.position_ids_BT.tolist() == [[0, 1, 2, 2, 3], [0, 0, 0, 0, 0]]
    assert [path.tolist() for path in batch.path_N] == [[0, 1, 2], [0, 1, 3, 4], [0]]
    assert batch.pack_N == [0, 0, 1]
    assert batch.visible_BTK[0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 0, 1, 0],  # the second row does not see the first row's 3
        [1, 1, 0, 1, 1],
    ]
    assert torch.equal(batch.visible_BTK[1], torch.eye(5, dtype=torch.bool))  # padding sees itself


def test_after_a_prefix_all_of_it_is_seen() -> None:
    batch = lay_out([Pack((0, 1), (2, 2), 3)], ROWS, pad_token_id=0, num_prefix_tokens=2)
    assert batch.input_ids_BT.tolist() == [[3, 4, 5]]
    assert batch.position_ids_BT.tolist() == [[2, 2, 3]]
    assert batch.visible_BTK[0].int().tolist() == [[1, 1, 1, 0, 0], [1, 1, 0, 1, 0], [1, 1, 0, 1, 1]]


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
