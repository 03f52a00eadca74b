"""Floating-point operations of a forward pass, from the model's own weights."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn
from transformers.pytorch_utils import Conv1D

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True)
class ForwardCost:
    """The cost of a forward pass through a backbone without LM head; a multiply-add is two operations.

    Norms, rotations and activations are left out: they are memory traffic more than arithmetic.

    Args:
        flops_per_token: 2 · weights of all linear layers.
        flops_per_pair: 4 · layers · heads · head size: score and weighted sum for one query and one key.
    """

    flops_per_token: int
    flops_per_pair: int

    def flops(self, num_tokens: int, num_pairs: int) -> int:
        """Operations for that many tokens and (query, key) pairs; a causal sequence of T has T · (T + 1) / 2 pairs."""
        return num_tokens * self.flops_per_token + num_pairs * self.flops_per_pair

    @property
    def tokens_per_pair(self) -> float:
        """A pair's operations, relative to the linear layers' operations for one token."""
        return self.flops_per_pair / max(1, self.flops_per_token)


def forward_cost(body: PreTrainedModel) -> ForwardCost:
    """The cost of a backbone without LM head."""
    config = body.config.get_text_config()
    weights = sum(k * n * count for (k, n), count in linear_shapes(body).items())
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return ForwardCost(2 * weights, 4 * config.num_hidden_layers * config.num_attention_heads * head_dim)


def linear_shapes(body: nn.Module) -> Counter[tuple[int, int]]:
    """How many linear layers there are of each (inputs, outputs)."""
    shapes = Counter((m.in_features, m.out_features) for m in body.modules() if isinstance(m, nn.Linear))
    return shapes + Counter((m.weight.shape[0], m.weight.shape[1]) for m in body.modules() if isinstance(m, Conv1D))


def causal_pairs(num_tokens: int, num_before: int = 0) -> int:
    """(query, key) pairs of the last `num_tokens` tokens of a causal sequence, after `num_before` others."""
    return num_tokens * num_before + num_tokens * (num_tokens + 1) // 2
