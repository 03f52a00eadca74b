"""Packs as tensors, told by hand: each row sees its own tokens alone."""

from __future__ import annotations

import torch

from dhrd.data.collate import collate
from dhrd.data.prefixes import Pack
from dhrd.data.records import EncodedExample
from dhrd.data.tree import as_tree, lay_out

ROWS = [[1, 2, 3], [1, 2, 4, 5], [9]]
PACKS = [Pack((0, 1), (0, 2), 5), Pack((2,), (0,), 1)]


def test_a_shared_token_lies_there_once() -> None:
    tree = lay_out(PACKS, ROWS, pad_token_id=0)
    assert tree.input_ids_SW.tolist() == [[1, 2, 3, 4, 5], [9, 0, 0, 0, 0]]
    assert tree.position_ids_SW.tolist() == [[0, 1, 2, 2, 3], [0, 0, 0, 0, 0]]
    assert tree.place_BT.tolist() == [[0, 1, 2, -1], [0, 1, 3, 4], [5, -1, -1, -1]]
    assert tree.visible_SWK[0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 0, 1, 0],  # the second row does not see the first row's 3
        [1, 1, 0, 1, 1],
    ]
    assert torch.equal(tree.visible_SWK[1], torch.eye(5, dtype=torch.bool))  # padding sees itself


def test_after_a_prefix_all_of_it_is_seen() -> None:
    tree = lay_out([Pack((0, 1), (2, 2), 3)], ROWS, pad_token_id=0, num_prefix_tokens=2)
    assert tree.input_ids_SW.tolist() == [[3, 4, 5]]
    assert tree.position_ids_SW.tolist() == [[2, 2, 3]]
    assert tree.place_BT.tolist() == [[0, -1], [1, 2]]
    assert tree.visible_SWK[0].int().tolist() == [[1, 1, 1, 0, 0], [1, 1, 0, 1, 0], [1, 1, 0, 1, 1]]


EXAMPLES = [
    EncodedExample(id="a", input_ids=[1, 2], continuation_ids=[3, 4], label=(0,)),
    EncodedExample(id="b", input_ids=[1, 2], continuation_ids=[3, 5], label=(0,)),
]


def test_a_target_of_several_rows_stands_there_once_with_their_number() -> None:
    batch = collate(EXAMPLES, pad_token_id=0, num_labels=1)
    tree = as_tree(batch, [Pack((0, 1), (0, 3), 5)], pad_token_id=0).tree
    assert tree is not None and tree.target_place_N is not None
    assert tree.target_N is not None and tree.target_count_N is not None
    assert tree.input_ids_SW.tolist() == [[1, 2, 3, 4, 5]]
    targets = zip(tree.target_place_N.tolist(), tree.target_N.tolist(), tree.target_count_N.tolist(), strict=True)
    assert list(targets) == [(0, 2, 2), (1, 3, 2), (2, 4, 1), (2, 5, 1)]  # where the rows part, two targets


def test_a_tree_goes_to_a_device_with_its_batch() -> None:
    batch = as_tree(collate(EXAMPLES, pad_token_id=0, num_labels=1), [Pack((0, 1), (0, 3), 5)], pad_token_id=0)
    moved = batch.to("meta")
    assert moved.tree is not None and moved.tree.target_N is not None
    assert moved.input_ids_BT.device.type == moved.tree.target_N.device.type == "meta"
