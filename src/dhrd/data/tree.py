"""Packs of rows as tensors, and the masks by which each row sees its own tokens alone.

A pack's token sees the tokens before it in its row, wherever they are in the pack. A layer with a sliding
window sees those of them that are near by position, not by place. So each kind of layer gets a mask of its own
(`model/masks.py`), positions are given, and no cache is needed: hidden states equal those of each row alone, and so do
gradients, where each target counts for the rows that share it (Tree Training, arXiv 2511.00413, section 3).

Shape legend beyond `data/records.py`: P prefix tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from dhrd.data.prefixes import Pack
from dhrd.data.records import IGNORE, Batch, Tree


def lay_out(
    packs: Sequence[Pack], input_ids: Sequence[Sequence[int]], *, pad_token_id: int, num_prefix_tokens: int = 0
) -> Tree:
    """The tensors of packs, on the CPU; their rows in the order of the packs.

    Args:
        packs: Packs of one group, or without a group.
        input_ids: Tokens of all inputs.
        pad_token_id: Token for padding.
        num_prefix_tokens: P of the packs' group; these tokens have no place.
    """
    width, before = max(pack.num_tokens for pack in packs), num_prefix_tokens
    ids_SW = np.full((len(packs), width), pad_token_id, dtype=np.int64)
    position_SW = np.zeros((len(packs), width), dtype=np.int64)
    visible_SWK = np.zeros((len(packs), width, before + width), dtype=bool)
    places = np.arange(width)
    visible_SWK[:, places, before + places] = True  # padding sees itself: a softmax over nothing is NaN
    place_BT = np.full((sum(len(pack.rows) for pack in packs), _longest(packs, input_ids) - before), -1, dtype=np.int64)
    of_rows = iter(place_BT)
    for index, pack in enumerate(packs):
        path, end = np.empty(0, dtype=np.int64), 0
        for row, shared in zip(pack.rows, pack.shared, strict=True):
            tokens = input_ids[row]
            first, end = end, end + len(tokens) - shared
            path = np.concatenate([path[: shared - before], places[first:end]])
            ids_SW[index, first:end] = tokens[shared:]
            position_SW[index, first:end] = np.arange(shared, len(tokens))
            visible_SWK[index, first:end, :before] = True
            visible_SWK[index, first:end, before + path[: shared - before]] = True
            visible_SWK[index, first:end, before + first : before + end] = np.tri(end - first, dtype=bool)
            next(of_rows)[: len(path)] = index * width + path
    return Tree(
        input_ids_SW=torch.from_numpy(ids_SW),
        position_ids_SW=torch.from_numpy(position_SW),
        visible_SWK=torch.from_numpy(visible_SWK),
        place_BT=torch.from_numpy(place_BT),
    )


def as_tree(batch: Batch, packs: Sequence[Pack], *, pad_token_id: int) -> Batch:
    """A batch that is run in packs; the data of its rows are unchanged.

    Args:
        batch: A batch with targets, padded on the right, with rows in the order of the packs.
        packs: Packs of all its rows, by their index in the batch.
        pad_token_id: Token for padding.
    """
    assert batch.target_BT is not None
    lengths = batch.attention_mask_BT.sum(1).tolist()
    rows = [ids_T[:length].tolist() for ids_T, length in zip(batch.input_ids_BT, lengths, strict=True)]
    tree = lay_out(packs, rows, pad_token_id=pad_token_id)
    taught_BT = batch.target_BT != IGNORE
    # Where the rows part, one token has several targets; what several rows have in common is one pair.
    pairs = torch.stack([tree.place_BT[taught_BT], batch.target_BT[taught_BT]])
    (place_N, target_N), count_N = pairs.unique(dim=1, return_counts=True)
    return replace(
        batch,
        tree=replace(tree, target_place_N=place_N, target_N=target_N, target_count_N=count_N.float()),
    )


def _longest(packs: Sequence[Pack], input_ids: Sequence[Sequence[int]]) -> int:
    return max(len(input_ids[row]) for pack in packs for row in pack.rows)
