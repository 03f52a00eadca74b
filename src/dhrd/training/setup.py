"""Device, precision and processes, through accelerate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from torch import nn

from dhrd._device import check_device, random_state_kept
from dhrd.config import RunConfig
from dhrd.data.collate import pad_inputs
from dhrd.errors import ConfigError
from dhrd.model.adapters import blocks
from dhrd.model.attention import hold_scores
from dhrd.model.compiled import compile_layers
from dhrd.model.dual_head import DualHeadModel
from dhrd.model.frozen import mode
from dhrd.model.memory import keep_freed_memory
from dhrd.model.precision import fast_dtype, product_rates, shapes_of
from dhrd.training.optim import make_optimizer, make_schedule
from dhrd.training.shards import shard, shards_weights
from dhrd.training.step import TrainState

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

Mixed = Literal["no", "bf16", "fp16"]


@dataclass(frozen=True, slots=True)
class Precision:
    """The precision of a run's matrix products, and why.

    Args:
        mixed: Accelerate's name for it; "no" is fp32.
        measured: The measurements it was chosen by, for run.json; None if nothing was measured.
    """

    mixed: Mixed
    measured: Mapping[str, Any] | None = None


_LONGEST_WAIT = timedelta(days=1)
"""Of processes for each other: the first evaluates and writes for all of them, and NCCL gives up after ten minutes."""


def start_processes(config: RunConfig, device: str | None = None) -> PartialState:
    """Join the processes of a run, before anything is loaded.

    Args:
        config: The run's config, whose precision is checked against the device.
        device: "cpu", "cuda" or "mps"; None: the best available.

    Raises:
        ConfigError: The device is not there, or cannot compute in the precision asked for.
    """
    kind = _kind(device)
    if device and kind == "cuda" and ":" in device:
        torch.cuda.set_device(device)
    if config.training.mixed_precision == "fp16" and kind != "cuda":
        raise ConfigError("training.mixed_precision: fp16 needs a GPU; use bf16 or no")
    if PartialState._shared_state and PartialState().num_processes == 1 and PartialState().device.type != kind:
        AcceleratorState._reset_state(reset_partial_state=True)  # global to the process, of a run on another device
    return PartialState(cpu=device == "cpu", timeout=_LONGEST_WAIT)


def make_accelerator(config: RunConfig, device: str | None = None, precision: Precision | None = None) -> Accelerator:
    """The accelerator of a run; its own gradient accumulation is not used.

    Args:
        config: Precision and trackers.
        device: "cpu", "cuda" or "mps"; None: the best available.
        precision: The precision already chosen; None: chosen here, for shapes like a backbone's.

    Raises:
        ConfigError: The device is not there, or cannot compute in the precision asked for.
    """
    start_processes(config, device)
    mixed = (precision or choose_precision(config.training.mixed_precision, device)).mixed
    if AcceleratorState._shared_state and AcceleratorState().mixed_precision != mixed:
        AcceleratorState._reset_state()  # it is global to the process; an earlier run may have had another precision
    return Accelerator(
        cpu=device == "cpu",
        mixed_precision=mixed,
        gradient_accumulation_steps=1,
        log_with=[name for name in config.tracking.report_to if name != "mlflow"] or None,
        project_dir=config.output_dir,
    )


def choose_precision(
    asked: Literal["auto", "no", "bf16", "fp16"], device: str | None = None, backbone: PreTrainedConfig | None = None
) -> Precision:
    """The precision of matrix products.

    Args:
        asked: The requested precision; `auto`: what `fast_dtype` returns for the device.
        device: As for `make_accelerator`.
        backbone: The backbone's config, for the shapes to measure; None: typical shapes.
    """
    if asked != "auto":
        return Precision(asked)
    kind = _kind(device)
    mixed: Mixed = "bf16" if fast_dtype(torch.device(kind), backbone) == torch.bfloat16 else "no"
    return Precision(mixed, asdict(product_rates(shapes_of(backbone))) if kind == "cpu" else None)


def _kind(device: str | None) -> str:
    """The type of the device that accelerate uses."""
    if device is not None:
        return check_device(device)
    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


def place(model: DualHeadModel, config: RunConfig, accelerator: Accelerator) -> None:
    """Move a model to its device, so that what depends on the device is chosen and checked there.

    A quantized model is there already, and a model to be sharded may be too large for one device.
    """
    if not config.model.quantization and not shards_weights(config, accelerator.num_processes):
        model.to(accelerator.device)


def make_train_state(model: DualHeadModel, config: RunConfig, accelerator: Accelerator, num_updates: int) -> TrainState:
    """Prepare a model for training: device, wrapping, optimizer, schedule.

    Raises:
        ConfigError: The backbone cannot recompute its activations.
    """
    if accelerator.device.type == "cpu":
        keep_freed_memory()
        hold_scores(model.causal_lm)
    if config.training.gradient_checkpointing:
        _recompute_activations(model.causal_lm)
    if config.training.compile:
        trained = blocks(model.causal_lm)[model.settings.freeze_layers :]
        compile_layers(trained, lambda: _run_once(model.to(accelerator.device), accelerator), "training.compile")
    if shards_weights(config, accelerator.num_processes):
        shard(model, accelerator)
        wrapped: nn.Module = model
    else:
        wrapped = accelerator.prepare_model(model)
    optimizer = make_optimizer(model, config.training)
    return TrainState(
        model=model,
        wrapped=wrapped,
        weights=config.loss,
        optimizer=accelerator.prepare_optimizer(optimizer) if accelerator.scaler is not None else optimizer,
        schedule=make_schedule(optimizer, config.training, num_updates),
        accelerator=accelerator,
        settings=config.training,
        num_updates=num_updates,
    )


def _recompute_activations(causal_lm: PreTrainedModel) -> None:
    if not causal_lm.supports_gradient_checkpointing:
        raise ConfigError(
            f"training.gradient_checkpointing: {type(causal_lm).__name__} does not support it; leave it out"
        )
    causal_lm.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    # transformers makes the embeddings' output require a gradient, as reentrant checkpointing needs; ours does not,
    # and below frozen layers nothing must run backward.
    causal_lm.disable_input_require_grads()


def _run_once(model: DualHeadModel, accelerator: Accelerator) -> None:
    """Run forward and backward on rows of different lengths, as in training, without side effects."""
    batch = pad_inputs([[0] * 16, [0] * 9], pad_token_id=0).to(accelerator.device)
    with random_state_kept(accelerator.device), mode(model, training=True):
        with accelerator.autocast():
            hidden_BTD = model.hidden_states(batch)
        hidden_BTD.float().sum().backward()
    model.zero_grad(set_to_none=True)
