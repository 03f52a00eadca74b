"""Packs of rows as tensors, and the masks by which each row sees its own tokens alone.

A pack's token sees the tokens that come before it in its row, wherever they lie in the pack. A layer with a sliding
window sees those of them that are near by position, not by place. So each kind of layer gets a mask of its own,
positions are given, and no cache is needed: hidden states equal those of each row alone.

Shape legend beyond `data/records.py`: P prefix tokens, N rows of the inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from dhrd.inference.engine.prefixes import Pack
from dhrd.model.masks import layer_masks
from dhrd.model.pooling import Pooler

if TYPE_CHECKING:
    from transformers import PreTrainedModel


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


def hidden_states(body: PreTrainedModel, batch: TreeBatch, cache: Any = None) -> Tensor:
    """Last hidden states of packs, (B, T, D); with `cache`, after the prefix whose keys and values it holds."""
    position_BT = batch.position_ids_BT.to(body.device)
    prefix = torch.arange(batch.num_prefix_tokens, device=body.device).expand(len(position_BT), -1)
    visible_BTK, key_position_BK = batch.visible_BTK.to(body.device), torch.cat([prefix, position_BT], 1)
    output = body(
        input_ids=batch.input_ids_BT.to(body.device),
        attention_mask=layer_masks(
            visible_BTK, position_BT, key_position_BK, body.config.get_text_config(), body.dtype
        ),
        position_ids=position_BT,
        past_key_values=cache,
        use_cache=cache is not None,
    )
    return output.last_hidden_state


def pool_rows(hidden_BTD: Tensor, batch: TreeBatch, pooler: Pooler, prefix_PD: Tensor | None = None) -> Tensor:
    """One vector for each row, (N, D), in the order of `batch.rows`.

    Args:
        hidden_BTD: Of the packs.
        batch: Says where each row's tokens lie.
        pooler: What is made of a row's tokens.
        prefix_PD: Hidden states of the prefix, where a row's last token does not decide alone.
    """
    if pooler.reads_last_alone:
        return hidden_BTD[batch.pack_N, [int(path[-1]) for path in batch.path_N]]
    pooled: list[Tensor] = []
    for pack, path in zip(batch.pack_N, batch.path_N, strict=True):
        own_TD = hidden_BTD[pack, torch.from_numpy(path).to(hidden_BTD.device)]
        row_TD = own_TD if prefix_PD is None else torch.cat([prefix_PD, own_TD])
        pooled.append(pooler.reduce(row_TD[None], torch.ones(1, len(row_TD), dtype=torch.bool, device=row_TD.device)))
    return torch.cat(pooled)
