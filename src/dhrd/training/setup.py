"""Device, precision and processes, through accelerate."""

from __future__ import annotations

from typing import Literal

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from dhrd.config import RunConfig
from dhrd.errors import ConfigError
from dhrd.model.device import check_device, fast_dtype
from dhrd.model.dual_head import DualHeadReasoningModel
from dhrd.training.optim import make_optimizer, make_schedule
from dhrd.training.step import Stepper

Precision = Literal["no", "bf16", "fp16"]


def make_accelerator(config: RunConfig, device: str | None = None) -> Accelerator:
    """The accelerator of a run; its own gradient accumulation is not used.

    Args:
        config: Precision and trackers.
        device: "cpu", "cuda", "mps"; None: the best there is.

    Raises:
        ConfigError: The device is not there, or cannot compute in the precision asked for.
    """
    kind = check_device(device) if device else None
    if device and kind == "cuda" and ":" in device:
        torch.cuda.set_device(device)
    precision = choose_precision(config.training.mixed_precision, kind)
    if AcceleratorState._shared_state and AcceleratorState().mixed_precision != precision:
        AcceleratorState._reset_state()  # it is global to the process; an earlier run may have had another precision
    return Accelerator(
        cpu=kind == "cpu",
        mixed_precision=precision,
        gradient_accumulation_steps=1,
        log_with=[one for one in config.tracking.report_to if one != "mlflow"] or None,
        project_dir=config.output_dir,
    )


def choose_precision(asked: Literal["auto", "no", "bf16", "fp16"], device: str | None = None) -> Precision:
    """The precision of matrix products.

    `auto`: what `fast_dtype` says of the device.

    Raises:
        ConfigError: fp16 on a CPU, where its products are not implemented fast and its range needs a scaler.
    """
    on_gpu = device != "cpu" and torch.cuda.is_available()
    if asked == "fp16" and not on_gpu:
        raise ConfigError("training.mixed_precision: fp16 needs a GPU; use bf16 or no")
    if asked != "auto":
        return asked
    return "bf16" if fast_dtype(torch.device("cuda" if on_gpu else "cpu")) == torch.bfloat16 else "no"


def make_stepper(
    model: DualHeadReasoningModel, config: RunConfig, accelerator: Accelerator, num_updates: int
) -> Stepper:
    """Prepare a model for training: device, wrapping, optimizer, schedule."""
    if config.training.gradient_checkpointing:
        model.causal_lm.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        # transformers makes the embeddings' output require a gradient, as reentrant checkpointing needs; ours does not,
        # and below frozen layers nothing must run backward.
        model.causal_lm.disable_input_require_grads()
    wrapped = accelerator.prepare_model(model)
    optimizer = make_optimizer(model, config.training)
    return Stepper(
        model=wrapped,
        loss_counts=model.loss_counts,
        weights=config.loss,
        optimizer=accelerator.prepare_optimizer(optimizer) if accelerator.scaler is not None else optimizer,
        schedule=make_schedule(optimizer, config.training, num_updates),
        accelerator=accelerator,
        clip_norm=config.training.clip_norm,
        num_updates=num_updates,
    )
