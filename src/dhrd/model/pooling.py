"""From the hidden states of a sequence to one vector for its input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dhrd.config.schema import Pooling
from dhrd.data.records import Batch
from dhrd.errors import ModelError
from dhrd.model.masks import layer_masks, visible_tokens

States = Float[Tensor, "B T D"]


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
    output = body(input_ids=batch.input_ids_BT, attention_mask=mask, position_ids=position_BT, use_cache=False)
    return output.last_hidden_state


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooler:
    """One way to make a vector of an input.

    Args:
        reduce: From hidden states and which of them are the input's own, (B, T), to (B, D).
        reads_last_alone: The input's last token decides: nobody need keep the others' states for it.
    """

    reduce: Callable[[States, Bool[Tensor, "B T"]], Float[Tensor, "B D"]]
    reads_last_alone: bool = False


def _last(hidden_BTD: States, inside_BT: Bool[Tensor, "B T"]) -> Float[Tensor, "B D"]:
    """The input's last token (paper)."""
    rows_B, places_T = torch.arange(len(hidden_BTD), device=hidden_BTD.device), _places(hidden_BTD)
    return hidden_BTD[rows_B, (places_T * inside_BT).amax(1)]


def _mean(hidden_BTD: States, inside_BT: Bool[Tensor, "B T"]) -> Float[Tensor, "B D"]:
    """All of the input's tokens, summed in fp32."""
    summed_BD = (hidden_BTD.float() * inside_BT[..., None]).sum(1)
    return (summed_BD / inside_BT.sum(1, keepdim=True)).to(hidden_BTD.dtype)


POOLERS: dict[str, Pooler] = {"last": Pooler(reduce=_last, reads_last_alone=True), "mean": Pooler(reduce=_mean)}
"""A further pooling is a function, a line here, and its name in `config/schema.py`."""


def pooler(pooling: str) -> Pooler:
    """What a pooling does.

    Raises:
        ModelError: There is none of that name.
    """
    if pooling not in POOLERS:
        raise ModelError(f"model.pooling: {pooling}: unknown; give one of {', '.join(POOLERS)}")
    return POOLERS[pooling]


def pool(hidden_BTD: States, batch: Batch, pooling: Pooling) -> Float[Tensor, "B D"]:
    """Pool over the input span alone; positions come with the batch and are never guessed from the padding token.

    Args:
        hidden_BTD: Last hidden states of the whole sequences.
        batch: Says where each input begins and ends.
        pooling: A key of `POOLERS`.

    Raises:
        ModelError: It is none.
    """
    places_T = _places(hidden_BTD)
    inside_BT = (places_T >= batch.pool_start_B[:, None]) & (places_T <= batch.pool_index_B[:, None])
    return pooler(pooling).reduce(hidden_BTD, inside_BT)


def _places(hidden_BTD: States) -> Tensor:
    return torch.arange(hidden_BTD.shape[1], device=hidden_BTD.device)
