"""Whether a model gives the same hidden states with shared text, checked on a few tokens beforehand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dhrd._text import message_of
from dhrd.data.collate import pad_inputs
from dhrd.data.prefixes import Pack
from dhrd.data.tree import lay_out
from dhrd.errors import is_out_of_memory
from dhrd.model.masks import why_no_masks
from dhrd.model.pooling import last_hidden_states, tree_states

if TYPE_CHECKING:
    from transformers import PreTrainedModel

States = Callable[["PreTrainedModel", Sequence[list[int]]], Sequence[Tensor]]

NUM_COMMON = 24
"""First tokens that the rows of the check have in common."""


def why_not_exact(body: PreTrainedModel, states: States | None = None) -> str:
    """What keeps a model from sharing text, in words; empty if nothing does.

    A family's attention may depend on what a mask cannot express: ALiBi, recurrent state, chunks.

    Args:
        body: The backbone without LM head.
        states: Maps the backbone and three rows with a common prefix to one vector per row, first separately, then in
            each way to check; None: laid out as a tree.
    """
    config = body.config.get_text_config()
    if reason := why_no_masks(config):
        return f"{type(body).__name__}: {reason}"
    try:
        with torch.autocast(body.device.type, enabled=False):  # rounding is no difference
            alone, *shared = [one.detach().float() for one in (states or _in_a_tree)(body, _rows(config.vocab_size))]
    except (RuntimeError, ValueError, TypeError, AttributeError, LookupError) as error:
        if is_out_of_memory(error):
            raise
        return f"{type(body).__name__} does not support it ({message_of(error)})"
    is_quantized = any(not parameter.is_floating_point() for parameter in body.parameters())
    tolerance = 1e-4 if body.dtype == torch.float32 and not is_quantized else 5e-2
    worst = max(float((one - alone).abs().max()) for one in shared) / float(alone.abs().max())
    return (
        f"{type(body).__name__} returns different hidden states with it (by {worst:.1g})"
        if not worst <= tolerance
        else ""
    )


def whole_pack(rows: Sequence[list[int]]) -> Pack:
    """The check's rows in one pack."""
    tokens = NUM_COMMON + sum(len(row) - NUM_COMMON for row in rows)
    return Pack((0, 1, 2), (0, NUM_COMMON, NUM_COMMON), tokens)


def _in_a_tree(body: PreTrainedModel, rows: Sequence[list[int]]) -> list[Tensor]:
    """With gradients, as in training, where attention may take another path."""
    apart = pad_inputs(rows, pad_token_id=0).to(body.device)
    tree = lay_out([whole_pack(rows)], rows, pad_token_id=0).to(body.device)
    with torch.enable_grad():
        alone_BTD, tree_SWD = last_hidden_states(body, apart), tree_states(body, tree)
    rows_B = torch.arange(len(rows), device=body.device)
    return [alone_BTD[rows_B, apart.pool_index_B], tree_SWD.flatten(0, 1)[tree.place_BT.amax(1)]]


def _rows(vocab_size: int) -> list[list[int]]:
    """Three rows with a common prefix, of arbitrary tokens."""
    most = min(vocab_size, 97)
    common = [7 * i % most for i in range(NUM_COMMON)]
    return [common + [(11 * i + row) % most for i in range(4 + row)] for row in range(3)]
