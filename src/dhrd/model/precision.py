"""The dtype in which a device multiplies matrices fastest, measured once per process at the backbone's shapes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from dhrd.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

Shapes = tuple[tuple[int, int], ...]

_DEFAULT_SHAPES: Shapes = ((1024, 1024), (1024, 4096), (4096, 1024))
_NUM_TOKENS = 512
_LARGEST_PRODUCT = 4e9  # floating-point operations: a large backbone is measured on fewer tokens
_SECONDS = 0.2
_WORTH = 1.2  # bf16 rounds, and casts cost time: below this gain fp32 is kept


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductRates:
    """How fast this machine's CPU multiplies, over the shapes together.

    Args:
        shapes: (inputs, outputs) of the linear layers measured.
        num_tokens: Number of input rows.
        num_threads: Number of threads that torch used.
        float32: GFLOP/s.
        bfloat16: GFLOP/s; None if the CPU has no such product: emulated ones are not measured.
    """

    shapes: Shapes
    num_tokens: int
    num_threads: int
    float32: float
    bfloat16: float | None

    @property
    def fastest(self) -> torch.dtype:
        """bf16 where it is worth its rounding, else fp32."""
        return torch.bfloat16 if (self.bfloat16 or 0.0) > _WORTH * self.float32 else torch.float32


def dtype_name(dtype: torch.dtype) -> str:
    """A dtype as settings and records spell it, such as `bfloat16`."""
    return str(dtype).removeprefix("torch.")


def fast_dtype(device: torch.device, config: PreTrainedConfig | None = None) -> torch.dtype:
    """The dtype in which a device multiplies matrices fastest without losing fp32's range: bf16 or fp32.

    bf16 on GPUs that support it; on CPUs it is measured, as their flags are not enough: of two servers with AVX-512's
    bf16, one multiplied it twice as fast as fp32 and one half as fast.

    Args:
        device: Where the model will run.
        config: The backbone's config, for its shapes; None: typical shapes.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    return product_rates(shapes_of(config)).fastest if device.type == "cpu" else torch.float32


def choose_dtype(
    asked: str | torch.dtype | None, device: torch.device, config: PreTrainedConfig | None = None
) -> torch.dtype | None:
    """A dtype by name; "auto" is `fast_dtype`, None stays None: as saved.

    Raises:
        ConfigError: The name is unknown.
    """
    if asked == "auto":
        return fast_dtype(device, config)
    if isinstance(asked, str):
        if asked not in DTYPES:
            raise ConfigError(f"`dtype` {asked}: unknown; give auto, {', '.join(DTYPES)}")
        return DTYPES[asked]
    return asked


def shapes_of(config: PreTrainedConfig | None) -> Shapes:
    """(inputs, outputs) of a block's linear layers: hidden to hidden, to the feed-forward's width, and back."""
    if config is None:
        return _DEFAULT_SHAPES
    text = config.get_text_config()
    hidden = int(text.hidden_size)
    wide = getattr(text, "intermediate_size", None) or 4 * hidden
    wide = int(wide if isinstance(wide, int) else max(wide))  # some families have one per layer
    return ((hidden, hidden), (hidden, wide), (wide, hidden))


@cache
def product_rates(shapes: Shapes = _DEFAULT_SHAPES) -> ProductRates:
    """Measure the CPU: both dtypes alternate for about 0.2 s, and the best time of each product counts."""
    num_tokens = max(16, min(_NUM_TOKENS, *(int(_LARGEST_PRODUCT / (2 * k * n)) for k, n in shapes)))
    dtypes = [torch.float32, *([torch.bfloat16] if _has_bf16() else [])]
    best = _best_seconds(shapes, num_tokens, dtypes)
    gflop = sum(2e-9 * num_tokens * k * n for k, n in shapes)
    rates = {dtype: gflop / seconds for dtype, seconds in best.items()}
    return ProductRates(
        shapes=shapes,
        num_tokens=num_tokens,
        num_threads=torch.get_num_threads(),
        float32=round(rates[torch.float32], 1),
        bfloat16=round(rates[torch.bfloat16], 1) if torch.bfloat16 in rates else None,
    )


def _best_seconds(shapes: Shapes, num_tokens: int, dtypes: list[torch.dtype]) -> dict[torch.dtype, float]:
    """For each dtype, the sum of the shortest times over the shapes; the first round warms up."""
    factors = {
        (dtype, index): (torch.ones(num_tokens, k, dtype=dtype), torch.ones(n, k, dtype=dtype))
        for dtype in dtypes
        for index, (k, n) in enumerate(shapes)
    }
    seconds: dict[tuple[torch.dtype, int], list[float]] = {key: [] for key in factors}
    end = time.perf_counter() + _SECONDS
    while len(seconds[dtypes[0], 0]) < 2 or time.perf_counter() < end:
        for key, (tokens, weight) in factors.items():
            began = time.perf_counter()
            F.linear(tokens, weight)
            seconds[key].append(time.perf_counter() - began)
    return {dtype: sum(min(seconds[dtype, index]) for index in range(len(shapes))) for dtype in dtypes}


def _has_bf16() -> bool:
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
