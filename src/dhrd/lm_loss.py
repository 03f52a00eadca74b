"""L_lm at the target positions, with its gradients, without ever holding N x V logits.

Shapes: see the legend in `data/records.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


@dataclass(frozen=True, slots=True, kw_only=True)
class LogitTransform:
    """What a family does to its LM logits after the matrix product: z → cap · tanh(scale · z / cap).

    Args:
        scale: Cohere's `logit_scale`, or 1 / Granite's `logits_scaling`.
        soft_cap: Gemma's `final_logit_softcapping`; None: no cap.
    """

    scale: float = 1.0
    soft_cap: float | None = None

    def __call__(self, logits: Tensor) -> Tensor:
        if self.scale != 1.0:
            logits = logits * self.scale
        if self.soft_cap is not None:
            logits = torch.tanh(logits / self.soft_cap) * self.soft_cap
        return logits

    def backward_(self, grad: Tensor, transformed: Tensor) -> Tensor:
        """Turn the gradient of the transformed logits into that of the raw ones, in place."""
        if self.soft_cap is not None:
            grad.mul_(1 - (transformed / self.soft_cap) ** 2)
        return grad.mul_(self.scale) if self.scale != 1.0 else grad


def reasoning_loss(
    hidden_ND: Float[Tensor, "N D"],
    target_N: Int[Tensor, "N"],
    weight_VD: Float[Tensor, "V D"],
    bias_V: Float[Tensor, "V"] | None = None,
    transform: LogitTransform | None = None,
    *,
    count_N: Float[Tensor, "N"] | None = None,
) -> Float[Tensor, ""]:
    """L_lm at the target positions, without ever holding N x V logits.

    Equals the stock `ForCausalLM` loss times the number of targets. Under autocast the matrix products run in the
    autocast type, softmax and sums in fp32.

    Args:
        hidden_ND: Last hidden states at the target positions; N may be 0.
        target_N: The token each must predict.
        weight_VD: The LM head's weight.
        bias_V: The LM head's bias, where the family has one.
        transform: What the family does to its logits.
        count_N: In how many rows each stands; None: in one.
    """
    device = hidden_ND.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight_VD.dtype
    # Loss scaling comes only after the loss, so small probabilities must survive fp16 by themselves: as large as the
    # products with the weight allow, of which a row's sum is at most 2 boost max |weight|.
    transform, boost = transform or LogitTransform(), 1.0
    if dtype == torch.float16:
        most = _HALF / (2 * _largest(weight_VD) * max(1.0, abs(transform.scale)))
        boost = min(1024.0, most) / _largest(count_N)
    layer = _Layer(transform, dtype, torch.is_grad_enabled(), boost)
    return _LinearCrossEntropy.apply(hidden_ND, weight_VD, bias_V, target_N, count_N, layer)


def _largest(given: Tensor | None) -> float:
    """The largest magnitude, without a copy as large as the weight; 1 where there is none."""
    return float(torch.linalg.vector_norm(given.detach(), math.inf)) or 1.0 if given is not None and len(given) else 1.0


_HALF = 2.0**15
"""Half of fp16's range."""

_CHUNK_BYTES = 2**27
"""Of logits in the products' type, held at once. Smaller chunks repeat the addition to the weight's gradient."""


def _part_logits(device: torch.device) -> int:
    """Logits of a chunk that are in fp32 at once: on a CPU 2 MiB, which its caches hold from one pass to the next."""
    return 2**19 if device.type == "cpu" else 2**25


@dataclass(frozen=True, slots=True)
class _Layer:
    """How a linear layer's logits are computed; their gradient is `boost` times as large in the products."""

    transform: LogitTransform
    dtype: torch.dtype
    grad_enabled: bool
    boost: float


