"""What a benchmark measures, and against whom: checked before torch is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dhrd._extras import check_vllm
from dhrd.errors import ConfigError
from dhrd.export.runtimes import RUNTIMES

PEERS = ("pipeline", "loop", *RUNTIMES, "vllm")
"""Other ways to run the classifier; `benchmark/contenders.py` makes them."""
WAYS = ("cot", "cot_untuned", "cot_vllm")
"""Ways to decode a chain of thought instead; `benchmark/decoding.py` measures them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What to measure.

    Args:
        against: Names from `PEERS` and `WAYS`.
        batch_sizes: Batch sizes of the pipeline, swept in the first round; later rounds use 1, 32 and the best.
        repeats: Number of rounds.
        warmup_rows: Rows that each contender runs before the first round.
        latency_rows: Number of single requests.
        cot_rows: Number of rows that are decoded.
        max_new_tokens: Maximum tokens of a rationale with its answer.
        parity: Whether to compare with fp32, with and without sharing.
        exports: Runtime -> a directory that `dhrd export` wrote for it.

    Raises:
        ConfigError: A name in `against` is unknown, not installed, or has no export.
    """

    against: Sequence[str] = ("pipeline", "loop")
    batch_sizes: Sequence[int] = (1, 2, 4, 8, 16, 32)
    repeats: int = 3
    warmup_rows: int = 64
    latency_rows: int = 100
    cot_rows: int = 8
    max_new_tokens: int = 500
    parity: bool = False
    exports: Mapping[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.against:
            if name not in (*PEERS, *WAYS):
                raise ConfigError(f"`against={name}`: unknown; give some of {', '.join((*PEERS, *WAYS))}")
            if name in RUNTIMES and name not in self.exports:
                raise ConfigError(
                    f"`against={name}`: give `{name}` DIR, a directory written by `dhrd export`, or "
                    f"`against={name}=DIR`"
                )
            if name in ("vllm", "cot_vllm"):
                check_vllm(f"`against={name}`")
