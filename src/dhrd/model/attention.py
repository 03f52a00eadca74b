"""Attention in training on a CPU: a few large products, instead of a kernel of many small ones.

torch's fused attention for CPUs reaches a seventh of the rate of bf16 matrix products, its gradient less than that. It
never holds all scores; where they are few enough for a CPU's caches, holding them is two to three times as fast.

Shape legend beyond `data/records.py`: H query heads, G key heads, R = H / G, S keys, E head size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.modeling_utils import AttentionInterface

if TYPE_CHECKING:
    from transformers import PreTrainedModel

HELD = "dhrd_held"
"""The name by which transformers knows this attention."""

_MOST_SCORES = 2**23
"""Over all rows and heads: 16 MiB in bf16 that each layer keeps for its gradient. With more it is no faster."""


def hold_scores(causal_lm: PreTrainedModel) -> bool:
    """Let a backbone on a CPU use this module's attention where it is faster: training in bf16 on short sequences.

    Elsewhere, such as without gradients, it computes what "sdpa" does, with the same kernel.

    Args:
        causal_lm: Changed in place.

    Returns:
        Whether it does: not on a GPU, not with another attention, and not if its family accepts no custom attention.
    """
    takes_others = causal_lm._supports_attention_backend and causal_lm.config._attn_implementation == "sdpa"
    if causal_lm.device.type != "cpu" or not takes_others:
        return False
    AttentionInterface.register(HELD, held_attention)
    AttentionMaskInterface.register(HELD, sdpa_mask)
    causal_lm.set_attn_implementation(HELD)
    return True


def held_attention(
    module: nn.Module,
    query: Float[Tensor, "B H T E"],
    key: Float[Tensor, "B G S E"],
    value: Float[Tensor, "B G S E"],
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    is_causal: bool | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """As `sdpa_attention_forward` of transformers, which is called where holding the scores is not faster.

    Args:
        module: The layer.
        query: Queries, after rotary embedding.
        key: Keys, after rotary embedding; one head per R query heads.
        value: Values, with as many heads as `key`.
        attention_mask: True where a key is seen, or a bias added to the scores; (B or 1, 1, T, S).
        dropout: Dropout probability of the attention weights.
        is_causal: Whether attention is causal if there is no mask; None: as the layer says.
        options: `scaling`, and options passed on to that function.
    """
    scaling, others = options.get("scaling"), {k: v for k, v in options.items() if v is not None and k in _UNKNOWN}
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else query.dtype
    num_scores = query.shape[:3].numel() * key.shape[2]
    pays = torch.is_grad_enabled() and dtype == torch.bfloat16 and num_scores <= _MOST_SCORES
    if not pays or dropout or others:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, is_causal=is_causal, **options
        )
    causal = is_causal if is_causal is not None else getattr(module, "is_causal", True)
    bias = _bias(attention_mask, query.shape[2], key.shape[2], causal=causal)
    query, key, value = (x.to(dtype, memory_format=torch.contiguous_format) for x in (query, key, value))
    grouped = query.reshape(*key.shape[:2], -1, query.shape[-1])
    output = attend_held(grouped, key, value, bias, scaling or query.shape[-1] ** -0.5)
    return output.reshape(*query.shape[:3], -1).transpose(1, 2).contiguous(), None


_UNKNOWN = ("position_bias", "softcap", "cache", "s_aux")


def _bias(mask: Tensor | None, num_queries: int, num_keys: int, *, causal: bool) -> Tensor | None:
    """What is added to the scores, in fp32: (B or 1, 1, 1, T, S); None: nothing."""
    if mask is None:
        if not causal or num_queries == 1:
            return None
        mask = torch.ones(1, 1, num_queries, num_keys, dtype=torch.bool).tril()
    if mask.dtype == torch.bool:  # the lowest number, not -inf: the softmax stays defined for a token that sees nothing
        mask = torch.zeros(mask.shape).masked_fill_(~mask, torch.finfo(torch.float32).min)
    return mask.float()[:, :, None]


def attend_held(
    query: Float[Tensor, "B G RT E"],
    key: Float[Tensor, "B G S E"],
    value: Float[Tensor, "B G S E"],
    bias: Float[Tensor, "B 1 1 T S"] | None,
    scale: float,
) -> Float[Tensor, "B G RT E"]:
    """softmax(scale · q kᵀ + bias) v, all scores held at once.

    Args:
        query: Queries; the R heads that share a key head are concatenated.
        key: Keys of the G heads.
        value: Values of the G heads.
        bias: Added to the scores of each head; None: nothing.
        scale: Factor of the scores.
    """
    return _HeldAttention.apply(query, key, value, bias, scale)


class _HeldAttention(torch.autograd.Function):
    """softmax(scale · q kᵀ + bias) v for queries (B, G, R · T, E).

    q kᵀ and its softmax are in fp32, as exp amplifies small differences; the weights, the other products and the
    gradients are in the inputs' dtype. Gradients are as close to fp32's as the fused kernel's.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            scores = (query.float() * scale) @ key.float().mT
            if bias is not None:
                scores.view(*scores.shape[:2], -1, *bias.shape[-2:]).add_(bias)
            weights = scores.softmax(-1).to(value.dtype)
            output = weights @ value
        ctx.save_for_backward(query, key, value, weights)
        ctx.scale = scale
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, weights = ctx.saved_tensors
        grad_output = grad_output.contiguous()
        with torch.autocast("cpu", enabled=False):
            grad_weights = grad_output @ value.mT
            grad_scores = torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
            grad_query, grad_key = grad_scores @ key, grad_scores.mT @ query
            return grad_query.mul_(ctx.scale), grad_key.mul_(ctx.scale), weights.mT @ grad_output, None, None
