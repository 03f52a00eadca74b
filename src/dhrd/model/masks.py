"""Non-causal attention masks: which keys each token sees, in the form that a backbone takes for each kind of layer.

Shape legend beyond `data/records.py`: K keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dhrd.model.attention import HELD

if TYPE_CHECKING:
    from transformers import PretrainedConfig

FULL, SLIDING = "full_attention", "sliding_attention"


def kinds_of(config: PretrainedConfig) -> set[str]:
    """The kinds of attention layers, in the words of transformers' configs."""
    kinds = getattr(config, "layer_types", None)
    return set(kinds) if kinds is not None else {SLIDING if getattr(config, "sliding_window", None) else FULL}


def why_no_masks(config: PretrainedConfig) -> str:
    """What keeps a backbone from taking such masks, in words; empty if nothing does."""
    if not kinds_of(config) <= {FULL, SLIDING}:
        return "some of its layers attend in ways that dhrd does not know"
    if config._attn_implementation not in ("sdpa", "eager", HELD):
        return f"attention by {config._attn_implementation} takes no masks; load the model with sdpa"
    return ""


def layer_masks(
    visible_BTK: Tensor, position_BT: Tensor, key_position_BK: Tensor, config: PretrainedConfig, dtype: torch.dtype
) -> Any:
    """What the model takes as `attention_mask`: (B, 1, T, K), or one such mask for each kind of layer.

    The masks are added to the scores: "eager" attention takes them so, and "sdpa" would convert others in every layer.

    Args:
        visible_BTK: Which keys a token sees without a window; each token must see one.
        position_BT: Each token's position in its row.
        key_position_BK: Each key's position; a layer with a sliding window sees keys at nearby positions.
        config: The backbone's config, with its kinds of layers and their window.
        dtype: The backbone's dtype.
    """
    kinds = kinds_of(config)
    visible = {FULL: visible_BTK[:, None]}
    if SLIDING in kinds:
        near_BTK = _near(position_BT, key_position_BK, config.sliding_window)
        visible[SLIDING] = visible[FULL] & near_BTK[:, None]
    hidden = torch.tensor(torch.finfo(dtype).min, dtype=dtype, device=visible_BTK.device)
    masks = {kind: torch.where(visible[kind], hidden.new_zeros(()), hidden) for kind in kinds}
    return masks if len(masks) > 1 else next(iter(masks.values()))


def _near(position_BT: Tensor, key_position_BK: Tensor, window: int) -> Tensor:
    return position_BT[:, :, None] - key_position_BK[:, None, :] < window
