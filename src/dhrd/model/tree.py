"""A backbone over packs of rows: hidden states of every token once, and one vector for each row.

Shape legend beyond `data/records.py`: P prefix tokens, N rows of the inputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dhrd.data.tree import TreeBatch
from dhrd.model.masks import layer_masks
from dhrd.model.pooling import Pooler

if TYPE_CHECKING:
    from transformers import PreTrainedModel


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
