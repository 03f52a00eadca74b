"""The passes whose exactness the engine relies on, for `model/exactness.py`: packs, and packs after a prefix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dhrd.data.prefixes import Group, Pack, apart
from dhrd.inference.engine.options import Options
from dhrd.inference.engine.passes import Passes
from dhrd.model.exactness import NUM_COMMON, whole_pack

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def engine_states(body: PreTrainedModel, rows: Sequence[list[int]]) -> list[Tensor]:
    """One vector per row, computed in three ways: alone, in one pack, and after a kept prefix."""
    options = Options(max_tokens_per_pass=256, pass_overhead_tokens=0)
    passes = Passes(body, pooling="last", pad_token_id=0, options=options)
    with torch.inference_mode():
        return [_in_order(passes.run(plan, rows)) for plan in _plans(rows)]


def _plans(rows: Sequence[list[int]]) -> list[list[Group]]:
    after = Pack((0, 1, 2), (NUM_COMMON,) * 3, sum(len(row) - NUM_COMMON for row in rows))
    return [apart([len(row) for row in rows]), [Group((whole_pack(rows),))], [Group((after,), NUM_COMMON)]]


def _in_order(passes: Iterator[tuple[list[int], Tensor]]) -> Tensor:
    vectors = {row: vector for rows, pooled_ND in passes for row, vector in zip(rows, pooled_ND, strict=True)}
    return torch.stack([vectors[row] for row in sorted(vectors)])
