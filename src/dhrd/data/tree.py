"""Packs of rows as tensors, and the masks by which each row sees its own tokens alone.

A pack's token sees the tokens that come before it in its row, wherever they lie in the pack. A layer with a sliding
window sees those of them that are near by position, not by place. So each kind of layer gets a mask of its own,
positions are given, and no cache is needed: hidden states equal those of each row alone.

Shape legend beyond `data/records.py`: P prefix tokens, N rows of the inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dhrd.data.prefixes import Pack


@dataclass(frozen=True, slots=True)
class TreeBatch:
    """Packs side by side, padded to the longest.

    Args:
        rows: Index of each row among the inputs, N in all.
        input_ids_BT: One pack a row.
        position_ids_BT: Each token's place in its own row.
        visible_BTK: Which keys a token may see, K = P + T.
        path_N: For each row the places of its tokens in its pack, without those of the prefix.
        pack_N: Which pack it lies in.
        num_prefix_tokens: P.
    """

    rows: list[int]
    input_ids_BT: Tensor
    position_ids_BT: Tensor
    visible_BTK: Tensor
    path_N: list[np.ndarray]
    pack_N: list[int]
    num_prefix_tokens: int = 0


def lay_out(
    packs: Sequence[Pack], input_ids: Sequence[Sequence[int]], *, pad_token_id: int, num_prefix_tokens: int = 0
) -> TreeBatch:
    """The tensors of packs, on the CPU.

    Args:
        packs: Of one group, or standing alone.
        input_ids: Tokens of all inputs.
        pad_token_id: Fills up.
        num_prefix_tokens: P of the packs' group.
    """
    width, before = max(pack.num_tokens for pack in packs), num_prefix_tokens
    ids_BT = np.full((len(packs), width), pad_token_id, dtype=np.int64)
    position_BT = np.zeros((len(packs), width), dtype=np.int64)
    visible_BTK = np.zeros((len(packs), width, before + width), dtype=bool)
    places = np.arange(width)
    visible_BTK[:, places, before + places] = True  # padding sees itself: a softmax over nothing is NaN
    rows: list[int] = []
    paths: list[np.ndarray] = []
    owners: list[int] = []
    for index, pack in enumerate(packs):
        path, end = np.empty(0, dtype=np.int64), 0
        for row, shared in zip(pack.rows, pack.shared, strict=True):
            tokens = input_ids[row]
            first, end = end, end + len(tokens) - shared
            path = np.concatenate([path[: shared - before], places[first:end]])
            ids_BT[index, first:end] = tokens[shared:]
            position_BT[index, first:end] = np.arange(shared, len(tokens))
            visible_BTK[index, first:end, :before] = True
            visible_BTK[index, first:end, before + path[: shared - before]] = True
            visible_BTK[index, first:end, before + first : before + end] = np.tri(end - first, dtype=bool)
            rows.append(row)
            paths.append(path)
            owners.append(index)
    return TreeBatch(
        rows=rows,
        input_ids_BT=torch.from_numpy(ids_BT),
        position_ids_BT=torch.from_numpy(position_BT),
        visible_BTK=torch.from_numpy(visible_BTK),
        path_N=paths,
        pack_N=owners,
        num_prefix_tokens=before,
    )
