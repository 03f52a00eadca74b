"""Whether a model gives the same hidden states with shared text, found out on a few tokens before it is relied on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dhrd._text import message_of
from dhrd.data.prefixes import Group, Pack, apart
from dhrd.inference.engine.options import Options
from dhrd.inference.engine.passes import Passes
from dhrd.model.masks import why_no_masks

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_NUM_COMMON = 24


def why_not_exact(body: PreTrainedModel) -> str:
    """What keeps a model from sharing text, in words; empty where nothing does.

    A family may build its attention from what a mask cannot say: ALiBi, recurrent state, chunks.
    """
    config = body.config.get_text_config()
    if reason := why_no_masks(config):
        return f"{type(body).__name__}: {reason}"
    options = Options(max_tokens_per_pass=256, pass_overhead_tokens=0)
    passes = Passes(body, pooling="last", pad_token_id=0, options=options)
    rows = _rows(config.vocab_size)
    try:
        with torch.inference_mode(), torch.autocast(body.device.type, enabled=False):  # rounding is no difference
            alone, *shared = [_in_order(passes.run(plan, rows)) for plan in _plans(rows)]
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
        return f"{type(body).__name__} does not take it ({message_of(error)})"
    tolerance = 1e-4 if body.dtype == torch.float32 else 5e-2
    worst = max(float((one - alone).abs().max()) for one in shared) / float(alone.abs().max())
    return f"{type(body).__name__} gives other hidden states with it (by {worst:.1g})" if worst > tolerance else ""


def _rows(vocab_size: int) -> list[list[int]]:
    """Three rows with one beginning; any tokens will do."""
    most = min(vocab_size, 97)
    common = [7 * i % most for i in range(_NUM_COMMON)]
    return [common + [(11 * i + row) % most for i in range(4 + row)] for row in range(3)]


def _plans(rows: list[list[int]]) -> list[list[Group]]:
    """Apart, in one pack, and after a kept prefix."""
    own = [len(row) - _NUM_COMMON for row in rows]
    packed = Pack((0, 1, 2), (0, _NUM_COMMON, _NUM_COMMON), _NUM_COMMON + sum(own))
    after = Pack((0, 1, 2), (_NUM_COMMON,) * 3, sum(own))
    return [apart([len(row) for row in rows]), [Group((packed,))], [Group((after,), _NUM_COMMON)]]


def _in_order(passes: Iterator[tuple[list[int], Tensor]]) -> Tensor:
    vectors = {row: vector for rows, pooled_ND in passes for row, vector in zip(rows, pooled_ND, strict=True)}
    return torch.stack([vectors[row] for row in sorted(vectors)]).float()
