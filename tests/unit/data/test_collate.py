"""From encoded rows to a batch: shapes, padding on either side, targets."""

from __future__ import annotations

import pytest
import torch

from dhrd.data.collate import as_ghost, collate, pad_inputs
from dhrd.data.records import IGNORE, EncodedExample

PAD = 0
ROWS = [
    EncodedExample(id="long", input_ids=[11, 12, 13], continuation_ids=[21, 22], label=(1,)),
    EncodedExample(id="bare", input_ids=[14, 15], continuation_ids=[], label=(0,)),
    EncodedExample(id="short", input_ids=[16], continuation_ids=[23, PAD], label=(2,)),
]
_ = IGNORE


def test_rows_are_padded_on_the_right_to_the_longest() -> None:
    batch = collate(ROWS, pad_token_id=PAD, num_labels=3)
    assert batch.ids == ("long", "bare", "short")
    assert batch.input_ids_BT.tolist() == [[11, 12, 13, 21, 22], [14, 15, 0, 0, 0], [16, 23, 0, 0, 0]]
    assert batch.attention_mask_BT.int().tolist() == [[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0]]
    assert batch.position_ids_BT.tolist() == [[0, 1, 2, 3, 4], [0, 1, 0, 0, 0], [0, 1, 2, 0, 0]]
    assert batch.pool_start_B.tolist() == [0, 0, 0]
    assert batch.pool_index_B.tolist() == [2, 1, 0]


def test_rows_are_padded_on_the_left() -> None:
    batch = collate(ROWS, pad_token_id=PAD, num_labels=3, padding_side="left")
    assert batch.input_ids_BT.tolist() == [[11, 12, 13, 21, 22], [0, 0, 0, 14, 15], [0, 0, 16, 23, 0]]
    assert batch.attention_mask_BT.int().tolist() == [[1, 1, 1, 1, 1], [0, 0, 0, 1, 1], [0, 0, 1, 1, 1]]
    assert batch.position_ids_BT.tolist() == [[0, 1, 2, 3, 4], [0, 0, 0, 0, 1], [0, 0, 0, 1, 2]]
    assert batch.pool_start_B.tolist() == [0, 3, 2]
    assert batch.pool_index_B.tolist() == [2, 4, 2]


def test_targets_are_the_next_token_of_every_row_with_a_continuation() -> None:
    batch = collate(ROWS, pad_token_id=PAD, num_labels=3)
    assert batch.target_BT is not None
    # the last target of `short` is an end token that is also the padding token: it is a target all the same
    assert batch.target_BT.tolist() == [[12, 13, 21, 22, _], [_, _, _, _, _], [23, PAD, _, _, _]]


def test_targets_of_the_continuation_alone() -> None:
    batch = collate(ROWS, pad_token_id=PAD, num_labels=3, lm_targets="continuation")
    assert batch.target_BT is not None
    assert batch.target_BT.tolist() == [[_, _, 21, 22, _], [_, _, _, _, _], [23, PAD, _, _, _]]


@pytest.mark.parametrize("lm_targets", ["all", "continuation"])
def test_targets_are_the_same_on_either_side(lm_targets: str) -> None:
    sides = [
        collate(ROWS, pad_token_id=PAD, num_labels=3, lm_targets=lm_targets, padding_side=side)  # type: ignore[arg-type]
        for side in ("right", "left")
    ]
    pairs = []
    for batch in sides:
        assert batch.target_BT is not None
        where = batch.target_BT != IGNORE
        pairs.append((batch.input_ids_BT[where].tolist(), batch.target_BT[where].tolist()))
    assert pairs[0] == pairs[1]
    assert len(pairs[0][0]) == {"all": 6, "continuation": 4}[lm_targets]


def test_labels_are_one_hot_and_several_are_multi_hot() -> None:
    batch = collate(ROWS, pad_token_id=PAD, num_labels=3)
    assert batch.label_BC is not None
    assert batch.label_BC.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]
    several = [
        EncodedExample(id="two", input_ids=[1], continuation_ids=[], label=(0, 2)),
        EncodedExample(id="none", input_ids=[1], continuation_ids=[], label=()),
    ]
    batch = collate(several, pad_token_id=PAD, num_labels=3)
    assert batch.label_BC is not None
    assert batch.label_BC.tolist() == [[1, 0, 1], [0, 0, 0]]
    assert batch.label_BC.dtype == torch.float32


def test_kinds_of_numbers() -> None:
    batch = collate(ROWS, pad_token_id=PAD, num_labels=3)
    assert batch.row_weight_B is not None
    assert batch.target_BT is not None
    assert batch.row_weight_B.tolist() == [1, 1, 1]
    assert batch.attention_mask_BT.dtype == torch.bool
    for tensor in (batch.input_ids_BT, batch.position_ids_BT, batch.pool_start_B, batch.pool_index_B, batch.target_BT):
        assert tensor.dtype == torch.long


def test_of_inputs_alone_there_is_nothing_to_learn() -> None:
    batch = pad_inputs([row.input_ids for row in ROWS], pad_token_id=PAD)
    assert batch.input_ids_BT.tolist() == [[11, 12, 13], [14, 15, 0], [16, 0, 0]]
    assert batch.target_BT is batch.label_BC is batch.row_weight_B is None
    assert batch.pool_index_B.tolist() == [2, 1, 0]


def test_ghost_rows_count_for_nothing() -> None:
    real = collate(ROWS, pad_token_id=PAD, num_labels=3)
    ghost = as_ghost(real)
    assert ghost.target_BT is not None
    assert ghost.row_weight_B is not None
    assert (ghost.target_BT == IGNORE).all()
    assert ghost.num_tokens == 0 < real.num_tokens
    assert ghost.row_weight_B.tolist() == [0, 0, 0]
    assert torch.equal(ghost.input_ids_BT, real.input_ids_BT), "they are run like any row"


def test_the_padding_token_is_only_a_filler() -> None:
    one, other = (collate(ROWS, pad_token_id=pad, num_labels=3) for pad in (PAD, 99))
    assert torch.equal(one.attention_mask_BT, other.attention_mask_BT)
    assert torch.equal(one.input_ids_BT[one.attention_mask_BT], other.input_ids_BT[other.attention_mask_BT])
    assert (other.input_ids_BT[~other.attention_mask_BT] == 99).all()
