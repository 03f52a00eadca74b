"""Devices by name."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from dhrd._text import shown
from dhrd.errors import ArtifactError, ConfigError

_NAME = re.compile(r"(cpu|mps|cuda)(?::(\d+))?")


def check_device(device: str) -> str:
    """The type of a device: "cpu", "cuda" or "mps".

    Raises:
        ConfigError: The name is not a device name, or the device is not available.
    """
    match = _NAME.fullmatch(device)
    if match is None:
        raise ConfigError(f"`device` {device}: unknown; give cpu, cuda, cuda:NUMBER or mps")
    kind, index = match.group(1), int(match.group(2) or 0)
    count = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}[kind]
    if index >= count:
        counted = f"torch finds {count or 'no'} {kind} device{'' if count == 1 else 's'} here"
        raise ConfigError(f"`device` {device}: {counted}; leave it out for the best available")
    return kind


def find_device(device: str | int | torch.device | None) -> torch.device:
    """A device by its torch name, by a GPU's number, or by -1 for the CPU as in transformers.

    Args:
        device: The device; None: a GPU if there is one.

    Raises:
        ConfigError: The name is not a device name, or the device is not available.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if isinstance(device, torch.device) and device.type not in ("cpu", "cuda", "mps"):
        return device  # of a backend that is left to torch
    number = str(device) if isinstance(device, str | int) and not isinstance(device, bool) else ""
    if re.fullmatch(r"-1|\d+", number):
        device = "cpu" if number == "-1" else f"cuda:{number}"
    if not isinstance(device, str | torch.device):
        raise ConfigError(f"`device` {shown(device)}: give cpu, cuda, cuda:NUMBER, mps, or a GPU's number")
    check_device(str(device))
    return torch.device(device)


def check_loaded(model: nn.Module, name: str | Path) -> None:
    """Refuse a model whose weights were never filled in.

    Raises:
        ArtifactError: Some are on torch's `meta` device, which has no data.
    """
    tensors = (*model.named_parameters(), *model.named_buffers())
    if empty := [key for key, tensor in tensors if tensor.is_meta]:
        raise ArtifactError(
            f"{name}: {len(empty)} weights were not loaded ({empty[0]}), as can happen when another thread loads a "
            "transformers model at the same time; load again, one model at a time"
        )


@contextmanager
def random_state_kept(device: torch.device) -> Iterator[None]:
    """Leave the random state of the CPU and of this device as it was.

    `torch.random.fork_rng` by itself asks every GPU for its state, and so takes memory on those of other processes.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


def describe_device(device: torch.device) -> str:
    """A device in words, for reports of measurements."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    return f"{_cpu_name()}, {os.cpu_count()} cores"


def _cpu_name() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return name or platform.processor() or platform.machine()
