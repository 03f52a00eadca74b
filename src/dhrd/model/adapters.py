"""What is trained in the backbone: everything, the upper layers, or low-rank adapters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from dhrd.config import LoraSettings
from dhrd.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ADAPTER = "default"


def blocks(causal_lm: PreTrainedModel) -> nn.ModuleList:
    """The backbone's transformer blocks, lowest first."""
    depth = causal_lm.config.get_text_config().num_hidden_layers
    for module in causal_lm.base_model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            return module
    raise ModelError(f"{type(causal_lm).__name__}: blocks not found; leave model.freeze_layers at 0")


def freeze_lower(causal_lm: PreTrainedModel, num_layers: int) -> None:
    """Freeze the embeddings and the lowest blocks, so that no gradient runs below.

    With tied embeddings the reasoning head's matrix is frozen too; gradients still run through it.

    Raises:
        ModelError: There are fewer blocks.
    """
    if not num_layers:
        return
    layers = blocks(causal_lm)
    if num_layers > len(layers):
        raise ModelError(f"model.freeze_layers: {num_layers} of {len(layers)} blocks; give {len(layers)} or fewer")
    above = {id(p) for layer in layers[num_layers:] for p in layer.parameters()}
    for name, module in causal_lm.base_model.named_modules():
        # What follows the blocks: the final norm and OPT's output projection; all else outside them comes before.
        last = name.rpartition(".")[2]
        is_in_a_block = any(part.isdigit() for part in name.split("."))
        if last in ("norm", "ln_f", "final_layer_norm", "final_layernorm", "project_out") and not is_in_a_block:
            above |= {id(p) for p in module.parameters()}
    for parameter in causal_lm.base_model.parameters():
        parameter.requires_grad_(parameter.requires_grad and id(parameter) in above)


def add_lora(causal_lm: PreTrainedModel, settings: LoraSettings) -> list[str]:
    """Put adapters on the backbone in place and freeze all else.

    Returns:
        The adapted layers' names.

    Raises:
        ModelError: A name in `target_modules` matches no linear layer, or stands for fused experts.
    """
    from peft import LoraConfig, inject_adapter_in_model

    default = [name for name in linear_names(causal_lm) if not _means_experts(causal_lm, name)]
    names = list(settings.target_modules or default)
    whole = _linear_layers(causal_lm)
    if unknown := [name for name in names if not any(f".{layer}".endswith(f".{name}") for layer in whole)]:
        raise ModelError(  # peft silently skips unknown names if it finds any of the others
            f"model.lora.target_modules: {', '.join(unknown)}: no such linear layers; "
            f"this backbone has {', '.join(default)}"
        )
    if of_experts := [name for name in settings.target_modules or () if _means_experts(causal_lm, name)]:
        raise ModelError(
            f"model.lora.target_modules: {', '.join(of_experts)}: peft would adapt this backbone's fused experts, "
            f"which cannot be merged; give names of {', '.join(default)}"
        )
    config = LoraConfig(r=settings.r, lora_alpha=settings.alpha, lora_dropout=settings.dropout, target_modules=names)
    for parameter in causal_lm.parameters():
        parameter.requires_grad_(False)
    inject_adapter_in_model(config, causal_lm, adapter_name=ADAPTER)
    for name, parameter in causal_lm.named_parameters():
        if "lora_" in name:
            parameter.requires_grad_(True)
            parameter.data = parameter.data.float()  # the optimizer's steps are below bf16's resolution
    return names


def _means_experts(causal_lm: PreTrainedModel, name: str) -> bool:
    """Whether peft takes a layer's name for weights that the family has fused, tried on a layer of that name alone."""
    from peft import LoraConfig, inject_adapter_in_model

    last = name.rpartition(".")[2]
    probe = nn.Module()
    probe.config = causal_lm.config
    probe.add_module("layers", nn.ModuleDict({last: nn.Linear(1, 1)}))
    config = LoraConfig(r=1, target_modules=[last])
    try:
        inject_adapter_in_model(config, probe)
    except ValueError:  # it lacks the experts, or the other names that are fused with this one
        return True
    return bool(config.target_parameters)


def linear_names(causal_lm: PreTrainedModel) -> list[str]:
    """The distinct last names of the linear layers in the blocks."""
    return sorted({name.rpartition(".")[2] for name in _linear_layers(causal_lm)})


def _linear_layers(causal_lm: PreTrainedModel) -> list[str]:
    """The full names of the linear layers in the blocks."""
    from transformers.pytorch_utils import Conv1D

    inside = {
        id(module)
        for module in blocks(causal_lm).modules()
        # Some routers are linear layers that return a tuple, which peft cannot add to.
        if isinstance(module, nn.Linear | Conv1D) and not type(module).__name__.endswith("Router")
    }
    return [name for name, module in causal_lm.named_modules() if id(module) in inside]


def adapter_state(causal_lm: PreTrainedModel) -> dict[str, Tensor]:
    """The adapters' tensors, under the names that peft saves them with."""
    return {
        f"base_model.model.{name.replace(f'.{ADAPTER}.', '.')}": tensor.detach()
        for name, tensor in causal_lm.state_dict().items()
        if "lora_" in name
    }


def merged_state(causal_lm: PreTrainedModel) -> dict[str, Tensor]:
    """The causal LM's state dict with adapters merged and quantized weights restored; the model is left as it is.

    What is made here is on the CPU: beside the model, its device would have to hold all of it at once.
    """
    from peft.tuners.lora import LoraLayer

    state = {name: tensor.detach() for name, tensor in causal_lm.state_dict().items() if "lora_" not in name}
    for name, module in causal_lm.named_modules():
        is_adapted = isinstance(module, LoraLayer)
        if not is_adapted and (not is_quantized(module) or name.endswith(".base_layer")):
            continue
        base = module.get_base_layer() if is_adapted else module
        for stored in [key for key in state if key.startswith(f"{name}.")]:
            del state[stored]
        state[f"{name}.weight"] = _merged_weight(module)
        if getattr(base, "bias", None) is not None:
            state[f"{name}.bias"] = base.bias.detach()
    return state


@torch.no_grad()
def _merged_weight(module: nn.Module) -> Tensor:
    """A layer's weight, dequantized and merged with its adapter, on the CPU; what that took is freed on return."""
    from peft.tuners.lora import LoraLayer
    from peft.utils.integrations import dequantize_module_weight

    if not isinstance(module, LoraLayer):
        return dequantize_module_weight(module).detach().cpu()
    weight = dequantize_module_weight(module.get_base_layer()).detach()
    return (weight.float() + module.get_delta_weight(ADAPTER).float()).to(weight.dtype).cpu()


def merge_in_place(causal_lm: PreTrainedModel) -> None:
    """Merge the adapters into their base weights, as in the artifact; quantized weights are not merged."""
    from peft.tuners.lora import LoraLayer

    for module in causal_lm.modules():
        if isinstance(module, LoraLayer) and not is_quantized(module.get_base_layer()):
            module.merge()


def is_quantized(module: nn.Module) -> bool:
    """Whether a layer's weights are those of bitsandbytes."""
    return type(getattr(module, "weight", None)).__name__ in ("Params4bit", "Int8Params")
