"""Packs as tensors, told by hand: each row sees its own tokens alone."""

from __future__ import annotations

import torch

from dhrd.data.prefixes import Pack
from dhrd.data.tree import lay_out

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