class _LinearCrossEntropy(torch.autograd.Function):
    """Summed cross-entropy of a linear layer, its gradients computed chunk by chunk in the forward pass.

    The loss is a sum, so its gradient is known up to one scalar factor before backward begins. Computing it while a
    chunk's logits are at hand saves the matrix product that checkpointing would repeat.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        target_N: Tensor,
        count_N: Tensor | None,
        layer: _Layer,
    ) -> Tensor:
        needs = [layer.grad_enabled and need for need in ctx.needs_input_grad[:3]]
        empty = torch.empty_like if len(target_N) else torch.zeros_like  # the first chunk clears them
        makers = (empty, empty, torch.zeros_like)
        wide = torch.float32 if layer.dtype == torch.float16 else None  # sums, before they are divided by the count
        grads = [
            make(given, dtype=wide) if need and given is not None else None
            for given, need, make in zip((hidden_ND, weight_VD, bias_V), needs, makers, strict=True)
        ]
        weight, num_classes = weight_VD.to(layer.dtype), weight_VD.shape[0]
        chunk = max(1, _CHUNK_BYTES // (layer.dtype.itemsize * num_classes))
        size = max(1, _part_logits(hidden_ND.device) // num_classes)
        total = torch.zeros((), device=hidden_ND.device)
        for start in range(0, len(target_N), chunk):
            rows = slice(start, start + chunk)
            hidden = hidden_ND[rows].to(layer.dtype)
            logits = F.linear(hidden, weight)
            count = count_N[rows] if count_N is not None else torch.ones(len(hidden), device=hidden.device)
            parts = zip(logits.split(size), target_N[rows].split(size), count.split(size), strict=True)
            for of_part, target, of_count in parts:
                total += _cross_entropy_(of_part, target, of_count, bias_V, grads[2], layer)
            if any(needs):
                _add_gradients(grads, rows, hidden, weight, logits, count, layer.boost)
        ctx.save_for_backward(*grads)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        grads = ctx.saved_tensors  # type: ignore[attr-defined]
        scaled = [grad.mul_(grad_output.to(grad.dtype)) if grad is not None else None for grad in grads]
        return (*scaled, None, None, None)


def _cross_entropy_(
    logits: Tensor, target: Tensor, count: Tensor, bias: Tensor | None, grad_bias: Tensor | None, layer: _Layer
) -> Tensor:
    """The summed cross-entropy of some rows; their logits become its gradient, `layer.boost` times as large."""
    raw = logits.float()
    if bias is not None:
        raw += bias.float()
    ours = layer.transform(raw)
    gold, top = ours.gather(1, target[:, None]), ours.amax(1, keepdim=True)
    shifted = ours - top if layer.transform.soft_cap is not None else ours.sub_(top)
    exponentials = shifted.exp_()  # one pass over them serves the loss and its gradient
    norm = exponentials.sum(1, keepdim=True)
    total = ((norm.log() + top - gold)[:, 0] * count).sum()
    if layer.grad_enabled:
        grad = exponentials.mul_(count[:, None] / norm)
        grad[torch.arange(len(target), device=target.device), target] -= count
        grad = layer.transform.backward_(grad, ours)
        if grad_bias is not None:
            grad_bias += grad.sum(0).to(grad_bias.dtype)
        logits.copy_(grad.mul_(layer.boost) if layer.boost != 1.0 else grad)
    return total


def _add_gradients(
    grads: list[Tensor | None], rows: slice, hidden: Tensor, weight: Tensor, grad: Tensor, count: Tensor, boost: float
) -> None:
    """Add one chunk's d total / d (hidden, weight), from `grad`, that of the logits, `boost` times as large."""
    grad_hidden, grad_weight, _ = grads
    if grad_hidden is not None:
        grad_hidden[rows].zero_().add_(grad @ weight, alpha=1 / boost)
    if grad_weight is not None:  # in parts, of which what `add_` converts is small: no fp32 copy of V x D
        fit = _fit(hidden, count, boost)
        scaled = hidden * fit if fit != 1.0 else hidden
        size = max(1, 4 * _part_logits(hidden.device) // hidden.shape[1])
        for part, of_part in zip(grad_weight.split(size), grad.split(size, dim=1), strict=True):
            (part if rows.start else part.zero_()).add_(of_part.T @ scaled, alpha=1 / (boost * fit))


def _fit(hidden: Tensor, count: Tensor, boost: float) -> float:
    """The power of two by which hidden states are small enough for fp16's products with the logits' gradient."""
    if hidden.dtype != torch.float16:
        return 1.0
    bound = boost * float((count[:, None] * hidden.float().abs()).sum(0).max())
    return 2.0 ** min(0, math.floor(math.log2(_HALF / bound))) if bound else 1.0
