"""Which backbone fits a machine: the largest that trains in full within its memory, on a CPU the smallest."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dhrd.errors import ModelError
from dhrd.model.foreign import read_small_json
from dhrd.model.location import SCRATCH, file_of, locate

BACKBONES: Mapping[str, int] = {
    "HuggingFaceTB/SmolLM2-135M": 135,
    "HuggingFaceTB/SmolLM2-360M": 362,
    "Qwen/Qwen3-0.6B-Base": 596,
    "Qwen/Qwen3-1.7B-Base": 1721,
    "Qwen/Qwen3-4B-Base": 4022,
}
"""Open causal language models by their millions of weights, the smallest first."""

BYTES_A_WEIGHT = 16
"""Bytes per weight in full training: the weight in float32, its gradient, and the two moments of AdamW."""

_ACTIVATIONS = 2 << 30  # bytes, for what a micro-batch of a few thousand tokens leaves for the backward pass
_SMALLEST = next(iter(BACKBONES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a backbone has to fit.

    Args:
        memory_bytes: Memory of the GPU, or of the machine if it has none.
        gpu: Name of the GPU; None: training runs on the CPU.
    """

    memory_bytes: int
    gpu: str | None = None


def this_machine() -> Machine:
    """The machine that this runs on, with its first GPU."""
    import torch

    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        return Machine(memory_bytes=properties.total_memory, gpu=properties.name)
    return Machine(memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def needed_bytes(name: str) -> int:
    """The computed memory for training one of `BACKBONES` in full."""
    return BACKBONES[name] * 1_000_000 * BYTES_A_WEIGHT + _ACTIVATIONS


def choose_backbone(machine: Machine) -> tuple[str, str]:
    """A backbone for a machine, and why this one, in words.

    On a CPU it is the smallest, whatever the memory: a step's operations grow with the weights.
    """
    fitting = [name for name in BACKBONES if needed_bytes(name) <= machine.memory_bytes]
    name = fitting[-1] if machine.gpu and fitting else _SMALLEST
    where = machine.gpu or "this machine, which has no GPU"
    needs, has = (f"{size / 2**30:.0f} GiB" for size in (needed_bytes(name), machine.memory_bytes))
    why = f"{BACKBONES[name]} million weights, to train in about {needs} of the {has} of {where}"
    return name, why if fitting else f"{why}: too little, so train only adapters (lora: true)"


def at_hand(name_or_path: str) -> str | None:
    """Where a backbone's tokenizer can be read without network access; None where it cannot."""
    try:
        place = locate(name_or_path)["pretrained_model_name_or_path"]
    except ModelError:
        return None
    if os.path.exists(place):
        return name_or_path
    from huggingface_hub import try_to_load_from_cache

    try:
        cached = try_to_load_from_cache(place, "tokenizer.json")
    except ValueError:  # a name that the hub cannot have
        return None
    return str(Path(cached).parent) if isinstance(cached, str) else None


def context_of(name_or_path: str) -> int | None:
    """The context length in a local backbone's config; None if not given."""
    path = Path(locate(name_or_path)["pretrained_model_name_or_path"]) / "config.json"
    if name_or_path.startswith(SCRATCH):
        path = file_of(name_or_path.removeprefix(SCRATCH), name_or_path)
    if not path.is_file():
        return None
    config = read_small_json(path)
    known = (config.get(name) for name in ("max_position_embeddings", "n_positions", "max_seq_len"))
    return next((number for number in known if isinstance(number, int) and number > 0), None)
