"""From the hidden states of sequences to one vector for each input.

Shape legend beyond `data/records.py`: P prefix tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dhrd.config.model import Pooling
from dhrd.data.records import Batch, Tree
from dhrd.errors import ModelError
from dhrd.model.masks import layer_masks
from dhrd.model.tree_attention import blockwise, in_blocks

States = Float[Tensor, "B T D"]
LaidOut = Float[Tensor, "S W D"]
"""Hidden states of the sequences as run; S W is B T if nothing is shared."""


def last_hidden_states(body: Any, batch: Batch) -> LaidOut:
    """Last hidden states, after the final norm: what both heads read.

    Args:
        body: The backbone without LM head.
        batch: Inputs, with or without what follows them.
    """
    if batch.tree is not None:
        return tree_states(body, batch.tree)
    output = body(
        input_ids=batch.input_ids_BT,
        attention_mask=batch.attention_mask_BT.long(),
        position_ids=batch.position_ids_BT,
        use_cache=False,
    )
    return output.last_hidden_state


def tree_states(body: Any, tree: Tree, cache: Any = None) -> LaidOut:
    """Last hidden states of rows that are laid out as trees.

    Args:
        body: The backbone without LM head, on the tree's device.
        tree: See `data/tree.py`.
        cache: Keys and values of the prefix before the tree, if it has one.
    """
    position_SW = tree.position_ids_SW
    num_before = tree.visible_SWK.shape[2] - position_SW.shape[1]
    before_SP = torch.arange(num_before, device=position_SW.device).expand(len(position_SW), -1)
    key_position_SK = torch.cat([before_SP, position_SW], 1)
    config = body.config.get_text_config()
    masks = layer_masks(tree.visible_SWK, position_SW, key_position_SK, config, body.dtype)
    with blockwise(config, masks) if torch.is_grad_enabled() and in_blocks(body) else nullcontext():
        output = body(
            input_ids=tree.input_ids_SW,
            attention_mask=masks,
            position_ids=position_SW,
            past_key_values=cache,
            use_cache=cache is not None,
        )
    return output.last_hidden_state


def states_at(hidden_SWD: LaidOut, batch: Batch, index_B: Int[Tensor, "B"]) -> Float[Tensor, "B D"]:
    """One hidden state of each row.

    Args:
        hidden_SWD: Hidden states from `last_hidden_states`.
        batch: Has the places of the rows' tokens.
        index_B: The token's position in the row.
    """
    rows_B = torch.arange(len(index_B), device=index_B.device)
    if batch.tree is None:
        return hidden_SWD[rows_B, index_B]
    return hidden_SWD.flatten(0, 1)[batch.tree.place_BT[rows_B, index_B]]


def row_states(hidden_SWD: LaidOut, batch: Batch) -> States:
    """All hidden states of each row; those beyond a row's end are arbitrary.

    Args:
        hidden_SWD: Hidden states of the sequences as run, after any layer.
        batch: Has the places of the rows' tokens.
    """
    if batch.tree is None:
        return hidden_SWD
    return hidden_SWD.flatten(0, 1)[batch.tree.place_BT.clamp(min=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooler:
    """One way to make a vector of an input.

    Args:
        reduce: Maps hidden states and a mask of the input's tokens, (B, T), to (B, D).
        reads_last_alone: Whether only the last token's state is needed, so that the others need not be kept.
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
"""A further pooling is a function, a line here, and its name in `config/model.py`."""


def pooler(pooling: str) -> Pooler:
    """The pooler with this name.

    Raises:
        ModelError: There is no such pooling.
    """
    if pooling not in POOLERS:
        raise ModelError(f"model.pooling: {pooling}: unknown; give one of {', '.join(POOLERS)}")
    return POOLERS[pooling]


def pool(hidden_SWD: LaidOut, batch: Batch, pooling: Pooling) -> Float[Tensor, "B D"]:
    """Pool over the input span alone; positions come with the batch and are never guessed from the padding token.

    Args:
        hidden_SWD: Last hidden states of the whole sequences.
        batch: Has the start and end of each input.
        pooling: A key of `POOLERS`.

    Raises:
        ModelError: There is no such pooling.
    """
    places_T = _places(batch.input_ids_BT)
    inside_BT = (places_T >= batch.pool_start_B[:, None]) & (places_T <= batch.pool_index_B[:, None])
    if batch.tree is None:
        return pooler(pooling).reduce(hidden_SWD, inside_BT)
    return pool_rows(hidden_SWD, batch.tree.place_BT.masked_fill(~inside_BT, -1), pooler(pooling))


def pool_rows(
    hidden_SWD: Tensor, place_BT: Tensor, pooler: Pooler, prefix_PD: Tensor | None = None
) -> Float[Tensor, "B D"]:
    """Pool each row over tokens at any places.

    Args:
        hidden_SWD: Hidden states of trees.
        place_BT: Places of the pooled tokens, as in `Tree.place_BT`; -1: no token.
        pooler: The pooling to apply.
        prefix_PD: Hidden states of the prefix, if the pooling reads more than a row's last token.
    """
    states = hidden_SWD.flatten(0, 1)
    if pooler.reads_last_alone:
        return states[place_BT.amax(1)]
    pooled: list[Tensor] = []
    for place_T in place_BT:
        own_TD = states[place_T[place_T >= 0]]
        row_TD = own_TD if prefix_PD is None else torch.cat([prefix_PD, own_TD])
        pooled.append(pooler.reduce(row_TD[None], torch.ones(1, len(row_TD), dtype=torch.bool, device=row_TD.device)))
    return torch.cat(pooled)


def _places(x_BT: Tensor) -> Tensor:
    return torch.arange(x_BT.shape[1], device=x_BT.device)
