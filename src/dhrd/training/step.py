"""One update: the only place that divides a loss, calls backward, and moves weights.

    L = Σ weight · Σ loss / count, over the losses by name
      = w_cls · Σ L_cls / examples + w_lm · Σ L_lm / target tokens + …      paper, section 3

The inner sums run over the whole effective batch: all micro-batches of all processes. So any split of the same rows
gives the same update.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import torch
from torch import Tensor, nn

from dhrd.config import LossSettings, TrainingSettings
from dhrd.config.losses import LossName
from dhrd.data.records import IGNORE, Batch
from dhrd.errors import NonFiniteError
from dhrd.training.optim import learning_rates
from dhrd.training.shards import whole

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from dhrd.model.dual_head import DualHeadModel


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainState:
    """What training changes, and what an update needs.

    Args:
        model: The model itself.
        wrapped: The same model as prepared by `accelerate` (DDP, autocast): what an update runs.
        weights: The weights of the losses, and their schedules.
        optimizer: Optimizer of the trained parameters.
        schedule: Stepped once per update; None: constant learning rates.
        accelerator: Device, precision, processes.
        settings: Epochs, clipping, when to evaluate and save, which weights to keep.
        num_updates: Number of updates in the whole run, for the loss weights' schedules.
    """

    model: DualHeadModel
    wrapped: nn.Module
    weights: LossSettings
    optimizer: Optimizer
    schedule: LRScheduler | None
    accelerator: Accelerator
    settings: TrainingSettings
    num_updates: int

    def weights_at(self, step: int) -> dict[str, float]:
        """The weight of each loss in the `step`-th update, counted from 1."""
        return {
            name: term.task_weight * self.weights.weight_at(term.kind, step, self.num_updates)
            for name, term in self.model.terms.items()
        }


_LEAST_SCALE = 1.0
"""Lowest scale of fp16's losses, initially 65,536: non-finite values below it are not due to the scale."""

LOG_NAMES: dict[str, str] = {name: f"{name}_loss" for name in get_args(LossName)} | {"reasoning": "lm_loss"}
"""What a loss's mean is logged as."""


def log_name(loss: str) -> str:
    """The name that a loss's mean is logged under; with several tasks, `classification_loss/TASK`."""
    kind, slash, task = loss.partition("/")
    return f"{LOG_NAMES[kind]}{slash}{task}"


def train_step(state: TrainState, micro_batches: Sequence[Batch], step: int) -> dict[str, float]:
    """One update from this process's micro-batches.

    Args:
        state: Model, optimizer and so on.
        micro_batches: At least one; the same number in every process.
        step: The update's number, for error messages.

    Returns:
        `loss`, the mean of each loss (`LOG_NAMES`; `lm_loss` is 0 if its weight is 0), `grad_norm`, the learning
        rates, `tokens_per_second`, `num_tokens`, `rationale_share`.

    Raises:
        NonFiniteError: A loss or the gradient is not finite; the weights were not changed.
    """
    accelerator, began = state.accelerator, time.perf_counter()
    state.wrapped.train()
    batches = [batch.to(accelerator.device) for batch in micro_batches]
    counts, weights = _global_counts(state, batches), state.weights_at(step)
    sums = torch.zeros(len(counts), device=accelerator.device)
    with accelerator.autocast():  # around all micro-batches: they share one copy of each trained weight in bf16
        for index, batch in enumerate(batches):
            is_last = index == len(batches) - 1
            with nullcontext() if is_last else accelerator.no_sync(state.wrapped):
                losses = state.wrapped(batch).losses
                loss = _combine(weights, losses, counts)
                # DDP averages gradients over processes; the division above is already by the global counts.
                _backward(accelerator, loss * accelerator.num_processes)
            sums += torch.stack([losses[name].detach() for name in counts])
    grad_norm = _clip(state)
    log = _log(state, micro_batches, accelerator.reduce(sums), counts, weights)
    log["grad_norm"] = float(grad_norm)
    _refuse_non_finite(state, log, batches, step)
    log |= learning_rates(state.optimizer)
    state.optimizer.step()
    if state.schedule is not None:
        state.schedule.step()
    state.optimizer.zero_grad(set_to_none=True)
    log["tokens_per_second"] = log["num_tokens"] / (time.perf_counter() - began)
    return log


