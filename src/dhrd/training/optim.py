"""Optimizer and schedule."""

from __future__ import annotations

import logging
import math

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_scheduler

from dhrd.config import TrainingSettings
from dhrd.model.dual_head import DualHeadModel

logger = logging.getLogger("dhrd")

HEAD_GROUP = "head"


def make_optimizer(model: DualHeadModel, settings: TrainingSettings) -> torch.optim.AdamW:
    """AdamW without weight decay on norms and biases, and with a separate learning rate for the classification head."""
    head = {id(parameter) for parameter in model.head.parameters()}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            key = (id(parameter) in head, parameter.ndim >= 2)
            groups.setdefault(key, []).append(parameter)
    head_rate = settings.head_learning_rate or settings.learning_rate
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "name": HEAD_GROUP if is_head else "backbone",
                "lr": head_rate if is_head else settings.learning_rate,
                "weight_decay": settings.weight_decay if decays else 0.0,
            }
            for (is_head, decays), parameters in sorted(groups.items(), key=lambda item: item[0])
        ],
        betas=(0.9, 0.999),
        # One pass over memory instead of a dozen.
        fused=next(model.parameters()).device.type in ("cpu", "cuda"),
    )


def make_schedule(optimizer: torch.optim.Optimizer, settings: TrainingSettings, num_updates: int) -> LRScheduler:
    """Linear warm-up, then linear or cosine to 0, or constant.

    Args:
        optimizer: The optimizer; its groups' learning rates are the peaks.
        settings: Schedule and warm-up.
        num_updates: Updates in the whole run.
    """
    warmup = (
        settings.warmup_steps if settings.warmup_steps is not None else math.ceil(settings.warmup_share * num_updates)
    )
    if warmup >= num_updates:
        learns = "so nothing is learned" if num_updates == 1 else "so the learning rate never reaches its peak"
        logger.warning(
            "the warm-up takes %d of %d updates, the first at rate 0, %s; set training.warmup_steps, train longer, or "
            "lower training.batch_size",
            min(warmup, num_updates), num_updates, learns,
        )  # fmt: skip
    name = "constant_with_warmup" if settings.schedule == "constant" else settings.schedule
    return get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=num_updates)


def learning_rates(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """The learning rates of the next update."""
    rates: dict[str, float] = {}
    for group in optimizer.param_groups:
        key = "head_learning_rate" if group.get("name") == HEAD_GROUP else "learning_rate"
        rates[key] = float(group["lr"])
    return rates
