"""The losses, each a sum, and what each is divided by; only the training step divides (`training/step.py`).

    classification  L_cls = Σ CE(head(h[p]), label)            / examples            paper, section 3
    reasoning       L_lm  = Σ CE(lm_head(h[t]), s[t+1])        / target tokens       paper, section 3
    keyword         L_kw  = Σ −log softmax(lm_head(h[p]))[w]   / content tokens w of the rationale
    alignment       L_al  = Σ 1 − cos(A h[p], sg(h[e]))        / rows with a rationale, which ends at e
    privileged      L_pv  = Σ CE(head(h[e]), label) + CE(head(h[p]), sg(p(head(h[e]))))      / the same rows

A row's weight is its label's: it is a factor in L_cls and L_pv and in what they are divided by, and in nothing else.

p is the last token of x, sg stops the gradient. With several tasks L_cls and L_pv are one loss a task
(`classification/TASK`), over its own labels and the rows that have one of them. A further loss is one function here and
a line in `COUNTS`, its name and weight in `config/losses.py`, one line in `model/dual_head.py`.

Shapes: see the legend in `data/records.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from dhrd.config.losses import LossName
from dhrd.data.records import IGNORE, Batch
from dhrd.label_loss import LabelLoss as LabelLoss


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


def target_count(batch: Batch) -> Float[Tensor, ""]:
    """Target tokens of the reasoning head."""
    assert batch.target_BT is not None
    return (batch.target_BT != IGNORE).sum().float()


def keyword_count(batch: Batch) -> Float[Tensor, ""]:
    """Content tokens of the rationales."""
    assert batch.keyword_2K is not None
    return torch.tensor(float(batch.keyword_2K.shape[1]), device=batch.keyword_2K.device)


def keyword_loss(
    pooled_BD: Float[Tensor, "B D"],
    keyword_2K: Int[Tensor, "2 K"],
    weight_VD: Float[Tensor, "V D"],
    bias_V: Float[Tensor, "V"] | None = None,
    transform: LogitTransform | None = None,
) -> Float[Tensor, ""]:
    """L_kw: the rationale's content words as a bag, predicted by the LM head from the classified vector.

    Args:
        pooled_BD: The classified vectors.
        keyword_2K: Rows and tokens, K pairs.
        weight_VD: The LM head's weight.
        bias_V: The LM head's bias, where the family has one.
        transform: What the family does to its logits.
    """
    logits_BV = F.linear(pooled_BD.to(weight_VD.dtype), weight_VD, bias_V).float()
    row_K, token_K = keyword_2K
    log_p_BV = torch.log_softmax((transform or LogitTransform())(logits_BV), dim=1)
    return -log_p_BV[row_K, token_K].sum()


def rationale_count(batch: Batch) -> Float[Tensor, ""]:
    """Rows whose rationale is run."""
    assert batch.reason_end_B is not None
    return (batch.reason_end_B >= 0).sum().float()


COUNTS: dict[LossName, Callable[[LabelLoss, Batch], Tensor]] = {
    "classification": LabelLoss.count,
    "reasoning": lambda _, batch: target_count(batch),
    "keyword": lambda _, batch: keyword_count(batch),
    "alignment": lambda _, batch: rationale_count(batch),
    "privileged": lambda label_loss, batch: _taking_part(batch, label_loss).sum(),
}
"""What each loss of a batch is divided by, once summed over the whole effective batch."""

_BY_TASK: tuple[LossName, ...] = ("classification", "privileged")


@dataclass(frozen=True, slots=True)
class LossTerm:
    """A loss by its name in the settings, and of which labels it is, where it is of labels."""

    kind: LossName
    label_loss: LabelLoss

    @property
    def task_weight(self) -> float:
        """What it weighs beside those of other tasks, times the weight in the settings."""
        return self.label_loss.weight if self.kind in _BY_TASK else 1.0

    def count(self, batch: Batch) -> Float[Tensor, ""]:
        """What its sum over a batch is divided by, once summed over the whole effective batch."""
        return COUNTS[self.kind](self.label_loss, batch)


def loss_terms(kinds: Iterable[LossName], label_losses: Mapping[str, LabelLoss]) -> dict[str, LossTerm]:
    """The losses of a run by name: those of labels once for each task, `classification/TASK`.

    Args:
        kinds: Of `LossSettings.names`.
        label_losses: L_cls of each task by its name; that of the only one has the name "".
    """
    first = next(iter(label_losses))
    return {
        f"{kind}/{task}" if task and kind in _BY_TASK else kind: LossTerm(kind, label_loss)
        for kind in kinds
        for task, label_loss in label_losses.items()
        if kind in _BY_TASK or task == first
    }


def alignment_loss(
    projected_BD: Float[Tensor, "B D"], goal_BD: Float[Tensor, "B D"], reason_end_B: Int[Tensor, "B"]
) -> Float[Tensor, ""]:
    """L_al: the classified vector, through a linear map, is drawn to what the model knows once it has read the
    rationale (as KNIFE, arXiv 2212.09721, and CODI, arXiv 2502.21074, do).

    Args:
        projected_BD: A h[p].
        goal_BD: Hidden states at the rationales' ends; no gradient runs into them from here.
        reason_end_B: Position of the rationale's last token; -1: the row does not take part.
    """
    distance_B = 1 - F.cosine_similarity(projected_BD.float(), goal_BD.detach().float(), dim=1)
    return (distance_B * (reason_end_B >= 0).float()).sum()


def privileged_loss(
    logits_BC: Float[Tensor, "B C"], privileged_BC: Float[Tensor, "B C"], batch: Batch, label_loss: LabelLoss
) -> Float[Tensor, ""]:
    """L_pv: the head learns the label where the rationale has been read, and there teaches itself where it has not
    (learning under privileged information: Lopez-Paz et al. 2016, arXiv 1511.03643, section 4).

    Args:
        logits_BC: Of the classifier.
        privileged_BC: Of the same head at the rationale's end.
        batch: Says which rows have a rationale.
        label_loss: L_cls.
    """
    taking_part_B = _taking_part(batch, label_loss)
    known = label_loss(privileged_BC, replace(batch, row_weight_B=taking_part_B))
    logits_BC, privileged_BC = (given_BC[:, label_loss.columns] for given_BC in (logits_BC, privileged_BC))
    if label_loss.multi_label:
        taught_BC = F.binary_cross_entropy_with_logits(
            logits_BC.float(), torch.sigmoid(privileged_BC.detach()), reduction="none"
        )
        taught_B = taught_BC.sum(1)
    else:
        taught_B = F.cross_entropy(logits_BC.float(), privileged_BC.detach().softmax(1), reduction="none")
    return known + (taught_B * taking_part_B).sum()


def _taking_part(batch: Batch, label_loss: LabelLoss) -> Float[Tensor, "B"]:
    """The weights of the rows whose rationale is run, as far as they have a label."""
    assert batch.reason_end_B is not None
    return label_loss.row_weight(batch) * (batch.reason_end_B >= 0).float()


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
    """The largest magnitude; 1 where there is none."""
    return float(given.detach().abs().max()) or 1.0 if given is not None and len(given) else 1.0


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
