"""What a machine can do at most, and what it is."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

import torch
from torch import nn

from dhrd._device import describe_device
from dhrd._versions import library_versions
from dhrd.benchmark.result import Conditions
from dhrd.model.flops import linear_shapes
from dhrd.model.precision import dtype_name

_SQUARES = (1024, 2048, 4096)
_MAX_FLOPS = 4e11  # of one product, so that measuring a slow CPU does not take minutes


def matmul_flops_per_second(dtype: torch.dtype, device: torch.device, sizes: Iterable[int] = _SQUARES) -> float:
    """The rate of the fastest of a few square matrix products: what a forward pass could reach at most."""
    rates = [matmul_rate(size, size, size, dtype, device) for size in sizes if not (size > 1024 and _is_slow(device))]
    return max(rates)


def _is_slow(device: torch.device) -> bool:
    return device.type == "cpu" and matmul_rate(512, 512, 512, torch.float32, device) < 5e10


def matmul_rate(m: int, k: int, n: int, dtype: torch.dtype, device: torch.device, repeats: int = 7) -> float:
    """FLOP/s of (m, k) times (k, n), the best of a few."""
    a, b = (torch.randn(shape).to(device=device, dtype=dtype) for shape in ((m, k), (k, n)))
    taken = []
    for _ in range(repeats if 2 * m * k * n < _MAX_FLOPS else 2):
        _wait(device)
        began = time.perf_counter()
        a @ b
        _wait(device)
        taken.append(time.perf_counter() - began)
    return 2 * m * k * n / min(taken)


def matmul_flops_per_second_of(body: nn.Module, num_tokens: int, dtype: torch.dtype, device: torch.device) -> float:
    """The rate at a model's own shapes: all its linear layers, each alone, over so many tokens."""
    flops = {(k, n): 2.0 * num_tokens * k * n * count for (k, n), count in linear_shapes(body).items()}
    taken_s = sum(some / matmul_rate(num_tokens, k, n, dtype, device) for (k, n), some in flops.items())
    return sum(flops.values()) / taken_s


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def conditions(device: torch.device, dtype: torch.dtype) -> Conditions:
    """What every figure depends on."""
    return Conditions(
        device=describe_device(device),
        threads=torch.get_num_threads(),
        capability=torch.backends.cpu.get_cpu_capability() if device.type == "cpu" else None,
        dtype=dtype_name(dtype),
        load_average_1_min=os.getloadavg()[0],
        versions=library_versions(),
    )
