"""Devices by name."""

from __future__ import annotations

import re

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
