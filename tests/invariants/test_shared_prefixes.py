"""Shared prefixes give the logits of rows run apart: exact in fp32 for every family, sliding windows included."""

from __future__ import annotations

import copy
import random
from typing import Any, Literal

import pytest
import torch
from torch import nn

from dhrd.data.prefixes import SharingCost, plan_sharing
from dhrd.inference.engine.engine import Engine
from dhrd.inference.engine.options import Options
from dhrd.model import masks
from helpers.inference import forest
from helpers.models import FAMILIES, WINDOW, make_causal_lm

INSTRUCTION = [(13 * i) % 251 for i in range(5 * WINDOW)]  # far beyond the sliding windows


def rows() -> list[list[int]]:
    """Trees of three levels, some of them under a fixed instruction."""
    return [INSTRUCTION + row if index % 2 else row for index, row in enumerate(forest(0))]


class Planned(Engine):
    """An engine whose sharing pays at these tiny sizes."""

    limits = (2048, 2048)

    def _sharing_cost(self) -> SharingCost:
        longest_pack, longest_suffix = self.limits
        return SharingCost(pair=1e-4, overhead=4, max_pack_tokens=longest_pack, max_suffix_tokens=longest_suffix)


def engine(
    family: str, *, kind: type[Engine] = Planned, pooling: Literal["last", "mean"] = "last", **options: Any
) -> Engine:
    body = make_causal_lm(family).eval().base_model
    width = getattr(body.config, "word_embed_proj_dim", body.config.hidden_size)
    torch.manual_seed(1)
    given = Options(**{"max_tokens_per_pass": 2048, "pass_overhead_tokens": 8} | options)
    return kind(body, nn.Linear(width, 3, bias=False), pooling=pooling, pad_token_id=0, options=given)


@pytest.mark.parametrize("pooling", ["last", "mean"])
@pytest.mark.parametrize("family", FAMILIES)
def test_sharing_changes_no_logit(family: str, pooling: Literal["last", "mean"]) -> None:
    inputs = rows()
    alone = engine(family, pooling=pooling, share_prefixes=False, max_tokens_per_pass=1)
    expected = alone.logits(inputs)
    assert alone.work.num_passes == len(inputs)
    for limits in ((2048, 2048), (40, 40), (24, 9)):
        shared = engine(family, pooling=pooling)
        shared.limits = limits  # type: ignore[attr-defined]
        found = shared.logits(inputs)
        assert shared.options.share_prefixes
        assert shared.work.sharing_ratio > 1.5
        assert torch.allclose(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("pooling", ["last", "mean"])
@pytest.mark.parametrize("family", FAMILIES)
def test_prefixes_kept_from_batch_to_batch_change_no_logit(family: str, pooling: Literal["last", "mean"]) -> None:
    inputs = rows()
    expected = engine(family, pooling=pooling, share_prefixes=False).logits(inputs)
    kept = engine(family, pooling=pooling, max_kept_tokens=1000)
    draw = random.Random(0)
    for size in (1, 1, 1, 2, 3, 5, 9, 1, 4, 20, 1):
        batch = draw.sample(range(len(inputs)), size)
        found = kept.logits([inputs[row] for row in batch])
        assert torch.allclose(found, expected[batch], rtol=0, atol=1e-5 * float(expected.abs().max()))
    assert kept.passes.kept.num_tokens >= len(INSTRUCTION)
    assert kept.work.num_run_tokens < 0.8 * kept.work.num_tokens


def test_limits_reach_packs_and_kept_prefixes() -> None:
    def kinds(limits: tuple[int, int]) -> set[bool]:
        groups = plan_sharing(rows(), SharingCost(pair=1e-4, overhead=4, max_pack_tokens=limits[0],
                                                  max_suffix_tokens=limits[1]))  # fmt: skip
        return {bool(group.num_prefix_tokens) for group in groups if len(group.packs[0].rows) > 1}

    assert kinds((2048, 2048)) | kinds((40, 40)) == {True, False}  # what the test above runs through


@pytest.mark.parametrize("family", ["mistral", "gemma3"])
def test_a_mask_by_place_instead_of_position_would_be_wrong(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = rows()
    expected = engine(family, share_prefixes=False).logits(inputs)

    def by_place(position_BT: torch.Tensor, key_position_BK: torch.Tensor, window: int) -> torch.Tensor:
        width, num_keys = position_BT.shape[1], key_position_BK.shape[1]
        place_T = torch.arange(width) + num_keys - width
        return (place_T[:, None] - torch.arange(num_keys) < window)[None]

    monkeypatch.setattr(masks, "_near", by_place)
    wrong = Planned(*_parts(family), pooling="last", pad_token_id=0)
    wrong._sharing_checked = True  # it would notice
    assert float((wrong.logits(inputs) - expected).abs().max()) > 0.01 * float(expected.abs().max())
    noticing = Planned(*_parts(family), pooling="last", pad_token_id=0)
    assert torch.allclose(noticing.logits(inputs), expected, atol=1e-5)
    assert not noticing.options.share_prefixes


def _parts(family: str) -> tuple[Any, nn.Module]:
    made = engine(family)
    return made.body, made.head


def test_a_family_that_takes_no_masks_runs_apart(caplog: pytest.LogCaptureFixture) -> None:
    body, head = _parts("llama")
    body = copy.deepcopy(body)
    body.config.layer_types = ["linear_attention"]
    cautious = Planned(body, head, pooling="last", pad_token_id=0)
    with caplog.at_level("WARNING", logger="dhrd"):
        found = cautious.logits(rows())
    assert torch.allclose(found, engine("llama", share_prefixes=False).logits(rows()), atol=1e-5)
    assert cautious.work.sharing_ratio == 1
    assert caplog.text.count("prefix sharing is off") == 1
    cautious.logits(rows())
    assert caplog.text.count("prefix sharing is off") == 1


@pytest.mark.parametrize("family", ["llama", "mistral"])
def test_eager_attention_shares_as_well(family: str) -> None:
    body, head = _parts(family)
    body.set_attn_implementation("eager")
    shared = Planned(body, head, pooling="last", pad_token_id=0)
    assert torch.allclose(shared.logits(rows()), engine(family, share_prefixes=False).logits(rows()), atol=1e-5)
    assert shared.work.sharing_ratio > 1.5
