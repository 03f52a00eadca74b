"""A linear layer of LM logits, and its loss as transformers computes it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dhrd.lm_loss import LogitTransform

N, D, V = 7, 5, 11
TRANSFORMS = {
    "none": LogitTransform(),
    "scale": LogitTransform(scale=0.25),
    "soft cap": LogitTransform(soft_cap=2.0),
    "scale and soft cap": LogitTransform(scale=3.0, soft_cap=2.0),
}


def layer(*, bias: bool, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """hidden_ND, weight_VD, bias_V, target_N."""
    generator = torch.Generator().manual_seed(1)
    given = [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in ((N, D), (V, D), (V,))]
    return given[0], given[1], given[2] if bias else None, torch.randint(0, V, (N,), generator=generator)


def stock(transform: LogitTransform, hidden: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor) -> Tensor:
    """As transformers computes it: all logits, upcast, then cross-entropy."""
    logits = F.linear(hidden, weight, bias).float() * transform.scale
    if transform.soft_cap is not None:
        logits = transform.soft_cap * torch.tanh(logits / transform.soft_cap)
    return F.cross_entropy(logits, target, reduction="sum")


def gradients(total: Tensor, *given: Tensor | None) -> list[Tensor]:
    return list(torch.autograd.grad(total * 0.37, [tensor for tensor in given if tensor is not None]))
