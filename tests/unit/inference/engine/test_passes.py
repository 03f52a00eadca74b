"""Passes of a plan: every row once, pooled as it would be alone, padded on the right at most."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dhrd.config.model import Pooling
from dhrd.data.prefixes import Group, Pack, apart
from dhrd.errors import ModelError
from dhrd.inference.engine.options import Options
from dhrd.inference.engine.passes import Passes
from helpers.inference import forest
from helpers.models import make_causal_lm


def passes(max_tokens: int = 2048, overhead: int = 0, pooling: Pooling = "last") -> Passes:
    options = Options(max_tokens_per_pass=max_tokens, pass_overhead_tokens=overhead)
    return Passes(make_causal_lm("gemma3").eval().base_model, pooling=pooling, pad_token_id=0, options=options)


def vectors(run: Passes, groups: list[Group], input_ids: list[list[int]]) -> Tensor:
    """Each row's vector, in the rows' order; no row twice."""
    with torch.inference_mode():
        by_row = [pair for rows, pooled in run.run(groups, input_ids) for pair in zip(rows, pooled, strict=True)]
    assert sorted(row for row, _ in by_row) == list(range(len(input_ids)))
    return torch.stack([vector for _, vector in sorted(by_row, key=lambda pair: pair[0])])


def test_padding_on_the_right_changes_nothing() -> None:
    inputs = forest(3)
    plan = apart([len(row) for row in inputs])
    wide, narrow = passes(overhead=10_000), passes(max_tokens=1)
    torch.testing.assert_close(vectors(wide, plan, inputs), vectors(narrow, plan, inputs), rtol=0, atol=1e-4)
    assert wide.work.padding_ratio > 1.2
    assert (narrow.work.padding_ratio, narrow.work.num_passes) == (1, len(inputs))


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_packs_and_kept_prefixes_give_each_row_its_own_vector(pooling: Pooling) -> None:
    common = [3, 1, 4, 1, 5, 9]
    inputs = [[*common, 2], [*common, 6, 5], [*common, 6, 7]]
    alone = vectors(passes(pooling=pooling), apart([7, 8, 8]), inputs)
    packed = [Group((Pack((0, 1, 2), (0, 6, 7), 7 + 2 + 1),))]
    after = [Group((Pack((0, 1), (6, 6), 3), Pack((2,), (6,), 2)), num_prefix_tokens=6)]
    for groups, num_passes, num_tokens in ((packed, 1, 10), (after, 3, 6 + 3 + 2)):
        run = passes(pooling=pooling)
        torch.testing.assert_close(vectors(run, groups, inputs), alone, rtol=0, atol=1e-4)
        assert (run.work.num_passes, run.work.num_run_tokens) == (num_passes, num_tokens)


def test_an_unknown_pooling_is_refused() -> None:
    with pytest.raises(ModelError, match=r"model\.pooling: max: unknown; give one of last, mean"):
        passes(pooling="max")  # type: ignore[arg-type]
