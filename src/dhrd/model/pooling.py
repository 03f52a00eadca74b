"""From the hidden states of a sequence to one vector for its input."""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from dhrd.data.records import Batch
from dhrd.model.masks import layer_masks, visible_tokens

Pooling = Literal["last", "mean"]


def last_hidden_states(body: Any, batch: Batch) -> Float[Tensor, "B T D"]:
    """Last hidden states, after the final norm: what both heads read.

    Args:
        body: The backbone without LM head.
        batch: Inputs, with or without what follows them.
    """
    position_BT = batch.position_ids_BT
    mask: Any = batch.attention_mask_BT.long()
    if batch.visible_from_B is not None:
        config = body.config.get_text_config()
        mask = layer_masks(visible_tokens(batch), position_BT, position_BT, config, body.dtype)
    output = body(
        input_ids=batch.input_ids_BT,
        attention_mask=mask,
        position_ids=position_BT,
        use_cache=False,
    )
    return output.last_hidden_state


def pool(hidden_BTD: Float[Tensor, "B T D"], batch: Batch, pooling: Pooling) -> Float[Tensor, "B D"]:
    """Pool over the input span alone; positions come with the batch and are never guessed from the padding token.

    Args:
        hidden_BTD: Last hidden states of the whole sequences.
        batch: Says where each input begins and ends.
        pooling: `last`: the input's last token (paper). `mean`: all of its tokens.
    """
    rows = torch.arange(len(hidden_BTD), device=hidden_BTD.device)
    if pooling == "last":
        return hidden_BTD[rows, batch.pool_index_B]
    positions = torch.arange(hidden_BTD.shape[1], device=hidden_BTD.device)
    inside_BT = (positions >= batch.pool_start_B[:, None]) & (positions <= batch.pool_index_B[:, None])
    summed_BD = (hidden_BTD.float() * inside_BT[..., None]).sum(1)
    return (summed_BD / inside_BT.sum(1, keepdim=True)).to(hidden_BTD.dtype)
