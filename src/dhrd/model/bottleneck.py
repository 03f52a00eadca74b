"""Whether a backbone keeps to the reasoning bottleneck, found out on a few tokens before it is relied on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dhrd._text import message_of
from dhrd.errors import ModelError
from dhrd.model.frozen import mode
from dhrd.model.masks import layer_masks, why_no_masks

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_NUM_INPUT, _NUM_AFTER = 12, 5


def keep_last(cache: Any, num_tokens: int) -> Any:
    """A cache cut, in place, to the keys and values of its last tokens."""
    for layer in cache.layers:
        layer.keys, layer.values = layer.keys[..., -num_tokens:, :], layer.values[..., -num_tokens:, :]
    return cache


def check_bottleneck(causal_lm: PreTrainedModel, num_visible: int) -> None:
    """Compare one masked pass with what decoding does: the input first, then the rest on its last tokens' keys alone.

    A family may build its attention from what a mask cannot say: ALiBi, recurrent state, chunks.

    Args:
        causal_lm: The backbone.
        num_visible: Tokens of the input that the continuation sees.

    Raises:
        ModelError: They differ, or the backbone takes no masks.
    """
    try:
        with mode(causal_lm, training=False):
            reason = why_no_masks(causal_lm.config.get_text_config()) or _difference(causal_lm.base_model, num_visible)
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
        reason = f"it does not take the masks ({message_of(error)})"
    if reason:
        raise ModelError(
            f"model.reasoning_bottleneck: {type(causal_lm).__name__} cannot have it: {reason}; set it to false"
        )


def _difference(body: PreTrainedModel, num_visible: int) -> str:
    vocab_size, length = body.config.get_text_config().vocab_size, _NUM_INPUT + _NUM_AFTER
    ids_BT = torch.tensor([[7 * i % min(vocab_size, 97) for i in range(length)]], device=body.device)
    with torch.no_grad():
        masked_BTD, decoded_BTD = _one_pass(body, ids_BT, num_visible), _as_decoded(body, ids_BT, num_visible)
    worst = float((masked_BTD - decoded_BTD).abs().max()) / float(masked_BTD.abs().max())
    tolerance = 1e-4 if body.dtype == torch.float32 else 5e-2
    return f"its hidden states differ with the mask (by {worst:.1g})" if not worst <= tolerance else ""


def _one_pass(body: PreTrainedModel, ids_BT: Tensor, num_visible: int) -> Tensor:
    position_BT = torch.arange(ids_BT.shape[1], device=body.device)[None]
    visible_TT = position_BT <= position_BT.T
    visible_TT[_NUM_INPUT:, : _NUM_INPUT - num_visible] = False
    mask = layer_masks(visible_TT[None], position_BT, position_BT, body.config.get_text_config(), body.dtype)
    output = body(input_ids=ids_BT, attention_mask=mask, position_ids=position_BT, use_cache=False)
    return output.last_hidden_state[:, _NUM_INPUT:].float()


def _as_decoded(body: PreTrainedModel, ids_BT: Tensor, num_visible: int) -> Tensor:
    from transformers import DynamicCache

    cache, position_BT = DynamicCache(), torch.arange(ids_BT.shape[1], device=body.device)[None]
    body(input_ids=ids_BT[:, :_NUM_INPUT], position_ids=position_BT[:, :_NUM_INPUT], past_key_values=cache,
         use_cache=True)  # fmt: skip
    output = body(
        input_ids=ids_BT[:, _NUM_INPUT:],
        position_ids=position_BT[:, _NUM_INPUT:],
        past_key_values=keep_last(cache, num_visible),
        use_cache=True,
    )
    return output.last_hidden_state.float()
