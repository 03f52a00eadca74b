"""Devices by name."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import torch

from dhrd.errors import ConfigError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

_NAME = re.compile(r"(cpu|mps|cuda)(?::(\d+))?")


def check_device(device: str) -> str:
    """The kind of a device: "cpu", "cuda" or "mps".

    Raises:
        ConfigError: The name is none, or the device is not there.
    """
    match = _NAME.fullmatch(device)
    if match is None:
        raise ConfigError(f"--device {device}: unknown; give cpu, cuda, cuda:NUMBER or mps")
    kind, index = match.group(1), int(match.group(2) or 0)
    count = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}[kind]
    if index >= count:
        found = f"torch finds {count or 'no'} {kind} device{'' if count == 1 else 's'} here"
        raise ConfigError(f"--device {device}: {found}; leave it out for the best there is")
    return kind


def fast_dtype(device: torch.device) -> torch.dtype:
    """The dtype in which a device multiplies matrices fastest without losing fp32's range: bf16 or fp32.

    bf16 on GPUs that have it and on CPUs with AMX. AVX-512's bf16 alone is not enough: a server with it multiplied bf16
    at 155 GFLOP/s and fp32 at 300 (`dhrd doctor` measures both).
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    fast = device.type == "cpu" and torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if fast else torch.float32


def choose_dtype(asked: str | torch.dtype | None, device: torch.device) -> torch.dtype | None:
    """A dtype by name; "auto" is `fast_dtype`, None stays None: as saved.

    Raises:
        ConfigError: The name is none of them.
    """
    if asked == "auto":
        return fast_dtype(device)
    if isinstance(asked, str):
        if asked not in DTYPES:
            raise ConfigError(f"--dtype {asked}: unknown; give auto, {', '.join(DTYPES)}")
        return DTYPES[asked]
    return asked


def describe_device(device: torch.device) -> str:
    """A device in words, for what must say where it was measured."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    return f"{_cpu_name()}, {os.cpu_count()} cores"


def _cpu_name() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    found = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return found or platform.processor() or platform.machine()