def _backward(accelerator: Accelerator, loss: Tensor) -> None:
    """Run each product in the dtype of its forward pass, without autocast."""
    with torch.autocast(accelerator.device.type, enabled=False):
        accelerator.backward(loss)


def _global_counts(state: TrainState, batches: Sequence[Batch]) -> dict[str, Tensor]:
    """The divisor of each loss over the whole effective batch, known before the first forward; 1 if it would be 0."""
    of_batches = [state.model.loss_counts(batch) for batch in batches]
    counts = torch.stack([torch.stack([counts[name] for counts in of_batches]).sum() for name in state.model.terms])
    reduced = state.accelerator.reduce(counts)
    return dict(zip(state.model.terms, torch.where(reduced > 0, reduced, 1).unbind(), strict=True))


def _combine(weights: dict[str, float], losses: dict[str, Tensor], counts: dict[str, Tensor]) -> Tensor:
    return torch.stack([weights[name] * losses[name] / counts[name] for name in counts]).sum()


def _clip(state: TrainState) -> Tensor:
    parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
    norm = state.accelerator.clip_grad_norm_(parameters, state.settings.clip_norm or math.inf)
    assert norm is not None
    return whole(norm)


def _log(
    state: TrainState,
    batches: Sequence[Batch],
    sums: Tensor,
    counts: dict[str, Tensor],
    weights: dict[str, float],
) -> dict[str, float]:
    """The means, and what the rows are; `batches` are in main memory, where counting waits for no device."""
    means = dict(zip(counts, (sums / torch.stack([*counts.values()])).tolist(), strict=True))
    real, reasoned = 0.0, 0.0
    for batch in batches:
        assert batch.row_weight_B is not None and batch.target_BT is not None
        counts_B = batch.row_weight_B > 0
        real += float(counts_B.sum())
        place_T = torch.arange(batch.target_BT.shape[1], device=batch.target_BT.device)
        taught_BT = (batch.target_BT != IGNORE) & (place_T >= batch.pool_index_B[:, None])  # not x itself
        reasoned += float((taught_BT.any(1) & counts_B).sum())
    own = [reasoned, real, float(sum(batch.num_tokens for batch in batches))]
    reasoned, real, num_tokens = state.accelerator.reduce(torch.tensor(own, device=state.accelerator.device)).tolist()
    return {
        "loss": sum(weights[name] * mean for name, mean in means.items()),
        "lm_loss": 0.0,  # always logged, so that runs with and without it have the same columns
        **{log_name(name): mean for name, mean in means.items()},
        "rationale_share": reasoned / max(real, 1.0),
        "num_tokens": num_tokens,
    }


def _refuse_non_finite(state: TrainState, log: dict[str, float], batches: Sequence[Batch], step: int) -> None:
    """Stop before the weights are damaged. With fp16 the loss scaler handles an infinite gradient: it skips the update
    and halves its scale until it fits; if no scale fits, every update would be skipped silently.
    """
    in_fp16 = state.accelerator.mixed_precision == "fp16"
    watched = [name for loss in state.model.terms if (name := log_name(loss)) in log]
    bad = next((name for name in [*watched, "grad_norm"] if not math.isfinite(log[name])), None)
    if bad is None or (in_fp16 and bad == "grad_norm" and state.accelerator.scaler.get_scale() >= _LEAST_SCALE):
        return
    state.optimizer.zero_grad(set_to_none=True)
    ids = ", ".join(row_id for batch in batches for row_id in batch.ids)
    mend = (
        "Set training.mixed_precision to bf16, or no"
        if in_fp16
        else "Lower training.learning_rate, or look at these rows"
    )
    raise NonFiniteError(f"step {step}: {bad} is {log[bad]}; the weights were not changed. Rows: {ids}. {mend}")
