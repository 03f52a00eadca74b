"""The engine's options and counters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch

from dhrd.config.section import check_count
from dhrd.data.prefixes import Group
from dhrd.model.flops import causal_pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of the engine.

    Args:
        max_tokens_per_pass: Maximum tokens of a pass, padding included, which bounds its memory; a longer row runs
            alone.
        pass_overhead_tokens: Fixed cost of a pass, in tokens: less padding than this is cheaper than another pass.
        share_prefixes: Compute prefixes shared by several rows only once, where that is cheaper.
        max_kept_tokens: Tokens whose keys and values are kept for later batches; only valid if the weights do not
            change.

    Raises:
        ConfigError: A number is invalid.
    """

    max_tokens_per_pass: int
    pass_overhead_tokens: int
    share_prefixes: bool = True
    max_kept_tokens: int = 0

    def __post_init__(self) -> None:
        check_count("max_tokens_per_pass", self.max_tokens_per_pass)
        check_count("pass_overhead_tokens", self.pass_overhead_tokens, least=0)
        check_count("max_kept_tokens", self.max_kept_tokens, least=0)

    @classmethod
    def best(
        cls,
        device: torch.device,
        max_tokens_per_pass: int | None = None,
        *,
        share_prefixes: bool = True,
        keep_prefixes: bool = False,
    ) -> Options:
        """Defaults for a device; as many tokens of prefixes are kept as fit into a pass, which takes similar memory."""
        best, overhead = (4096, 128) if device.type == "cpu" else (32768, 2048)
        tokens = best if max_tokens_per_pass is None else max_tokens_per_pass
        return cls(
            max_tokens_per_pass=tokens,
            pass_overhead_tokens=overhead,
            share_prefixes=share_prefixes,
            max_kept_tokens=tokens if keep_prefixes and share_prefixes else 0,
        )


@dataclass(slots=True)
class Work:
    """Counts of what was computed.

    Args:
        num_rows: Inputs.
        num_tokens: Tokens of the inputs.
        num_needed_tokens: Tokens after sharing.
        num_run_tokens: Tokens run, including padding.
        num_needed_pairs: (query, key) pairs of attention for the needed tokens.
        num_passes: Calls of the backbone.
    """

    num_rows: int = 0
    num_tokens: int = 0
    num_needed_tokens: int = 0
    num_run_tokens: int = 0
    num_needed_pairs: int = 0
    num_passes: int = 0

    @property
    def padding_ratio(self) -> float:
        """Positions run per needed token; 1: no padding."""
        return self.num_run_tokens / max(1, self.num_needed_tokens)

    @property
    def sharing_ratio(self) -> float:
        """Input tokens per needed token; 1: nothing shared."""
        return self.num_tokens / max(1, self.num_needed_tokens)

    def __sub__(self, before: Work) -> Work:
        return Work(*(getattr(self, f.name) - getattr(before, f.name) for f in fields(self)))

    def count(self, groups: Sequence[Group], input_ids: Sequence[Sequence[int]]) -> None:
        """Add the needs of a plan."""
        self.num_rows += len(input_ids)
        self.num_tokens += sum(map(len, input_ids))
        for group in groups:
            num_new = group.num_prefix_tokens - group.num_kept_tokens
            self.num_needed_tokens += num_new
            self.num_needed_pairs += causal_pairs(num_new, group.num_kept_tokens)
            for pack in group.packs:
                self.num_needed_tokens += pack.num_tokens
                for row, shared in zip(pack.rows, pack.shared, strict=True):
                    self.num_needed_pairs += causal_pairs(len(input_ids[row]) - shared, shared)
