"""What torch keeps between updates: optimizer, schedule, loss scaler, random state.

A checkpoint's state is compared with the run's own before it is restored: torch would accept a tensor of another
shape, and its fused kernels would read past its end.
"""

from __future__ import annotations

import logging
import math
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from dhrd.training.shards import split_like

if TYPE_CHECKING:
    from dhrd.training.step import TrainState

logger = logging.getLogger("dhrd")


def optimizer_state(state: TrainState) -> dict[str, Any]:
    """The state of optimizer, schedule and loss scaler."""
    kept = {"optimizer": state.optimizer.state_dict()}
    if state.schedule is not None:
        kept["schedule"] = state.schedule.state_dict()
    if state.accelerator.scaler is not None:
        kept["scaler"] = state.accelerator.scaler.state_dict()
    return kept


def restore_optimizer(state: TrainState, kept: dict[str, Any]) -> None:
    """Restore what `optimizer_state` returned.

    Raises:
        ValueError: The state has another form.
    """
    own = optimizer_state(state)
    _check_form({**kept, "optimizer": None}, {**own, "optimizer": None}, "the state")
    _check_optimizer(state, kept["optimizer"], own["optimizer"])
    state.optimizer.load_state_dict(_split(state, kept["optimizer"]))
    if state.schedule is not None:
        state.schedule.load_state_dict(kept["schedule"])
    if state.accelerator.scaler is not None:
        state.accelerator.scaler.load_state_dict(kept["scaler"])


def _split(state: TrainState, kept: dict[str, Any]) -> dict[str, Any]:
    """The moments, sharded like their parameters."""
    parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
    moments = {
        index: {name: split_like(value, parameters[index]) if value.ndim else value for name, value in of_one.items()}
        for index, of_one in kept["state"].items()
    }
    return {**kept, "state": moments}


def _check_optimizer(state: TrainState, kept: Any, own: dict[str, Any]) -> None:
    """Check that groups equal the run's except for rates, and tensors have their parameter's shape or are counts."""
    _check_form({**kept, "state": None}, {**own, "state": None}, "the optimizer's state")
    parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
    if set(kept["state"]) - set(range(len(parameters))):
        raise ValueError(f"it is of more than the {len(parameters)} trained tensors")
    for index, moments in kept["state"].items():
        like = parameters[index].detach()
        own_moments = {"step": torch.zeros(()), "exp_avg": like, "exp_avg_sq": like}  # AdamW's
        _check_form(moments, own_moments, f"the state of tensor {index}")


def _check_form(found: Any, own: Any, name: str) -> None:
    """Compare the kinds of values, the lengths of lists, the keys of mappings, the shapes and dtypes of tensors."""
    if isinstance(own, dict):
        if not isinstance(found, dict) or found.keys() != own.keys():
            raise ValueError(f"{name} has other parts")
        for key, value in own.items():
            _check_form(found[key], value, f"{name}.{key}")
    elif isinstance(own, list | tuple):
        if not isinstance(found, list | tuple) or len(found) != len(own):
            raise ValueError(f"{name} is not a list of {len(own)}")
        for index, value in enumerate(own):
            _check_form(found[index], value, f"{name}[{index}]")
    elif isinstance(own, Tensor):
        _check_tensor(found, own, name)
    elif isinstance(own, float):
        if type(found) not in (int, float) or not math.isfinite(found):
            raise ValueError(f"{name} is not a number")
    elif own is not None and type(found) is not type(own):
        raise ValueError(f"{name} is no {type(own).__name__}")


def _check_tensor(found: Any, own: Tensor, name: str) -> None:
    if not isinstance(found, Tensor) or found.layout != torch.strided or found.device.type == "meta":
        raise ValueError(f"{name} is not a tensor")
    if found.shape != own.shape or found.dtype != own.dtype or not found.is_contiguous():
        raise ValueError(f"{name} is of {list(found.shape)} {found.dtype}, not {list(own.shape)} {own.dtype}")


def rng_state(device: torch.device) -> dict[str, Any]:
    """The state of every generator that a run on this device may draw from."""
    version, internal, gauss = random.getstate()
    kind, keys, *rest = np.random.get_state(legacy=True)
    state: dict[str, Any] = {
        "python": [version, list(internal), gauss],
        "numpy": [kind, torch.from_numpy(np.asarray(keys, dtype="int64")), *rest],
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_rng(state: dict[str, Any], device: torch.device) -> None:
    """Restore what `rng_state` returned, on this device, whichever it was saved on.

    Raises:
        ValueError: The state has another form.
    """
    own = rng_state(device)
    own["python"][2] = None  # a number, or none
    state = {**state, "cuda": _of_gpu(state.get("cuda"), device)}
    if state["cuda"] is None:
        own.pop("cuda", None)
    for name in own:
        _check_form(state[name], own[name], f"the state of {name}'s generator")
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype("uint32"), *rest))
    torch.set_rng_state(state["torch"])
    if "cuda" in own:
        torch.cuda.set_rng_state(state["cuda"], device)
    elif device.type == "cuda":
        logger.warning("the checkpoint has no random state of %s: dropout goes on with other numbers", device)


def _of_gpu(kept: Any, device: torch.device) -> Any:
    """A GPU's state; None: none was kept. Earlier versions kept a list of those of all GPUs that were visible."""
    if device.type != "cuda" or not isinstance(kept, list):
        return kept
    index = torch.cuda.current_device() if device.index is None else device.index
    return kept[index] if index < len(kept) else None
