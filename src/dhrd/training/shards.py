"""Sharded weights, one shard per process (FSDP2): torch's `fully_shard` over the blocks and what surrounds them.

`accelerate launch` with `fsdp_version: 2` requests it. The wrapping is torch's own, and not accelerate's, which shards
on GPUs alone and finds a transformer's parts by names that a model with two heads does not have.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from dhrd.config import RunConfig
from dhrd.errors import ConfigError
from dhrd.model.adapters import blocks
from dhrd.model.dual_head import DualHeadModel

if TYPE_CHECKING:
    from accelerate import Accelerator

Value = TypeVar("Value")


def shards_weights(config: RunConfig, num_processes: int) -> bool:
    """Whether the launcher requests sharding and there is more than one process.

    Raises:
        ConfigError: It requests FSDP1, or sharding of what cannot be sharded.
    """
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() != "true" or num_processes == 1:
        return False
    if os.environ.get("FSDP_VERSION", "1") != "2":
        raise ConfigError("the launcher asks for FSDP1, which torch no longer supports; set fsdp_version: 2")
    settings = {
        "model.quantization": config.model.quantization,
        "training.cache_frozen": config.training.cache_frozen,
        "training.compile": config.training.compile,
        "training.mixed_precision=fp16": config.training.mixed_precision == "fp16",  # accelerate would unscale it twice
    }
    if odd := next((name for name, value in settings.items() if value), None):
        raise ConfigError(f"{odd}: not supported with sharded weights; leave it out, or launch without FSDP")
    return True


def shard(model: DualHeadModel, accelerator: Accelerator) -> None:
    """Shard the weights of each block, and all others together, over the processes; in place."""
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    for block in blocks(model.causal_lm):
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)


@contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """A context in which each process has all weights, for code that reads them outside the forward pass.

    Every process must enter it; inside, they may do different things. Changes to the weights are lost.
    """
    parts = [module for module in model.modules() if isinstance(module, FSDPModule)]
    for part in parts:  # the model itself first, which makes the others its parts
        part.unshard()
        part.set_reshard_after_forward(False, recurse=False)
    for module in model.modules() if parts else ():
        module._state_dict_pre_hooks.clear()  # FSDP's, which would split the weights again
    try:
        yield
    finally:
        for part in parts:
            part.reshard()
            part.set_reshard_after_forward(part is not model, recurse=False)


def whole(value: Value, *, keep: bool = True) -> Value:
    """The value with all sharded tensors gathered, also in mappings and lists; every process must call it.

    Args:
        value: A tensor, or a container of tensors.
        keep: Whether this process gets them, on the CPU; if not, it gets empty ones and never holds more than one.
    """

    def gathered_one(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, DTensor):
            return tensor
        full = tensor.full_tensor()
        return full.cpu() if keep else full.new_empty(0)

    return _mapped(value, gathered_one)


def split_like(value: Tensor, own: Tensor) -> Tensor:
    """This process's shard of a whole tensor, if its own tensor is sharded."""
    if not isinstance(own, DTensor):
        return value
    return distribute_tensor(value.to(own.device), own.device_mesh, own.placements, src_data_rank=None)  # all have it


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _mapped(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_mapped(item, change) for item in value)
    return value
