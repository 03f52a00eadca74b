"""One update: the only place that divides a loss, calls backward, and moves weights.

    L = w_cls · Σ L_cls / examples + w_lm · Σ L_lm / target tokens          paper, section 3

Both sums run over the whole effective batch: all micro-batches of all processes. So any split of the same rows gives
the same update.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from dhrd.config import LossSettings
from dhrd.data.records import IGNORE, Batch
from dhrd.errors import NonFiniteError
from dhrd.losses import LabelLoss, target_count
from dhrd.training.optim import learning_rates

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepper:
    """What an update needs.

    Args:
        model: The wrapped model (DDP), as `accelerate` prepared it.
        label_loss: The model's L_cls, for its count.
        weights: Of the two losses.
        optimizer: Over the trained parameters.
        schedule: Stepped once an update; None: constant rates.
        accelerator: Device, precision, processes.
        clip_norm: Largest global gradient norm; None: no clipping.
        num_updates: Of the whole run, for `reasoning_schedule`.
    """

    model: nn.Module
    label_loss: LabelLoss
    weights: LossSettings
    optimizer: Optimizer
    schedule: LRScheduler | None
    accelerator: Accelerator
    clip_norm: float | None = 1.0
    num_updates: int = 1

    def weights_at(self, step: int) -> tuple[float, float]:
        """The weights of L_cls and L_lm in the `step`-th update, counted from 1."""
        course = {"constant": 1.0, "decay": 1 - (step - 1) / self.num_updates, "rise": step / self.num_updates}
        scale = max(0.0, min(1.0, course[self.weights.reasoning_schedule]))
        return self.weights.classification_weight, self.weights.reasoning_weight * scale


def train_step(stepper: Stepper, micro_batches: Sequence[Batch], step: int) -> dict[str, float]:
    """One update from this process's micro-batches.

    Args:
        stepper: Model, optimizer and so on.
        micro_batches: At least one; every process has the same number.
        step: The update's number, for errors.

    Returns:
        `loss`, `classification_loss`, `lm_loss`, `grad_norm`, the learning rates, `tokens_per_second`,
        `num_tokens`, `rationale_share`.

    Raises:
        NonFiniteError: A loss or the gradient is not finite; the weights were not changed.
    """
    accelerator, began = stepper.accelerator, time.perf_counter()
    stepper.model.train()
    batches = [batch.to(accelerator.device) for batch in micro_batches]
    num_examples, num_targets = _global_counts(stepper, batches)
    weights = stepper.weights_at(step)
    sums = torch.zeros(2, device=accelerator.device)
    for index, batch in enumerate(batches):
        is_last = index == len(batches) - 1
        with nullcontext() if is_last else accelerator.no_sync(stepper.model):
            output = stepper.model(batch)
            terms = (output.classification, output.reasoning)
            loss = _combine(weights, terms, num_examples, num_targets)
            # DDP averages gradients over processes; the division above is already by the global counts.
            accelerator.backward(loss * accelerator.num_processes)
        sums += torch.stack([term.total.detach() if term is not None else sums.new_zeros(()) for term in terms])
    grad_norm = _clip(stepper)
    log = _log(stepper, batches, accelerator.reduce(sums), num_examples, num_targets, weights)
    log["grad_norm"] = float(grad_norm)
    _refuse_non_finite(stepper, log, batches, step)
    log |= learning_rates(stepper.optimizer)
    stepper.optimizer.step()
    if stepper.schedule is not None:
        stepper.schedule.step()
    stepper.optimizer.zero_grad(set_to_none=True)
    num_tokens = accelerator.reduce(torch.tensor(float(sum(b.num_tokens for b in batches)), device=accelerator.device))
    log["num_tokens"] = float(num_tokens)
    log["tokens_per_second"] = float(num_tokens) / (time.perf_counter() - began)
    return log


def _global_counts(stepper: Stepper, batches: Sequence[Batch]) -> tuple[Tensor, Tensor]:
    """Examples and target tokens of the whole effective batch, before the first forward."""
    counts = torch.stack(
        [
            torch.stack([stepper.label_loss.count(batch) for batch in batches]).sum(),
            torch.stack([target_count(batch) for batch in batches]).sum(),
        ]
    )
    num_examples, num_targets = stepper.accelerator.reduce(counts).unbind()
    return num_examples, num_targets


def _combine(weights: tuple[float, float], terms: tuple, num_examples: Tensor, num_targets: Tensor) -> Tensor:
    classification, reasoning = terms
    loss = weights[0] * classification.total / num_examples
    if reasoning is not None:
        loss = loss + weights[1] * reasoning.total / num_targets.clamp(min=1)
    return loss


def _clip(stepper: Stepper) -> Tensor:
    parameters = [p for group in stepper.optimizer.param_groups for p in group["params"]]
    norm = stepper.accelerator.clip_grad_norm_(parameters, stepper.clip_norm or math.inf)
    assert norm is not None
    return norm


def _log(
    stepper: Stepper,
    batches: Sequence[Batch],
    sums: Tensor,
    num_examples: Tensor,
    num_targets: Tensor,
    weights: tuple[float, float],
) -> dict[str, float]:
    classification = float(sums[0] / num_examples)
    lm = float(sums[1] / num_targets.clamp(min=1))
    real, reasoned = 0.0, 0.0
    for batch in batches:
        assert batch.row_weight_B is not None and batch.target_BT is not None
        real += float(batch.row_weight_B.sum())
        reasoned += float((batch.target_BT != IGNORE).any(1).sum())
    shares = stepper.accelerator.reduce(torch.tensor([reasoned, real], device=stepper.accelerator.device))
    return {
        "loss": weights[0] * classification + weights[1] * lm,
        "classification_loss": classification,
        "lm_loss": lm,
        "rationale_share": float(shares[0] / shares[1]),
    }


def _refuse_non_finite(stepper: Stepper, log: dict[str, float], batches: Sequence[Batch], step: int) -> None:
    """Stop before the weights take harm. With fp16 an infinite gradient is the loss scaler's business: it skips."""
    watched = ["classification_loss", "lm_loss"]
    if stepper.accelerator.mixed_precision != "fp16":
        watched.append("grad_norm")
    bad = next((name for name in watched if not math.isfinite(log[name])), None)
    if bad is None:
        return
    stepper.optimizer.zero_grad(set_to_none=True)
    ids = ", ".join(one for batch in batches for one in batch.ids)
    raise NonFiniteError(
        f"step {step}: {bad} is {log[bad]}; the weights were not changed. Rows: {ids}. "
        "Lower training.learning_rate, or look at these rows"
    )
