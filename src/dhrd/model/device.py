"""Devices by name."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import torch

from dhrd.errors import ConfigError

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
